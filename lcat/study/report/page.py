"""``report.html``: one file that holds everything it shows, and the tables beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

import lcat
from lcat.study._folder import prepare_folder, write_file
from lcat.study.analysis.selection import is_generated
from lcat.study.models.layers import LAYERS
from lcat.study.report import sentences
from lcat.study.report.data import CURVES, ReportData
from lcat.study.report.figures_equivalence import equivalence_picture
from lcat.study.report.figures_ranks import ranking_picture
from lcat.study.report.figures_regret import regret_picture
from lcat.study.report.figures_scores import scores_picture
from lcat.study.report.figures_training import (
    curves_picture,
    pareto_picture,
    path_picture,
    robustness_picture,
    triangle_picture,
)
from lcat.study.report.palette import DARK, LIGHT, colors_for
from lcat.study.report.remarks import few_samples_sentence, settings_sentences, training_sentence
from lcat.study.report.svg import Picture, depth_key, drawing_style, key
from lcat.study.report.table import Table
from lcat.study.report.tables import TABLES, all_tables
from lcat.study.store.result import CellResult

__all__ = ["Gallery", "Report", "make_report"]

#: Galleries show so many data sets; tables hold all of them.
_MAX_DATASETS = 24
_TRACEBACKS = 20


@dataclass(frozen=True)
class Gallery:
    """Pictures of one kind with their key.

    Attributes:
        pictures: one per data set.
        key: what marks and colors mean, as HTML.
        left_out: number of data sets without a picture.
    """

    pictures: tuple[Picture, ...] = ()
    key: str = ""
    left_out: int = 0

    def __bool__(self) -> bool:
        return bool(self.pictures)


@dataclass(frozen=True)
class Report:
    """A report in memory.

    Attributes:
        html: the page.
        tables: by name.
    """

    html: str
    tables: dict[str, Table]

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``report.html`` and ``tables/NAME.csv``, ``.md``, ``.tex``; each file whole or not at all.

        Returns:
            The paths written, the page first.

        Raises:
            lcat.study.OutputError: if the folder cannot be written.
        """
        folder = prepare_folder(folder)
        tables = prepare_folder(folder / "tables")
        written = []
        for name in TABLES:
            if name not in self.tables:  # of an earlier report: what it said holds no more
                for old in tables.glob(f"{name}.*"):
                    old.unlink()
        for name, table in self.tables.items():
            for suffix, content in (("csv", table.csv()), ("md", table.markdown()), ("tex", table.latex())):
                written.append(write_file(tables / f"{name}.{suffix}", content.encode()))
        return [write_file(folder / "report.html", self.html.encode()), *written]


def make_report(data: ReportData) -> Report:
    """The report of a study.

    Args:
        data: see :class:`lcat.study.report.data.ReportData`.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> from lcat.study.report.data import ReportData
        >>> from lcat.study.report.page import make_report
        >>> plan = make_plan(datasets=["csbm:easy,n=100"], layers=["gcn"], seeds=[0, 1], overrides={"epochs": 3})
        >>> report = make_report(ReportData.of(run_study(plan).study))
        >>> report.html.startswith("<!doctype html>"), "scores" in report.tables
        (True, True)
    """
    tables = all_tables(data)
    with drawing_style(), colors_for(data.layers):
        galleries = _galleries(data)
    names = data.facts["datasets"]
    title = "Comparison of attention layers on " + (", ".join(names) if len(names) <= 6 else f"{len(names)} data sets")
    html = _template().render(
        title=title,
        light=LIGHT,
        dark=DARK,
        tiles=sentences.tiles(data),
        answers=[*sentences.verdict_sentences(data), *sentences.regret_sentences(data)],
        ranking=sentences.ranking_sentence(data),
        training=training_sentence(data),
        few_samples=few_samples_sentence(data),
        chosen=sentences.chosen_sentence(data),
        generated=sentences.generated_note(data),
        tables={name.replace("-", "_"): Markup(tables[name].html()) if name in tables else "" for name in TABLES},
        sizes={name.replace("-", "_"): len(tables[name]) if name in tables else 0 for name in TABLES},
        galleries=galleries,
        failures=data.failures[:_TRACEBACKS],
        more_failures=max(len(data.failures) - _TRACEBACKS, 0),
        plan=sentences.plan_toml(data.plan),
        version=lcat.__version__,
        curves=CURVES,
        layers=[(name, LAYERS[name].summary) for name in data.facts["layers"] if name in LAYERS],
        objectives=data.objectives,
        differences=settings_sentences(data),
        reference=data.reference,
    )
    return Report(html, tables)


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    source = resources.files("lcat.study.report").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(source)


def _galleries(data: ReportData) -> dict[str, Gallery]:
    layers = data.facts["layers"]
    makers: dict[str, Callable[[ReportData, list[str]], list[Picture]]] = {
        "accuracy": _accuracy,
        "triangles": _triangles,
        "paths": _paths,
        "curves": _curves,
        "robustness": _robustness,
        "pareto": _pareto,
    }
    galleries = {}
    shown = data.datasets[:_MAX_DATASETS]
    for name, make in makers.items():
        pictures = tuple(make(data, shown))
        left_out = len(data.datasets) - len(shown)
        if name in ("triangles", "paths"):
            depths = max((int(depth) for depth in data.lambdas["depth"]), default=1)
            legend = depth_key(depths) + (key(_learned(data), shapes=True) if name == "triangles" else "")
        else:
            legend = key(layers, lines=name == "curves")
        galleries[name] = Gallery(pictures, legend, left_out)
    ranking = data.comparison.ranking
    galleries["ranking"] = Gallery((ranking_picture(ranking),) if ranking is not None else ())
    rows = data.regret[data.regret["dataset"].isin(shown)]
    galleries["regret"] = Gallery((regret_picture(rows),) if len(rows) else ())
    pairs = data.comparison.pairs
    with_pairs = [name for name in shown if (pairs["dataset"] == name).any()]
    drawn = [equivalence_picture(number, pairs[pairs["dataset"] == name]) for number, name in enumerate(with_pairs)]
    galleries["equivalence"] = Gallery(tuple(_marked(drawn, with_pairs)))
    return galleries


def _learned(data: ReportData) -> list[str]:
    return list(dict.fromkeys(data.lambdas["layer"]))


def _marked(pictures: Sequence[Picture], names: Sequence[str]) -> list[Picture]:
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
    return _marked(pictures, names)


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
            pictures.append(triangle_picture(number, dataset, ends, _of(data, dataset, _learned(data))))
            names.append(dataset)
    return _marked(pictures, names)


def _paths(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    for dataset in datasets:
        for layer in _learned(data):
            runs = [run for run in _of(data, dataset, [layer]) if run.fit is not None and run.fit.history.lambdas]
            if runs:
                pictures.append(path_picture(len(pictures), dataset, layer, runs))
                names.append(dataset)
    return _marked(pictures, names)


def _curves(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    for number, dataset in enumerate(datasets):
        runs = _of(data, dataset)
        if runs:
            pictures.append(curves_picture(number, dataset, runs))
            names.append(dataset)
    return _marked(pictures, names)


def _robustness(data: ReportData, datasets: list[str]) -> list[Picture]:
    pictures: list[Picture] = []
    names: list[str] = []
    rows = data.robustness[data.robustness["dataset"].isin(datasets)]
    for (dataset, noise), group in rows.groupby(["dataset", "noise"], sort=False):
        metric = _metric(data, str(dataset))
        pictures.append(robustness_picture(len(pictures), str(dataset), str(noise), group, metric))
        names.append(str(dataset))
    return _marked(pictures, names)


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
    return _marked(pictures, names)
