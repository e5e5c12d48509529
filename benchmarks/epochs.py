"""Whole epochs of models of two layers against PyG's: forward, backward, Adam, and a forward pass that evaluates.

    python benchmarks/epochs.py --data FOLDER               # Cora, Photo, Computers, ... from files; JSON
    python benchmarks/epochs.py                             # generated graphs of the same shape
    python benchmarks/epochs.py --datasets cora --models GCN GAT --allocators keep
    python benchmarks/epochs.py --quick                     # a first look: short rounds, no file
    python benchmarks/epochs.py --counts                    # functions and operators of an epoch; nothing is timed

Models are 64 wide, attention with 8 heads, dropout 0.5 of features and of attention, as in PyG's ``BasicGNN``. The
folder is the root of ``lcat.data.load``, by default the variable LCAT_TEST_DATA; nothing is downloaded. Generated
graphs have the nodes, edges, features, classes, density of features and largest degree of the data set. Features of
Cora, CiteSeer and CS are bags of words, whose entries this library reads alone. First, outputs
and gradients without dropout are compared with PyG's under the same weights; a wrong number stops the run. Then all
models take turns, epoch by epoch, in one process, once in each allocator mode (``_measure.ALLOCATORS``); the summary
claims the one less favorable to this library. Beside L-CAT is the PyG model whose place it takes. ``BUDGET`` below is
what an epoch may cost the interpreter.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _command import least_favorable, make_parser, run
from _counts import Budget, Counts, count
from _layers import same_numbers
from _measure import beside_rival, rounds_within, turns
from _standins import SHAPES, Shape, stand_in
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import models as pyg_models

from lcat.data import DataError, load
from lcat.nn import models as lcat_models

HIDDEN, HEADS, DROPOUT = 64, 8, 0.5
# Each model of this library, and PyG's that takes its turn.
RIVALS = {"GCN": "GCN", "GAT": "GAT", "GATv2": "GATv2", "CAT": "GAT", "LCAT": "GAT", "LCATv2": "GATv2"}
SHARED = ("GCN", "GAT", "GATv2")
# PyG's time over ours, at least.
TARGETS = {
    "cora": {"GCN": 1.5, "GAT": 1.5, "GATv2": 1.5},
    "photo": {"GCN": 3.5, "GAT": 3.5, "GATv2": 3.5},
    "computers": {"GCN": 4.5, "GAT": 4.5, "GATv2": 4.5},
    "tolokers": {"GCN": 10.0, "GAT": 7.0, "GATv2": 6.0},
}

# Calls of Python functions, and torch operators, of one epoch on a graph that is known.
BUDGET: Budget = {
    "GCN": {
        "epoch": Counts(1070, 253),
    },
    "GAT": {
        "epoch": Counts(1300, 479),
    },
    "GATv2": {
        "epoch": Counts(1360, 671),
    },
    "CAT": {
        "epoch": Counts(2170, 739),
    },
    "LCAT": {
        "epoch": Counts(2130, 997),
    },
    "LCATv2": {
        "epoch": Counts(2100, 1226),
    },
}


def make_model(name: str, ours: bool, features: int, classes: int) -> nn.Module:
    """Two layers of this library or of PyG."""
    heads = {} if name == "GCN" else {"heads": HEADS}
    if ours:
        return getattr(lcat_models, name)(features, HIDDEN, 2, classes, dropout=DROPOUT, **heads)
    if name == "GATv2":
        heads["v2"] = True
    return getattr(pyg_models, name.removesuffix("v2"))(features, HIDDEN, 2, classes, dropout=DROPOUT, **heads)


def make_pair(name: str, features: int, classes: int) -> tuple[nn.Module, nn.Module]:
    """A model and its rival, which has the same weights if it is the same model."""
    ours = make_model(name, ours=True, features=features, classes=classes)
    theirs = make_model(RIVALS[name], ours=False, features=features, classes=classes)
    if name in SHARED:
        theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def read_graph(name: str, folder: Path | None) -> tuple[Data, str]:
    """The data set, and where it is from."""
    if folder is None:
        return stand_in(SHAPES[name]), "generated"
    try:
        dataset = load(name, folder, download=False)
    except DataError as error:
        raise SystemExit(f"{error}; without --data, graphs are generated") from None
    data = dataset.data
    return Data(x=data.x, edge_index=data.edge_index, y=data.y, train_mask=dataset.split(0).train), "files"


def make_epoch(model: nn.Module, data: Data) -> Callable[[], Tensor]:
    """One step and one evaluation."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    x, edges, labels, train = data.x, data.edge_index, data.y[data.train_mask], data.train_mask

    def epoch() -> Tensor:
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x, edges)[train], labels).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            out: Tensor = model(x, edges)
        return out

    return epoch


def check_pair(name: str, ours: nn.Module, theirs: nn.Module, data: Data) -> None:
    """Logits and gradients without dropout; models that PyG has not are checked layer by layer in small_graphs.py."""
    if name not in SHARED:
        return
    results = []
    for model in (ours, theirs):
        model = copy.deepcopy(model).eval()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        results.append((out, torch.autograd.grad(loss, list(model.parameters()))))
    same_numbers(name, *results, 1e-3)


def checked_epochs(models: Sequence[str], data: Data) -> dict[str, Callable[[], Any]]:
    """An epoch of each model and of its rival, whose numbers have been compared."""
    epochs: dict[str, Callable[[], Any]] = {}
    for name in models:
        torch.manual_seed(0)
        ours, theirs = make_pair(name, data.num_features, int(data.y.max()) + 1)
        check_pair(name, ours, theirs, data)
        epochs[name] = make_epoch(ours, data)
        epochs.setdefault(f"PyG {RIVALS[name]}", make_epoch(theirs, data))
    return epochs


def run_case(dataset: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per model."""
    data, source = read_graph(dataset, options.data)
    epochs = checked_epochs(options.models, data)
    times = turns(epochs, options.rounds or rounds_within(epochs, options.seconds))
    print(f"\n{dataset} ({source}), {data.num_nodes} nodes, {data.num_edges} edges; ms an epoch (quartiles), least")
    rows = []
    for name in options.models:
        facts = {
            "dataset": dataset,
            "source": source,
            "nodes": data.num_nodes,
            "edges": data.num_edges,
            "features": data.num_features,
            "model": name,
            "rival": RIVALS[name],
        }  # fmt: skip
        rows.append(beside_rival(facts, times, name, f"PyG {RIVALS[name]}"))
    return rows


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All data sets in this process."""
    return [row for dataset in options.datasets for row in run_case(dataset, options)]


def summarize(modes: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The ratio of every model on every data set."""
    summary = []
    for dataset in SHAPES:
        for name, rival in RIVALS.items():
            ratios = {
                mode: [row["ratio"] for row in rows if (row["dataset"], row["model"]) == (dataset, name)]
                for mode, rows in modes.items()
            }
            if all(ratios.values()):
                limit = TARGETS.get(dataset, {}).get(name)
                summary.append(least_favorable(f"{dataset}: PyG {rival} / {name}", ratios, "at least", limit))
    return summary


def counts(options: argparse.Namespace) -> tuple[Budget, Budget]:
    """Of an epoch of each model and of its rival."""
    ours: Budget = {}
    theirs: Budget = {}
    data = stand_in(Shape(200, 1000, features=32, classes=4, largest=20, density=0.2))
    for name in options.models:
        torch.manual_seed(0)
        for side, model in zip((ours, theirs), make_pair(name, 32, 4), strict=True):
            side[name] = {"epoch": count(make_epoch(model, data))}
    return ours, theirs


def main() -> None:
    parser = make_parser(__doc__, seconds=20.0)
    parser.add_argument("--datasets", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--models", nargs="+", default=list(RIVALS), choices=list(RIVALS))
    folder = os.environ.get("LCAT_TEST_DATA")
    parser.add_argument("--data", type=Path, default=folder, help="folder of data sets; LCAT_TEST_DATA by default")
    options = parser.parse_args()
    run(__file__, options, counts=counts, budget=BUDGET, measure=measure, summarize=summarize)


if __name__ == "__main__":
    main()
