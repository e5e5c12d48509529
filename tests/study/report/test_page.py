"""The page holds everything itself, its tables say what the CSV files say, and marks and words fit the figures."""

from __future__ import annotations

import csv
import html
import io
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from lcat.study import Study, StudyRecord, make_plan, write_study
from lcat.study.report.data import ReportData
from lcat.study.report.page import make_report
from lcat.study.report.remarks import few_samples_sentence
from lcat.study.report.sentences import (
    chosen_sentence,
    ranking_sentence,
    regret_sentences,
    verdict_sentences,
)
from lcat.study.report.tables import TABLES
from lcat.study.store.store import Store
from tests.study.report.studies import made_up_study
from tests.study.study_support import trained

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Tables by id, ids, links, text; checks that tags are closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tables, self.ids, self.urls, self.texts, self.tags = {}, [], [], [], []
        self.labels, self._open, self._table, self._row, self._cell = [], [], None, None, None
        self.feed(text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        if "id" in values:
            self.ids.append(values["id"])
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            if name in values:
                self.urls.append(values[name])
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(values["id"].removeprefix("table-"), [])
        elif tag == "tr":
            self._row = []
        elif tag in ("th", "td"):
            self._cell = []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes another tag"
        if tag in ("th", "td"):
            self._row.append("".join(self._cell))
            self._cell = None
        elif tag == "tr":
            self._table.append(self._row)

    def handle_data(self, data):
        self.texts.append(data)
        if self._cell is not None:
            self._cell.append(data)


def data_of(plan, results):
    return ReportData.of(StudyRecord.in_memory(plan, results))


@pytest.fixture(scope="module")
def report():
    return make_report(data_of(*made_up_study()))


@pytest.fixture(scope="module")
def page(report):
    return Page(report.html)


def test_nothing_outside_of_the_file_is_asked_for(report, page):
    assert {url for url in page.urls if not url.startswith("#")} == {"data:,"}
    assert not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org/2000/svg)", report.html)
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "object", "embed", "img")]
    [policy] = [values["content"] for tag, values in page.tags if values.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def test_ids_are_unique_and_links_arrive(page):
    assert len(page.ids) == len(set(page.ids))
    assert {url[1:] for url in page.urls if url.startswith("#")} <= set(page.ids)


def test_all_parts_are_there(report, page):
    sections = [values["id"] for tag, values in page.tags if tag == "section"]
    assert sections == [
        "summary", "regret", "scores", "ranks", "lambdas", "curves", "robustness", "choice", "settings", "failures",
        "reproduce", "method",
    ]  # fmt: skip
    assert set(report.tables) == set(TABLES) - {"published", "metrics", "classes"}  # which its cells do not have
    assert set(page.tables) == set(report.tables)


def test_every_table_says_what_its_csv_says(report, page):
    for name, table in report.tables.items():
        head, *body = page.tables[name]
        assert head == [column.title for column in table.columns]
        lines = list(csv.DictReader(io.StringIO(table.csv())))
        assert len(lines) == len(table)
        assert len(body) == min(len(lines), table.limit)
        for line, row in zip(lines, body, strict=False):
            for column, shown in zip(table.columns, row, strict=True):
                assert shown == expected(column, line), (name, column.name)


def expected(column, line):
    """What the page must show for a line of the CSV."""

    def value(text):
        if text in ("True", "False"):
            return text == "True"
        try:
            return float(text) if re.search(r"[.e]", text) or column.number else text
        except ValueError:
            return text

    if line[column.name] == "" and column.number:
        return "–"
    shown = column.show(value(line[column.name])) if line[column.name] != "" else "–"
    for name, word in ((column.spread, "±"), (column.to, "to")):
        if name and line[name] != "":
            shown += f" {word} {column.show(float(line[name]))}"
    return {"–": "–"}.get(shown, shown)


def test_pictures_have_words(page):
    drawings = [values for tag, values in page.tags if tag == "svg" and values.get("role") == "img"]
    assert len(drawings) >= 4 * 4 + 2
    assert all(len(values["aria-label"]) > 30 for values in drawings)
    figures = sum(tag == "figure" for tag, _ in page.tags)
    assert figures == sum(tag == "figcaption" for tag, _ in page.tags) == len(drawings)
    # Nobody is left with a drawing that is neither described nor hidden.
    others = [values for tag, values in page.tags if tag == "svg" and values.get("role") != "img"]
    assert all(values.get("aria-hidden") == "true" for values in others)


def test_colors_follow_the_theme(report):
    inside = "".join(re.findall(r"<svg role=.*?</svg>", report.html, flags=re.DOTALL))
    assert set(re.findall(r"(?<!&)#[0-9a-fA-F]{6}\b", inside)) == set()
    variables = set(re.findall(r"var\(--([a-z0-9]+)\)", report.html))
    light, dark = re.findall(r":root \{(.*?)\}", report.html, flags=re.DOTALL)
    for theme in (light, dark):
        assert variables <= set(re.findall(r"--([a-z0-9]+):", theme))


def test_failures_are_shown_and_escaped(report, page):
    assert "<boom>" not in report.html
    assert page.tables["failures"][1][1] == 'ValueError: <boom> & "bang"'
    assert sum("Traceback" in text for text in page.texts) >= 2
    assert "<x86>" not in report.html


def test_generated_data_are_marked(page):
    text = " ".join(page.texts)
    assert "csbm:easy,q=0.1,n=300: generated from a model" in text
    assert "csbm:easy,q=0.1,n=300 (generated)" in text
    assert "cora (generated)" not in text


def test_summary_answers_the_question(page):
    text = " ".join(" ".join(page.texts).split())
    assert re.search(r"Always using lcat instead of cross-validating gcn, gat, cat \(v1\) (costs|gains) \d", text)
    assert re.search(r"Always using lcatv2 instead of cross-validating gcn, gatv2, catv2 \(v2\)", text)
    assert "has the best average rank" in text
    assert "does not use the test metric" in text


def test_markdown_and_latex(report):
    overview = report.tables["overview"]
    lines = overview.markdown().splitlines()
    assert lines[2].startswith("| layer | cora | citeseer")
    assert lines[3].startswith("| --- | ---: |")
    assert len(lines) == 4 + len(overview)
    assert all(line.count(" | ") == lines[2].count(" | ") for line in lines[4:])
    latex = overview.latex()
    for part in ("\\toprule", "\\midrule", "\\bottomrule", "\\label{tab:overview}", "\\textbf{", "$\\pm$"):
        assert part in latex
    body = latex.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(body) == len(overview)
    assert all(line.count(" & ") == len(overview.columns) - 1 and line.endswith(" \\\\") for line in body)
    failures = report.tables["failures"].latex()
    assert "$<$boom$>$ \\&" in failures
    assert all(not re.search(r"(?<!\\)[&%#_]", cell) for cell in re.findall(r"caption\{(.*)\}", failures))


def test_the_best_of_every_data_set_is_bold(report):
    overview = report.tables["overview"]
    for dataset in ("cora", "photo"):
        shown = [round(100 * value, 1) for value in overview.frame[dataset]]
        bold = {row for row, column in overview.bold if column == dataset}
        assert bold == {row for row, value in enumerate(shown) if value == max(shown)}


def test_from_the_store_alone_it_is_the_same(tmp_path):
    plan, results = made_up_study(datasets=("cora", "photo"), layers=("gcn", "gat", "cat", "lcat"), seeds=2)
    Study.create(plan, tmp_path / "study")
    with Store(tmp_path / "study", write=True) as store:
        store.finish_many(results)
    written = Study.load(tmp_path / "study").report(tmp_path / "again")
    assert tmp_path / "again" / "report.html" in written
    write_study(StudyRecord.in_memory(plan, results), tmp_path / "memory")
    ours, theirs = ((tmp_path / name / "report.html").read_text() for name in ("again", "memory"))
    assert ours == theirs
    for path in (tmp_path / "memory" / "tables").iterdir():
        assert (tmp_path / "again" / "tables" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    "change",
    [
        {"datasets": ("cora",)},
        {"layers": ("gcn",), "datasets": ("cora",)},
        {"layers": ("lcat",), "levels": (0.0,), "seeds": 1},
        {"levels": (0.0,), "fail": False, "epochs": 1},
        {"datasets": ("csbm:easy,n=60", "csbm:hard,n=60"), "layers": ("gcn", "gat-theory", "lcat-theory")},
        {"seeds": 1, "datasets": ("cora", "photo")},
        {"widths": (16, 32, 64), "layers": ("gat", "lcat"), "datasets": ("cora",)},
    ],
    ids=lambda change: ", ".join(change),
)
def test_smaller_studies(change):
    report = make_report(data_of(*made_up_study(**change)))
    page = Page(report.html)
    assert len(page.ids) == len(set(page.ids))
    assert "nan" not in re.sub(r"<svg role=.*?</svg>", "", report.html).lower().replace("nanc", "")


def test_tables_of_an_earlier_report_do_not_stay(tmp_path):
    plan, results = made_up_study(datasets=("cora", "photo"), layers=("gcn", "lcat"), seeds=2)
    make_report(data_of(plan, results)).write(tmp_path)
    assert (tmp_path / "tables/failures.csv").is_file()
    (tmp_path / "tables/mine.csv").write_text("")
    make_report(data_of(plan, [result for result in results if result.ok])).write(tmp_path)
    left = {path.stem for path in (tmp_path / "tables").iterdir()}
    assert "failures" not in left
    assert {"mine", "overview", "scores"} <= left


def test_the_plan_on_the_page_gives_the_same_numbers(tmp_path):
    """The first command of "How to reproduce", run as it stands there."""
    pytest.importorskip("tomllib")
    plan = make_plan(
        datasets=["csbm:easy,n=60"], layers=["gcn", "lcat"], seeds=2, overrides={"epochs": 3}, run={"engine": "inline"}
    )
    study = Study.create(plan, tmp_path / "first")
    with Store(tmp_path / "first", write=True) as store:
        store.finish_many(trained(plan))
    text = study.report()[0].parent.joinpath("report.html").read_text()
    shown = html.unescape(re.search(r'<pre id="plan"><code>(.*?)</code>', text, flags=re.DOTALL)[1])
    command = re.search(r"<pre><code>(lcat study [^\n]*)", text)[1].replace("DIR", "second").split()
    (tmp_path / "plan.toml").write_text(shown)
    again = [sys.executable, "-m", "lcat.cli", *command[1:], "--quiet"]
    subprocess.run(again, check=True, cwd=tmp_path, capture_output=True, timeout=120)
    columns = ["key", "train", "validation", "test", "best_epoch"]
    pd.testing.assert_frame_equal(Study.load(tmp_path / "second").results()[columns], study.results()[columns])


def test_all_failed_or_nothing_yet():
    plan, results = made_up_study(datasets=("cora",), layers=("gcn", "lcat"), seeds=1, levels=(0.0,))
    failed = [result for result in results if not result.ok]
    assert "No cell has finished yet" not in Page(make_report(data_of(plan, results)).html).texts
    page = Page(make_report(data_of(plan, failed)).html)
    assert "failures" in page.tables
    empty = Page(make_report(data_of(plan, [])).html)
    assert any("No cell has finished yet" in text for text in empty.texts)


def test_the_page_does_not_depend_on_the_users_matplotlib(report):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert make_report(data_of(*made_up_study())).html == report.html


def test_names_of_data_sets_are_names():
    plan, results = made_up_study(datasets=("cora", "photo"), layers=("gcn", "lcat", "gat", "cat"), seeds=2)
    for old, new in (("cora", r"price_$1_$2.pt"), ("photo", "layer")):
        results = [
            replace(result, cell=result.cell.model_copy(update={"dataset": new}))
            if result.cell.dataset == old
            else result
            for result in results
        ]
    report = make_report(data_of(plan, results))
    assert sorted(report.tables["overview"].frame["layer"]) == ["cat", "gat", "gcn", "lcat"]
    assert [column.title for column in report.tables["overview"].columns][1:3] == [r"price_$1_$2.pt", "layer"]
    assert Page(report.html).texts.count(r"price_$1_$2.pt") >= 2  # in the picture of regret, too


def test_only_noisy_cells_finished():
    plan, results = made_up_study(datasets=("cora",), layers=("gcn", "lcat"), seeds=2)
    results = [
        replace(result, fit=None, error="ValueError: not yet") if result.cell.noise.kind == "none" else result
        for result in results
    ]
    assert "robustness" in Page(make_report(data_of(plan, results)).html).tables


def test_the_choice_weighs_what_was_asked_for_and_says_what_it_could_not():
    def objectives_and_sentence(objectives, levels):
        plan, results = made_up_study(datasets=("cora",), layers=("gcn", "lcat"), seeds=2, levels=levels)
        data = data_of(plan.model_copy(update={"objectives": objectives}), results)
        make_report(data)
        return data.objectives, chosen_sentence(data)

    assert "robustness-slope" not in objectives_and_sentence({}, (0.0, 0.3))[0]
    objectives, sentence = objectives_and_sentence({"robustness-slope": 1.0}, (0.0, 0.3))
    assert objectives == ("robustness-slope",)
    assert sentence.startswith("COPA over robustness-slope chooses ")
    objectives, sentence = objectives_and_sentence({"accuracy": 1.0, "robustness": 2.0}, (0.0,))
    assert objectives == ("accuracy",)
    assert sentence.endswith("Not used, because no cell has a value: robustness.")
    assert objectives_and_sentence({"robustness": 1.0}, (0.0,)) == (
        (),
        "Nothing was chosen, because no cell has a value for robustness.",
    )


def test_tables_count_samples_where_they_are_fewer_than_runs(report):
    assert "samples" not in [column.name for column in report.tables["pairs"].columns]
    plan, results = made_up_study(datasets=("photo",), layers=("gcn", "lcat"), seeds=4, levels=(0.0,), fail=False)
    # Two splits, each with two seeds.
    halves = [
        replace(result, split_hash=str(result.cell.seed % 2), test_set=str(result.cell.seed % 2)) for result in results
    ]
    tables = make_report(data_of(plan, halves)).tables
    for name in ("scores", "pairs"):
        assert "samples" in [column.name for column in tables[name].columns]
        assert "are averaged first" in tables[name].caption
        assert (tables[name].frame["runs"] == 4).all()
        assert (tables[name].frame["samples"] == 2).all()
    assert "uses several splits" in chosen_sentence(data_of(plan, halves))
    assert "uses several splits" not in chosen_sentence(data_of(*made_up_study(datasets=("cora",))))


@pytest.mark.parametrize(
    ("datasets", "layers", "tested", "words"),
    [
        (2, ("gcn", "lcat"), False, "too few for a test of 2 layers"),
        (2, ("gcn", "gat", "lcat"), False, "At least 3 are necessary"),
        (3, ("gcn", "gat", "lcat"), True, "over all orders of the scores"),
    ],
)
def test_ranks_of_few_data_sets_claim_nothing(datasets, layers, tested, words):
    names = ("cora", "photo", "citeseer")[:datasets]
    sentence = ranking_sentence(data_of(*made_up_study(datasets=names, layers=layers, seeds=3, fail=False)))
    assert words in sentence
    assert ("Friedman's test" in sentence) == tested
    assert "inf" not in sentence
    assert "< 0.001" not in sentence


def test_layers_of_equal_rank_share_it():
    plan, results = made_up_study(datasets=("cora", "photo"), layers=("gcn", "gat", "lcat"), seeds=3, fail=False)
    tests = {"gcn": 0.2, "gat": 0.6, "lcat": 0.6}
    equal = [replace(one, fit=replace(one.fit, test=tests[one.cell.layer])) for one in results]
    sentence = ranking_sentence(data_of(plan, equal))
    assert "gat and lcat share the best average rank, 1.50 of 3." in sentence
    assert "has the best" not in sentence


def test_two_seeds_are_told_to_decide_nothing():
    two = data_of(*made_up_study(datasets=("cora",), layers=("gcn", "gat", "cat", "lcat"), seeds=2, fail=False))
    assert "on cora (2). The corrected t test takes at least 3 seeds" in few_samples_sentence(two)
    assert "from 6 on, and from 8 on for all pairs" in few_samples_sentence(two)
    assert all("confidence interval of the regret" not in sentence for sentence in regret_sentences(two))
    assert all("With 2 independent runs this may be chance" in sentence for sentence in regret_sentences(two))
    report = make_report(two)
    assert "Too few independent runs" in report.html
    head, *rows = Page(report.html).tables["pairs"]
    assert {row[head.index("p, Holm")] for row in rows} == {"–"}
    assert {row[head.index("verdict")] for row in rows} == {"undecided"}
    assert all("it is undecided whether always taking lcat is equivalent" in text for text in verdict_sentences(two))
    three = data_of(*made_up_study(datasets=("cora",), layers=("gcn", "gat", "cat", "lcat"), seeds=3, fail=False))
    assert few_samples_sentence(three).startswith("Few independent runs on cora (3): only large differences")
    assert "cannot be below 0.25 there" in few_samples_sentence(three)
    assert any("of the regret excludes zero" in one or "includes zero" in one for one in regret_sentences(three))
