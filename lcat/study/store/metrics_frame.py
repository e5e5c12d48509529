"""All metrics of cells, and their figures per class, as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from lcat.study.store.result import CellResult

__all__ = ["classes_frame", "metrics_frame"]

_WHERE = ["key", "dataset", "layer", "seed", "repeat", "fold", "inner_fold"]


def metrics_frame(results: Iterable[CellResult]) -> pd.DataFrame:
    """One row per finished cell, part and metric; see :meth:`lcat.study.Study.metrics`.

    Args:
        results: of cells.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn"],
        ...     seeds=1,
        ...     overrides={"epochs": 5},
        ... )
        >>> metrics = run_study(plan).study.metrics()
        >>> sorted(set(metrics["metric"]))
        ['accuracy', 'average-precision', 'balanced-accuracy', 'macro-f1', 'micro-f1', 'roc-auc']
    """
    rows = []
    for result in results:
        reasons = result.figures.get("undefined", {})
        for part in ("validation", "test"):
            for metric, value in result.figures.get(part, {}).items():
                rows.append([*_where(result), part, metric, value, reasons.get(f"{part} {metric}")])
    frame = pd.DataFrame(rows, columns=[*_WHERE, "part", "metric", "value", "undefined"])
    frame["value"] = frame["value"].astype("float64")
    return frame


def classes_frame(results: Iterable[CellResult]) -> pd.DataFrame:
    """One row per finished cell and class of its test items; see :meth:`lcat.study.Study.classes`.

    Args:
        results: of cells.
    """
    rows = [[*_where(result), *row.values()] for result in results for row in result.figures.get("classes", ())]
    frame = pd.DataFrame(rows, columns=[*_WHERE, "class", "precision", "recall", "f1", "items"])
    for name in ("precision", "recall", "f1"):
        frame[name] = frame[name].astype("float64")
    return frame


def _where(result: CellResult) -> list[Any]:
    cell = result.cell
    split = cell.split
    return [cell.key, cell.dataset, cell.layer, cell.seed, split.repeat, split.fold, split.inner_fold]
