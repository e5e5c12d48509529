"""Choose a layer and its settings by validation, time, memory, parameters and robustness at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from lcat._measures import sign_of
from lcat._numbers import as_float
from lcat.study.analysis.copa import copa
from lcat.study.analysis.direction import metrics_by_dataset
from lcat.study.analysis.objectives import OBJECTIVES, Objective, objective_table
from lcat.study.analysis.selection import Selection

__all__ = ["available_objectives", "choose"]


def available_objectives(frame: pd.DataFrame | Selection) -> list[str]:
    """The names of :data:`~lcat.study.analysis.objectives.OBJECTIVES` that this study has measured."""
    done = Selection.of(frame).finished.drop(columns="test")
    return [name for name, one in OBJECTIVES.items() if one.measure(done).notna().any()]


def choose(
    frame: pd.DataFrame | Selection,
    objectives: Sequence[str | Objective] = ("accuracy",),
    weights: Mapping[str, float] | None = None,
    p: float = 2.0,
    *,
    over_datasets: bool = False,
) -> pd.DataFrame:
    """Choose by COPA: relative ranks of every objective, weighted, in one p-norm; see :mod:`lcat.study.analysis.copa`.

    With the objective ``"accuracy"`` alone this is the choice of the best validation metric. The test metric is dropped
    before anything is measured. For an honest estimate of what a choice is worth, see :func:`lcat.study.compare`, where
    choices are made inside of every test set.

    Args:
        frame: of :meth:`lcat.study.Study.results`.
        objectives: names of :data:`lcat.study.analysis.objectives.OBJECTIVES`, or your own objectives.
        weights: by name of the objective, at least 0; 1 for those not named.
        p: order of the norm, in [1, ``math.inf``]: 1 is the mean rank, infinity the worst one.
        over_datasets: choose one layer for all data sets together. Each layer takes its best validating settings on
            each data set, every objective on every data set counts as an objective of its own, and the weight of an
            objective is shared among the data sets. Layers that did not run everywhere are left out.

    Returns:
        One row per candidate, best first in every data set: ``dataset``, ``layer``, ``model``, each objective and its
        relative rank (``rank.accuracy``, ... in (0, 1], less is better), ``score``, ``pareto``, ``chosen``. With
        ``over_datasets`` one row per layer: ``layer``, mean ranks, ``score``, ``pareto``, ``chosen``.

    Raises:
        ValueError: for unknown objectives or weights, or ``p`` below 1.

    Example:
        >>> from lcat.study import choose, make_plan, run_study
        >>> plan = make_plan(
        ...     datasets=["csbm:hard,n=200"],
        ...     layers=["gcn", "gat"],
        ...     seeds=[0],
        ...     overrides={"epochs": 30},
        ... )
        >>> choice = choose(
        ...     run_study(plan).study.results(),
        ...     ["accuracy", "parameters"],
        ...     {"parameters": 0.1},
        ... )
        >>> (
        ...     int(choice["chosen"].sum()),
        ...     choice["layer"][0] == choice.loc[choice["chosen"], "layer"].item(),
        ... )
        (1, True)
    """
    if isinstance(objectives, Mapping):
        raise ValueError(
            f"objectives must be a list of names, whose weights are the argument weights: choose(frame, "
            f"{[*objectives]}, {dict(objectives)}); got {objectives!r}"
        )
    if isinstance(objectives, str) or not isinstance(objectives, Iterable):
        raise ValueError(f"objectives must be a list, as in ['accuracy', 'time']; got {objectives!r}")
    if as_float(p) is None:
        raise ValueError(f"p must be a number, at least 1 (math.inf for the worst rank); got {p!r}")
    known = [OBJECTIVES[one] if isinstance(one, str) and one in OBJECTIVES else one for one in objectives]
    table = objective_table(frame, known)
    names = list(table.columns)
    omega = _weights(weights, names)
    metrics = metrics_by_dataset(Selection.of(frame).finished)
    signs = {
        dataset: np.array([_sign(one, metric) for one in known if isinstance(one, Objective)])
        for dataset, metric in metrics.items()
    }
    if over_datasets:
        return _over_datasets(table, signs, omega, p)
    groups = table.groupby(level="dataset", sort=False)
    parts = [_choice(group, signs[str(dataset)], omega, p) for dataset, group in groups]
    columns = ["dataset", "layer", "model", *names, *(f"rank.{name}" for name in names), "score", "pareto", "chosen"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _sign(objective: Objective, metric: str) -> float:
    """What values are multiplied with so that less is better."""
    sign = -1.0 if objective.higher_is_better else 1.0
    return sign * sign_of(metric) if objective.of_metric else sign


def _weights(weights: Mapping[str, float] | None, names: list[str]) -> list[float]:
    if not isinstance(weights, (Mapping, type(None))):
        raise ValueError(f"weights must be a table of numbers by objective; got {weights!r}")
    for name, weight in (weights or {}).items():
        if as_float(weight) is None:
            raise ValueError(f"the weight of {name} must be a number; got {weight!r}")
    unknown = set(weights or {}) - set(names)
    if unknown:
        raise ValueError(
            f"weights are for the objectives {', '.join(names)}; got {', '.join(sorted(map(str, unknown)))}"
        )
    return [float((weights or {}).get(name, 1.0)) for name in names]


def _choice(table: pd.DataFrame, signs: np.ndarray, omega: list[float], p: float) -> pd.DataFrame:
    choice = copa(table.to_numpy() * signs, omega, p)
    rows = table.reset_index()
    for number, name in enumerate(table.columns):
        rows[f"rank.{name}"] = choice.ranks[:, number]
    rows["score"], rows["pareto"] = choice.scores, choice.pareto
    rows["chosen"] = np.arange(len(rows)) == choice.best
    return rows.iloc[choice.order].reset_index(drop=True)


def _over_datasets(table: pd.DataFrame, signs: Mapping[str, np.ndarray], omega: list[float], p: float) -> pd.DataFrame:
    order = "accuracy" if "accuracy" in table.columns else table.columns[0]
    # Turned so that less is better, objective by objective on every data set.
    turned = table * np.array([signs[str(name)] for name in table.index.get_level_values("dataset")])
    best = turned[order].dropna().groupby(level=["dataset", "layer"], sort=False).idxmin()
    settings = turned.loc[pd.MultiIndex.from_tuples(best)].droplevel("model")
    wide = settings.unstack("dataset")
    wide = wide.loc[settings.index.get_level_values("layer").unique()]
    datasets = settings.index.get_level_values("dataset").nunique()
    wide = wide[settings.groupby(level="layer").size().reindex(wide.index) == datasets]
    if wide.empty:
        raise ValueError("no layer ran on all data sets, so none can be chosen for all of them")
    # Columns go objective by objective, the data sets of each side by side.
    choice = copa(wide.to_numpy(), [weight / datasets for weight in omega for _ in range(datasets)], p)
    rows = pd.DataFrame({"layer": wide.index})
    for number, name in enumerate(table.columns):
        rows[f"rank.{name}"] = choice.ranks[:, number * datasets : (number + 1) * datasets].mean(axis=1)
    rows["score"], rows["pareto"] = choice.scores, choice.pareto
    rows["chosen"] = np.arange(len(rows)) == choice.best
    return rows.iloc[choice.order].reset_index(drop=True)
