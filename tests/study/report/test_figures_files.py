"""Figures of a study: names of a user's files are drawn as they are."""

from __future__ import annotations

from lcat.study import Cell, CellResult, HyperParameters, StudyRecord, make_plan
from lcat.study.report.data import ReportData
from lcat.study.report.figures_files import figure_file
from lcat.train import FitResult, History


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
