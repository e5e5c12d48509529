"""The cells of ``strong_recipe.py`` with PyG's layers and a training loop that shares no code with lcat's.

    python benchmarks/paper/pyg_reference.py --data DIR --datasets computers --layers gat --seeds 0-2
    python benchmarks/paper/pyg_reference.py --data DIR --quick

Where ours differ from the published values, this tells whether it is the layers and the training of lcat, or what both
have in common: the files, the splits and the settings. Every run is written when it ends; runs that the results file
holds already are kept, and are not run again; ``measured`` says which command ran which of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import _paper
import numpy as np
import torch
import torch.nn.functional as F
import torch_geometric
from _measure import machine, write_results
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch_geometric.nn import GATConv, GCNConv, SAGEConv
from torch_geometric.utils import add_self_loops, remove_self_loops, to_undirected

import lcat
from lcat._progress import progress_bar
from lcat._seed_list import parse_seeds
from lcat.data import DataError, NodeDataset, load
from lcat.study import HyperParameters, recipe_hyper_parameters
from lcat.study.plan.splits import split_hash

DATASETS = ("computers", "photo", "cs", "physics", "minesweeper", "chameleon-filtered", "squirrel-filtered")
#: What a quick look has: PyG's layers read all features of the others, thousands for a node, in every step.
QUICK = ("photo", "minesweeper", "chameleon-filtered")
LAYERS = ("gcn", "sage", "gat")
RESULTS = Path(__file__).parents[1] / "results" / "paper_pyg_reference.json"


class Reference(nn.Module):
    """Convolutions with linear skips, norms and dropout, then a linear map."""

    def __init__(self, layer: str, features: int, classes: int, hyper: HyperParameters) -> None:
        super().__init__()
        width, self.dropout = hyper.hidden_channels, hyper.dropout
        self.convs, self.skips, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number in range(hyper.num_layers):
            wide = features if number == 0 else width
            if layer == "gat":
                self.convs.append(GATConv(wide, width, add_self_loops=False, bias=False))
            else:
                self.convs.append(GCNConv(wide, width) if layer == "gcn" else SAGEConv(wide, width))
            if hyper.residual == "linear":
                self.skips.append(nn.Linear(wide, width))
            if hyper.norm != "none":
                self.norms.append(nn.LayerNorm(width) if hyper.norm == "layer" else nn.BatchNorm1d(width))
        self.last = nn.Linear(width, classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits."""
        for number, conv in enumerate(self.convs):
            h = conv(x, edge_index)
            h = h + self.skips[number](x) if self.skips else h
            h = self.norms[number](h) if self.norms else h
            x = F.dropout(F.relu(h), self.dropout, self.training)
        return self.last(x)


def score(metric: str, logits: Tensor, y: Tensor) -> float:
    """Accuracy, or the area under the ROC curve of two classes."""
    if metric == "accuracy":
        return float((logits.argmax(dim=1) == y).float().mean())
    return float(roc_auc_score(y.numpy(), logits.softmax(dim=1)[:, 1].numpy()))


def train(dataset: NodeDataset, layer: str, seed: int, epochs: int | None) -> dict[str, Any]:
    """One run: all epochs; the first one with the best validation metric counts."""
    hyper, split, data = recipe_hyper_parameters("tuned", dataset.name, layer), dataset.split(seed), dataset.data
    x, y, nodes = data.x, data.y, data.num_nodes
    if hyper.normalize_features:
        x = x - x.min()
        x = x / x.sum(dim=1, keepdim=True).clamp(min=1.0)
    edges, _ = remove_self_loops(to_undirected(data.edge_index, num_nodes=nodes))
    edges, _ = add_self_loops(edges, num_nodes=nodes)
    torch.manual_seed(seed)
    model = Reference(layer, x.shape[1], dataset.num_classes, hyper)
    optimizer = torch.optim.Adam(model.parameters(), lr=hyper.lr, weight_decay=hyper.weight_decay)
    count = epochs or hyper.epochs
    best, tests, start = (-1.0, 0.0, 0), [], time.perf_counter()
    with progress_bar(count, f"{layer} on {dataset.name}, seed {seed}", "epoch") as bar:
        for epoch in range(count):
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x, edges)[split.train], y[split.train]).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                logits = model(x, edges)
            validation = score(dataset.metric, logits[split.val], y[split.val])
            test = score(dataset.metric, logits[split.test], y[split.test])
            tests.append(test)
            if validation > best[0]:
                best = (validation, test, epoch)
            bar.update()
    return {
        "dataset": dataset.name,
        "layer": layer,
        "seed": seed,
        "metric": dataset.metric,
        "test": best[1],
        "validation": best[0],
        "best_epoch": best[2],
        "epochs": count,
        "seconds": time.perf_counter() - start,
        "split_hash": split_hash(split),
        "tests": [round(value, 4) for value in tests[:: max(1, count // 20)]],
    }


def summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per data set and layer, in percent."""
    groups: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        groups.setdefault((run["dataset"], run["layer"]), []).append(100 * run["test"])
    return [
        {
            "dataset": dataset,
            "layer": layer,
            "runs": len(tests),
            "mean": _paper.plain(float(np.mean(tests))),
            "std": _paper.plain(float(np.std(tests, ddof=1))) if len(tests) > 1 else None,
        }
        for (dataset, layer), tests in groups.items()
    ]


def main() -> None:
    """Run what the results file does not hold; write after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets; by default that of lcat.data")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, help="by default all, and three in a quick look")
    parser.add_argument("--layers", nargs="+", default=list(LAYERS), choices=LAYERS)
    parser.add_argument("--seeds", default="0-2")
    parser.add_argument("--quick", action="store_true", help="one seed, three epochs; no file unless --out names one")
    parser.add_argument("--out", type=Path, help="JSON; by default in benchmarks/results")
    options = parser.parse_args()
    output = options.out or (None if options.quick else RESULTS)
    seeds, epochs = ([0], 3) if options.quick else (parse_seeds(options.seeds), None)
    content = json.loads(output.read_text()) if output is not None and output.is_file() else {}
    runs, cells = content.get("runs", []), []
    here = {
        "command": f"python benchmarks/paper/pyg_reference.py {' '.join(sys.argv[1:])}".strip(),
        "machine": machine(),
        "versions": {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__},
        "cells": cells,
    }
    measured = [*content.get("measured", []), here]
    for name in options.datasets or (QUICK if options.quick else DATASETS):
        known = {(run["layer"], run["seed"]) for run in runs if run["dataset"] == name}
        wanted = [(layer, seed) for layer in options.layers for seed in seeds if (layer, seed) not in known]
        if not wanted:
            continue
        try:
            dataset = load(name, options.data, download=False)
        except DataError as error:
            raise SystemExit(str(error)) from None
        for layer, seed in wanted:
            run = train(dataset, layer, seed, epochs)
            runs.append({key: _paper.plain(value) for key, value in run.items()})
            cells.append([name, layer, seed])
            if output is not None:
                content = {"measured": measured, "rows": summary(runs), "runs": runs}
                write_results(output, content, announce=False, one_line="runs")
    print(*summary(runs), sep="\n")


if __name__ == "__main__":
    main()
