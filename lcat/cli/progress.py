"""The progress bar of a study: all cells, with the time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lcat.study import Status

__all__ = ["duration", "progress"]


@contextmanager
def progress(quiet: bool) -> Iterator[Callable[[Status], None]]:
    """A progress bar while the block runs; what it yields takes every :class:`lcat.study.Status`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    from lcat.study.running.engines import Finished, Note
    from lcat.study.running.engines import Progress as Epoch

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet, transient=True) as bar:
        task = bar.add_task("starting", total=None, left="")

        def show(status: Status) -> None:
            name = None
            if isinstance(status.event, Epoch):
                name = f"{status.event.cell} · val {100 * status.event.val:.1f}"
            elif isinstance(status.event, Finished):
                name = str(status.event.result.cell)
            elif isinstance(status.event, Note):
                bar.console.print(Text(f"lcat: {status.event.text}"))
            left = "" if status.seconds_left is None else f"about {duration(status.seconds_left)} left"
            bar.update(task, completed=status.done, total=status.total, left=left)
            if name is not None:
                bar.update(task, description=name)

        yield show


def duration(seconds: float) -> str:
    """Seconds in words, in at most two units.

    Example:
        >>> from lcat.cli.progress import duration
        >>> duration(0.2), duration(75), duration(7300)
        ('0 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"
