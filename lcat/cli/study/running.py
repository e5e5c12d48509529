"""Run a plan, print and write what came out, and exit."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lcat._text import counted
from lcat.cli.progress import progress
from lcat.cli.stop import INTERRUPTED, stop
from lcat.cli.study.results import print_margin, print_results, print_written

if TYPE_CHECKING:
    from lcat.study import CellResult, Look, Outcome, Study, StudyPlan

__all__ = ["run_and_report"]


def run_and_report(
    plan: StudyPlan, folder: Path, *, resume: bool, retry_failed: bool, until_decided: bool, quiet: bool
) -> NoReturn:
    """Run what is left of ``plan`` in ``folder``, print tables, write the report, and exit."""
    if until_decided and not resume:
        stop("--until-decided: it goes on with the study in the folder; leave out --no-resume", 2)
    run = _run_until_decided if until_decided else partial(_run, resume=resume)
    with _signals() as signals:
        outcome = run(plan, folder, retry_failed=retry_failed, quiet=quiet)
        signals.ends_at_once = True
        try:
            study, results = _report(folder, outcome)
        except KeyboardInterrupt:
            line = f"interrupted; results are kept, and lcat study report {folder} writes the report"
            stop(line, INTERRUPTED)
    failed = sum(not result.ok for result in results)
    ran = {(result.cell.dataset, result.cell.layer) for result in results}
    # A search whose points never fit leaves no cell that could have failed; a note has said so.
    is_incomplete = outcome is not None and outcome.reason == "complete" and not ran.issuperset(plan.pairs())
    if failed:
        print(
            f"{failed} of {counted(len(results), 'cell')} failed; report.html shows their tracebacks, "
            "--retry-failed runs them again",
            file=sys.stderr,
        )
    if outcome is None:
        total = len(study.cells())
        stop(
            f"interrupted: {len(results)} of {counted(total, 'cell')} had finished; the same command continues "
            "from there",
            INTERRUPTED,
        )
    if outcome.reason == "budget":
        left = counted(outcome.left, "cell")
        print(f"{outcome.detail}: {left} left; raise it and run again to continue", file=sys.stderr)
    sys.exit(1 if failed or is_incomplete else 0)


def _run(plan: StudyPlan, folder: Path, *, resume: bool, retry_failed: bool, quiet: bool) -> Outcome | None:
    """The outcome, ``None`` after Ctrl-C."""
    from lcat.study import run_study

    with _errors_in_one_line(), progress(quiet) as on_status:
        return run_study(plan, folder, resume=resume, retry_failed=retry_failed, on_status=on_status)
    return None


def _run_until_decided(plan: StudyPlan, folder: Path, *, retry_failed: bool, quiet: bool) -> Outcome | None:
    """The outcome of the last run, ``None`` after Ctrl-C; says what each look found."""
    from lcat.study import Status, run_until_decided
    from lcat.study.running.engines import Note

    with _errors_in_one_line(), progress(quiet) as on_status:

        def on_look(look: Look) -> None:
            text = f"look {look.number} at {counted(look.seeds, 'seed')}, level {look.alpha:.2g}: "
            text += f"undecided: {', '.join(look.undecided)}" if look.undecided else "everything is decided"
            on_status(Status(done=0, failed=0, total=0, seconds_left=None, event=Note(text)))

        decision = run_until_decided(plan, folder, retry_failed=retry_failed, on_status=on_status, on_look=on_look)
        if decision.reason in _NOT_DECIDED:
            print(f"lcat: {_NOT_DECIDED[decision.reason]}", file=sys.stderr)
        return decision.outcome
    return None


_NOT_DECIDED = {
    "looks": "not all is decided, and it was looked often enough for one call; the same command goes on",
    "hopeless": "more seeds would not decide what is open: splits share too many nodes, or cells of a layer fail",
}


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Stop with one line on errors of a study; Ctrl-C leaves the block."""
    from lcat.data import DataError
    from lcat.study import EngineError, OutputError, PlanError, StoreError, StudyBusy

    try:
        yield
    except KeyboardInterrupt:
        return
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
            stop("interrupted before the study had begun", INTERRUPTED)
        stop(str(error), 1)
    except OutputError as error:
        failure = error
    # Also where the report could not be written: the store holds what is printed here.
    print_results(results)
    print_margin(study)
    if failure is not None:
        stop(f"--out: {failure}; lcat study report {folder} writes the report from the results, which are kept", 2)
    if written:
        print_written(written, folder=written[0].parent)
    return study, results


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Handle Ctrl-C, and SIGTERM, which batch systems send before they kill, inside of the block."""
    signals = _Signals()
    before = {number: signal.signal(number, signals) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            # A second Ctrl-C is ignored from then on that `stop` was called.
            if signal.getsignal(number) is signals:
                signal.signal(number, handler)


class _Signals:
    """The first signal ends the study; those that come while it ends change nothing, as that takes seconds.

    Attributes:
        ends_at_once: each signal interrupts what runs.
    """

    def __init__(self) -> None:
        self.ends_at_once = False
        self._is_ending = False

    def __call__(self, *_: Any) -> None:
        if self._is_ending and not self.ends_at_once:
            return
        self._is_ending = True
        raise KeyboardInterrupt
