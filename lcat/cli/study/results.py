"""What ``lcat study`` prints at the end: tables of the results, failures, and the files that were written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcat._text import counted

if TYPE_CHECKING:
    from lcat.study import CellResult, Study

__all__ = ["print_margin", "print_results", "print_written"]


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
    graphs = {result.cell.dataset: (result.graph, result.task) for result in results if result.graph}
    for name in datasets:
        facts = "; ".join(filter(None, (_graph_in_words(*graphs.get(name, ({}, ""))), rules.get(name, ""))))
        console.print(dataset_table(name, summary, lambdas, facts))
    if len(datasets) > 1:
        console.print(overview_table(summary))
    errors = [(str(result.cell), result.error) for result in results if result.error is not None]
    if errors:
        console.print(failures_text(errors))


def _graph_in_words(facts: Mapping[str, Any], task: str) -> str:
    """What was read, so that its owner sees what was not meant; of a graph drawn for each seed, the last one."""
    if not facts:
        return ""
    directed = "directed" if facts["directed"] else "both directions of each"
    words = (
        f"{counted(facts['nodes'], 'node')}, {counted(facts['edges'], 'edge')} ({directed}), "
        f"{counted(facts['features'], 'feature')}"
    )
    kind = {"classification": "class", "multilabel": "label", "regression": "target"}.get(task.rpartition("-")[2])
    if kind is not None:
        words += f", {counted(facts['classes'], kind)}"
    unlabeled = facts["nodes"] - facts["labeled"] if task.startswith("node-") else 0
    return words + (f", {counted(unlabeled, 'node')} without a label" if unlabeled else "")


def print_margin(study: Study) -> None:
    """Say where the default margin decides verdicts on errors in a unit of their own; nothing in all other cases."""
    from rich.console import Console
    from rich.text import Text

    from lcat.study.analysis.direction import metrics_by_dataset
    from lcat.study.report.unit import margin_remark

    results = study.results()
    if study.plan.margin is not None or results["layer"].nunique() < 2:
        return
    remark = margin_remark(study.plan.margin_or_default, metrics_by_dataset(results))
    if remark:
        Console().print(Text(remark))


def print_written(written: Sequence[Path], folder: Path) -> None:
    """Name the new files in ``folder``; those in its subfolders are counted."""
    from rich.console import Console
    from rich.text import Text

    names = [path.name for path in written if path.parent == folder]
    counts = Counter(path.parent.name for path in written if path.parent != folder)
    more = " and ".join(f"{name}/ with {counted(count, 'file')}" for name, count in counts.items())
    line = f"Written to {folder}: {', '.join(names)}" + (f", and {more}" if more else "")
    Console().print(Text(line), soft_wrap=True)
