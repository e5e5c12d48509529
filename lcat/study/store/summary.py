"""From the results of cells to one row a data set and layer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lcat._json import without_nan
from lcat.study.models.layers import LAYERS
from lcat.study.store.result import CellResult

__all__ = ["SummaryRow", "mean_std", "summarize"]


@dataclass
class SummaryRow:
    """One layer on one data set, over all seeds.

    Attributes:
        dataset, layer, metric: names.
        runs: number of finished cells.
        failed: number of failed cells.
        test, test_std: mean and unbiased standard deviation of the test metric, as fractions; the deviation is
            ``nan`` with fewer than two runs.
        val: mean validation metric.
        best: the highest mean of its data set, to the precision that tables show, among layers without failed runs
            (among all, if every layer has some).
        lambdas: for layers that learn them, ``[lambda1, lambda2]`` of each layer of the model, mean over runs.
        lambdas_std: their unbiased standard deviation.
        parameters: learned numbers in the model.
        seconds: mean wall-clock time of a cell.
        epochs: mean number of epochs run.
        split_rule: how nodes were split.
    """

    dataset: str
    layer: str
    metric: str = ""
    runs: int = 0
    failed: int = 0
    test: float = math.nan
    test_std: float = math.nan
    val: float = math.nan
    best: bool = False
    lambdas: list[list[float]] = field(default_factory=list)
    lambdas_std: list[list[float]] = field(default_factory=list)
    parameters: int = 0
    seconds: float = math.nan
    epochs: float = math.nan
    split_rule: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values; ``nan`` becomes ``None``, which JSON can say."""
        values: dict[str, Any] = without_nan(asdict(self))
        return values


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and unbiased standard deviation (division by ``n - 1``); ``nan`` where they have no meaning.

    Example:
        >>> from lcat.study.store.summary import mean_std
        >>> mean_std([1.0, 3.0])
        (2.0, 1.4142135623730951)
    """
    if not values:
        return math.nan, math.nan
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def summarize(results: Iterable[CellResult]) -> list[SummaryRow]:
    """One row a data set and layer, in the order in which they first appear; the best of each data set marked.

    Example:
        >>> from lcat.study import make_plan, run, summarize
        >>> plan = make_plan(datasets=["csbm:easy,n=100"], layers=["gcn"], seeds=[0, 1], overrides={"epochs": 20})
        >>> summarize(run(plan))[0].runs
        2
    """
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for result in results:
        groups.setdefault((result.cell.dataset, result.cell.layer), []).append(result)
    rows = [_row(dataset, layer, group) for (dataset, layer), group in groups.items()]
    whole = {key for key, group in groups.items() if not _lost_runs(group)}
    for dataset in dict.fromkeys(row.dataset for row in rows):
        there = [row for row in rows if row.dataset == dataset and row.runs]
        there = [row for row in there if (row.dataset, row.layer) in whole] or there
        shown = [round(100 * row.test, 1) for row in there]
        for row, value in zip(there, shown, strict=True):
            row.best = value == max(shown)
    return rows


def _lost_runs(group: Iterable[CellResult]) -> bool:
    """Some run failed with every setting: the mean over the others says nothing beside those of other layers."""
    runs: dict[tuple[int, int | None, int | None], bool] = {}
    for result in group:
        run = (result.cell.seed, result.cell.split.repeat, result.cell.split.fold)
        runs[run] = runs.get(run, False) or result.ok
    return not all(runs.values())


def _row(dataset: str, layer: str, group: list[CellResult]) -> SummaryRow:
    row = SummaryRow(dataset, layer, metric=group[0].metric, split_rule=group[0].split_rule)
    done = [result for result in group if result.fit is not None]
    row.runs, row.failed = len(done), len(group) - len(done)
    if not done:
        return row
    fits = [result.fit for result in done if result.fit is not None]
    row.metric, row.split_rule, row.parameters = done[0].metric, done[0].split_rule, done[0].parameters
    row.test, row.test_std = mean_std([fit.test for fit in fits])
    row.val, _ = mean_std([fit.val for fit in fits])
    row.seconds, _ = mean_std([result.seconds for result in done])
    row.epochs, _ = mean_std([float(fit.epochs) for fit in fits])
    if LAYERS[layer].learns_lambda:
        for name in fits[0].lambdas:
            pairs = [mean_std([fit.lambdas[name][i] for fit in fits]) for i in (0, 1)]
            row.lambdas.append([mean for mean, _ in pairs])
            row.lambdas_std.append([std for _, std in pairs])
    return row
