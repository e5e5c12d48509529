"""Run a plan, print and write what came out, and exit."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lcat.cli.progress import progress
from lcat.cli.stop import stop
from lcat.cli.study.results import print_results, print_written

if TYPE_CHECKING:
    from lcat.study import CellResult, Outcome, Study, StudyPlan

__all__ = ["run_and_report"]


def run_and_report(plan: StudyPlan, folder: Path, *, resume: bool, retry_failed: bool, quiet: bool) -> NoReturn:
    """Run what is left of ``plan`` in ``folder``, print tables, write the report, and exit."""
    outcome = _run(plan, folder, resume=resume, retry_failed=retry_failed, quiet=quiet)
    study, results = _report(folder, outcome)
    failed = sum(not result.ok for result in results)
    ran = {(result.cell.dataset, result.cell.layer) for result in results}
    # A search whose points never fit leaves no cell that could have failed; a note has said so.
    is_incomplete = outcome is not None and outcome.reason == "complete" and not ran.issuperset(plan.pairs())
    if failed:
        print(
            f"{failed} of {len(results)} cells failed; report.html shows their tracebacks, "
            "--retry-failed runs them again",
            file=sys.stderr,
        )
    if outcome is None:
        total = len(study.cells())
        stop(f"interrupted: {len(results)} of {total} cells had finished; the same command continues from there", 130)
    if outcome.reason == "budget":
        left = "1 cell is" if outcome.left == 1 else f"{outcome.left} cells are"
        print(f"{outcome.detail}: {left} left; raise it and run again to continue", file=sys.stderr)
    sys.exit(1 if failed or is_incomplete else 0)


def _run(plan: StudyPlan, folder: Path, *, resume: bool, retry_failed: bool, quiet: bool) -> Outcome | None:
    """The outcome, ``None`` after Ctrl-C."""
    from lcat.data import DataError
    from lcat.study import EngineError, OutputError, PlanError, StoreError, StudyBusy, run_study

    try:
        with progress(quiet) as on_status, _terminate_like_ctrl_c():
            return run_study(plan, folder, resume=resume, retry_failed=retry_failed, on_status=on_status)
    except KeyboardInterrupt:
        return None
    except PlanError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    except (DataError, EngineError, StoreError, StudyBusy) as error:
        stop(str(error), 1)


def _report(folder: Path, outcome: Outcome | None) -> tuple[Study, list[CellResult]]:
    """Write and print what has finished, after Ctrl-C too."""
    from lcat.study import OutputError, StoreError, Study, write_study

    written: list[Path] = []
    failure = None
    try:
        study = outcome.study if outcome is not None else Study.load(folder)
        results = study.cell_results()
        if results:
            written = write_study(study)
    except StoreError as error:
        if outcome is None:
            stop("interrupted before the study had begun", 130)
        stop(str(error), 1)
    except OutputError as error:
        failure = error
    # Also where the report could not be written: the store holds what is printed here.
    print_results(results)
    if failure is not None:
        stop(f"--out: {failure}; lcat study report {folder} writes the report from the results, which are kept", 2)
    if written:
        print_written(written, folder=written[0].parent)
    return study, results


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
