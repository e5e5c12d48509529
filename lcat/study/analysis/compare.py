"""Layers side by side: means with intervals, paired tests on every data set, ranks over all of them."""

from __future__ import annotations

import html
import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from lcat._measures import check_margin, sign_of
from lcat._text import counted
from lcat.study.analysis.answers import ANSWERS, answer
from lcat.study.analysis.direction import are_shares, direction_of, is_share, limits_of, metrics_by_dataset, shown
from lcat.study.analysis.samples import with_samples
from lcat.study.analysis.selection import RUN, Selection, choose_models, layers_in_order, one_row_per_run
from lcat.study.analysis.summary import interval_of, summary_frame
from lcat.study.models.layers import LAYERS
from lcat.study.statistics import (
    FriedmanTest,
    confidence_interval,
    corrected_t_test,
    critical_difference,
    friedman_test,
    holm,
    nemenyi,
    tied_groups,
    verdict,
    wilcoxon_test,
)
from lcat.study.statistics.equivalence import MARGIN, read_alpha
from lcat.study.statistics.intervals import IntervalMethod, check_method
from lcat.study.statistics.shares import check_share

__all__ = ["Comparison", "Ranking", "compare", "robustness"]


_PAIR_COLUMNS = (
    "dataset",
    "metric",
    "first",
    "second",
    "runs",
    "samples",
    "difference",
    "low",
    "high",
    "t",
    "p_t",
    "p_holm",
    "p_wilcoxon",
    "test_train_ratio",
    *ANSWERS,
    "p_equivalent_holm",
)


@dataclass(frozen=True, repr=False)
class Ranking:
    """Layers over data sets.

    Attributes:
        scores: data sets by layers, mean test metric over the runs that all these layers have.
        friedman: do the layers differ at all?
        critical_difference: of Nemenyi's test, in average ranks.
        alpha: its level.
        groups: layers that are not distinguished, best first.
        nemenyi: p-value of every pair, layers by layers.
        left_out: layers and data sets that had to be left out, for every layer needs a score on every data set, and
            a layer with failed runs has none.
        higher_is_better: by data set.
    """

    scores: pd.DataFrame
    friedman: FriedmanTest
    critical_difference: float
    alpha: float
    groups: list[list[str]]
    nemenyi: pd.DataFrame
    left_out: tuple[str, ...]
    higher_is_better: pd.Series

    @property
    def wins(self) -> pd.Series:
        """By layer, the number of data sets on which it is best, ties included."""
        oriented = self.scores.mul(self.higher_is_better.map({True: 1.0, False: -1.0}), axis=0)
        return oriented.eq(oriented.max(axis=1), axis=0).sum()

    @property
    def average_ranks(self) -> pd.Series:
        """By layer, best first."""
        return pd.Series(self.friedman.average_ranks, index=self.scores.columns, name="rank").sort_values(kind="stable")

    def __repr__(self) -> str:
        ranks = ", ".join(f"{layer} {rank:.2f}" for layer, rank in self.average_ranks.items())
        return f"Ranking(over {counted(len(self.scores), 'data set')}: {ranks}; p = {self.friedman.p_value:.3g})"


@dataclass(frozen=True, repr=False)
class Comparison:
    """Result of :func:`compare`.

    Attributes:
        summary: one row per data set and layer: ``metric``, ``runs``, ``samples`` (that the interval is over, see
            :mod:`lcat.study.analysis.samples`), ``failed``, ``models`` (settings tried), ``test`` (mean over
            runs), ``std`` (unbiased, over runs), ``low``, ``high`` (confidence interval), ``validation``, ``seconds``
            (mean per run), ``total_seconds`` (all settings), ``peak_memory`` (mean, bytes), ``parameters`` (mean),
            ``best`` (among layers without failed runs, if there are any), ``generated``.
        pairs: one row per data set and pair of layers: ``metric``, ``first``, ``second``, ``runs`` (that both have),
            ``samples``, ``difference`` (first minus second, mean over samples), ``low``, ``high``, ``t``, ``p_t``
            (corrected resampled t test; ``nan`` below three samples), ``p_holm`` (adjusted over the pairs of the data
            set), ``p_wilcoxon`` (``nan`` where splits share nodes, which that test cannot take), ``test_train_ratio``;
            the answers of :func:`lcat.study.analysis.answers.answer`, for ``first``; ``p_equivalent_holm``. The verdict
            uses the adjusted p-values.
        overall: one row per pair of layers over data sets, by means over the runs that both have: ``datasets``,
            ``wins``, ``ties``, ``losses`` (as tables show means: shares to a tenth of a per cent), ``difference``
            (mean), ``p_wilcoxon``, ``p_holm``; the last three are ``nan`` where data sets have metrics of different
            units.
        ranking: ``None`` with fewer than two layers or two data sets in common.
        level: of the confidence intervals.
    """

    summary: pd.DataFrame
    pairs: pd.DataFrame
    overall: pd.DataFrame
    ranking: Ranking | None
    level: float

    def __repr__(self) -> str:
        rows = counted(len(self.summary), "row")
        counts = f"{rows} in summary, {len(self.pairs)} in pairs, {len(self.overall)} in overall"
        return f"Comparison({counts}, ranking {'None' if self.ranking is None else self.ranking!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows: layers by data sets, mean ± standard deviation, shares in per cent."""
        if self.summary.empty:
            return f"<p>{html.escape(repr(self))}</p>"
        cells = pd.Series([_mean_and_std(row) for row in self.summary.itertuples()], index=self.summary.index)
        table = cells.groupby([self.summary["layer"], self.summary["dataset"]], sort=False).first().unstack("dataset")
        order = list(dict.fromkeys(self.summary["dataset"])), list(dict.fromkeys(self.summary["layer"]))
        body = table.reindex(columns=order[0], index=order[1]).fillna("").to_html()
        ranks = "" if self.ranking is None else f"<p>{html.escape(repr(self.ranking))}</p>"
        unit = "in %" if are_shares(self.summary) else "(shares in %)"
        return f"<p>Test metric {unit}, mean ± standard deviation over runs</p>{body}{ranks}"


def _mean_and_std(row: Any) -> str:
    if math.isnan(row.test):
        return "–"
    texts = [f"{100 * value:.1f}" if is_share(row.metric) else f"{value:.4g}" for value in (row.test, row.std)]
    return texts[0] if math.isnan(row.std) else " ± ".join(texts)


def compare(
    frame: pd.DataFrame | Selection,
    *,
    reference: str | None = None,
    level: float = 0.95,
    alpha: float = 0.05,
    interval: IntervalMethod = "t",
    margin: float = MARGIN,
) -> Comparison:
    """Compare the layers of a study on test nodes, each with the settings that validate best.

    Runs are paired by seed, repetition and fold. Seeds on the same test nodes are averaged before anything is tested;
    splits that overlap take the correction of Nadeau and Bengio with their own ratio of test to training nodes; many
    seeds on one split take none and speak of that split alone (:mod:`lcat.study.analysis.samples`). Only cells
    without noise count; see :func:`robustness` for the others.

    Args:
        frame: of :meth:`lcat.study.Study.results`.
        reference: a layer; pairs are then those of this layer with each other one. All pairs by default.
        level: of confidence intervals.
        alpha: of the critical difference, which exists for at least two data sets, and of the verdicts on pairs.
        interval: ``"t"`` or ``"bootstrap"``, see :func:`lcat.study.statistics.confidence_interval`; bootstrap
            intervals know no correction for overlapping splits.
        margin: the largest difference of test metrics that does not matter, above 0: 0.01 is one percentage point.
            Layers whose difference is shown to be smaller are called equivalent.

    Raises:
        ValueError: for a reference that did not run, a level, alpha or margin out of range, or another interval.

    Example:
        >>> from lcat.study import compare, make_plan, run_study
        >>> settings = {
        ...     "layers": ["gcn", "gat"],
        ...     "seeds": range(3),
        ...     "overrides": {"epochs": 9},
        ... }
        >>> plan = make_plan(datasets=["csbm:hard,n=100"], **settings)
        >>> comparison = compare(run_study(plan).study.results())
        >>> comparison.pairs[["first", "second", "runs"]].values.tolist()
        [['gcn', 'gat', 3]]
    """
    check_share("level", level)
    alpha = read_alpha(alpha)
    check_method("interval", interval)
    selection = Selection.of(frame)
    check_margin(margin, map(str, selection.frame["metric"].unique()))
    layers = _layers(selection.frame)
    if reference is not None and reference not in layers:
        raise ValueError(f"reference must be a layer of the study ({', '.join(layers)}); got {reference!r}")
    runs = with_samples(selection.runs)
    return Comparison(
        summary=summary_frame(selection, level=level, interval=interval),
        pairs=_pairs(runs, reference, level=level, alpha=alpha, margin=margin),
        overall=_overall(runs, reference),
        ranking=_ranking(runs, selection.unfinished, alpha),
        level=level,
    )


def robustness(frame: pd.DataFrame | Selection, *, level: float = 0.95) -> pd.DataFrame:
    """Test and validation metric at every level of noise, each layer with the settings that validate best there.

    Args:
        frame: of :meth:`lcat.study.Study.results`.
        level: of confidence intervals.

    Returns:
        One row per data set, kind of noise, layer and level: ``dataset``, ``noise``, ``layer``, ``noise_level``,
        ``runs``, ``samples``, ``test``, ``std``, ``low``, ``high``, ``validation``. Level 0 is given for every
        kind. Empty without noise.

    Raises:
        ValueError: for a level out of range.
    """
    check_share("level", level)
    done = Selection.of(frame).finished
    kinds = done.loc[done["noise"] != "none", ["dataset", "noise"]].drop_duplicates()
    clean = done[done["noise"] == "none"]
    parts = [done[done["noise"] != "none"], clean.drop(columns="noise").merge(kinds, on="dataset")]
    per = ["dataset", "noise", "layer", "noise_level"]
    runs = with_samples(one_row_per_run(choose_models(pd.concat(parts, ignore_index=True), per), per))
    rows = []
    for key, group in runs.groupby(per, sort=False):
        every, sampled = confidence_interval(group["test"]), interval_of(group, level, "t")
        figures = (every.mean, every.std, sampled.low, sampled.high, group["validation"].mean())
        rows.append((*key, every.runs, sampled.runs, *figures))
    names = [*per, "runs", "samples", "test", "std", "low", "high", "validation"]
    return pd.DataFrame(rows, columns=names).sort_values(["dataset", "noise"], kind="stable", ignore_index=True)


def _layers(frame: pd.DataFrame) -> list[str]:
    return layers_in_order(frame, tuple(LAYERS))


def _pairs(runs: pd.DataFrame, reference: str | None, *, level: float, alpha: float, margin: float) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for dataset, group in runs.groupby("dataset", sort=False):
        ratio, step = float(group["test_train_ratio"].iloc[0]), float(group["resolution"].iloc[0])
        sign = direction_of(group)
        metric = metrics_by_dataset(group)[str(dataset)]
        lowest, highest = limits_of(metric)
        scores = _by_run(group)
        start = len(rows)
        couples = _couples(_layers(group), reference)
        for first, second in couples:
            shared = scores[[first, second]].dropna()
            both = shared.groupby(level="sample", sort=False).mean()
            test = corrected_t_test(both[first], both[second], test_train_ratio=ratio, level=level, resolution=step)
            rows.append(
                {
                    "dataset": dataset,
                    "metric": metric,
                    "first": first,
                    "second": second,
                    "runs": len(shared),
                    "samples": test.runs,
                    "difference": test.difference,
                    "low": max(test.low, lowest - highest),
                    "high": min(test.high, highest - lowest),
                    "t": test.statistic,
                    "p_t": test.p_value,
                    "p_holm": math.nan,
                    # Wilcoxon's test knows no correction for splits that share nodes, and calls chance a difference
                    # in a quarter of studies there.
                    "p_wilcoxon": wilcoxon_test(both[first], both[second]).p_value if ratio == 0 else math.nan,
                    "test_train_ratio": ratio,
                    **answer(
                        both[first],
                        both[second],
                        margin=margin,
                        test_train_ratio=ratio,
                        resolution=step,
                        p_different=test.p_value,
                        alpha=alpha,
                        tests=len(couples),
                        higher_is_better=sign > 0,
                    ),
                }
            )
        tested = rows[start:]
        for name, adjusted in (("p_t", "p_holm"), ("p_equivalent", "p_equivalent_holm")):
            for row, p_value in zip(tested, holm([row[name] for row in tested]), strict=True):
                row[adjusted] = float(p_value)
        for row in tested:
            row["verdict"] = verdict(sign * row["difference"], row["p_holm"], row["p_equivalent_holm"], alpha=alpha)
    return pd.DataFrame(rows, columns=list(_PAIR_COLUMNS))


def _overall(runs: pd.DataFrame, reference: str | None) -> pd.DataFrame:
    names = ["first", "second", "datasets", "wins", "ties", "losses", "difference", "p_wilcoxon", "p_holm"]
    if runs.empty:
        return pd.DataFrame(columns=names)
    rows = []
    metrics, same_unit = metrics_by_dataset(runs), are_shares(runs)
    for first, second in _couples(_layers(runs), reference):
        both = _score_table(runs[runs["layer"].isin([first, second])]).reindex(columns=[first, second]).dropna()
        means = both.apply(lambda row: shown(row, metrics[str(row.name)]), axis=1) if len(both) else both
        test = wilcoxon_test(both[first], both[second])
        if len({metrics[str(dataset)] for dataset in both.index}) > 1 and not same_unit:
            test = replace(test, difference=math.nan, p_value=math.nan)  # no mean of points and of other units
        wins, losses = int((means[first] > means[second]).sum()), int((means[first] < means[second]).sum())
        ties = len(both) - wins - losses
        rows.append([first, second, len(both), wins, ties, losses, test.difference, test.p_value, math.nan])
    overall = pd.DataFrame(rows, columns=names)
    overall["p_holm"] = holm(overall["p_wilcoxon"].to_numpy(dtype=float))
    return overall


def _ranking(runs: pd.DataFrame, unfinished: set[tuple[str, str]], alpha: float) -> Ranking | None:
    if runs.empty:
        return None
    whole = runs[~pd.MultiIndex.from_frame(runs[["dataset", "layer"]]).isin(unfinished)]
    table = _score_table(whole).reindex(index=runs["dataset"].drop_duplicates(), columns=_layers(runs))
    # Layers that ran on fewer data sets than others go first (closed-form layers exist on some only), then data sets
    # on which one of the rest has no score.
    counts = table.notna().sum()
    layers = table.columns[counts == counts.max()]
    scores = table[layers].dropna()
    left_out = (*table.columns.difference(layers, sort=False), *table.index.difference(scores.index, sort=False))
    if scores.shape[0] < 2 or scores.shape[1] < 2:
        return None
    metrics = metrics_by_dataset(whole)
    better = pd.Series([sign_of(metrics[str(name)]) > 0 for name in scores.index], index=scores.index)
    oriented = scores.mul(better.map({True: 1.0, False: -1.0}), axis=0)
    friedman = friedman_test(oriented)
    difference = critical_difference(scores.shape[1], scores.shape[0], alpha=alpha, scores=oriented)
    groups = tied_groups(friedman.average_ranks, difference)
    return Ranking(
        scores=scores,
        friedman=friedman,
        critical_difference=difference,
        alpha=alpha,
        groups=[[str(scores.columns[index]) for index in group] for group in groups],
        nemenyi=pd.DataFrame(nemenyi(oriented), index=scores.columns, columns=scores.columns),
        left_out=left_out,
        higher_is_better=better,
    )


def _by_run(runs: pd.DataFrame) -> pd.DataFrame:
    """The test metric of one data set, runs by layers; the index says the sample of each run."""
    numbered = runs.assign(run=runs.groupby(list(RUN), dropna=False, sort=False).ngroup())
    return numbered.pivot(index=["sample", "run"], columns="layer", values="test")


def _score_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Data sets by layers: the mean over the runs of a data set that all its layers here have."""
    means = {dataset: _by_run(group).dropna().mean() for dataset, group in runs.groupby("dataset", sort=False)}
    # Means of equal scores may differ in the last digit, which is no difference in rank.
    return pd.DataFrame(means).T.astype(np.float64).round(12)


def _couples(layers: list[str], reference: str | None) -> list[tuple[str, str]]:
    if reference is None:
        return list(itertools.combinations(layers, 2))
    return [(reference, layer) for layer in layers if layer != reference] if reference in layers else []
