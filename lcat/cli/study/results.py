"""What ``lcat study`` prints at the end: tables of the results, failures, and the files that were written."""

from __future__ import annotations

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


def print_written(written: Sequence[Path], folder: Path) -> None:
    """Name the new files in ``folder``; those under ``tables`` are counted."""
    from rich.console import Console
    from rich.text import Text

    names = [path.name for path in written if path.parent == folder]
    tables = len(written) - len(names)
    line = f"Written to {folder}: {', '.join(names)}" + (f", and tables/ with {tables} files" if tables else "")
    Console().print(Text(line), soft_wrap=True)
