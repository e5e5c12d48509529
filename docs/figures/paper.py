"""Tables and curves of the results page, from the results files of ``benchmarks/paper``."""

from __future__ import annotations

import re
from typing import Any

import docfigures

from lcat._names import LAYER_TITLES

TITLES = {**LAYER_TITLES, "sage": "SAGE", "gat-theory": "GAT", "cat-theory": "CAT", "lcat-theory": "L-CAT"}
_TRAINED, _CLOSED = ("gcn", "gat", "cat", "lcat"), ("gat-theory", "cat-theory", "lcat-theory")


def _results(name: str) -> dict[str, Any]:
    return docfigures.results(f"paper_{name}.json")


def _number(dataset: str, key: str) -> float | None:
    match = re.search(rf"{key}=([\d.]+)", dataset)
    return float(match.group(1)) if match else None


def _curve(rows: list[dict[str, Any]], layer: str, prefix: str, key: str) -> tuple[list[float], list[float]]:
    """Numbers of ``key`` and mean test accuracies, in percent, of the data sets whose name starts so."""
    points = [
        (number, 100 * row["test"])
        for row in rows
        if row["layer"] == layer and row["dataset"].startswith(prefix)
        if (number := _number(row["dataset"], key)) is not None
    ]
    points.sort()
    return [x for x, _ in points], [y for _, y in points]


def _accuracy(
    panels: list[tuple[str, str, str]], layers: tuple[str, ...], text: str, log: bool = False
) -> docfigures.Figure:
    """A panel for each (title, prefix of the data sets, number that varies)."""
    rows = _results("theory")["rows"]
    figure, parts = docfigures.axes(7.4, 3.2, columns=len(panels))
    for axis, (title, prefix, key) in zip(parts, panels, strict=True):
        for layer in layers:
            numbers, scores = _curve(rows, layer, prefix, key)
            style = "--" if layer == "cat" or layer == "cat-theory" else "-"
            axis.plot(
                numbers,
                scores,
                style,
                marker="o",
                markersize=3,
                color=docfigures.COLORS[TITLES[layer]],
                label=TITLES[layer],
            )
        axis.set_title(title, fontsize=10, color=docfigures.FOREGROUND)
        axis.set_xlabel("probability of an edge between classes" if key == "q" else "distance of the means")
        if log:
            axis.set_xscale("log")
        axis.set_ylim(45, 103)
    parts[0].set_ylabel("test accuracy, %")
    _legend(parts[-1])
    return docfigures.plot(figure, text)


def _legend(axis: Any, **options: Any) -> None:
    for label in axis.legend(frameon=False, fontsize=9, **options).get_texts():
        label.set_color(docfigures.FOREGROUND)


def theory_edges(closed: bool) -> docfigures.Figure:
    """Accuracy over q, for easy and for hard features."""
    panels = [("easy features", "csbm:easy", "q"), ("hard features", "csbm:hard", "q")]
    return _accuracy(
        panels, _CLOSED if closed else _TRAINED, "test accuracy over the probability of edges between classes"
    )


def theory_distance(closed: bool) -> docfigures.Figure:
    """Accuracy over the distance of the means, for few and for many edges between classes."""
    panels = [(f"q = {q}", f"csbm:q={q}", "distance") for q in ("0.1", "0.4")]
    layers = _CLOSED if closed else _TRAINED
    return _accuracy(panels, layers, "test accuracy over the distance of the means", log=True)


def theory_behind() -> docfigures.Table:
    """How far always taking one layer is behind the best of the same kind, over the graphs of the figures."""
    rows = []
    for kind, layers in (("closed form", _CLOSED), ("trained", _TRAINED)):
        scores = {(row["dataset"], row["layer"]): 100 * row["test"] for row in _results("theory")["rows"]}
        datasets = list(dict.fromkeys(dataset for dataset, _ in scores))
        for layer in layers:
            behind = [max(scores[name, other] for other in layers) - scores[name, layer] for name in datasets]
            mean = sum(behind) / len(behind)
            rows.append({"always": TITLES[layer], "scores": kind, "mean": f"{mean:.1f}", "most": f"{max(behind):.1f}"})
    return docfigures.Table(rows)


def theory_attention() -> docfigures.Table:
    """Mean share of attention that stays inside the class."""
    rows = []
    entries = _results("theory")["attention"]
    kinds = [*_CLOSED, *(kind for kind in _TRAINED if kind != "gcn")]
    for regime, q in dict.fromkeys((entry["regime"], entry["q"]) for entry in entries):
        group = [entry for entry in entries if (entry["regime"], entry["q"]) == (regime, q)]
        row: dict[str, object] = {"features": regime, "q": q, "edges": _percent(group, "edges")}
        for kind in kinds:
            row[f"{TITLES[kind]}, {'closed form' if kind in _CLOSED else 'trained'}"] = _percent(group, kind)
        rows.append(row)
    return docfigures.Table(rows)


def _percent(group: list[dict[str, Any]], key: str) -> str:
    return f"{100 * sum(entry[key] for entry in group) / len(group):.1f}"


def question_scores() -> docfigures.Table:
    """Test metric by data set and layer, mean and standard deviation over runs, in percent."""
    summary = _results("question")["summary"]
    rows = []
    for dataset in dict.fromkeys(row["dataset"] for row in summary):
        group = {row["layer"]: row for row in summary if row["dataset"] == dataset}
        row: dict[str, object] = {"data set": dataset, "runs": next(iter(group.values()))["runs"]}
        rows.append(row | {TITLES[layer]: _score(entry) for layer, entry in group.items()})
    return docfigures.Table(rows)


def _score(row: dict[str, Any]) -> str:
    return f"{100 * row['test']:.1f} ± {100 * row['std']:.1f}"


def question_verdicts() -> docfigures.Table:
    """How many points always taking L-CAT is behind the candidate picked by validation, with the interval of 90 %."""
    report = _results("question")
    rows = [_regret(row, row["dataset"]) for row in report["regret"]]
    rows += [_regret(row, f"all {row['datasets']}") for row in report["overall"]]
    return docfigures.Table(rows)


def _regret(row: dict[str, Any], dataset: str) -> dict[str, object]:
    interval = "" if row["low"] is None else f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    return {
        "data set": dataset,
        "question": row["question"],
        "points behind": f"{100 * row['regret']:.1f}",
        "90 % interval": interval,
        "verdict": row["verdict"],
    }


def strong_recipe() -> docfigures.Table:
    """Ours beside the published values, in percent, and the difference in standard errors of both."""
    rows = []
    reference = {(row["dataset"], row["layer"]): _mean(row) for row in _results("pyg_reference")["rows"]}
    layers = list(TITLES)

    def row_order(row: dict[str, Any]) -> tuple[int, bool, int]:
        return _STRONG.index(row["dataset"]), row["recipe"] != "tuned", layers.index(row["layer"])

    for row in sorted(_results("strong_recipe")["rows"], key=row_order):
        tuned_for = "GCN" if row["recipe"] == "tuned-gcn" else "GAT" if row["layer"].startswith("lcat") else ""
        published, errors = "", ""
        if row.get("published") is not None:
            published = f"{row['published']:.2f} ± {row['published_std']:.2f} ({row['published_runs']})"
            errors = f"{row['standard_errors']:+.1f}" if "standard_errors" in row else ""
        rows.append(
            {
                "data set": row["dataset"],
                "layer": TITLES[row["layer"]] + (f", settings of {tuned_for}" if tuned_for else ""),
                "ours (runs)": _mean(row),
                "PyG (runs)": reference.get((row["dataset"], row["layer"]), "") if row["recipe"] == "tuned" else "",
                "published (runs)": published,
                "standard errors apart": errors,
            }
        )
    return docfigures.Table(rows)


def _mean(row: dict[str, Any]) -> str:
    spread = "" if row["std"] is None else f" ± {row['std']:.2f}"  # a single run has none
    return f"{row['mean']:.2f}{spread} ({row['runs']})"


_STRONG = ("computers", "photo", "cs", "physics", "minesweeper", "chameleon-filtered", "squirrel-filtered")


def separation() -> docfigures.Table:
    """Test metric without and with separation, in percent, and the paired difference with its interval of 95 %."""
    rows = []
    for row in _results("separation")["rows"]:
        rows.append(
            {
                "data set": row["dataset"],
                "layer": TITLES[row["layer"]],
                "runs": row["runs"],
                "mixed": f"{row['mixed']:.1f} ± {row['mixed_std']:.1f}",
                "apart": f"{row['separate']:.1f} ± {row['separate_std']:.1f}",
                "difference": f"{row['difference']:+.1f} ({row['low']:+.1f} to {row['high']:+.1f})",
            }
        )
    return docfigures.Table(rows)


_LEVELS = {
    "edges": "random edges, as a share of the graph's",
    "features": "noise, in standard deviations",
    "scale": "factor of the first weights",
}


def robustness(what: str) -> docfigures.Figure:
    """A panel per data set: mean test accuracy of every layer over the level of the noise or the scale."""
    rows = [row for row in _results("robustness")["rows"] if row["what"] == what]
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    figure, parts = docfigures.axes(7.4, 3.4, columns=len(datasets))
    parts = [parts] if len(datasets) == 1 else parts
    for axis, dataset in zip(parts, datasets, strict=True):
        for layer, title in LAYER_TITLES.items():
            group = [row for row in rows if (row["dataset"], row["layer"]) == (dataset, layer)]
            group.sort(key=lambda row: row["level"])
            axis.plot(
                [row["level"] for row in group],
                [row["mean"] for row in group],
                "--" if layer.endswith("v2") else "-",
                marker="o",
                markersize=3,
                color=docfigures.COLORS[title.removesuffix("v2")],
                label=title,
            )
        axis.set_title(dataset, fontsize=10, color=docfigures.FOREGROUND)
        axis.set_xlabel(_LEVELS[what])
        if what == "scale":
            levels = sorted({row["level"] for row in rows})
            axis.set_xscale("log")
            axis.set_xticks(levels, labels=[f"{level:g}" for level in levels])
            axis.minorticks_off()
    parts[0].set_ylabel("test accuracy, %")
    _legend(parts[-1], ncols=2, handlelength=3.5)
    return docfigures.plot(figure, f"test accuracy over {_LEVELS[what]}")


def robustness_falls() -> docfigures.Table:
    """Points of accuracy that every layer loses at the largest level of noise, by data set."""
    rows = []
    entries = _results("robustness")["rows"]
    for what in ("edges", "features"):
        for dataset in dict.fromkeys(row["dataset"] for row in entries if row["what"] == what):
            group = [row for row in entries if (row["what"], row["dataset"]) == (what, dataset)]
            top = max(row["level"] for row in group)
            row: dict[str, object] = {"data set": dataset, "noise": f"{what}, {top:g}"}
            for layer, title in LAYER_TITLES.items():
                means = {entry["level"]: entry["mean"] for entry in group if entry["layer"] == layer}
                row[title] = f"{means[0.0] - means[top]:.1f}"
            rows.append(row)
    return docfigures.Table(rows)


def scalars() -> docfigures.Table:
    """Settings of L-CAT's scalars, best first: validation points behind the best setting, mean and largest."""
    rows = []
    for entry in _results("scalars")["settings"]:
        start = f"λ1 = {entry['hyper.lambda1_init']}, λ2 = {entry['hyper.lambda2_init']}"
        behind = {"mean": f"{100 * entry['mean_loss']:.1f}", "largest": f"{100 * entry['max_loss']:.1f}"}
        rows.append({"start": start, "rate, times that of weights": entry["hyper.scalar_lr"], **behind})
    return docfigures.Table(rows)


def cost() -> docfigures.Table:
    """Milliseconds and MB of a training epoch, ours and PyG's."""
    rows = []
    for row in _results("cost")["rows"]:
        rows.append(
            {
                "data set": row["dataset"],
                "model": row["model"],
                "ms": f"{row['lcat']['median']:.0f}",
                "MB": f"{row['megabytes']:.0f}",
                "PyG's": row["rival"],
                "its ms": f"{row['PyG']['median']:.0f}",
                "its MB": f"{row['PyG megabytes']:.0f}",
            }
        )
    return docfigures.Table(rows)
