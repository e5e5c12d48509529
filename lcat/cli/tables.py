"""Tables of a study for the terminal, with rich.

Names of a user's files come as ``Text``: rich takes brackets and colons in a ``str`` for markup and emoji.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from lcat.study.store.summary import SummaryRow

__all__ = ["dataset_table", "failures_text", "overview_table"]


#: Cells that failed in the same way and are named.
_NAMED = 3


def overview_table(rows: Sequence[SummaryRow]) -> Table:
    """Layers by data sets: mean and standard deviation of the test metric in per cent, the best in bold."""
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    table = Table(title="Test metric in per cent, mean ± standard deviation over runs; best in bold", title_style="")
    table.add_column("layer")
    for dataset in datasets:
        metric = next(row.metric for row in rows if row.dataset == dataset)
        table.add_column(Text(f"{_short(dataset)}\n{metric}"), justify="right", overflow="fold")
    for layer in dict.fromkeys(row.layer for row in rows):
        cells = []
        for dataset in datasets:
            found = [row for row in rows if row.dataset == dataset and row.layer == layer]
            cells.append(_score(found[0]) if found else Text(""))
        table.add_row(layer, *cells)
    return table


def dataset_table(dataset: str, rows: Sequence[SummaryRow]) -> Table:
    """One data set: test metric, learned lambda of every layer of the model, parameters and seconds."""
    rows = [row for row in rows if row.dataset == dataset]
    depth = max((len(row.lambdas) for row in rows), default=0)
    split = next((row.split_rule for row in rows if row.split_rule), "")
    title = Text(f"{dataset}   ({split})" if split else dataset)
    table = Table(title=title, title_style="", title_justify="left")
    table.add_column("layer")
    table.add_column(f"test {rows[0].metric} %", justify="right", no_wrap=True)
    for number in range(depth):
        table.add_column(f"λ1, λ2\nlayer {number + 1}" if depth > 1 else "λ1, λ2", justify="right", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("runs", justify="right")
    for row in rows:
        lambdas = [f"{one:.2f}, {two:.2f}" for one, two in row.lambdas]
        runs = f"{row.runs}" + (f" ({row.failed} failed)" if row.failed else "")
        seconds = "" if math.isnan(row.seconds) else f"{row.seconds:.1f}"
        cells = [*lambdas, *[""] * (depth - len(lambdas))]
        table.add_row(row.layer, _score(row), *cells, f"{row.parameters:,}" if row.runs else "", seconds, runs)
    return table


def failures_text(errors: Sequence[tuple[str, str]]) -> Text:
    """One line an error: the last line of its traceback, and the cells that failed with it."""
    cells: dict[str, list[str]] = {}
    for name, error in errors:
        cells.setdefault(error.strip().splitlines()[-1], []).append(name)
    text = Text()
    for error, names in cells.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        text.append(f"failed: {', '.join(names[:_NAMED])}{more}: {error}\n", style="red")
    return text


def _score(row: SummaryRow) -> Text:
    if not row.runs:
        return Text("failed", style="red")
    number = f"{100 * row.test:.1f}"
    if not math.isnan(row.test_std):
        number += f" ± {100 * row.test_std:.1f}"
    return Text(number, style="bold" if row.best else "")


def _short(dataset: str) -> str:
    """The name without what all graphs of the model have in common, to keep columns narrow."""
    return dataset.replace("csbm:", "").replace(",n=300", "")
