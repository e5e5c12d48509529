"""Training on sampled batches against PyG's layers: every step has a new graph, whose view is built in the step.

    python benchmarks/batches.py                            # all cases, both allocator modes, JSON
    python benchmarks/batches.py --batch-sizes 1024 --models GAT --allocators keep
    python benchmarks/batches.py --quick                    # a first look: few batches, no file
    python benchmarks/batches.py --counts                   # functions and operators of a step; nothing is timed

The graph has 50,000 nodes, a million edges and 64 features; fan-outs are 10 and 5. Batches come from PyG's
``NeighborLoader`` where pyg-lib or torch-sparse is installed, else from this library's own sampler; both contenders get
the same ones, and neither pays for the sampling (its time stands beside). Models have two layers, 64 wide, attention
with 8 heads and dropout 0.6 of attention. A step is forward on tensors never seen before, loss of the seeds, backward
and Adam. First, losses and gradients without dropout are compared with PyG's; a wrong number stops the run. Then all
models take turns, batch by batch, in one process, once in each allocator mode (``_measure.ALLOCATORS``); the summary
claims the one less favorable to this library. ``BUDGET`` below is what a step may cost the interpreter.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from _command import least_favorable, make_parser, run
from _counts import Budget, Counts, count
from _layers import RIVALS, SHARED, make_layer, same_numbers
from _measure import beside_rival, rounds_within, turns
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

import lcat.nn
from lcat.data import neighbor_loader

NODES, EDGES, FEATURES, CLASSES = 50_000, 1_000_000, 64, 16
FANOUT = [10, 5]
BATCH_SIZES = (32, 256, 1024)
HEADS, WIDTH, DROPOUT = 8, 8, 0.6
# PyG's time over ours, at least; the layers that both have.
LEAST_RATIO = 2.0

# Calls of Python functions, and torch operators, of one step on a graph that was never seen before.
BUDGET: Budget = {
    "GCNConv": {
        "step": Counts(830, 308),
    },
    "GATConv": {
        "step": Counts(945, 465),
    },
    "GATv2Conv": {
        "step": Counts(960, 627),
    },
    "CATConv": {
        "step": Counts(1570, 649),
    },
    "LCATConv": {
        "step": Counts(1560, 863),
    },
    "LCATv2Conv": {
        "step": Counts(1490, 1039),
    },
}


class Model(nn.Module):
    """Two layers with dropout of attention, and a ReLU between them."""

    def __init__(self, module: Any, name: str, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.first = make_layer(module, name, FEATURES, HEADS, WIDTH, dropout)
        self.second = make_layer(module, name, HEADS * WIDTH, 1, CLASSES, dropout)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x, edge_index).relu(), edge_index)
        return out


def make_pair(name: str) -> tuple[Model, Model]:
    """A model and its rival, which has the same weights if it is the same model."""
    ours, theirs = Model(lcat.nn, name), Model(pyg, RIVALS[name])
    if name in SHARED:
        theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def make_data(nodes: int, edges: int) -> Data:
    """A random graph with features and labels."""
    draw = torch.Generator().manual_seed(0)
    return Data(
        x=torch.randn(nodes, FEATURES, generator=draw),
        edge_index=torch.randint(nodes, (2, edges), generator=draw),
        y=torch.randint(CLASSES, (nodes,), generator=draw),
    )


def sample(data: Data, batch_size: int, number: int) -> tuple[list[Data], str, float]:
    """So many batches, by whom, and the milliseconds of each."""
    torch.manual_seed(0)
    if WITH_PYG_LIB or WITH_TORCH_SPARSE:
        sampler, make = "NeighborLoader", NeighborLoader
    else:
        sampler, make = "lcat", neighbor_loader
    loader = make(data, FANOUT, batch_size=batch_size, shuffle=True)
    start = time.perf_counter()
    batches: list[Data] = []
    while len(batches) < number:
        for batch in loader:
            batches.append(batch)
            if len(batches) == number:
                break
    return batches, sampler, (time.perf_counter() - start) / number * 1e3


def loss_of(model: nn.Module, batch: Data, edge_index: Tensor) -> Tensor:
    """Of the seeds, which come first."""
    seeds = batch.batch_size
    return F.cross_entropy(model(batch.x, edge_index)[:seeds], batch.y[:seeds])


def make_step(model: nn.Module, batches: list[Data]) -> Callable[[], None]:
    """One step on the next batch; edges are copied, so that no step finds the view of another."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    number = 0

    def step() -> None:
        nonlocal number
        batch = batches[number % len(batches)]
        number += 1
        optimizer.zero_grad()
        loss_of(model, batch, batch.edge_index.clone()).backward()
        optimizer.step()

    return step


def check_pair(name: str, ours: nn.Module, theirs: nn.Module, batch: Data) -> None:
    """Loss and gradients without dropout; layers that PyG has not are checked in small_graphs.py."""
    if name not in SHARED:
        return
    results = []
    for model in (ours, theirs):
        model = copy.deepcopy(model).double().eval()
        loss = loss_of(model, copy.copy(batch).apply(_double, "x"), batch.edge_index.clone())
        results.append((loss, torch.autograd.grad(loss, list(model.parameters()))))
    same_numbers(name, *results, 1e-9)


def _double(x: Tensor) -> Tensor:
    return x.double()


def run_case(data: Data, batch_size: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per model."""
    batches, sampler, sampling = sample(data, batch_size, options.batches)
    steps: dict[str, Callable[[], Any]] = {}
    for name in options.models:
        torch.manual_seed(0)
        ours, theirs = make_pair(name)
        check_pair(name, ours, theirs, batches[0])
        steps[name] = make_step(ours, batches)
        steps.setdefault(f"PyG {RIVALS[name]}", make_step(theirs, batches))
    times = turns(steps, options.rounds or rounds_within(steps, options.seconds))
    nodes, edges = (sum(getattr(b, what) for b in batches) // len(batches) for what in ("num_nodes", "num_edges"))
    print(f"\nbatches of {batch_size} seeds ({sampler}, {sampling:.2f} ms to sample), {nodes} nodes, {edges} edges")
    rows = []
    for name in options.models:
        facts = {
            "batch_size": batch_size,
            "sampler": sampler,
            "sampling_ms": sampling,
            "nodes": nodes,
            "edges": edges,
            "dropout": 0.0 if name == "GCNConv" else DROPOUT,
            "model": name,
            "rival": RIVALS[name],
        }  # fmt: skip
        rows.append(beside_rival(facts, times, name, f"PyG {RIVALS[name]}"))
    return rows


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All batch sizes in this process."""
    data = make_data(*options.graph)
    return [row for batch_size in options.batch_sizes for row in run_case(data, batch_size, options)]


def summarize(modes: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The smallest ratio of every model over the batch sizes."""
    summary = []
    for name, rival in RIVALS.items():
        ratios = {mode: [row["ratio"] for row in rows if row["model"] == name] for mode, rows in modes.items()}
        if all(ratios.values()):
            what = f"a step with a new graph, PyG {rival} / {name}, least of all batch sizes"
            summary.append(least_favorable(what, ratios, "at least", LEAST_RATIO if name in SHARED else None))
    return summary


def counts(options: argparse.Namespace) -> tuple[Budget, Budget]:
    """Of a step of each model and of its rival."""
    ours: Budget = {}
    theirs: Budget = {}
    batches, _, _ = sample(make_data(500, 5000), 32, 2)
    for name in options.models:
        torch.manual_seed(0)
        for side, model in zip((ours, theirs), make_pair(name), strict=True):
            side[name] = {"step": count(make_step(model, batches))}
    return ours, theirs


def main() -> None:
    parser = make_parser(__doc__, seconds=15.0)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=list(BATCH_SIZES))
    parser.add_argument("--models", nargs="+", default=list(RIVALS), choices=list(RIVALS), help="by their layers")
    parser.add_argument("--batches", type=int, default=40, help="that are sampled")
    parser.add_argument("--graph", nargs=2, type=int, default=(NODES, EDGES), metavar=("NODES", "EDGES"))
    options = parser.parse_args()
    run(__file__, options, counts=counts, budget=BUDGET, measure=measure, summarize=summarize)


if __name__ == "__main__":
    main()
