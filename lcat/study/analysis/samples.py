"""Which runs on a data set are independent of each other, as far as any are."""

from __future__ import annotations

import math

import pandas as pd

from lcat._measures import MEASURES
from lcat.study.analysis.selection import RUN, is_generated

__all__ = ["with_samples"]


def with_samples(runs: pd.DataFrame) -> pd.DataFrame:
    r"""``runs`` with the sample that each belongs to, and the correction that samples of its data set need.

    Intervals and tests count samples; runs of one sample are averaged first. Five folds with ten seeds each are
    five samples, not fifty: another seed says nothing of other test nodes.

    ================================  ======================  ===================================
    runs of a data set                a sample is             :math:`\rho`
    ================================  ======================  ===================================
    graphs generated for each seed    a graph                 0: each is drawn anew
    one split                         a run                   0; what is found holds for this split
    many training sets, one test set  a training set          0; what is found holds for these test nodes
    many test sets                    a test set              :math:`n_{test} / n_{train}` (Nadeau and Bengio)
    ================================  ======================  ===================================

    Args:
        runs: one row per run, with ``dataset``, :data:`~lcat.study.analysis.selection.RUN`, ``split_hash``,
            ``test_set``, ``train_nodes`` and ``test_nodes``.

    Returns:
        The same rows with ``sample`` (equal for rows that belong together, whatever their layer),
        ``test_train_ratio`` (:math:`\rho`, equal for all rows of a data set) and ``resolution`` (the step in which the
        test metric of a sample comes, equal for all rows of a data set: 1/m for one accuracy on m test nodes).

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> from lcat.study.analysis.samples import with_samples
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn"],
        ...     seeds=[0, 1],
        ...     overrides={"epochs": 3},
        ... )
        >>> with_samples(run_study(plan).study.results())[
        ...     ["seed", "sample"]
        ... ].values.tolist()
        [[0, 0], [1, 1]]
    """
    labeled = runs.assign(sample=0, test_train_ratio=0.0, resolution=0.0)
    for dataset, rows in runs.groupby("dataset", sort=False):
        by, ratio = _samples_of(str(dataset), rows)
        labeled.loc[rows.index, "sample"] = rows.groupby(by, dropna=False, sort=False).ngroup()
        labeled.loc[rows.index, "test_train_ratio"] = ratio
        labeled.loc[rows.index, "resolution"] = _resolution(labeled.loc[rows.index])
    return labeled


def _samples_of(dataset: str, rows: pd.DataFrame) -> tuple[list[str], float]:
    if is_generated(dataset) and rows["seed"].nunique() > 1:
        return ["seed"], 0.0
    if rows["split_hash"].nunique() <= 1:
        return list(RUN), 0.0
    if rows["test_set"].nunique() <= 1:
        return ["split_hash"], 0.0
    ratio = rows["test_nodes"].astype(float).mean() / rows["train_nodes"].astype(float).mean()
    return ["test_set"], float(ratio)


def _in_steps(metric: str) -> bool:
    return metric not in MEASURES or MEASURES[metric].is_share


def _resolution(rows: pd.DataFrame) -> float:
    """The step of one run's metric, over the root of the number of runs that a sample is the mean of.

    An accuracy on m nodes is a multiple of 1/m; other shares come in finer
    steps, and numbers in none. A ROC-AUC counts pairs of a positive and a negative node, of which there are m^2 / 4 at
    most.
    """
    nodes = float(rows["test_nodes"].astype(float).min())
    if not nodes >= 1:
        return 0.0
    pairs = math.floor(nodes / 2) * math.ceil(nodes / 2)
    metrics = set(rows["metric"])
    if not all(_in_steps(str(name)) for name in metrics):
        return 0.0
    step = 1 / max(pairs, 1) if metrics == {"roc-auc"} else 1 / nodes
    by = ["sample", "layer"] if "layer" in rows else ["sample"]
    return step / math.sqrt(float(rows.groupby(by, sort=False).size().min()))
