"""Tables of a study and of what it can use, for the terminal, with rich.

Names of a user's files come as ``Text``: rich takes brackets and colons in a ``str`` for markup and emoji.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from lcat._text import error_line
from lcat.cli.blocks import BlockTable

if TYPE_CHECKING:
    import pandas as pd

    from lcat.study.report.unit import Unit
    from lcat.study.running.preview import Preview

__all__ = [
    "dataset_table",
    "defaults_table",
    "failures_text",
    "overview_table",
    "plan_table",
    "public_datasets_table",
]

#: Number of cells that are named where several failed in the same way.
_NAMED = 3


def overview_table(summary: pd.DataFrame) -> BlockTable:
    """Layers by data sets: mean and standard deviation of the test metric, shares in per cent, the best in bold.

    Args:
        summary: of :class:`lcat.study.Comparison`.
    """
    what = "Test metric in per cent" if _unit(summary["metric"]).is_percent else "Test metric (shares in per cent)"
    table = BlockTable(f"{what}, mean ± standard deviation over runs; best in bold")
    table.add_column("layer")
    datasets = list(dict.fromkeys(summary["dataset"]))
    for dataset in datasets:
        metric = summary.loc[summary["dataset"] == dataset, "metric"].iloc[0]
        table.add_column(f"{_short(dataset)}\n{metric}", justify="right")
    rows = {(row.dataset, row.layer): row for row in summary.itertuples()}
    for layer in dict.fromkeys(summary["layer"]):
        scores = [_score(rows[dataset, layer]) if (dataset, layer) in rows else Text("") for dataset in datasets]
        table.add_row(layer, *scores)
    return table


def dataset_table(dataset: str, summary: pd.DataFrame, lambdas: pd.DataFrame, facts: str = "") -> BlockTable:
    """One data set: test metric, learned lambda of every layer of the model, parameters and seconds.

    Args:
        dataset: its name.
        summary: of :class:`lcat.study.Comparison`.
        lambdas: of :meth:`lcat.study.Study.lambdas` for the chosen cells.
        facts: about its graph and its splits, in words.
    """
    rows = list(summary[summary["dataset"] == dataset].itertuples())
    means = lambdas[lambdas["dataset"] == dataset].groupby(["layer", "depth"])[["lambda1", "lambda2"]].mean()
    depths = sorted(means.index.unique("depth"))
    table = BlockTable(f"{dataset} ({facts})" if facts else dataset)
    table.add_column("layer")
    table.add_column(_unit([rows[0].metric]).title(f"test {rows[0].metric}"), justify="right")
    for depth in depths:
        table.add_column(f"λ1, λ2\nlayer {depth}" if len(depths) > 1 else "λ1, λ2", justify="right")
    for name in ("parameters", "seconds", "runs"):
        table.add_column(name, justify="right")
    for row in rows:
        pairs = [
            f"{means.loc[(row.layer, depth), 'lambda1']:.2f}, {means.loc[(row.layer, depth), 'lambda2']:.2f}"
            if (row.layer, depth) in means.index
            else ""
            for depth in depths
        ]
        parameters = f"{row.parameters:,.0f}" if row.runs else ""
        seconds = "" if math.isnan(row.seconds) else f"{row.seconds:.1f}"
        runs = f"{row.runs}" + (f" ({row.failed} failed)" if row.failed else "")
        table.add_row(row.layer, _score(row), *pairs, parameters, seconds, runs)
    return table


def plan_table(preview: Preview) -> BlockTable:
    """What a dry run shows: one row per data set and layer."""
    table = BlockTable("Plan", keys=2)
    for name in ("data set", "layer", "settings", "cells", "done", "seconds per cell\n(estimate)"):
        table.add_column(name, justify="left" if name in ("data set", "layer") else "right")
    for row in preview.rows:
        estimate = "?" if row.seconds is None else f"{'~' * row.guessed}{row.seconds:.1f}"
        table.add_row(row.dataset, row.layer, str(row.settings), str(row.cells), str(row.done), estimate)
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
    """One line per error, with the cells that failed with it."""
    cells: dict[str, list[str]] = {}
    for name, error in errors:
        cells.setdefault(error_line(error), []).append(name)
    text = Text()
    for error, names in cells.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        text.append(f"failed: {', '.join(names[:_NAMED])}{more}: {error}\n", style="red")
    return text


def _unit(metrics: Iterable[str]) -> Unit:
    from lcat.study.report.unit import unit_of

    return unit_of(metrics)


def _score(row: Any) -> Text:
    if not row.runs:
        return Text("failed", style="red")
    unit = _unit([row.metric])
    number = unit.value(row.test)
    if not math.isnan(row.std):
        number += f" ± {unit.value(row.std)}"
    return Text(number, style="bold" if row.best else "")


def _short(dataset: str) -> str:
    """The name without what all graphs of the model have in common, to keep columns narrow."""
    return dataset.replace("csbm:", "").replace(",n=300", "")
