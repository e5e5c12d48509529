"""The question L-CAT was made for: what does it cost to always take it, rather than to cross-validate the others?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from lcat._measures import check_margin
from lcat._text import hint
from lcat.study.analysis.answers import ANSWERS, answer
from lcat.study.analysis.direction import direction_of, limits_of
from lcat.study.analysis.samples import with_samples
from lcat.study.analysis.selection import RUN, Selection, choose_models, one_row_per_run
from lcat.study.models.layers import LAYERS
from lcat.study.statistics import corrected_t_test
from lcat.study.statistics.equivalence import MARGIN, read_alpha, read_margin
from lcat.study.statistics.shares import check_share

__all__ = ["QUESTIONS", "regret"]

#: For each version: the layer always taken, and those cross-validated instead of it.
QUESTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "v1": ("lcat", ("gcn", "gat", "cat")),
    "v2": ("lcatv2", ("gcn", "gatv2", "catv2")),
}
_COLUMNS = [
    "dataset",
    "question",
    "metric",
    "always",
    "candidates",
    "runs",
    "samples",
    "cross_validated",
    "always_test",
    "regret",
    "low",
    "high",
    "p_value",
    "picked",
    "cross_validated_seconds",
    "always_seconds",
    "compute_ratio",
    "test_train_ratio",
    *ANSWERS,
]


def regret(
    frame: pd.DataFrame | Selection,
    *,
    questions: Mapping[str, tuple[str, Sequence[str]]] | None = None,
    level: float = 0.95,
    margin: float = MARGIN,
    alpha: float = 0.05,
) -> pd.DataFrame:
    r"""Test metric lost by always taking L-CAT, against choosing among GCN, GAT and CAT by validation.

    On every test set, *cross-validation* trains all candidates (with all their settings) and keeps the one whose mean
    validation metric is highest; *always* trains L-CAT alone (with all its settings, chosen in the same way). In run r
    the regret is

    .. math:: \rho_r = \text{test}_r(\text{cross-validated}) - \text{test}_r(\text{L-CAT})

    (the other way round where lower is better), so a negative regret says that L-CAT was better. The interval and the
    p-value are those of the corrected resampled t test over samples (:mod:`lcat.study.analysis.samples`). The test
    metric chooses nothing.

    Args:
        frame: of :meth:`lcat.study.Study.results`; cells without noise count.
        questions: by name, the layer always taken and the candidates; :data:`QUESTIONS` by default. Candidates that
            did not run are left out; a question without its layer, or with fewer than two candidates, is not
            answered for that data set.
        level: of the confidence interval.
        margin: the largest difference of test metrics that does not matter, above 0: 0.01 is one percentage point.
        alpha: level of the tests behind the verdict.

    Returns:
        One row per data set and question: ``dataset``, ``question``, ``metric``, ``always``, ``candidates``, ``runs``,
        ``samples``, ``cross_validated`` and ``always_test`` (mean test metrics over runs), ``regret`` (mean over
        samples) with ``low``, ``high``, ``p_value``, ``picked`` (what cross-validation chose, and in how many runs),
        ``cross_validated_seconds`` and ``always_seconds`` (all training behind each, of the runs counted), and their
        ``compute_ratio``; ``test_train_ratio``, which corrects the tests; and the answers of
        :func:`lcat.study.analysis.answers.answer` for ``always``: "equivalent" says that always taking it is as good
        as cross-validation, within the margin.

    Raises:
        TypeError, ValueError: for a level, margin or alpha out of range, and for what is no question, or asks for
            layers that do not exist.

    Example:
        >>> from lcat.study import make_plan, regret, run_study
        >>> layers = ["gcn", "gat", "cat", "lcat"]
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=layers,
        ...     seeds=range(2),
        ...     overrides={"epochs": 9},
        ... )
        >>> regret(run_study(plan).study.results())[
        ...     ["question", "always", "candidates", "runs"]
        ... ].values.tolist()
        [['v1', 'lcat', 'gcn, gat, cat', 2]]
    """
    check_share("level", level)
    alpha = read_alpha(alpha)
    rows = []
    selection = Selection.of(frame)
    check_margin(margin, map(str, selection.frame["metric"].unique()))
    margin = read_margin(margin)
    if questions is not None:
        _check_questions(questions, selection.frame["layer"].unique())
    for dataset, group in selection.compared.groupby("dataset", sort=False):
        available = set(group["layer"])
        for name, (always, candidates) in (QUESTIONS if questions is None else questions).items():
            ran = [layer for layer in candidates if layer in available]
            if always in available and len(ran) >= 2:
                row = _question(group, always, ran, level=level, margin=margin, alpha=alpha)
                if row is not None:
                    rows.append({"dataset": dataset, "question": name, **row})
    return pd.DataFrame(rows, columns=_COLUMNS)


def _check_questions(questions: Any, layers: Iterable[str]) -> None:
    """Refuse what is no question, and layers that neither ran nor could have: a misspelt one is never answered."""
    form = "questions must be a table such as {'mine': ('lcat', ['gcn', 'gat'])}"
    if not isinstance(questions, Mapping):
        raise TypeError(f"{form}; got {type(questions).__name__}")
    known = list(dict.fromkeys([*layers, *LAYERS]))
    for name, question in questions.items():
        if not (isinstance(question, (tuple, list)) and len(question) == 2 and _is_names(question[1])):
            raise ValueError(f"{form}: a layer and a list of candidates; got {question!r} for {name!r}")
        for layer in (question[0], *question[1]):
            if layer not in known:
                raise ValueError(
                    f"the question {name!r} needs layers of the study ({', '.join(layers)}); got "
                    f"{layer!r}{hint(layer, known)}"
                )


def _is_names(candidates: Any) -> bool:
    return isinstance(candidates, Iterable) and not isinstance(candidates, (str, bytes))


def _question(
    group: pd.DataFrame, always: str, candidates: list[str], *, level: float, margin: float, alpha: float
) -> dict[str, object] | None:
    ours, theirs = group[group["layer"] == always], group[group["layer"].isin(candidates)]
    # A test set on which a candidate or L-CAT has not finished would favor the other side.
    complete = set(ours["test_set"])
    for layer in candidates:
        complete &= set(theirs.loc[theirs["layer"] == layer, "test_set"])
    ours, theirs = ours[ours["test_set"].isin(complete)], theirs[theirs["test_set"].isin(complete)]
    if ours.empty:
        return None
    always_runs = one_row_per_run(choose_models(ours, ["dataset"]), ["dataset", "layer"])
    validated_runs = one_row_per_run(choose_models(theirs, ["dataset"]), ["dataset", "layer"])
    both = with_samples(validated_runs.merge(always_runs, on=list(RUN), suffixes=("", "_always")))
    if both.empty:
        return None
    ratio = float(both["test_train_ratio"].iloc[0])
    # Turned so that more is better: the regret of an error is what it is larger by.
    means = direction_of(both) * both.groupby("sample", sort=False)[["test", "test_always"]].mean()
    lowest, highest = limits_of(str(both["metric"].iloc[0]))
    step = float(both["resolution"].iloc[0])
    test = corrected_t_test(means["test"], means["test_always"], test_train_ratio=ratio, level=level, resolution=step)
    picked = Counter(both["layer"])
    spent, own = _seconds(theirs, both), _seconds(ours, both)
    return {
        "metric": str(both["metric"].iloc[0]),
        "always": always,
        "candidates": ", ".join(candidates),
        "runs": len(both),
        "samples": test.runs,
        "cross_validated": both["test"].mean(),
        "always_test": both["test_always"].mean(),
        "regret": test.difference,
        # No difference of two values is larger; nan stays nan.
        "low": max(test.low, lowest - highest),
        "high": min(test.high, highest - lowest),
        "p_value": test.p_value,
        "picked": ", ".join(f"{layer} {picked[layer]}" for layer in candidates if picked[layer]),
        "cross_validated_seconds": spent,
        "always_seconds": own,
        "compute_ratio": spent / own if own else math.nan,
        "test_train_ratio": ratio,
        **answer(
            means["test_always"],
            means["test"],
            margin=margin,
            test_train_ratio=ratio,
            resolution=step,
            p_different=test.p_value,
            alpha=alpha,
        ),
    }


def _seconds(rows: pd.DataFrame, runs: pd.DataFrame) -> float:
    """All training behind the runs that count: every layer, setting and inner fold."""
    wanted = pd.MultiIndex.from_frame(runs[list(RUN)])
    return float(rows.loc[pd.MultiIndex.from_frame(rows[list(RUN)]).isin(wanted), "seconds"].sum())
