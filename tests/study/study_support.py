"""Quick plans, and results without training."""

from __future__ import annotations

from lcat.study import Cell, CellResult, HyperParameters, make_plan, run_study
from lcat.train import FitResult, History

FAST = {"epochs": 3}


def plan_of(**change):
    """One cell of three epochs on 60 nodes, unless told otherwise."""
    settings = {"datasets": ["csbm:easy,n=60"], "layers": ["gcn"], "seeds": [0], "overrides": FAST, **change}
    return make_plan(**settings)


def trained(plan, **options):
    """Results with curves of a study in memory."""
    return run_study(plan, **options).study.cell_results(history=True)


def made_up(layer="gcn", seed=0, test=0.5, error=None, lambdas=None, epochs=2, dataset="cora", **cell):
    """The result of a cell that nobody trained."""
    cell = Cell(dataset=dataset, layer=layer, seed=seed, hyper=HyperParameters(), **cell)
    facts = {"metric": "accuracy", "split_rule": "public", "split_sizes": (1, 2, 3), "seconds": 2.0 + seed}
    facts |= {"started": "2026-01-01T00:00:00.000+00:00", "finished": "2026-01-01T00:00:02.000+00:00"}
    facts |= {"versions": {"torch": "2"}, "worker": "here:1", "device": "cpu", "split_hash": "a", "test_set": "b"}
    if error is not None:
        return CellResult(cell=cell, fit=None, error=error, **facts)
    curve = [test / (1 + epochs - epoch) for epoch in range(epochs)]
    paths = {name: [[0.5, 0.25]] * epochs + [pair] for name, pair in (lambdas or {}).items()}
    history = History(curve, curve, curve, curve, curve, [0.1] * epochs, paths)
    fit = FitResult("accuracy", test, test, test, epochs - 1, epochs, "epochs", 0.5, lambdas or {}, history)
    return CellResult(cell=cell, fit=fit, parameters=10, peak_memory=4096, **facts)
