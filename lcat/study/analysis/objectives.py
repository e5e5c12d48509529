"""What a choice may weigh: accuracy on validation nodes, time, memory, parameters, robustness to noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lcat.study.analysis.selection import Selection, without_noise

__all__ = ["CANDIDATE", "OBJECTIVES", "Objective", "objective_table"]

#: The columns that name a candidate, which is a layer with its settings on a data set.
CANDIDATE = ("dataset", "layer", "model")


@dataclass(frozen=True)
class Objective:
    """One thing that matters.

    Attributes:
        name: in tables, and in ``weights``.
        higher_is_better: direction.
        unit: of its values.
        summary: what it is, in a line.
        measure: takes the frame of finished cells, from which the test metric is gone, and gives one number per
            candidate, indexed by :data:`CANDIDATE`; a candidate that it leaves out counts as worst.
        under_noise: cells under noise count too. Of a candidate with a failed cell among those that count nothing is
            measured, for the others flatter it, unless every candidate of the data set has one.
        of_metric: it is a value of the metric, and turns where lower is better in that.
    """

    name: str
    higher_is_better: bool
    unit: str
    summary: str
    measure: Callable[[pd.DataFrame], pd.Series]
    under_noise: bool = False
    of_metric: bool = False


def objective_table(frame: pd.DataFrame | Selection, objectives: Sequence[str | Objective]) -> pd.DataFrame:
    """The value of every objective for every candidate.

    Args:
        frame: rows of cells, failed ones among them.
        objectives: names of :data:`OBJECTIVES`, or your own objectives.

    Returns:
        Indexed by :data:`CANDIDATE`, one column per objective.

    Raises:
        ValueError: for a name that does not exist, no objective at all, or one that no candidate has a value for.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> from lcat.study.analysis.objectives import objective_table
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn", "gat"],
        ...     seeds=[0],
        ...     overrides={"epochs": 9},
        ... )
        >>> objective_table(run_study(plan).study.results(), ["accuracy", "time"]).shape
        (2, 2)
    """
    wanted = [_find(objective) for objective in objectives]
    if not wanted or len({objective.name for objective in wanted}) < len(wanted):
        raise ValueError(f"objectives must be one or more different names; got {[one.name for one in wanted]}")
    # Nothing that is measured below can see a test metric.
    selection = Selection.of(frame)
    visible = selection.finished.drop(columns="test")
    index = pd.MultiIndex.from_frame(visible[list(CANDIDATE)].drop_duplicates())
    table = pd.DataFrame(index=index)
    for objective in wanted:
        table[objective.name] = (
            objective.measure(visible).astype("Float64").reindex(index).to_numpy(float, na_value=np.nan)
        )
        failed = _failed(selection.frame if objective.under_noise else selection.clean, index)
        table[objective.name] = table[objective.name].mask(failed)
        if len(table) and table[objective.name].isna().all():
            raise ValueError(f"objective {objective.name!r} has no value for any candidate: {objective.summary}")
    return table


def _failed(frame: pd.DataFrame, candidates: pd.MultiIndex) -> pd.Series:
    """Which candidates have failed cells, on data sets where others have none."""
    rows = pd.MultiIndex.from_frame(frame.loc[frame["status"] == "failed", list(CANDIDATE)])
    failed = pd.Series(candidates.isin(rows), index=candidates, dtype=bool)
    return failed & ~failed.groupby(level="dataset").transform("all")


def _find(objective: str | Objective) -> Objective:
    if isinstance(objective, Objective):
        return objective
    if objective not in OBJECTIVES:
        raise ValueError(f"objectives are {', '.join(OBJECTIVES)}, or an Objective; got {objective!r}")
    return OBJECTIVES[objective]


def _mean(column: str) -> Callable[[pd.DataFrame], pd.Series]:
    def measure(frame: pd.DataFrame) -> pd.Series:
        values = without_noise(frame)
        return (
            values.assign(value=values[column].astype("Float64")).groupby(list(CANDIDATE), sort=False)["value"].mean()
        )

    return measure


def _over_noise(summarize: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[pd.DataFrame], pd.Series]:
    """Of the mean validation metric at each level of a kind of noise, in the mean over kinds."""

    def measure(frame: pd.DataFrame) -> pd.Series:
        means = frame.groupby([*CANDIDATE, "noise", "noise_level"], sort=False)["validation"].mean().reset_index()
        values: dict[tuple[str, ...], float] = {}
        for key, rows in means.groupby(list(CANDIDATE), sort=False):
            clean = rows[rows["noise"] == "none"]
            figures = []
            for kind in rows.loc[rows["noise"] != "none", "noise"].unique():
                curve = pd.concat([clean, rows[rows["noise"] == kind]]).sort_values("noise_level")
                if len(curve) > 1:
                    figures.append(summarize(curve["noise_level"].to_numpy(), curve["validation"].to_numpy()))
            values[key] = float(np.mean(figures)) if figures else math.nan
        index = (
            pd.MultiIndex.from_tuples(values, names=CANDIDATE)
            if values
            else pd.MultiIndex.from_frame(means[list(CANDIDATE)])
        )
        return pd.Series(list(values.values()), index=index, dtype=float)

    return measure


def _area(levels: np.ndarray, values: np.ndarray) -> float:
    return float(np.trapezoid(values, levels) / (levels[-1] - levels[0]))


def _slope(levels: np.ndarray, values: np.ndarray) -> float:
    return float(np.polyfit(levels, values, 1)[0])


#: By name.
OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            "accuracy",
            True,
            "share",
            "mean metric on validation nodes, without noise",
            _mean("validation"),
            of_metric=True,
        ),
        Objective("time", False, "s", "mean wall-clock time of a run", _mean("seconds")),
        Objective("memory", False, "bytes", "mean peak memory of a run", _mean("peak_memory")),
        Objective("parameters", False, "", "learned numbers in the model", _mean("parameters")),
        Objective(
            "robustness",
            True,
            "share",
            "area under the validation metric over levels of noise, divided by their range",
            _over_noise(_area),
            under_noise=True,
            of_metric=True,
        ),
        Objective(
            "robustness-slope",
            True,
            "share per unit of noise",
            "least-squares slope of the validation metric over levels of noise",
            _over_noise(_slope),
            under_noise=True,
            of_metric=True,
        ),
    )
}
