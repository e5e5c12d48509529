"""What ``lcat study`` prints at the end: tables of the results, failures, and the files that were written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lcat.study import CellResult

__all__ = ["print_results", "print_written"]


def print_results(results: Sequence[CellResult]) -> None:
    """One table per data set, an overview where there are several, and one line per kind of failure."""
    from rich.console import Console

    from lcat.cli.tables import dataset_table, failures_text, overview_table
    from lcat.study.analysis.selection import Selection
    from lcat.study.analysis.summary import summary_frame
    from lcat.study.store.frame import lambda_frame, results_frame

    console = Console()
    # With several settings per layer, the tables show those that validate best, on the graphs as they are.
    selection = Selection(results_frame(results))
    keys = set(selection.selected["key"])
    lambdas = lambda_frame(result for result in results if result.cell.key in keys)
    rules = {result.cell.dataset: result.split_rule for result in results if result.split_rule}
    summary = summary_frame(selection)
    datasets = list(dict.fromkeys(selection.frame["dataset"]))
    for name in datasets:
        console.print(dataset_table(name, summary, lambdas, rules.get(name, "")))
    if len(datasets) > 1:
        console.print(overview_table(summary))
    errors = [(str(result.cell), result.error) for result in results if result.error is not None]
    if errors:
        console.print(failures_text(errors))


def print_written(written: Sequence[Path], folder: Path) -> None:
    """Name the new files in ``folder``; those in its subfolders are counted."""
    from rich.console import Console
    from rich.text import Text

    names = [path.name for path in written if path.parent == folder]
    counts = Counter(path.parent.name for path in written if path.parent != folder)
    more = " and ".join(f"{name}/ with {count} files" for name, count in counts.items())
    line = f"Written to {folder}: {', '.join(names)}" + (f", and {more}" if more else "")
    Console().print(Text(line), soft_wrap=True)
