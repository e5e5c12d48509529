"""A table for each data set with published values: those of papers, ours beside them, and how far they are apart."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from lcat._files import shorten_file_name
from lcat.study.analysis.direction import metrics_by_dataset
from lcat.study.plan.published import metric_of_published
from lcat.study.plan.settings import Published
from lcat.study.report.data import ReportData
from lcat.study.report.table import Column, Table, count_text
from lcat.study.report.unit import Unit, metric_name, unit_of

__all__ = ["PUBLISHED", "published_tables"]

#: What names of these tables begin with; the name of the data set follows.
PUBLISHED = "published-"
_UNUSUAL = re.compile(r"[^A-Za-z0-9]+")  # in names of files that LaTeX reads, in its labels, and in ids of the page


def published_tables(data: ReportData) -> list[Table]:
    """The tables, in the order of the data sets; none where no layer has both values.

    A published value is of one metric. Where the study measures another one, it is left out, and the caption says so.
    """
    metrics = metrics_by_dataset(data.selection.frame)
    made: list[Table] = []
    names: list[str] = []
    for dataset in data.datasets:
        rows = [one for one in data.plan.published if one.dataset == dataset]
        plain = name = PUBLISHED + shorten_file_name(_UNUSUAL.sub("-", dataset).strip("-"))
        number = 1
        while name in names:  # of another data set whose name looks alike
            number += 1
            name = f"{plain}-{number}"
        names.append(name)
        table = _table(data, name, dataset, metrics[dataset], rows)
        if table is not None:
            made.append(table)
    return made


def _table(data: ReportData, name: str, dataset: str, metric: str, published: Sequence[Published]) -> Table | None:
    unit = unit_of([metric])
    summary = data.comparison.summary
    ours = {row.layer: row for row in summary[summary["dataset"] == dataset].itertuples()}
    finished = [one for one in published if one.layer in ours and not math.isnan(ours[one.layer].test)]
    # Without a metric it is a share.
    named = [one for one in finished if one.metric is not None or unit.is_percent]
    comparable = [one for one in named if metric_of_published(one, data.plan.own, metric) == metric]
    if not comparable:
        return None
    frame = pd.DataFrame([_row(one, ours[one.layer], unit) for one in comparable])
    shown = _two_digits(unit)
    columns = [
        Column("layer", "layer", layers=True),
        Column("test", unit.title("ours"), shown, True, spread="std"),
        Column("runs", "runs", count_text, True),
        Column("published", unit.title("published"), shown, True, spread="published_std"),
        Column("published_runs", "runs, published", count_text, True),
        Column("difference", "difference", unit.difference, True),
        Column("errors", "in standard errors", _signed, True),
    ]
    caption = (
        f"{dataset} beside published values: {unit.axis(f'test {metric_name(metric)}')}, mean ± standard deviation "
        f"over runs; the difference, ours minus published, in {unit.differences} and in standard errors of the "
        "difference of the two means"
    )
    others = [one for one in finished if one not in comparable]
    if others:
        layers = ", ".join(dict.fromkeys(one.layer for one in others))
        caption += f"; left out are values of other metrics, for {layers}"
    return Table(name, caption, columns, frame)


def _row(one: Published, ours: Any, unit: Unit) -> dict[str, Any]:
    scale = unit.factor  # shares are written in percent
    published, std = one.mean / scale, math.nan if one.std is None else one.std / scale
    error = math.sqrt(ours.std**2 / ours.runs + std**2 / one.runs) if one.runs is not None else math.nan
    difference = ours.test - published
    return {
        "dataset": one.dataset,
        "layer": one.layer,
        "metric": ours.metric,
        "test": ours.test,
        "std": ours.std,
        "runs": ours.runs,
        "published": published,
        "published_std": std,
        "published_runs": math.nan if one.runs is None else one.runs,
        "difference": difference,
        "errors": difference / error if error > 0 else math.nan,
    }


def _two_digits(unit: Unit) -> Callable[[Any], str]:
    """As exact as papers write shares; other values as everywhere."""
    return (lambda value: f"{100 * float(value):.2f}") if unit.is_percent else unit.value


def _signed(value: Any) -> str:
    text = f"{float(value):+.1f}"
    return {"+0.0": "0.0", "-0.0": "0.0"}.get(text, text).replace("-", "−")
