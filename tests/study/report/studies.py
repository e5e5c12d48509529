"""Studies that nobody trained, rich enough to fill every part of a report."""

from __future__ import annotations

import math

import numpy as np

from lcat.study import Cell, CellResult, HyperParameters, Noise, SplitChoice, make_plan
from lcat.train import FitResult, History

LAYERS = ("gcn", "gcn-mean", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2")
DATASETS = ("cora", "citeseer", "photo", "csbm:easy,q=0.1,n=300")


def made_up_study(
    datasets=DATASETS, layers=LAYERS, seeds=3, epochs=12, widths=(64,), levels=(0.0, 0.1, 0.3), fail=True, seed=0
):
    """A plan and results with learned lambdas, curves, noise, several settings and failures."""
    generator = np.random.default_rng(seed)
    noise = {"edges": [level for level in levels if level]}
    plan = make_plan(
        datasets=list(datasets), layers=list(layers), seeds=seeds, grid={"hidden_channels": list(widths)}, noise=noise
    )
    results = [_result(cell, epochs, generator) for cell in plan.cells()]
    if fail:
        for number in (1, len(results) // 2):
            cell = results[number].cell
            results[number] = CellResult(
                cell, None, 'Traceback (most recent call last):\n  File "x.py"\nValueError: <boom> & "bang"', **_FACTS
            )
    return plan, results


_FACTS = {
    "metric": "accuracy",
    "split_rule": "public",
    "split_sizes": (60, 20, 20),
    "seconds": 1.5,
    "split_hash": "0123456789abcdef",
    "test_set": "fedcba9876543210",
    "started": "2026-01-01T00:00:00.000+00:00",
    "finished": "2026-01-01T00:00:02.000+00:00",
    "worker": "here:1",
    "device": "cpu",
    "versions": {"lcat": "0", "torch": "2", "platform": "Linux <x86>"},
}


_GRAPH = {"nodes": 100, "edges": 200, "features": 8, "classes": 3, "labeled": 90, "directed": False, "homophily": 0.75}


def _result(cell, epochs, generator):
    layer_index = LAYERS.index(cell.layer) if cell.layer in LAYERS else 0
    top = 0.7 + 0.02 * layer_index - cell.noise.level + 0.02 * float(generator.standard_normal())
    curve = [top * (1 - math.exp(-(epoch + 1) / 3)) for epoch in range(epochs)]
    lambdas, paths = {}, {}
    if cell.layer.startswith("lcat"):
        for depth in range(cell.hyper.num_layers):
            end = generator.uniform(0, 1, size=2)
            steps = np.linspace(0, 1, epochs + 1)[:, None]
            paths[f"convs.{depth}"] = (0.5 + steps * (end - 0.5)).tolist()
            lambdas[f"convs.{depth}"] = paths[f"convs.{depth}"][-1]
    history = History(curve, curve, curve, curve, curve, [0.1] * epochs, paths)
    fit = FitResult("accuracy", top, top - 0.01, top - 0.02, epochs - 1, epochs, "epochs", 1.0, lambdas, history)
    # The public split of cora and citeseer is one; photo has a split a seed.
    facts = dict(_FACTS)
    if cell.dataset not in ("cora", "citeseer"):
        facts |= {"split_hash": f"{cell.seed:016x}", "test_set": f"{cell.seed + 99:016x}"}
    facts["graph"] = {**_GRAPH, "edges": 100 + cell.seed} if cell.dataset.startswith("csbm:") else _GRAPH
    facts["seconds"] = float(generator.uniform(0.5, 3)) * (1 + layer_index)
    return CellResult(cell, fit, parameters=1000 * (1 + layer_index), peak_memory=10_000_000 + layer_index, **facts)


__all__ = ["DATASETS", "LAYERS", "Cell", "HyperParameters", "Noise", "SplitChoice", "made_up_study"]
