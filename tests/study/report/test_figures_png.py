"""Figures of a study: names of a user's files are drawn as they are."""

from __future__ import annotations

from lcat.study import Cell, CellResult, HyperParameters, summarize
from lcat.study.report.figures_png import accuracy_figure, lambda_figure
from lcat.train import FitResult, History


def test_dollars_in_a_name_are_no_mathematics():
    cell = Cell(dataset="price_$1_$2_{.pt", layer="lcat", seed=0, hyper=HyperParameters())
    history = History([1.0], [1.0], [0.5], [0.5], [0.5], [0.1], {"a": [[0.5, 0.5], [0.2, 0.4]]})
    fit = FitResult("accuracy", 0.5, 0.5, 0.5, 0, 1, "epochs", 0.5, {"a": [0.2, 0.4]}, history)
    results = [CellResult(cell, fit, None, 10, "accuracy", "public", (1, 2, 3), 2.0)]
    for figure in (accuracy_figure(summarize(results)), lambda_figure(results)):
        assert figure.startswith(b"\x89PNG")
