"""``lcat study run --dry-run``: what would run, and how long it may take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lcat._progress import duration
from lcat._text import counted
from lcat.cli.stop import stop

if TYPE_CHECKING:
    from lcat.study import StudyPlan

__all__ = ["print_estimate"]

#: Cells that are listed one by one.
_LISTED = 40


def print_estimate(plan: StudyPlan, folder: Path, *, resume: bool, quiet: bool) -> None:
    """Print the cells of ``plan``, which of them are done in ``folder``, and how long the others may take."""
    from rich.console import Console
    from rich.text import Text

    from lcat.cli.tables import failures_text, plan_table
    from lcat.data import DataError
    from lcat.study import EngineError, OutputError, PlanError, StoreError
    from lcat.study.running.preview import preview

    status = Console(stderr=True, quiet=quiet)
    try:
        with status.status("training a few epochs of each kind for an estimate"):
            estimate = preview(plan, folder, resume=resume)
    except PlanError as error:
        stop(str(error), 2)
    except OutputError as error:
        stop(f"--out: {error}", 2)
    except (DataError, EngineError, StoreError) as error:
        stop(str(error), 1)
    console = Console()
    console.print(plan_table(estimate))
    if any(row.guessed and row.seconds is not None for row in estimate.rows):
        console.print("~ is a guess from other cells: these were not measured", highlight=False, soft_wrap=True)
    if estimate.failed:
        console.print(failures_text(list(estimate.failed.items())), end="", soft_wrap=True)
        console.print("cells of these fail in the study, too, and the others run", highlight=False, soft_wrap=True)
    for cell in estimate.cells[:_LISTED]:
        console.print(Text(f"{cell.key}  {cell}"), soft_wrap=True)
    if len(estimate.cells) > _LISTED:
        console.print(f"... and {len(estimate.cells) - _LISTED} more")
    seconds = "unknown" if estimate.seconds is None else f"about {duration(estimate.seconds)}"
    console.print(
        f"{estimate.left} of {counted(estimate.total, 'cell')} left. Estimate: {seconds} with {estimate.slots} at a "
        f"time ({estimate.basis}). The study was not started, and nothing was written.",
        highlight=False,
        soft_wrap=True,
    )
