"""Tables of a study and of what it can use, for the terminal, with rich.

Names of a user's files come as ``Text``: rich takes brackets and colons in a ``str`` for markup and emoji.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from lcat.study import SummaryRow
    from lcat.study.running.preview import Preview

__all__ = [
    "dataset_table",
    "defaults_table",
    "failures_text",
    "overview_table",
    "plan_table",
    "public_datasets_table",
]

#: So many cells that failed in the same way are named.
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
            row = next((row for row in rows if row.dataset == dataset and row.layer == layer), None)
            cells.append(Text("") if row is None else _score(row))
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


def plan_table(preview: Preview) -> Table:
    """What a plan would run: one row per data set and layer."""
    table = Table(title="Plan", title_style="", title_justify="left")
    for name in ("data set", "layer", "settings", "cells", "done", "seconds per cell (estimate)"):
        table.add_column(name, justify="left" if name in ("data set", "layer") else "right")
    for dataset, layer, settings, cells, done, seconds in preview.kinds:
        estimate = "?" if seconds is None else f"{seconds:.1f}"
        table.add_row(Text(dataset), layer, str(settings), str(cells), str(done), estimate)
    return table


def public_datasets_table(folder: Path) -> Table:
    """Public data sets, and whether their files are in ``folder``."""
    from lcat.data import dataset_table as public_datasets
    from lcat.data import missing_files

    table = Table(title=Text(f"Public data sets (files under {folder})"), title_style="")
    for column in ("name", "metric", "split", "preprocessing", "files"):
        table.add_column(column, overflow="fold")
    for row in public_datasets():
        files = "" if missing_files(row["name"], folder) else "available"
        note = f" ({row['note']})" if row["note"] else ""
        table.add_row(row["name"], row["metric"], row["split"], row["preprocessing"] + note, files)
    return table


def defaults_table() -> Table:
    """Default settings of every group of data sets."""
    from lcat.study import defaults_table as default_settings

    table = Table(title="Default settings", title_style="")
    for column in ("data sets", "all layers", "attention layers"):
        table.add_column(column, overflow="fold")
    for row in default_settings():
        table.add_row(*row.values())
    return table


def failures_text(errors: Sequence[tuple[str, str]]) -> Text:
    """One line per error: the last line of its traceback, and the cells that failed with it."""
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
