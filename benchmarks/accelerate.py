"""Whole epochs of models of PyG, before and after ``lcat.accelerate``: forward, backward, Adam, and an evaluation.

    python benchmarks/accelerate.py --data FOLDER           # Cora, Photo, Computers, Tolokers from files, a batch; JSON
    python benchmarks/accelerate.py                         # generated graphs of the same shape
    python benchmarks/accelerate.py --datasets cora batch --models GCN GIN --allocators keep
    python benchmarks/accelerate.py --quick                 # a first look: short rounds, no file

Models are 64 wide with dropout 0.5, made of PyG's classes only; one of two equal copies is accelerated. "batch" is a
training step on a sampled batch (1,024 seeds of Computers, fan-outs 10 and 5) with edges that were never seen before.
First, outputs and gradients without dropout are compared; a wrong number stops the run. Then both copies of all models
take turns, epoch by epoch, in one process, once in each allocator mode (``_measure.ALLOCATORS``); the summary claims
the one less favorable to this library. Peak memory of an epoch, beyond what the process held before, stands beside the
times in the mode "default"; the other one keeps what was freed. A model that needs more memory than there is, as PyG's
PNA on Computers where freed memory is kept, is left out by name.

The whole takes an hour. Rows are kept in ``accelerate.jsonl`` beside the results as they are measured, and the same
command goes on from there; the file is removed when the results are written.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from _command import QUICK, least_favorable, make_parser, run
from _counts import Budget
from _kept_rows import add_line, measured_in_workers
from _layers import same_numbers
from _measure import beside_rival, geometric_mean, machine, peak_megabytes, rounds_within, turns
from epochs import read_graph
from torch import Tensor, nn
from torch_geometric.data import Data

import lcat
from lcat.data import neighbor_loader

HIDDEN, DROPOUT, EDGE_FEATURES, BATCH = 64, 0.5, 8, 1024
# Nothing of this has a fixed number of calls: the layers have, see epochs.py and small_graphs.py.
BUDGET: Budget = {}
# Time before over time after, at least.
LEAST_RATIO = 1.0


class Stack(nn.Module):
    """Layers with ReLU and dropout between them."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor, *edges: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = x if number == 0 else F.dropout(x.relu(), DROPOUT, self.training)
            x = layer(x, *edges)
        return x


class Encoded(nn.Module):
    """A linear map, layers as wide as what they get, and a linear map to the classes."""

    def __init__(self, features: int, classes: int, *layers: nn.Module) -> None:
        super().__init__()
        self.first, self.layers, self.last = (
            nn.Linear(features, HIDDEN),
            nn.ModuleList(layers),
            nn.Linear(HIDDEN, classes),
        )

    def forward(self, x: Tensor, *edges: Tensor) -> Tensor:
        x = self.first(x).relu()
        for layer in self.layers:
            x = self.step(layer, F.dropout(x, DROPOUT, self.training), *edges)
        out: Tensor = self.last(x)
        return out

    def step(self, layer: nn.Module, x: Tensor, *edges: Tensor) -> Tensor:
        """One layer."""
        out: Tensor = layer(x, *edges)
        return out


class GCNII(Encoded):
    """Each layer sees the features of the first one."""

    def forward(self, x: Tensor, *edges: Tensor) -> Tensor:
        x = first = self.first(x).relu()
        for layer in self.layers:
            x = layer(F.dropout(x, DROPOUT, self.training), first, *edges).relu()
        out: Tensor = self.last(x)
        return out


class Recurrent(Encoded):
    """Two steps of a GRU whose maps are graph convolutions."""

    def step(self, layer: nn.Module, x: Tensor, *edges: Tensor) -> Tensor:
        state = torch.zeros_like(x)
        for _ in range(2):
            update, new = layer(torch.cat([x, state], dim=1), *edges).chunk(2, dim=1)
            state = torch.lerp(state, new.tanh(), update.sigmoid())
        return state


class TwoKinds(nn.Module):
    """HeteroConv layers on a graph whose even and odd edges are two relations."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        widths = [features, HIDDEN, classes]
        self.layers = nn.ModuleList(
            pyg.HeteroConv(
                {
                    ("node", "even", "node"): pyg.SAGEConv(before, after),
                    ("node", "odd", "node"): pyg.GATConv(before, after, add_self_loops=False),
                }
            )
            for before, after in itertools.pairwise(widths)
        )

    def forward(self, x: Tensor, even: Tensor, odd: Tensor) -> Tensor:
        edges = {("node", "even", "node"): even, ("node", "odd", "node"): odd}
        for number, layer in enumerate(self.layers):
            x = layer({"node": x.relu() if number else x}, edges)["node"]
        return x


def _basic(name: str, **options: Any) -> Callable[[int, int], nn.Module]:
    return lambda features, classes: getattr(pyg, name)(features, HIDDEN, 2, classes, dropout=DROPOUT, **options)


def _encoded(layer: Callable[[int], nn.Module], number: int, kind: type[Encoded] = Encoded) -> Any:
    return lambda features, classes: kind(features, classes, *(layer(position) for position in range(number)))


def _pna(features: int, classes: int) -> nn.Module:
    degree = torch.tensor([0, 100, 200, 300, 200, 100, 50, 20, 10])
    options = {"aggregators": ["mean", "min", "max", "std"], "scalers": ["identity", "amplification"], "deg": degree}
    return pyg.PNA(features, HIDDEN // 4, 2, classes, dropout=DROPOUT, **options)


def _deep(_: int) -> nn.Module:
    return pyg.DeepGCNLayer(pyg.GCNConv(HIDDEN, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), dropout=DROPOUT)


def _gps(_: int) -> nn.Module:
    local = pyg.GATConv(HIDDEN, HIDDEN // 8, heads=8)
    return pyg.GPSConv(HIDDEN, local, heads=4, norm="layer_norm", attn_type="performer")


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "GCN": _basic("GCN"),
    "GAT": _basic("GAT", heads=8),
    "GATv2": _basic("GAT", heads=8, v2=True),
    "GAT, JK": _basic("GAT", heads=8, jk="cat"),
    "GAT, residual": _basic("GAT", heads=8, residual=True),
    "GraphSAGE": _basic("GraphSAGE"),
    "GraphSAGE max": _basic("GraphSAGE", aggr="max"),
    "GIN": _basic("GIN"),
    "PNA": _pna,
    "DeepGCN": _encoded(_deep, 4),
    "GCNII": _encoded(lambda number: pyg.GCN2Conv(HIDDEN, 0.1, 0.5, number + 1), 8, GCNII),
    "GraphConv": lambda features, classes: Stack(pyg.GraphConv(features, HIDDEN), pyg.GraphConv(HIDDEN, classes)),
    "SGC": lambda features, classes: Stack(pyg.SGConv(features, classes, K=2)),
    "APPNP": _encoded(lambda _: pyg.APPNP(10, 0.1), 1),
    "TAG": lambda features, classes: Stack(pyg.TAGConv(features, HIDDEN), pyg.TAGConv(HIDDEN, classes)),
    "Cheb": lambda features, classes: Stack(pyg.ChebConv(features, HIDDEN, 3), pyg.ChebConv(HIDDEN, classes, 3)),
    "ARMA": lambda features, classes: Stack(pyg.ARMAConv(features, HIDDEN), pyg.ARMAConv(HIDDEN, classes)),
    "RGCN": lambda features, classes: Stack(pyg.RGCNConv(features, HIDDEN, 4), pyg.RGCNConv(HIDDEN, classes, 4)),
    "DirGNN": lambda features, classes: Stack(
        pyg.DirGNNConv(pyg.SAGEConv(features, HIDDEN)), pyg.DirGNNConv(pyg.SAGEConv(HIDDEN, classes))
    ),
    "Transformer": lambda features, classes: Stack(
        pyg.TransformerConv(features, 8, heads=8, edge_dim=EDGE_FEATURES),
        pyg.TransformerConv(HIDDEN, classes, heads=1, edge_dim=EDGE_FEATURES),
    ),
    "GPS": _encoded(_gps, 2),
    "HeteroConv": TwoKinds,
    "recurrent": _encoded(lambda _: pyg.GCNConv(2 * HIDDEN, 2 * HIDDEN), 1, Recurrent),
}


class Case:
    """One graph, and what each model gets of it."""

    def __init__(self, data: Data, *, fresh: bool) -> None:
        self.data, self.fresh = data, fresh
        generator = torch.Generator().manual_seed(0)
        edges = data.edge_index
        self.types = torch.randint(4, (edges.shape[1],), generator=generator)
        self.attributes = torch.randn(edges.shape[1], EDGE_FEATURES, generator=generator)
        self.halves = edges[:, ::2].contiguous(), edges[:, 1::2].contiguous()

    def edges(self, model: str) -> tuple[Tensor, ...]:
        """Arguments of a model after ``x``; new tensors of edges for a batch."""
        if model == "HeteroConv":
            return tuple(half.clone() for half in self.halves) if self.fresh else self.halves
        edges = self.data.edge_index.clone() if self.fresh else self.data.edge_index
        more = {"Transformer": (self.attributes,), "RGCN": (self.types,)}
        return (edges, *more.get(model, ()))


def make_case(name: str, options: argparse.Namespace) -> tuple[Case, str]:
    """The graph of a data set, or a batch of one."""
    if name != "batch":
        data, source = read_graph(name, options.data)
        return Case(data, fresh=False), source
    data, source = read_graph("computers", options.data)
    torch.manual_seed(0)
    batch = next(iter(neighbor_loader(data, num_neighbors=[10, 5], batch_size=BATCH, shuffle=True)))
    mask = torch.arange(batch.num_nodes) < BATCH
    return Case(Data(x=batch.x, edge_index=batch.edge_index, y=batch.y, train_mask=mask), fresh=True), source


def make_epoch(model: nn.Module, name: str, case: Case) -> Callable[[], Tensor]:
    """One step and, on a whole graph, one evaluation."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    data = case.data
    labels, train = data.y[data.train_mask], data.train_mask

    def epoch() -> Tensor:
        model.train()
        optimizer.zero_grad()
        out: Tensor = model(data.x, *case.edges(name))
        F.cross_entropy(out[train], labels).backward()
        optimizer.step()
        if not case.fresh:
            model.eval()
            with torch.no_grad():
                out = model(data.x, *case.edges(name))
        return out

    return epoch


def check_pair(name: str, ours: nn.Module, theirs: nn.Module, case: Case) -> None:
    """Logits and gradients without dropout."""
    results, data = [], case.data
    for model in (ours, theirs):
        model = copy.deepcopy(model).eval()
        out = model(data.x, *case.edges(name))
        loss = F.cross_entropy(out[data.train_mask], data.y[data.train_mask])
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        results.append((out, [grad for grad in grads if grad is not None]))
    same_numbers(name, *results, 1e-3)


def run_case(dataset: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What a worker says of its data set: the machine, then each model's name and row."""
    case, source = make_case(dataset, options)
    data = case.data
    yield {"machine": machine()}
    print(f"\n{dataset} ({source}), {data.num_nodes} nodes, {data.num_edges} edges; ms an epoch (quartiles), least")
    for name in options.models:
        yield {"begun": name}
        torch.manual_seed(0)
        theirs = MODELS[name](data.num_features, int(data.y.max()) + 1)
        ours = copy.deepcopy(theirs)
        report = lcat.accelerate(ours)
        check_pair(name, ours, theirs, case)
        epochs = {name: make_epoch(ours, name, case), "before": make_epoch(theirs, name, case)}
        times = turns(epochs, options.rounds or rounds_within(epochs, options.seconds, min_rounds=9))
        facts: dict[str, Any] = {
            "dataset": dataset,
            "source": source,
            "nodes": data.num_nodes,
            "edges": data.num_edges,
            "features": data.num_features,
            "model": name,
            "swapped": len(report),
            "left": [[one.path, one.layer, one.reason] for one in report.left],
        }
        if "MALLOC_MMAP_MAX_" not in os.environ and Path("/proc/self/clear_refs").exists():
            before, after = peak_megabytes(epochs["before"]), peak_megabytes(epochs[name])
            facts["megabytes"] = {"lcat": after, "PyG": before}
            print(f"  {name:<14} peak of an epoch: {after:.1f} MB after, {before:.1f} MB before")
        yield beside_rival(facts, times, name, "before")


def summarize(modes: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The ratio of every model on every data set, and their geometric mean."""
    summary = []
    for dataset, name in dict.fromkeys((row["dataset"], row["model"]) for rows in modes.values() for row in rows):
        ratios = {
            mode: [row["ratio"] for row in rows if (row["dataset"], row["model"]) == (dataset, name)]
            for mode, rows in modes.items()
        }
        ratios = {mode: values for mode, values in ratios.items() if values}
        summary.append(least_favorable(f"{dataset}: {name}, before / after", ratios, "at least", LEAST_RATIO))
    means = {mode: [geometric_mean([row["ratio"] for row in rows])] for mode, rows in modes.items()}
    summary.append(least_favorable("geometric mean of all rows", means, "at least", None))
    return summary


def counts(options: argparse.Namespace) -> tuple[Budget, Budget]:
    """Nothing: see ``BUDGET``."""
    del options
    return {}, {}


def main() -> None:
    parser = make_parser(__doc__, seconds=6.0)
    datasets = ["cora", "photo", "computers", "tolokers", "batch"]
    parser.add_argument("--datasets", nargs="+", default=datasets, choices=datasets)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    folder = os.environ.get("LCAT_TEST_DATA")
    parser.add_argument("--data", type=Path, default=folder, help="folder of data sets; LCAT_TEST_DATA by default")
    options = parser.parse_args()
    if options.worker:
        torch.set_num_threads(options.threads)
        options.seconds = min(options.seconds, QUICK) if options.quick else options.seconds
        for dataset in options.datasets:
            for entry in run_case(dataset, options):
                add_line(Path(options.worker), entry)
        return
    with tempfile.TemporaryDirectory() as folder:
        output = options.out or Path(folder if options.quick else Path(__file__).parent / "results", "accelerate.json")
        rows = output.with_suffix(".jsonl")
        groups = {"modes": options.allocators, "groups": options.datasets, "names": options.models}
        run(
            __file__,
            options,
            counts=counts,
            budget=BUDGET,
            summarize=summarize,
            measure_modes=lambda: measured_in_workers(__file__, rows, option="dataset", **groups),
        )
        rows.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
