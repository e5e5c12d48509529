"""Run a plan, or say how long it would take."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lcat.cli.progress import duration, progress
from lcat.cli.report import written_line
from lcat.cli.stop import stop

if TYPE_CHECKING:
    from lcat.study import CellResult, Outcome, StudyPlan

__all__ = ["print_estimate", "run_and_report"]

#: Cells that a dry run names one by one.
_LISTED = 40


def run_and_report(plan: StudyPlan, folder: Path, *, resume: bool, retry_failed: bool, quiet: bool) -> NoReturn:
    """Run what is left of ``plan`` in ``folder``, print tables, write the report, and exit."""
    from lcat.data import DataError
    from lcat.study import EngineError, OutputError, PlanError, StoreError, Study, StudyBusy, run_study, write_study

    outcome: Outcome | None = None
    try:
        with progress(quiet) as on_status, _terminate_like_ctrl_c():
            outcome = run_study(plan, folder, resume=resume, retry_failed=retry_failed, on_status=on_status)
    except KeyboardInterrupt:
        pass  # what had finished is reported below
    except PlanError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    except (DataError, EngineError, StoreError, StudyBusy) as error:
        stop(str(error), 1)
    try:
        study = outcome.study if outcome is not None else Study.load(folder)
        results = study.cell_results()
        written = write_study(study) if results else []
    except StoreError as error:
        stop(str(error) if outcome is not None else "interrupted before the study had begun", 130)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    _print_results(results, written)
    failed = sum(not result.ok for result in results)
    if failed:
        print(
            f"{failed} of {len(results)} cells failed; report.html shows their tracebacks, "
            "--retry-failed runs them again",
            file=sys.stderr,
        )
    total = len(study.cells())
    if outcome is None:
        stop(f"interrupted: {len(results)} of {total} cells had finished; the same command goes on from there", 130)
    if outcome.reason == "budget":
        left = "1 cell is" if outcome.left == 1 else f"{outcome.left} cells are"
        print(f"{outcome.detail}: {left} left; raise it and run again to go on", file=sys.stderr)
    sys.exit(1 if failed else 0)


def print_estimate(plan: StudyPlan, folder: Path, *, resume: bool, quiet: bool) -> None:
    """Print the cells of ``plan``, which of them are done in ``folder``, and how long the others may take."""
    from rich.console import Console
    from rich.text import Text

    from lcat.data import DataError
    from lcat.study import EngineError, PlanError, StoreError
    from lcat.study.running.preview import preview

    status = Console(stderr=True, quiet=quiet)
    try:
        with status.status("training a few epochs of each kind for an estimate"):
            shown = preview(plan, folder, resume=resume)
    except PlanError as error:
        stop(str(error), 2)
    except (DataError, EngineError, StoreError) as error:
        stop(str(error), 1)
    console = Console()
    console.print(shown.table())
    for cell in shown.cells[:_LISTED]:
        console.print(Text(f"{cell.key}  {cell}"), soft_wrap=True)
    if len(shown.cells) > _LISTED:
        console.print(f"... and {len(shown.cells) - _LISTED} more")
    seconds = "unknown" if shown.seconds is None else f"about {duration(shown.seconds)}"
    console.print(
        f"{shown.left} of {shown.total} cells are left. Estimate: {seconds} with {shown.slots} at a time "
        f"({shown.basis}). Nothing was run or written.",
        highlight=False,
        soft_wrap=True,
    )


@contextmanager
def _terminate_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, which batch systems send before they kill, ends a study as cleanly as Ctrl-C."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _print_results(results: list[CellResult], written: list[Path]) -> None:
    from rich.console import Console
    from rich.text import Text

    from lcat.cli.tables import dataset_table, failures_text, overview_table
    from lcat.study import results_frame, summarize
    from lcat.study.analysis.selection import choose_models, finished, without_noise

    console = Console()
    # With several settings a layer, the tables show those that validate best, on the graphs as they are.
    frame = results_frame(results)
    chosen = set(choose_models(finished(without_noise(frame)))["key"]) if len(frame) else set()
    shown = [result for result in results if result.cell.key in chosen or not result.ok]
    rows = summarize(shown)
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    for name in datasets:
        console.print(dataset_table(name, rows))
    if len(datasets) > 1:
        console.print(overview_table(rows))
    errors = [(str(result.cell), result.error) for result in results if result.error is not None]
    if errors:
        console.print(failures_text(errors))
    if written:
        console.print(Text(written_line(written, written[0].parent)), soft_wrap=True)
