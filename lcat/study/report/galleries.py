"""The pictures of the page, one per data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from lcat.study.analysis.selection import is_generated
from lcat.study.report.data import ReportData
from lcat.study.report.figures_scores import scores_picture
from lcat.study.report.figures_training import (
    curves_picture,
    pareto_picture,
    path_picture,
    robustness_picture,
    triangle_picture,
)
from lcat.study.report.svg import Picture
from lcat.study.store.result import CellResult

__all__ = ["MAX_DATASETS", "PICTURES", "learned_layers", "marked", "page_pictures"]

#: Galleries show so many data sets; tables hold all of them.
MAX_DATASETS = 24


def page_pictures(data: ReportData, kind: str, datasets: Sequence[str] | None = None) -> list[Picture]:
    """The pictures of one kind; none if the study has nothing to show.

    Args:
        data: the study.
        kind: one of :data:`PICTURES`.
        datasets: their names; the first :data:`MAX_DATASETS` by default.
    """
    return _MAKERS[kind](data, list(data.datasets[:MAX_DATASETS] if datasets is None else datasets))


def learned_layers(data: ReportData) -> list[str]:
    """Layers that learned lambdas."""
    return list(dict.fromkeys(data.lambdas["layer"]))


def marked(pictures: Sequence[Picture], names: Sequence[str]) -> list[Picture]:
    """Titles of generated data sets say so."""
    return [
        Picture(one.name, f"{one.title} (generated)", one.caption, one.svg, one.wide) if is_generated(name) else one
        for one, name in zip(pictures, names, strict=True)
    ]


def _accuracy(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    for number, dataset in enumerate(datasets):
        rows = data.comparison.summary[data.comparison.summary["dataset"] == dataset]
        if (rows["runs"] > 0).any():
            runs = data.selection.selected[data.selection.selected["dataset"] == dataset]
            pictures.append(scores_picture(number, rows, runs))
            names.append(dataset)
    return marked(pictures, names)


def _of(data: ReportData, dataset: str, layers: Sequence[str] | None = None) -> list[CellResult]:
    return [
        result
        for result in data.runs
        if result.cell.dataset == dataset
        and (layers is None or result.cell.layer in layers)
        and result.fit is not None
        and len(result.fit.history)
    ]


def _triangles(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    for number, dataset in enumerate(datasets):
        ends = data.lambdas[data.lambdas["dataset"] == dataset]
        if len(ends):
            pictures.append(triangle_picture(number, dataset, ends, _of(data, dataset, learned_layers(data))))
            names.append(dataset)
    return marked(pictures, names)


def _paths(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    for dataset in datasets:
        for layer in learned_layers(data):
            runs = [run for run in _of(data, dataset, [layer]) if run.fit is not None and run.fit.history.lambdas]
            if runs:
                pictures.append(path_picture(len(pictures), dataset, layer, runs))
                names.append(dataset)
    return marked(pictures, names)


def _curves(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    for number, dataset in enumerate(datasets):
        runs = _of(data, dataset)
        if runs:
            pictures.append(curves_picture(number, dataset, runs))
            names.append(dataset)
    return marked(pictures, names)


def _robustness(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    rows = data.robustness[data.robustness["dataset"].isin(datasets)]
    for (dataset, noise), group in rows.groupby(["dataset", "noise"], sort=False):
        metric = _metric(data, str(dataset))
        pictures.append(robustness_picture(len(pictures), str(dataset), str(noise), group, metric))
        names.append(str(dataset))
    return marked(pictures, names)


def _metric(data: ReportData, dataset: str) -> str:
    # The cells without noise, which are those chosen among, may all have failed.
    finished = data.selection.finished
    return str(finished.loc[finished["dataset"] == dataset, "metric"].iloc[0])


def _pareto(data: ReportData, datasets: list[str]) -> list[Picture]:
    choice: pd.DataFrame = data.choice
    if choice.empty or not {"accuracy", "time"} <= set(choice.columns):
        return []
    pictures: list[Picture] = []
    names: list[str] = []
    for number, dataset in enumerate(datasets):
        # A candidate may have finished under noise alone.
        rows = choice[choice["dataset"] == dataset].dropna(subset=["accuracy", "time"])
        if len(rows) > 1 and rows["chosen"].any():
            pictures.append(pareto_picture(number, dataset, rows, _metric(data, dataset)))
            names.append(dataset)
    return marked(pictures, names)


_MAKERS: dict[str, Callable[[ReportData, list[str]], list[Picture]]] = {
    "accuracy": _accuracy,
    "triangles": _triangles,
    "paths": _paths,
    "curves": _curves,
    "robustness": _robustness,
    "pareto": _pareto,
}
#: Kinds of pictures.
PICTURES = tuple(_MAKERS)
