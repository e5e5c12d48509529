"""What a careful reader would ask is on the page: few runs, short training, settings, graphs, machines, a control."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from lcat.study import Study, StudyRecord, run_study
from lcat.study.report.data import ReportData
from lcat.study.report.figures_files import FIGURES, figure_file
from lcat.study.report.page import make_report
from lcat.study.report.palette import DARK, DEPTHS, LIGHT, OWN, PAGE, colors_for
from lcat.study.report.remarks import few_samples_sentence, settings_sentences, training_sentence
from lcat.study.report.sentences import regret_sentences, tiles
from lcat.study.report.svg import depth_names
from tests.study.report.studies import LAYERS, made_up_study
from tests.study.study_support import plan_of


def data_of(**change):
    settings = {"datasets": ("cora", "photo"), "layers": ("gcn", "gat", "lcat"), "seeds": 3, "levels": (0.0,)}
    return ReportData.of(StudyRecord.in_memory(*made_up_study(**{**settings, "fail": False, **change})))


def test_runs_that_were_still_getting_better_are_counted():
    plan, results = made_up_study(datasets=("cora",), layers=("gcn", "lcat"), seeds=3, levels=(0.0,), fail=False)

    def data(best, epochs):
        changed = [replace(one, fit=replace(one.fit, best_epoch=best(one.cell), epochs=epochs)) for one in results]
        return ReportData.of(StudyRecord.in_memory(plan, changed))

    planned = {"gcn": 300, "lcat": 500}
    late = data(lambda cell: planned[cell.layer] - 1 if cell.layer == "gcn" else 400, 300)
    assert training_sentence(late).startswith(
        "In 3 of 6 runs the best epoch is among the last tenth of all epochs (gcn 3 of 3). Their training may"
    )
    assert training_sentence(data(lambda cell: 10, 300)) == ""
    assert training_sentence(data(lambda cell: 99, 100)) == ""  # stopped early, by patience
    assert "last tenth" in make_report(late).html


def test_few_seeds_are_named():
    graphs = "csbm:easy,q=0.1,n=300"  # one per seed
    assert "cannot be below 0.25 there. Wilcoxon's test can" in few_samples_sentence(data_of(datasets=(graphs,)))
    assert few_samples_sentence(data_of(datasets=("photo",), seeds=6)) == ""
    assert few_samples_sentence(data_of(datasets=("photo",), layers=("gcn",))) == ""
    # Splits of one graph share nodes: Wilcoxon's test is not made there, and nothing is said of it.
    few = few_samples_sentence(data_of(datasets=("photo",)))
    assert few == "Few independent runs on photo (3): only large differences can be seen."
    assert few_samples_sentence(data_of(datasets=("photo",), seeds=2)).endswith("5 to 10 are usual.")
    both = few_samples_sentence(data_of(datasets=("photo", graphs)))
    assert "cannot be below 0.25 where splits share no nodes." in both


def test_settings_that_are_not_equal_are_named():
    sentences = settings_sentences(data_of(datasets=("cora", "csbm:easy")))
    assert sentences[0].startswith("cora: the layers do not have equal settings: ")
    assert "lr 0.01 (gcn), 0.005 (gat, lcat)" in sentences[0]
    assert sentences[1] == ("csbm:easy: settings of the λ of lcat: lambda2_init 0.01 (default 0.1).")
    assert settings_sentences(data_of(datasets=("computers",), layers=("gcn", "gat"))) == []


def test_one_of_anything_is_singular():
    one = data_of(datasets=("cora",), layers=("lcat",), seeds=1)
    assert [f"{count} {what}" for count, what in tiles(one)][:4] == ["1 cell done", "1 data set", "1 layer", "1 seed"]
    text = re.sub(r"<[^>]*>", " ", make_report(one).html)
    assert not re.search(r"\b1 (runs|rows|cells|data sets|layers|seeds|trials|graphs)\b", text)
    assert "One run per layer, so no interval." in text
    assert "Bar: 95 %" not in text
    assert "bar: 95 %" not in text


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_a_regret_of_few_runs_is_qualified(seeds):
    layers = ("gcn", "gat", "cat", "lcat")
    [sentence] = regret_sentences(data_of(datasets=("cora",), layers=layers, seeds=seeds))
    words = {1: "With 1 independent run this may be chance", 2: "With 2 independent runs this may be chance"}
    assert words.get(seeds, "confidence interval of the regret") in sentence
    assert "0 of 1" not in sentence


def test_lambdas_are_those_of_the_best_epoch_everywhere():
    text = " ".join(re.sub(r"<[^>]*>", " ", make_report(data_of()).html).split())
    assert "final position" not in text
    assert "Means at the best epoch: lcat layer 1" in text
    assert "Start → best epoch → last epoch: layer 1: λ₁ 0.50 → " in text
    assert "at the best epoch: the one that validates best" in text


def test_no_color_has_two_meanings():
    for colors in (LIGHT, DARK):
        families = {colors[name] for name in ("gcn", "gat", "cat", "lcat")}
        depths = [colors[f"depth{number}"] for number in range(DEPTHS)]
        others = [colors[f"own{number}"] for number in range(OWN)]
        assert len(set(depths)) == DEPTHS
        assert len(set(others)) == OWN
        assert not families & set(depths)
        assert not set(others) & (families | set(depths))
    assert depth_names(1) == ["layer 1 of the model"]
    assert depth_names(DEPTHS + 1)[0] == f"layers 1, {DEPTHS + 1} of the model"


def test_layers_without_a_family_have_a_color_each():
    names = ["gcn", *(f"Net{number}" for number in range(OWN + 1)), "lcatv2", "gat-of-mine"]
    with colors_for(names):
        marks = {name: PAGE.mark(name) for name in names}
    assert marks["gcn"].color == PAGE["gcn"]
    assert marks["lcatv2"].color == PAGE["lcat"]
    own = [marks[name] for name in names if name.startswith(("Net", "gat-"))]
    assert len({(mark.color, mark.shape) for mark in own}) == len(own)
    assert not {mark.color for mark in own} & {PAGE[name] for name in ("gcn", "gat", "cat", "lcat", "muted")}
    assert all(mark.filled for mark in own)
    assert PAGE.mark("Net0").color == PAGE["muted"]  # outside of a study


def test_facts_about_graphs_and_machines(tmp_path):
    study = run_study(plan_of(layers=["gcn", "lcat"], seeds=2), tmp_path, engine="inline").study
    [facts] = {tuple(result.graph) for result in study.cell_results()}
    assert facts == (
        "classes", "directed", "edges", "features", "homophily", "labeled", "nodes", "repeated", "self_loops", "steps",
    )  # fmt: skip
    tables = make_report(ReportData.of(study)).tables
    [row] = tables["graphs"].frame.to_dict("records")
    assert (row["dataset"], row["graphs"], row["nodes"], row["classes"], row["directed"]) == (
        "csbm:easy,n=60", 2, 60, 2, "no",
    )  # fmt: skip
    assert 0.5 < row["homophily"] < 1
    assert {"processor", "cores", "memory", "torch", "lcat"} <= set(tables["versions"].frame["what"])
    memory = StudyRecord.in_memory(study.plan, [replace(one, graph={}) for one in study.cell_results()])
    assert "graphs" not in make_report(ReportData.of(memory)).tables  # a study of an earlier lcat


def test_one_control_layer():
    plan, results = made_up_study(datasets=("cora",), seeds=3, levels=(0.0,), fail=False)
    record = StudyRecord.in_memory(plan, results)
    data = ReportData.of(record, reference="lcat")
    assert len(data.comparison.pairs) == 7
    report = make_report(data)
    assert report.tables["pairs"].caption.startswith("lcat against every other layer on every data set")
    assert "Paired tests of lcat against every other layer" in report.html
    with pytest.raises(ValueError, match="reference must be a layer of the study"):
        ReportData.of(record, reference="lcta")


def test_tables_for_print_fit_a_page_and_call_layers_as_papers_do():
    layers = ("gcn", "gatv2", "catv2", "lcatv2", "gcn-mean")
    tables = make_report(data_of(datasets=("cora", "roman-empire"), layers=layers)).tables
    for name in ("overview", "scores", "regret", "pairs", "choice", "ranks", "lambdas", "graphs"):
        latex = tables[name].latex()
        body = [line for line in latex.splitlines() if " & " in line]
        assert not re.search(r"\b[0-9a-f]{16}\b", latex), name
        assert max(len(re.sub(r"\\textbf|[\\${}]", "", line)) for line in body) <= 96, name
        if name != "graphs":
            assert "L-CATv2" in latex, name
        assert not re.search(r"\b(gcn|gatv2|catv2|lcatv2)\b", latex), name
    assert "GCN (mean)" in tables["overview"].latex()
    assert "& CATv2 3 & 3" in tables["regret"].latex()
    assert "\\scriptsize" not in tables["regret"].latex()
    pairs = make_report(data_of(layers=LAYERS)).tables["pairs"].latex()
    assert pairs.count("\\begin{longtable}") == pairs.count("\\end{longtable}") == 1
    assert "\\begin{table}" not in pairs


def test_settings_in_a_choice_are_words():
    data = data_of(datasets=("cora",), widths=(16, 32))
    table = make_report(data).tables["choice"]
    assert "model" not in [column.name for column in table.columns]
    assert set(table.frame["settings"]) == {"hidden_channels 16", "hidden_channels 32"}
    alone = make_report(data_of(datasets=("cora",))).tables["choice"]
    assert "settings" not in [column.name for column in alone.columns]


def test_figures_for_a_paper():
    data = data_of(layers=("gcn", "gat", "cat", "lcat"))
    for name in FIGURES:
        pdf, svg = figure_file(data, name, "pdf"), figure_file(data, name, "svg")
        assert pdf.startswith(b"%PDF")
        assert b"/Type3" not in pdf  # which publishers refuse
        assert pdf == figure_file(data, name, "pdf")
        assert svg == figure_file(data, name, "svg")
        assert b"L-CAT" in svg
        assert b">lcat<" not in svg
    assert "95 % confidence interval" in figure_file(data, "scores", "svg").decode()
    one = data_of(datasets=("cora",), layers=("gcn",), seeds=1)
    assert [name for name in FIGURES if figure_file(one, name, "svg") is not None] == ["scores"]


def test_a_study_in_a_notebook(tmp_path):
    plan, results = made_up_study(datasets=("cora",), layers=("gcn", "lcat"), seeds=2, levels=(0.0,))
    page = Study.in_memory(plan, results)._repr_html_()
    assert page.startswith("<p>Study(in memory: 4 cells, 4 with a result, 2 failed)</p>")
    assert "<table" in page
    assert Study.create(plan, tmp_path / "<x>")._repr_html_() == (
        f"<p>Study(&#x27;{tmp_path}/&lt;x&gt;&#x27;: 4 cells, 0 with a result)</p>"
    )
    with pytest.raises(ValueError, match="a study in memory has no folder of its own for the report"):
        Study.in_memory(plan, results).report()
