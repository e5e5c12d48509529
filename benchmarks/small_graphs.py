"""One layer on small graphs, forward and backward and in inference, against PyG: where the host is what takes time.

    python benchmarks/small_graphs.py                       # all cases, both allocator modes, JSON
    python benchmarks/small_graphs.py --graphs 200/1000 --shapes 1x16 --dropouts 0 --allocators keep
    python benchmarks/small_graphs.py --quick               # a first look: short rounds, no file
    python benchmarks/small_graphs.py --counts              # functions and operators of a call; nothing is timed

Layers map 64 features to heads x width; edges are random and ordered by source, as PyG's data sets are. First, outputs
and gradients are compared with PyG's (of L-CAT, which PyG has not, with its own plain path); a wrong number stops the
run. Then all layers take turns, call by call, in one process. With ``--compiled``, PyG's layers under ``torch.compile``
take turns as well. Beside CAT and L-CAT is the PyG layer whose place they take. All of it runs once in each allocator
mode (``_measure.ALLOCATORS``); the summary claims the one less favorable to this library. ``BUDGET`` below is what a
call may cost the interpreter.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
from _command import least_favorable, make_parser, run
from _counts import Budget, Counts, count
from _layers import RIVALS, SHARED, check_pair, make_inference, make_pair, make_step
from _measure import rounds_within, spread, spread_text, turns
from torch import Tensor, nn

GRAPHS = ("200/1000", "1000/5000", "2708/10556", "7650/238162")  # molecules or a sampled batch, ..., Cora, Photo
SHAPES = ("1x16", "8x8")
DROPOUTS = (0.0, 0.6)
FEATURES = 64
SIDES = ("lcat", "PyG", "PyG compiled")
TRAINING, INFERENCE = "forward and backward", "inference"
# PyG's time over ours, in every case: the least of the layers that both have, on graphs up to Cora's size.
LEAST_RATIO, SMALL = 1.5, 3000
# Attention dropout over none, on the largest graph with 8 heads.
MOST_DROPOUT = 1.25

# Calls of Python functions, and torch operators, of one call of a layer with 8 heads whose graph is known.
BUDGET: Budget = {
    "GCNConv": {
        "inference": Counts(160, 11),
        "forward": Counts(180, 12),
        "forward and backward": Counts(230, 36),
    },
    "GATConv": {
        "inference": Counts(185, 20),
        "forward": Counts(210, 25),
        "forward and backward": Counts(275, 63),
        "forward and backward, dropout": Counts(275, 70),
    },
    "GATv2Conv": {
        "inference": Counts(190, 31),
        "forward": Counts(205, 32),
        "forward and backward": Counts(280, 94),
        "forward and backward, dropout": Counts(280, 101),
    },
    "CATConv": {
        "inference": Counts(365, 64),
        "forward": Counts(410, 70),
        "forward and backward": Counts(530, 149),
        "forward and backward, dropout": Counts(530, 156),
    },
    "LCATConv": {
        "inference": Counts(350, 84),
        "forward": Counts(395, 90),
        "forward and backward": Counts(515, 200),
        "forward and backward, dropout": Counts(515, 207),
    },
    "LCATv2Conv": {
        "inference": Counts(350, 95),
        "forward": Counts(385, 97),
        "forward and backward": Counts(495, 232),
        "forward and backward, dropout": Counts(495, 239),
    },
}


def make_edges(nodes: int, edges: int) -> Tensor:
    """Random edges without order inside, by source."""
    draw = torch.Generator().manual_seed(0)
    index = torch.randint(nodes, (2, edges), generator=draw)
    return index[:, torch.argsort(index[0], stable=True)].contiguous()


def parse_graph(text: str) -> tuple[int, int]:
    """Nodes and edges of "N/E"."""
    nodes, _, edges = text.partition("/")
    return int(nodes), int(edges)


def parse_shape(text: str) -> tuple[int, int]:
    """Heads and width of "HxC"."""
    heads, _, width = text.partition("x")
    return int(heads), int(width)


def contenders_of(
    names: list[str], kind: str, x: Tensor, edges: Tensor, pairs: dict[str, tuple[nn.Module, nn.Module]], compiled: bool
) -> dict[str, Callable[[], Any]]:
    """What takes turns: this library's layers, and each of PyG's once."""

    def step(layer: Callable[..., Tensor], module: nn.Module) -> Callable[[], Any]:
        if kind == INFERENCE:
            return make_inference(layer, x.detach(), edges)
        return make_step(layer, x, edges, list(module.parameters()))

    steps: dict[str, Callable[[], Any]] = {}
    for name in names:
        ours, theirs = pairs[name]
        steps[name] = step(ours, ours)
        rival = f"PyG {RIVALS[name]}"
        if rival not in steps:
            steps[rival] = step(theirs, theirs)
            if compiled:
                torch._dynamo.reset()
                steps[f"{rival} compiled"] = step(torch.compile(theirs), theirs)
    return steps


def run_case(graph: str, shape: str, dropout: float, kind: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per layer: its times, those of its rival, and their ratio."""
    (nodes, num_edges), (heads, width) = parse_graph(graph), parse_shape(shape)
    torch.manual_seed(0)
    edges = make_edges(nodes, num_edges)
    x = torch.randn(nodes, FEATURES, requires_grad=True)
    names = [name for name in options.layers if dropout == 0 or name != "GCNConv"]
    pairs = {name: make_pair(name, FEATURES, heads, width, dropout) for name in names}
    for name, pair in pairs.items():
        check_pair(name, *pair, x, edges)
        for layer in pair:
            layer.train(kind == TRAINING)
    steps = contenders_of(names, kind, x, edges, pairs, options.compiled)
    times = turns(steps, options.rounds or rounds_within(steps, options.seconds))
    rows = []
    for name in names:
        row: dict[str, Any] = {
            "graph": graph, "shape": shape, "dropout": dropout, "kind": kind, "layer": name, "rival": RIVALS[name],
            "lcat": spread(times[name]), "PyG": spread(times[f"PyG {RIVALS[name]}"]),
        }  # fmt: skip
        row["ratio"] = row["PyG"]["median"] / row["lcat"]["median"]
        compiled = times.get(f"PyG {RIVALS[name]} compiled")
        if compiled is not None:
            row["PyG compiled"] = spread(compiled)
            row["ratio compiled"] = row["PyG compiled"]["median"] / row["lcat"]["median"]
        rows.append(row)
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """The layers of a case."""
    first = rows[0]
    print(f"\n{first['graph']}, {first['shape']}, dropout {first['dropout']}, {first['kind']}; ms (quartiles), least")
    for row in rows:
        times = "   ".join(f"{side} {spread_text(row[side])}" for side in SIDES if side in row)
        print(f"  {row['layer']:<11} {times}   PyG / ours {row['ratio']:5.2f}")
    sys.stdout.flush()


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All cases in this process, under whatever allocator it was started with."""
    rows = []
    for graph in options.graphs:
        for shape in options.shapes:
            for dropout in options.dropouts:
                for kind in (TRAINING, INFERENCE):
                    if kind == INFERENCE and dropout > 0:
                        continue  # nothing is dropped then
                    case = run_case(graph, shape, dropout, kind, options)
                    print_rows(case)
                    rows += case
    return rows


def summarize(modes: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The smallest ratio over the small graphs, and what attention dropout costs on the largest."""
    summary = []
    for kind in (TRAINING, INFERENCE):
        for name, rival in RIVALS.items():
            ratios = {
                mode: [r["ratio"] for r in rows if (r["layer"], r["kind"]) == (name, kind) and nodes_of(r) <= SMALL]
                for mode, rows in modes.items()
            }
            if all(ratios.values()):
                what = f"PyG {rival} / {name}, {kind}, least of at most {SMALL} nodes"
                limit = LEAST_RATIO if name in SHARED else None
                summary.append(least_favorable(what, ratios, "at least", limit))
    for name in RIVALS:
        prices = {mode: price_of_dropout(name, rows) for mode, rows in modes.items()}
        if all(prices.values()):
            what = f"{name} with attention dropout / without, largest graph, most heads"
            summary.append(least_favorable(what, prices, "at most", MOST_DROPOUT))
    return summary


def price_of_dropout(name: str, rows: list[dict[str, Any]]) -> list[float]:
    """Time of training with dropout over time without, on the largest graph with the most heads; empty if not run."""
    training = [row for row in rows if (row["layer"], row["kind"]) == (name, TRAINING)]
    if not training:
        return []
    largest = max((nodes_of(row), parse_shape(row["shape"])) for row in training)
    times = {
        row["dropout"]: row["lcat"]["median"]
        for row in training
        if (nodes_of(row), parse_shape(row["shape"])) == largest
    }
    return [ms / times[0.0] for dropout, ms in times.items() if dropout > 0] if 0.0 in times else []


def nodes_of(row: dict[str, Any]) -> int:
    """Nodes of the graph of a row."""
    return parse_graph(row["graph"])[0]


def counts(options: argparse.Namespace) -> tuple[Budget, Budget]:
    """Of this library's layers, and of PyG's, by name and kind of call."""
    ours: Budget = {}
    theirs: Budget = {}
    torch.manual_seed(0)
    edges = make_edges(200, 1000)
    x = torch.randn(200, FEATURES, requires_grad=True)
    for name in options.layers:
        for dropout in (0.0, 0.6):
            if dropout and name == "GCNConv":
                continue
            for side, layer in zip((ours, theirs), make_pair(name, FEATURES, 8, 8, dropout), strict=True):
                kinds = side.setdefault(name, {})
                if not dropout:
                    kinds[INFERENCE] = count(make_inference(layer.eval(), x.detach(), edges))
                    layer.train()
                    kinds["forward"] = count(lambda layer=layer: layer(x, edges))
                suffix = ", dropout" if dropout else ""
                kinds[TRAINING + suffix] = count(make_step(layer, x, edges, list(layer.parameters())))
    return ours, theirs


def main() -> None:
    parser = make_parser(__doc__, seconds=6.0)
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS), metavar="N/E", help="nodes and edges")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), metavar="HxC", help="heads and width")
    parser.add_argument("--dropouts", nargs="+", type=float, default=list(DROPOUTS))
    parser.add_argument("--layers", nargs="+", default=list(RIVALS), choices=list(RIVALS))
    parser.add_argument("--compiled", action="store_true", help="also PyG under torch.compile")
    options = parser.parse_args()
    run(__file__, options, counts=counts, budget=BUDGET, measure=measure, summarize=summarize)


if __name__ == "__main__":
    main()
