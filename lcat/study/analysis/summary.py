"""One row per data set and layer: what the terminal, the tables and the figures show."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from lcat.study.analysis.direction import limits_of, shown
from lcat.study.analysis.samples import with_samples
from lcat.study.analysis.selection import Selection, is_generated, layers_in_order
from lcat.study.models.layers import LAYERS
from lcat.study.statistics import Interval, confidence_interval
from lcat.study.statistics.intervals import IntervalMethod

__all__ = ["interval_of", "mark_best", "summary_frame"]


def summary_frame(
    frame: pd.DataFrame | Selection, *, level: float = 0.95, interval: IntervalMethod = "t"
) -> pd.DataFrame:
    """Every layer on every data set, with the settings that validate best, on the graphs without noise.

    Args:
        frame: of :meth:`lcat.study.Study.results`, or a selection from it.
        level: of the confidence intervals.
        interval: how they are computed, see :func:`lcat.study.statistics.confidence_interval`.

    Returns:
        The frame that :class:`lcat.study.Comparison` has as ``summary``.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> from lcat.study.analysis.summary import summary_frame
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn"],
        ...     seeds=[0, 1],
        ...     overrides={"epochs": 20},
        ... )
        >>> summary_frame(run_study(plan).study.results())[
        ...     ["layer", "runs", "best"]
        ... ].values.tolist()
        [['gcn', 2, True]]
    """
    selection = Selection.of(frame)
    clean, runs = selection.clean, with_samples(selection.runs)
    pair = ["dataset", "layer"]
    failed = clean[clean["status"] == "failed"].groupby(pair).size()
    tried = clean.groupby(pair)["model"].nunique()
    spent = selection.compared.groupby(pair)["seconds"].sum()
    groups = dict(list(runs.groupby(pair, sort=False)))
    rows: list[dict[str, Any]] = []
    for dataset, cells in clean.groupby("dataset", sort=False):
        metrics = cells.loc[cells["metric"] != "", "metric"]
        for layer in layers_in_order(cells, tuple(LAYERS)):
            group = groups.get((dataset, layer), runs.iloc[:0])
            every, sampled = confidence_interval(group["test"]), interval_of(group, level, interval)
            rows.append(
                {
                    "dataset": dataset,
                    "layer": layer,
                    "metric": metrics.iloc[0] if len(metrics) else "",
                    "runs": every.runs,
                    "samples": sampled.runs,
                    "failed": int(failed.get((dataset, layer), 0)),
                    "models": int(tried[dataset, layer]),
                    "test": every.mean,
                    "std": every.std,
                    "low": sampled.low,
                    "high": sampled.high,
                    "validation": group["validation"].mean() if len(group) else math.nan,
                    "seconds": group["seconds"].mean() if len(group) else math.nan,
                    "total_seconds": float(spent.get((dataset, layer), math.nan)),
                    "peak_memory": group["peak_memory"].astype("Float64").mean() if len(group) else math.nan,
                    "parameters": group["parameters"].mean() if len(group) else math.nan,
                    "generated": is_generated(str(dataset)),
                }
            )
    summary = pd.DataFrame(rows)
    if rows:
        summary["peak_memory"] = summary["peak_memory"].astype("Float64").astype("float64")
        summary["best"] = mark_best(summary, selection.unfinished)
    return summary


def mark_best(summary: pd.DataFrame, unfinished: set[tuple[str, str]]) -> pd.Series:
    """Which rows have the best mean of their data set.

    Means are compared as tables show them, shares to a tenth of a per cent. A layer with a run that failed with every
    setting is best only where all layers of the data set have such a run.

    Args:
        summary: with ``dataset``, ``layer``, ``metric`` and ``test``.
        unfinished: data sets and layers with such runs.
    """
    parts = [shown(rows["test"], str(rows["metric"].iloc[0])) for _, rows in summary.groupby("dataset", sort=False)]
    means = pd.concat(parts).reindex(summary.index)
    whole = ~pd.MultiIndex.from_frame(summary[["dataset", "layer"]]).isin(unfinished) & means.notna()
    means = means.where(whole | ~whole.groupby(summary["dataset"]).transform("any"))
    return means.notna() & (means == means.groupby(summary["dataset"]).transform("max"))


def interval_of(runs: pd.DataFrame, level: float, method: IntervalMethod) -> Interval:
    """Of the mean test metric of one layer on one data set, over its samples; it ends where the metric does."""
    known = len(runs) > 0 and method == "t"
    ratio = float(runs["test_train_ratio"].iloc[0]) if known else 0.0
    step = float(runs["resolution"].iloc[0]) if known else 0.0
    means = runs.groupby("sample", sort=False)["test"].mean()
    interval = confidence_interval(means, level=level, method=method, test_train_ratio=ratio, resolution=step)
    low, high = limits_of(str(runs["metric"].iloc[0]) if len(runs) else "")
    # nan stays nan: there is no interval of one run.
    return replace(interval, low=max(interval.low, low), high=min(interval.high, high))
