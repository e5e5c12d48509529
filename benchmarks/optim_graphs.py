"""Do orthogonal weights help deep plain graph networks? AdamW against mixed POGO, with equal tuning.

    python benchmarks/optim_graphs.py --output benchmarks/results/optim_graphs.json
    python benchmarks/optim_graphs.py --layers gcn --depths 8 --seeds 3

Plain stacks of GCN, GAT, CAT and L-CAT layers (ReLU, no normalization, no dropout), depth 2 to 32, with and without
an initial residual (``x <- (1 - a) x + a h0``, from three layers on: two have one hidden state), and with a gain
after ReLU where asked (``x <- gain relu(conv(x))``). Graphs: a five-class contextual block model, and data sets by
name, whole or (``--nodes``) as a sample of their nodes. POGO constrains the hidden weights, head by head (the first
layer's at depth 2, where none is hidden); AdamW has the rest. ``adamw-orthogonal`` is the control: AdamW from POGO's
orthonormal start.

Each optimizer gets as many settings (rates times weight decays). The setting with the best mean validation accuracy
over the tuning seeds is trained anew on every seed of the test, which are others; a run keeps the epoch that is best
on the validation nodes and stops when there was none for ``--patience`` epochs. With ``--output``, rows are written as
they come, and a second call with the same settings goes on after the last of them.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _measure import machine, write_results
from torch import Tensor, nn
from torch_geometric.utils import subgraph
from tqdm import tqdm

import lcat.nn
from lcat.optim import POGO, orthogonal_groups

DEPTHS = (2, 4, 8, 16, 32)
LAYERS = ("gcn", "gat", "cat", "lcat")
RATES = {"adamw": (1e-3, 3e-3, 1e-2), "adamw-orthogonal": (1e-3, 3e-3, 1e-2), "pogo": (0.03, 0.1, 0.3)}
DECAYS = (0.0, 5e-4)
CELL = ("dataset", "depth", "residual", "gain", "layer", "optimizer")  # what tells one row from another
HEADS, RESIDUAL = 4, 0.2
FIRST_TUNING_SEED = 1000  # seeds that choose a setting are none of those that test it


class Stack(nn.Module):
    """A linear map in, ``depth`` layers of one width (the last one to the classes), optionally tied to the start."""

    def __init__(
        self, kind: str, features: int, hidden: int, classes: int, depth: int, residual: float, gain: float
    ) -> None:
        super().__init__()
        self.residual, self.gain = residual, gain
        widths = [features] + [hidden] * (depth - 1) + [classes]
        self.convs = nn.ModuleList()
        for i, (a, b) in enumerate(pairwise(widths)):
            if kind == "gcn":
                self.convs.append(lcat.nn.GCNConv(a, b))
            else:
                heads = 1 if i == depth - 1 else HEADS
                layer = {"gat": lcat.nn.GATConv, "cat": lcat.nn.CATConv, "lcat": lcat.nn.LCATConv}[kind]
                self.convs.append(layer(a, b // heads, heads=heads))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        start = None
        for conv in self.convs[:-1]:
            x = conv(x, edge_index).relu()
            if self.gain != 1:
                x = self.gain * x
            if start is not None and self.residual:
                x = (1 - self.residual) * x + self.residual * start
            start = x if start is None else start
        return self.convs[-1](x, edge_index)


def block_model(
    seed: int, n: int = 1500, classes: int = 5, degree: float = 10, homophily: float = 0.8
) -> dict[str, Any]:
    """Five communities with noisy features; 20 labels a class to train on, 500 nodes to choose by."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    inside = degree * homophily / (n / classes)
    outside = degree * (1 - homophily) / (n * (1 - 1 / classes))
    upper = torch.rand(n, n, generator=g).triu(1) > 1 - torch.where(y[:, None] == y[None], inside, outside)
    edges = (upper.triu(1) | upper.triu(1).T).nonzero().T.contiguous()
    x = torch.randn(classes, 32, generator=g)[y] * 0.5 + torch.randn(n, 32, generator=g)
    order = torch.randperm(n, generator=g)
    train = torch.cat([order[y[order] == c][:20] for c in range(classes)])
    rest = order[~torch.isin(order, train)]
    return {"x": x, "y": y, "edges": edges, "train": train, "val": rest[:500], "test": rest[500:], "classes": classes}


def named(name: str, seed: int, components: int | None, nodes: int | None) -> dict[str, Any]:
    """A public data set with a random split of 20 labels a class."""
    x, y, edges = _loaded(name, components, nodes)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    classes = int(y.max()) + 1
    train = torch.cat([order[y[order] == c][:20] for c in range(classes)])
    rest = order[~torch.isin(order, train)]
    return {"x": x, "y": y, "edges": edges, "train": train, "val": rest[:500], "test": rest[500:], "classes": classes}


@functools.cache
def _loaded(name: str, components: int | None, nodes: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """Features, labels and edges of a data set.

    More than ``components`` features are replaced by their principal components, more than ``nodes`` nodes by a sample
    of them and the edges between them.
    """
    from lcat.data import load

    data = load(name).data
    x = data.x
    if components is not None and x.shape[1] > components:
        torch.manual_seed(0)
        u, s, _ = torch.pca_lowrank(x, components, niter=4)
        x = u * s
        x = x / x.norm(dim=1).mean()
    if nodes is None or nodes >= len(x):
        return x, data.y, data.edge_index
    sample = walked(data.edge_index, len(x), nodes)
    return x[sample], data.y[sample], subgraph(sample, data.edge_index, relabel_nodes=True, num_nodes=len(x))[0]


def walked(edges: Tensor, n: int, wanted: int, jump: float = 0.15) -> Tensor:
    """``wanted`` of ``n`` nodes, those that a random walk with jumps visits.

    It keeps more of the edges than nodes drawn independently, and more of the classes than a walk from one start
    (Leskovec and Faloutsos, "Sampling from large graphs", KDD 2006).
    """
    draw = random.Random(0)
    neighbors = edges[1, edges[0].argsort(stable=True)].tolist()
    ends = torch.bincount(edges[0], minlength=n).cumsum(0).tolist()
    seen: set[int] = set()
    at = draw.randrange(n)
    while len(seen) < wanted:
        seen.add(at)
        first, end = ends[at - 1] if at else 0, ends[at]
        at = draw.randrange(n) if first == end or draw.random() < jump else neighbors[draw.randrange(first, end)]
    return torch.tensor(sorted(seen))


def train_one(
    graph: dict[str, Any], *, layer: str, depth: int, residual: float, gain: float, optimizer: str, rate: float,
    decay: float, seed: int, options: argparse.Namespace,
) -> tuple[float, float]:  # fmt: skip
    """Validation and test accuracy at the epoch that is best on the validation nodes."""
    torch.manual_seed(seed)
    model = Stack(layer, graph["x"].shape[1], options.hidden, graph["classes"], depth, residual, gain)
    stepper: torch.optim.Optimizer
    if optimizer == "pogo":
        stepper = POGO(orthogonal_groups(model, lr=1e-2, weight_decay=decay, first=depth == 2), lr=rate, base="vadam")
    else:
        if optimizer == "adamw-orthogonal":
            orthogonal_groups(model, first=depth == 2)  # makes the chosen weights orthonormal
        stepper = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    best, since = (0.0, 0.0), 0
    for _ in range(options.epochs):
        stepper.zero_grad()
        logits = model(graph["x"], graph["edges"])
        F.cross_entropy(logits[graph["train"]], graph["y"][graph["train"]]).backward()
        right = (logits.detach().argmax(1) == graph["y"]).float()
        now = (right[graph["val"]].mean().item(), right[graph["test"]].mean().item())
        best, since = (now, 0) if now[0] > best[0] else (best, since + 1)
        if since >= options.patience:
            break
        stepper.step()
    return best


def row_of(cell: dict[str, Any], graph_of: Callable[[int], dict[str, Any]], options: argparse.Namespace,
           progress: tqdm) -> dict[str, Any]:  # fmt: skip
    """One cell: every setting on the tuning seeds, the best of them on the test seeds."""
    start, settings = time.perf_counter(), []
    choice = {name: value for name, value in cell.items() if name != "dataset"}

    def runs(rate: float, decay: float, seeds: Iterable[int]) -> dict[str, list[float]]:
        scores = []
        for seed in seeds:
            graph = graph_of(seed)
            scores.append(train_one(graph, seed=seed, rate=rate, decay=decay, options=options, **choice))
            progress.update()
        return {"val": [val for val, _ in scores], "test": [test for _, test in scores]}

    for rate, decay in product(RATES[cell["optimizer"]], options.decays):
        tuning = runs(rate, decay, range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + options.tuning_seeds))
        settings.append({"rate": rate, "decay": decay, "val": tuning["val"]})
    best = max(settings, key=lambda s: statistics.mean(s["val"]))
    final = runs(best["rate"], best["decay"], range(options.seeds))
    return cell | {"rate": best["rate"], "decay": best["decay"], **final, "tuning": settings,
                   "seconds": time.perf_counter() - start}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="*", default=["csbm"], help="csbm, or names that lcat.data.load knows")
    parser.add_argument("--layers", nargs="*", default=LAYERS, choices=LAYERS)
    parser.add_argument("--depths", nargs="*", type=int, default=DEPTHS)
    parser.add_argument("--residual", nargs="*", type=float, default=(0.0, RESIDUAL))
    parser.add_argument("--gains", nargs="*", type=float, default=(1.0,), help="factors after ReLU")
    parser.add_argument("--optimizers", nargs="*", default=("adamw", "pogo"), choices=RATES)
    parser.add_argument("--decays", nargs="*", type=float, default=DECAYS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tuning-seeds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--components", type=int, help="principal components instead of more features than that")
    parser.add_argument("--nodes", type=int, help="a random-walk sample instead of more nodes than that")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--patience", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--thin", action="store_true", help="train nothing; rewrite --output with fewer digits")
    options = parser.parse_args()
    if options.thin and not (options.output and options.output.exists()):
        parser.error("--thin rewrites a file of results: name it with --output")
    torch.set_num_threads(options.threads)
    settings = {
        name: getattr(options, name)
        for name in ("decays", "seeds", "tuning_seeds", "hidden", "components", "nodes", "epochs", "patience")
    }
    settings["decays"] = list(settings["decays"])
    report: dict[str, Any] = {"machine": machine(), "rows": []}
    if options.output and options.output.exists():
        report = restored(json.loads(options.output.read_text()))
    if options.thin:
        write_results(options.output, thinned(report), one_line="rows")
        return
    command = "python benchmarks/optim_graphs.py " + " ".join(sys.argv[1:])
    done = {_key(row) for row in report["rows"] if row["settings"] == settings}
    cells = [
        dict(zip(CELL, values, strict=True))
        for values in product(
            options.datasets, options.depths, options.residual, options.gains, options.layers, options.optimizers
        )
    ]
    cells = [cell for cell in cells if _key(cell) not in done and not (cell["depth"] == 2 and cell["residual"])]

    @functools.cache
    def graph_of(name: str, seed: int) -> dict[str, Any]:
        return block_model(seed) if name == "csbm" else named(name, seed, options.components, options.nodes)

    total = sum(
        len(RATES[cell["optimizer"]]) * len(options.decays) * options.tuning_seeds + options.seeds for cell in cells
    )
    with tqdm(total=total, unit="run", smoothing=0.02) as progress:
        for cell in cells:
            row = row_of(cell, functools.partial(graph_of, cell["dataset"]), options, progress)
            report["rows"].append(row | {"settings": settings, "command": command})
            spread = f"{100 * min(row['test']):.1f} to {100 * max(row['test']):.1f}"
            name = f"{row['dataset']:<8} {row['layer']:<5} depth {row['depth']:<3} residual {row['residual']:<4}"
            name += f" gain {row['gain']:<4}" if row["gain"] != 1 else ""
            mean = 100 * statistics.mean(row["test"])
            progress.write(f"{name} {row['optimizer']:<16} {mean:5.1f} %  ({spread}), rate {row['rate']:g}")
            if options.output:
                write_results(options.output, thinned(report), announce=False, one_line="rows")


# Digits that results keep of validation accuracies. Test accuracies keep all: pages print their means with one digit,
# and of many means the next digit is a 5.
DIGITS = 3


def thinned(report: dict[str, Any]) -> dict[str, Any]:
    """The report with fewer digits, and what rows have in common once, under ``runs``."""
    runs: list[dict[str, Any]] = []
    rows = []
    for row in report["rows"]:
        run = {"settings": row["settings"], "command": row["command"]}
        if run not in runs:
            runs.append(run)
        own = {name: value for name, value in row.items() if name not in run}
        tuning = [{**setting, "val": _rounded(setting["val"])} for setting in row["tuning"]]
        own |= {"val": _rounded(row["val"]), "tuning": tuning}
        rows.append({**own, "seconds": round(row["seconds"], 1), "run": runs.index(run)})
    return {"machine": report["machine"], "runs": runs, "rows": rows}


def restored(report: dict[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`thinned`, up to digits: every row with its settings and its command."""
    if "runs" not in report:
        return report
    rows = []
    for row in report["rows"]:
        own = {name: value for name, value in row.items() if name != "run"}
        rows.append({**own, **report["runs"][row["run"]]})
    return {"machine": report["machine"], "rows": rows}


def _rounded(shares: list[float]) -> list[float]:
    return [round(share, DIGITS) for share in shares]


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in CELL)


if __name__ == "__main__":
    main()
