"""The progress of a study on standard error: a bar with the time left on a terminal, lines now and then in a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lcat._progress import Pace, duration
from lcat._text import counted

if TYPE_CHECKING:
    from lcat.study import Status

__all__ = ["progress"]


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[Status], None]]:
    """Show progress while the block runs; what it yields takes every :class:`lcat.study.Status`.

    Args:
        quiet: show notes only, such as on a worker that died.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from lcat.study.report.unit import unit_of
    from lcat.study.running.engines import Finished, Note
    from lcat.study.running.engines import Progress as Epoch

    console = Console(stderr=True)
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield _Log(quiet)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(status: Status) -> None:
            name = None
            if isinstance(status.event, Epoch):
                name = f"{status.event.cell} · val {unit_of([status.event.metric]).value(status.event.val)}"
            elif isinstance(status.event, Finished):
                name = str(status.event.result.cell)
            elif isinstance(status.event, Note):
                bar.console.print(Text(f"lcat: {status.event.text}"))
            bar.update(task, completed=status.done, total=status.total, left=_left(status))
            if name is not None:
                bar.update(task, description=name)

        yield show


class _Log:
    """Lines for a file or a pipe, which keeps every one of them."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._pace = Pace()

    def __call__(self, status: Status) -> None:
        from lcat.study.running.engines import Note
        from lcat.study.running.engines import Progress as Epoch

        if isinstance(status.event, Note):
            self._print(status.event.text)
        if self._quiet or not self._pace.is_due(status.done, status.total):
            return
        parts = [f"{status.done} of {counted(status.total, 'cell')}"]
        if status.failed:
            parts.append(f"{status.failed} failed")
        if _left(status):
            parts.append(_left(status))
        if isinstance(status.event, Epoch):
            parts.append(f"now {status.event.cell}, epoch {status.event.epoch + 1} of {status.event.epochs}")
        self._print(", ".join(parts))

    def _print(self, text: str) -> None:
        print(f"lcat: {text}", file=sys.stderr, flush=True)


def _left(status: Status) -> str:
    if status.seconds_left is None or status.done == status.total:
        return ""
    return f"about {duration(status.seconds_left)} left"
