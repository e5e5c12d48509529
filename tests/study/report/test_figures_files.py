"""Figures of a study: names of a user's files are drawn as they are."""

from __future__ import annotations

import pytest

from lcat.study import Cell, CellResult, HyperParameters, StudyRecord, make_plan, run_study, write_study
from lcat.study.report.data import ReportData
from lcat.study.report.figures_files import figure_file
from lcat.study.report.palette import LIGHT, PAGE
from lcat.train import FitResult, History


@pytest.fixture(scope="module")
def figure_formats():
    return ("png", "pdf", "svg")


def test_dollars_in_a_name_are_no_mathematics():
    name = "price_$1_$2_{.pt"
    cell = Cell(dataset=name, layer="lcat", seed=0, hyper=HyperParameters())
    history = History([1.0], [1.0], [0.5], [0.5], [0.5], [0.1], {"a": [[0.5, 0.5], [0.2, 0.4]]})
    fit = FitResult("accuracy", 0.5, 0.5, 0.5, 0, 1, "epochs", 0.5, {"a": [0.2, 0.4]}, history)
    results = [CellResult(cell, fit, None, 10, "accuracy", "public", (1, 2, 3), 2.0)]
    plan = make_plan(datasets=[name], own=[name], layers=["lcat"], seeds=1)
    data = ReportData.of(StudyRecord.in_memory(plan, results))
    for figure in ("scores", "lambdas"):
        assert figure_file(data, figure, "png").startswith(b"\x89PNG")
        assert name.encode() in figure_file(data, figure, "svg")


def test_names_of_data_sets_that_no_file_can_have(tmp_path):
    names = [f"csbm:easy,n={'0' * 300}{number}" for number in (60, 61)]
    plan = make_plan(datasets=names, layers=["gcn"], seeds=1, overrides={"epochs": 2})
    study = run_study(plan, tmp_path, engine="inline").study
    curves = [path for path in study.report() if path.name.startswith("curves-") and path.suffix == ".svg"]
    assert len(curves) == 2


def test_every_figure_is_there_in_three_formats(tmp_path):
    plan = make_plan(
        datasets=["csbm:easy,n=60", "csbm:hard,n=60"],
        layers=["gcn", "lcat"],
        seeds=2,
        overrides={"epochs": 4},
        noise={"edges": [0.2]},
    )
    study = run_study(plan, tmp_path, engine="inline").study
    written = [path for path in study.report() if path.parent.name == "figures"]
    for kind in ("png", "pdf", "svg"):
        stems = {path.stem for path in written if path.suffix == f".{kind}"}
        for name in ("scores", "lambdas", "regret", "equivalence"):
            assert name in stems or name == "regret"  # which needs two candidates
        for beginning in ("paths-", "curves-", "robustness-", "pareto-"):
            assert sum(stem.startswith(beginning) for stem in stems) == 2, beginning
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {path.name for path in written}
    curves = (tmp_path / "figures/curves-csbm_easy,n=60.svg").read_text(encoding="utf-8")
    assert LIGHT["lcat"] in curves
    assert "L-CAT" in curves
    assert not any(color in curves for color in PAGE.colors.values())
    # The page itself is as before, and a report on less removes what it does not show.
    assert "var(--lcat)" in (tmp_path / "report.html").read_text(encoding="utf-8")
    part = StudyRecord.in_memory(plan, [one for one in study.cell_results(history=True) if one.cell.layer == "gcn"])
    write_study(part, tmp_path)
    assert not list((tmp_path / "figures").glob("paths-*"))
    assert (tmp_path / "figures/curves-csbm_easy,n=60.pdf").is_file()
