"""The tables of a report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from lcat._text import counted
from lcat.study.analysis.objectives import OBJECTIVES
from lcat.study.report.data import ReportData
from lcat.study.report.published_tables import published_tables
from lcat.study.report.table import (
    Column,
    Table,
    bytes_text,
    count_text,
    p_text,
    percent,
    seconds_text,
    text,
)
from lcat.study.report.unit import Unit, metric_name, unit_of

__all__ = ["TABLES", "all_tables"]

_DATASET = Column("dataset", "data set")
_LAYER = Column("layer", "layer", layers=True)
_INTERVAL = "95 % interval"
#: Rows of the table of classes on the page.
_CLASS_ROWS = 60
_RUNS = Column("runs", "runs", count_text, True)
_SAMPLES = Column("samples", "samples", count_text, True)


def all_tables(data: ReportData) -> dict[str, Table]:
    """Every table by name, in the order of the page, those of published values last; empty ones are left out."""
    tables = [make(data) for make in _MAKERS.values()]
    return {table.name: table for table in (*tables, *published_tables(data)) if table is not None and len(table)}


def _counts(frame: pd.DataFrame) -> tuple[list[Column], str]:
    """The columns that say what an interval or test is over, and a word on samples where they are fewer than runs."""
    if (frame["samples"] == frame["runs"]).all():
        return [_RUNS], ""
    return [
        _RUNS,
        _SAMPLES,
    ], "; over samples: runs on the same test nodes, or on one generated graph, are averaged first"


def _plain(value: Any) -> str:
    """A setting: numbers without needless digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fixed(digits: int) -> Callable[[Any], str]:
    return lambda value: f"{float(value):.{digits}f}"


def _overview(data: ReportData) -> Table | None:
    summary = data.comparison.summary
    if summary.empty:
        return None
    layers = list(dict.fromkeys(summary["layer"]))
    frame = pd.DataFrame({"layer": layers})
    columns, bold = [_LAYER], set()
    for dataset in data.datasets:
        rows = summary[summary["dataset"] == dataset].set_index("layer")
        name = f"data set {dataset}" if dataset in ("layer", "average rank") else dataset  # own ones have any name
        frame[name] = rows["test"].reindex(layers).to_numpy()
        frame[f"{name} std"] = rows["std"].reindex(layers).to_numpy()
        columns.append(Column(name, dataset, data.unit.value, True, spread=f"{name} std"))
        best = set(rows.index[rows["best"]])
        bold |= {(position, name) for position, layer in enumerate(layers) if layer in best}
    ranking = data.comparison.ranking
    if ranking is not None:
        frame["average rank"] = ranking.average_ranks.reindex(layers).to_numpy()
        columns.append(Column("average rank", "average rank", _fixed(2), True))
        lowest = frame["average rank"].min()
        bold |= {(position, "average rank") for position in frame.index[frame["average rank"] == lowest]}
    caption = (
        f"{data.unit.axis('Test metric')}, mean ± standard deviation over runs; best mean of each data set in bold"
    )
    if summary["failed"].any():
        caption += " (among layers that finished all their runs, if there are any)"
    return Table("overview", caption, columns, frame, frozenset(bold))


def _scores(data: ReportData) -> Table | None:
    frame = data.comparison.summary
    if frame.empty:
        return None
    counts, note = _counts(frame)
    columns = [
        _DATASET,
        _LAYER,
        Column("test", data.unit.title("test"), data.unit.value, True, spread="std"),
        Column("low", _INTERVAL, data.unit.value, True, to="high"),
        Column("validation", data.unit.title("validation"), data.unit.value, True, paper=False),
        *counts,
        Column("failed", "failed", count_text, True, paper=False),
        Column("models", "settings tried", count_text, True, paper=False),
        Column("parameters", "parameters", count_text, True),
        Column("seconds", "time per run", seconds_text, True),
        Column("total_seconds", "total time", seconds_text, True, paper=False),
        Column("peak_memory", "peak memory", bytes_text, True, paper=False),
    ]
    caption = f"Scores: mean ± standard deviation of the test metric, 95 % confidence interval{note}; and cost"
    bold = frozenset((position, "test") for position, best in enumerate(frame["best"]) if best)
    return Table("scores", caption, columns, frame.drop(columns="best"), bold)


def _metrics(data: ReportData) -> Table | None:
    frame = data.metrics[data.metrics["part"] == "test"]
    if frame.empty:
        return None
    groups = frame.groupby(["dataset", "metric", "layer"], sort=False)
    rows = groups["value"].agg(["mean", "std", "count", "size"]).reset_index()
    rows["undefined"] = rows["size"] - rows["count"]
    rows["reason"] = groups["undefined"].first().to_numpy()
    # Shares and numbers stand in one column, so every value is written in its own unit before.
    units = [unit_of([str(metric)]) for metric in rows["metric"]]
    rows["shown"] = [_mean_and_std(unit, *row) for unit, row in zip(units, rows[["mean", "std"]].values, strict=True)]
    rows["title"] = [unit.title(metric_name(str(metric))) for unit, metric in zip(units, rows["metric"], strict=True)]
    columns = [
        _DATASET,
        Column("title", "metric"),
        _LAYER,
        Column("shown", "test", number=True),
        Column("count", "cells", count_text, True),
    ]
    note = ""
    if rows["undefined"].any():
        columns += [Column("undefined", "undefined", count_text, True), Column("reason", "because", paper=False)]
        note = "; undefined ones are left out"
    caption = (
        f"All metrics at the epoch that validates best by the metric of the study: mean ± standard deviation{note}"
    )
    return Table("metrics", caption, columns, rows)


def _mean_and_std(unit: Unit, mean: float, std: float) -> str:
    if math.isnan(mean):
        return "–"
    return unit.value(mean) + ("" if math.isnan(std) else f" ± {unit.value(std)}")


def _classes(data: ReportData) -> Table | None:
    if data.classes.empty:
        return None
    groups = data.classes.groupby(["dataset", "layer", "class"], sort=False)
    frame = groups[["precision", "recall", "f1", "items"]].mean().reset_index()
    columns = [
        _DATASET,
        _LAYER,
        Column("class", "class", count_text, True),
        Column("precision", "precision %", percent, True),
        Column("recall", "recall %", percent, True),
        Column("f1", "F1 %", percent, True),
        Column("items", "test items", _fixed(1), True),
    ]
    return Table("classes", "Every class of the test items, means over cells", columns, frame, limit=_CLASS_ROWS)


def _regret(data: ReportData) -> Table | None:
    counts, note = _counts(data.regret)
    columns = [
        _DATASET,
        Column("always", "always", layers=True),
        Column("regret", "regret", data.unit.difference, True),
        Column("low", _INTERVAL, data.unit.difference, True, to="high"),
        Column("p_value", "p", p_text, True),
        Column("compute_ratio", "compute ratio", _fixed(2), True),
        Column("always_seconds", "time, always", seconds_text, True, paper=False),
        Column("cross_validated_seconds", "time, cross-validation", seconds_text, True, paper=False),
        Column("picked", "selected", layers=True),
        *counts,
    ]
    caption = (
        f"Regret of always using L-CAT, in {data.unit.differences_of_test} (negative: L-CAT is better), and "
        f"the compute of cross-validation as a multiple of L-CAT's; selected: what cross-validation took, in how many "
        f"runs{note}"
    )
    return Table("regret", caption, columns, data.regret)


def _ranks(data: ReportData) -> Table | None:
    ranking = data.comparison.ranking
    if ranking is None:
        return None
    ranks = ranking.average_ranks
    wins = ranking.wins
    frame = pd.DataFrame({"layer": ranks.index, "rank": ranks.to_numpy(), "wins": wins.reindex(ranks.index).to_numpy()})
    columns = [
        _LAYER,
        Column("rank", "average rank", _fixed(2), True),
        Column("wins", "data sets on which it is best", count_text, True),
    ]
    return Table("ranks", f"Average ranks over {counted(len(ranking.scores), 'data set')}; 1 is best", columns, frame)


def _overall(data: ReportData) -> Table | None:
    frame = data.comparison.overall
    if len(data.datasets) < 2:
        return None
    columns = [
        Column("first", "layer", layers=True),
        Column("second", "against", layers=True),
        Column("datasets", "data sets", count_text, True),
        Column("wins", "wins", count_text, True),
        Column("ties", "ties", count_text, True),
        Column("losses", "losses", count_text, True),
        Column("difference", "mean difference", data.unit.difference, True),
        Column("p_wilcoxon", "p, Wilcoxon", p_text, True),
        Column("p_holm", "p, Holm", p_text, True),
    ]
    caption = f"{_which_pairs(data)} over data sets: Wilcoxon's signed-rank test on mean test metrics, adjusted by Holm"
    return Table("pairs-overall", caption, columns, frame)


def _pairs(data: ReportData) -> Table | None:
    counts, note = _counts(data.comparison.pairs)
    columns = [
        _DATASET,
        Column("first", "layer", layers=True),
        Column("second", "against", layers=True),
        Column("difference", "difference", data.unit.difference, True),
        Column("low", _INTERVAL, data.unit.difference, True, to="high"),
        Column("p_t", "p, corrected t", p_text, True),
        Column("p_holm", "p, Holm", p_text, True),
        Column("verdict", "verdict", paper=False),
        Column("p_wilcoxon", "p, Wilcoxon", p_text, True, paper=False),
        *counts,
        Column("test_train_ratio", "test/train", _fixed(2), True, paper=False),
    ]
    tests = "corrected resampled t test, adjusted by Holm; Wilcoxon"
    caption = f"{_which_pairs(data)} on every data set, paired by run: {tests}{note}"
    return Table("pairs", caption, columns, data.comparison.pairs)


def _equivalence(data: ReportData) -> Table | None:
    columns = [_DATASET, Column("always", "always", layers=True), *_answer_columns("p_equivalent", data)]
    caption = f"Always using L-CAT against cross-validation. {_answer_note(data)}"
    return Table("equivalence", caption, columns, data.regret)


def _pairs_equivalence(data: ReportData) -> Table | None:
    columns = [
        _DATASET,
        Column("first", "layer", layers=True),
        Column("second", "against", layers=True),
        *_answer_columns("p_equivalent_holm", data),
    ]
    caption = f"{_which_pairs(data)}: better, worse or equivalent? p adjusted by Holm. {_answer_note(data)}"
    return Table("pairs-equivalence", caption, columns, data.comparison.pairs)


def _answer_columns(p_value: str, data: ReportData) -> list[Column]:
    return [
        Column("verdict", "verdict"),
        Column(p_value, "p, equivalent", p_text, True),
        Column("low_equivalent", "90 % interval", data.unit.difference, True, to="high_equivalent"),
        Column("prob_worse", "P(worse)", _fixed(2), True),
        Column("prob_equivalent", "P(equivalent)", _fixed(2), True),
        Column("prob_better", "P(better)", _fixed(2), True),
        Column("smallest_difference", "visible from", data.unit.size, True, paper=False),
        Column("samples", "samples", count_text, True, paper=False),
        Column("samples_to_decide", "to decide", _samples_needed, True, paper=False),
    ]


def _answer_note(data: ReportData) -> str:
    return (
        f"Margin: {data.unit.sized(data.margin)}. P: posterior probability of a difference beyond the "
        f"margin, or within it; visible from: the difference that a study of this size shows in four of "
        f"five cases; to decide: samples with which a test decides in four of five cases"
    )


def _samples_needed(value: Any) -> str:
    return "none suffices" if math.isinf(float(value)) else count_text(value)


def _which_pairs(data: ReportData) -> str:
    return "Pairs of layers" if data.reference is None else f"{data.reference} against every other layer"


def _nemenyi(data: ReportData) -> Table | None:
    ranking = data.comparison.ranking
    if ranking is None:
        return None
    frame = ranking.nemenyi.rename_axis("layer").reset_index()
    frame.columns.name = None
    columns = [_LAYER, *(Column(layer, layer, p_text, True) for layer in ranking.nemenyi.columns)]
    return Table("nemenyi", "p-values of Nemenyi's test for every pair of layers", columns, frame)


def _lambdas(data: ReportData) -> Table | None:
    if data.lambdas.empty:
        return None
    groups = data.lambdas.groupby(["dataset", "layer", "depth"], sort=False)
    frame = groups.agg(
        runs=("lambda1", "size"),
        lambda1=("lambda1", "mean"),
        lambda1_std=("lambda1", "std"),
        lambda2=("lambda2", "mean"),
        lambda2_std=("lambda2", "std"),
    ).reset_index()
    columns = [
        _DATASET,
        _LAYER,
        Column("depth", "layer of the model", count_text, True),
        Column("lambda1", "λ₁", _fixed(3), True, spread="lambda1_std"),
        Column("lambda2", "λ₂", _fixed(3), True, spread="lambda2_std"),
        _RUNS,
    ]
    return Table("lambdas", "Learned λ at the best epoch, mean ± standard deviation over runs", columns, frame)


def _robustness(data: ReportData) -> Table | None:
    counts, note = _counts(data.robustness)
    columns = [
        _DATASET,
        Column("noise", "noise on"),
        _LAYER,
        Column("noise_level", "level", _plain, True),
        Column("test", data.unit.title("test"), data.unit.value, True, spread="std"),
        Column("low", _INTERVAL, data.unit.value, True, to="high"),
        *counts,
    ]
    return Table("robustness", f"Test metric under noise{note}", columns, data.robustness)


def _objective_columns(names: tuple[str, ...], data: ReportData) -> list[Column]:
    shows = {"accuracy": data.unit.value, "robustness": data.unit.value, "time": seconds_text, "memory": bytes_text}
    titles = {"accuracy": data.unit.title("validation"), "robustness": data.unit.title("robustness")}
    return [
        Column(name, titles.get(name, name), shows.get(name, count_text if name == "parameters" else _plain), True)
        for name in names
    ]


def _choice(data: ReportData) -> Table | None:
    if data.choice.empty:
        return None
    settings = data.settings_in_words
    # What distinguishes two settings of a layer is what was varied, not a hash of all of them.
    frame = data.choice.assign(settings=data.choice["model"].map(settings))
    columns = [
        _DATASET,
        _LAYER,
        *([Column("settings", "settings")] if settings else []),
        *_objective_columns(data.objectives, data),
        *(Column(f"rank.{name}", f"rank, {name}", _fixed(2), True, paper=False) for name in data.objectives),
        Column("score", "score", _fixed(3), True),
        Column("pareto", "Pareto front", _yes, paper=False),
        Column("chosen", "chosen", _yes),
    ]
    bold = frozenset((position, "layer") for position, is_chosen in enumerate(frame["chosen"]) if is_chosen)
    words = "; ".join(f"{name}: {OBJECTIVES[name].summary}" for name in data.objectives)
    return Table("choice", f"Choice by COPA on every data set, best first ({words})", columns, frame, bold)


def _overall_choice(data: ReportData) -> Table | None:
    frame = data.overall_choice
    if frame.empty:
        return None
    columns = [
        _LAYER,
        *(Column(f"rank.{name}", f"rank, {name}", _fixed(2), True) for name in data.objectives),
        Column("score", "score", _fixed(3), True),
        Column("pareto", "Pareto front", _yes),
        Column("chosen", "chosen", _yes),
    ]
    bold = frozenset((position, "layer") for position, is_chosen in enumerate(frame["chosen"]) if is_chosen)
    caption = "Choice by COPA of one layer for all data sets: mean relative ranks (lower is better) and score"
    return Table("choice-overall", caption, columns, frame, bold)


def _yes(value: Any) -> str:
    return "yes" if value else ""


def _settings(data: ReportData) -> Table | None:
    frame = data.selection.frame
    if frame.empty:
        return None
    hyper = [name for name in frame.columns if name.startswith("hyper.")]
    keys = ["dataset", "layer", "model"]
    num_selected = data.selection.selected.groupby(keys).size()
    groups = frame.groupby(keys, sort=False)
    rows = groups[hyper].first()
    rows.insert(0, "cells", groups.size())
    rows.insert(1, "failed", (frame["status"] == "failed").groupby([frame[key] for key in keys], sort=False).sum())
    rows.insert(2, "chosen", num_selected.reindex(rows.index).fillna(0).astype(int))
    rows = rows.reset_index()
    varied = [name for name in hyper if frame[name].astype(str).nunique() > 1]
    columns = [
        _DATASET,
        _LAYER,
        Column("model", "hash of the settings", paper=False),
        Column("cells", "cells", count_text, True),
        Column("failed", "failed", count_text, True),
        Column("chosen", "chosen in runs", count_text, True),
        *(Column(name, name.removeprefix("hyper."), _plain, True) for name in varied),
    ]
    same = ", ".join(f"{n.removeprefix('hyper.')} {_plain(frame[n].iloc[0])}" for n in hyper if n not in varied)
    return Table(
        "settings",
        f"All settings that ran, also those that a layer does not use. The same in all cells: {same or 'nothing'}",
        columns,
        rows,
    )


def _failures(data: ReportData) -> Table | None:
    rows = [
        {
            "cell": str(result.cell),
            "key": result.cell.key,
            "error": result.error_line,
        }
        for result in data.failures
    ]
    columns = [Column("cell", "cell"), Column("error", "error"), Column("key", "key", paper=False)]
    frame = pd.DataFrame(rows, columns=["cell", "key", "error"])
    return Table("failures", "Cells that failed", columns, frame, limit=100)


def _splits(data: ReportData) -> Table | None:
    names = ["dataset", "split", "split_hash", "test_set", "train_nodes", "validation_nodes", "test_nodes"]
    frame = data.selection.frame
    frame = frame[frame["split_hash"].fillna("") != ""]
    if frame.empty:
        return None
    groups = frame.groupby(names, sort=False, dropna=False)
    rows = groups.agg(seeds=("seed", _numbers), repeats=("repeat", _numbers), folds=("fold", _numbers),
                      inner_folds=("inner_fold", _numbers)).reset_index()  # fmt: skip
    columns = [
        _DATASET,
        Column("split", "rule"),
        Column("seeds", "seeds"),
        *(
            Column(name, name.replace("_", " "))
            for name in ("repeats", "folds", "inner_folds")
            if rows[name].ne("").any()
        ),
        Column("train_nodes", "train", count_text, True),
        Column("validation_nodes", "validation", count_text, True),
        Column("test_nodes", "test", count_text, True),
        Column("split_hash", "hash of the split", paper=False),
        Column("test_set", "hash of graph and test nodes", paper=False),
    ]
    return Table("splits", "Splits, by number of nodes, with what distinguishes them", columns, rows, limit=100)


def _numbers(values: pd.Series) -> str:
    """The distinct whole numbers, runs of them shortened."""
    numbers = sorted({int(value) for value in values.dropna()})
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}–{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _graphs(data: ReportData) -> Table | None:
    """Facts about the graphs, one row per data set; generated graphs differ by seed, so their means."""
    if data.graphs.empty:
        return None
    frame = data.graphs
    columns = [
        _DATASET,
        Column("nodes", "nodes", count_text, True),
        Column("edges", "edges", count_text, True),
        Column("features", "features", count_text, True),
        Column("classes", "outputs", count_text, True),
        Column("labeled", "labeled items", count_text, True),
        Column("directed", "directed", text),
        Column("self_loops", "self-loops", count_text, True, paper=False),
        Column("repeated", "repeated", count_text, True, paper=False),
        Column("homophily", "homophily", _fixed(2), True),
        Column("steps", "what was done", text, paper=False),
    ]
    caption = (
        "The graphs. Edges as they are stored: an undirected edge counts twice. Homophily: share of edges between "
        "nodes of one class, without self-loops. Self-loops and repeated edges as they are in the data: layers have "
        "settings of their own for the former. What was done: by the loader, to what it read"
    )
    if frame["graphs"].max() > 1:
        columns.insert(1, Column("graphs", "graphs", count_text, True))
        caption += "; means over the graphs of a data set"
    return Table("graphs", caption, columns, frame)


def _versions(data: ReportData) -> Table | None:
    names = list(dict.fromkeys(name for facts in data.versions for name in facts))
    rows = {"what": names}
    columns = [Column("what", "what")]
    for number, facts in enumerate(data.versions, start=1):
        title = "version" if len(data.versions) == 1 else f"machine {number}"
        rows[title] = [facts.get(name, "") for name in names]
        columns.append(Column(title, title, text))
    return Table("versions", "Versions and machines that the results were made with", columns, pd.DataFrame(rows))


_MAKERS: dict[str, Callable[[ReportData], Table | None]] = {
    "overview": _overview,
    "scores": _scores,
    "regret": _regret,
    "metrics": _metrics,
    "classes": _classes,
    "equivalence": _equivalence,
    "ranks": _ranks,
    "pairs-overall": _overall,
    "pairs": _pairs,
    "pairs-equivalence": _pairs_equivalence,
    "nemenyi": _nemenyi,
    "lambdas": _lambdas,
    "robustness": _robustness,
    "choice-overall": _overall_choice,
    "choice": _choice,
    "graphs": _graphs,
    "settings": _settings,
    "failures": _failures,
    "splits": _splits,
    "versions": _versions,
}
#: Names of all tables that a report may have, beside those of published values.
TABLES = tuple(_MAKERS)
