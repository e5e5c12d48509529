"""``report.html``: one file that holds everything it shows, and the tables beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup

import lcat
from lcat.study._folder import prepare_folder, write_file
from lcat.study.models.layers import LAYERS
from lcat.study.report import sentences
from lcat.study.report.data import CURVES, ReportData
from lcat.study.report.figures_equivalence import equivalence_picture
from lcat.study.report.figures_ranks import ranking_picture
from lcat.study.report.figures_regret import regret_picture
from lcat.study.report.galleries import MAX_DATASETS, PICTURES, learned_layers, marked, page_pictures
from lcat.study.report.palette import DARK, LIGHT, colors_for
from lcat.study.report.plan_toml import plan_toml
from lcat.study.report.published_tables import PUBLISHED
from lcat.study.report.remarks import (
    few_samples_sentence,
    margin_sentence,
    settings_sentences,
    training_sentence,
)
from lcat.study.report.svg import Picture, depth_key, drawing_style, key
from lcat.study.report.table import Table
from lcat.study.report.tables import TABLES, all_tables

__all__ = ["Gallery", "Report", "make_report"]

_TRACEBACKS = 20
#: Forms of a table beside the page: with all digits, for text, for papers.
_SUFFIXES = ("csv", "md", "tex")


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
        # Of an earlier report, what it said holds no more; "published" is one of an earlier version.
        earlier = {path.stem for path in tables.iterdir() if path.name.startswith(PUBLISHED)}
        for name in (*TABLES, *sorted(earlier), "published"):
            if name not in self.tables:
                for suffix in _SUFFIXES:
                    (tables / f"{name}.{suffix}").unlink(missing_ok=True)
        for name, table in self.tables.items():
            for suffix, content in zip(_SUFFIXES, (table.csv(), table.markdown(), table.latex()), strict=True):
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
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn"],
        ...     seeds=[0, 1],
        ...     overrides={"epochs": 3},
        ... )
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
        unnamed_margin=margin_sentence(data),
        chosen=sentences.chosen_sentence(data),
        generated=sentences.generated_note(data),
        tables={name.replace("-", "_"): Markup(tables[name].html()) if name in tables else "" for name in TABLES},
        published=[Markup(table.html()) for name, table in tables.items() if name.startswith(PUBLISHED)],
        sizes={name.replace("-", "_"): len(tables[name]) if name in tables else 0 for name in TABLES},
        galleries=galleries,
        failures=data.failures[:_TRACEBACKS],
        more_failures=max(len(data.failures) - _TRACEBACKS, 0),
        plan=plan_toml(data.plan),
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
    galleries = {}
    shown = data.datasets[:MAX_DATASETS]
    for name in PICTURES:
        pictures = tuple(page_pictures(data, name, shown))
        left_out = len(data.datasets) - len(shown)
        if name in ("triangles", "paths"):
            depths = max((int(depth) for depth in data.lambdas["depth"]), default=1)
            legend = depth_key(depths) + (key(learned_layers(data), shapes=True) if name == "triangles" else "")
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
    galleries["equivalence"] = Gallery(tuple(marked(drawn, with_pairs)))
    return galleries
