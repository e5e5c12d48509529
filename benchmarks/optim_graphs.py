"""Do orthogonal weights help deep plain graph networks? AdamW against mixed POGO, with equal tuning.

    python benchmarks/optim_graphs.py --output benchmarks/results/optim_graphs.json
    python benchmarks/optim_graphs.py --layers gcn --depths 8 --seeds 3

Plain stacks of GCN, GAT, CAT and L-CAT layers (ReLU, no normalisation, no dropout), depth 2 to 32, with and without
an initial residual (``x <- (1 - a) conv(x) + a h0``), on a five-class contextual block model and on data sets by
name. Each optimizer gets six settings (three rates, two weight decays); the setting with the best mean validation
accuracy is reported with its test accuracies. POGO constrains the hidden weights, head by head (the first layer's at
depth 2, where none is hidden); AdamW has the rest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lcat.nn
from lcat.optim import POGO, orthogonal_groups

DEPTHS = (2, 4, 8, 16, 32)
LAYERS = ("gcn", "gat", "cat", "lcat")
RATES = {"adamw": (1e-3, 3e-3, 1e-2), "pogo": (0.03, 0.1, 0.3)}
DECAYS = (0.0, 5e-4)
HIDDEN, HEADS, RESIDUAL = 64, 4, 0.2


class Stack(nn.Module):
    """A linear map in, ``depth`` layers of one width (the last one to the classes), optionally tied to the start."""

    def __init__(self, kind: str, features: int, classes: int, depth: int, residual: float) -> None:
        super().__init__()
        self.residual = residual
        widths = [features] + [HIDDEN] * (depth - 1) + [classes]
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


def named(name: str, seed: int) -> dict[str, Any]:
    """A public data set with a random split of 20 labels a class."""
    from lcat.data import load

    data = load(name).data
    g = torch.Generator().manual_seed(seed)
    y, order = data.y, torch.randperm(len(data.y), generator=g)
    classes = int(y.max()) + 1
    train = torch.cat([order[y[order] == c][:20] for c in range(classes)])
    rest = order[~torch.isin(order, train)]
    return {"x": data.x, "y": y, "edges": data.edge_index, "train": train, "val": rest[:500], "test": rest[500:],
            "classes": classes}  # fmt: skip


def train_one(graph: dict[str, Any], kind: str, depth: int, residual: float, optimizer: str, rate: float, decay: float,
              seed: int, epochs: int) -> tuple[float, float]:  # fmt: skip
    """Validation and test accuracy at the epoch that is best on the validation nodes."""
    torch.manual_seed(seed)
    model = Stack(kind, graph["x"].shape[1], graph["classes"], depth, residual)
    if optimizer == "adamw":
        stepper: Any = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    else:
        groups = orthogonal_groups(model, lr=1e-2, weight_decay=decay, first=depth == 2)
        stepper = POGO(groups, lr=rate, base="vadam")
    best = (0.0, 0.0)
    for _ in range(epochs):
        stepper.zero_grad()
        logits = model(graph["x"], graph["edges"])
        F.cross_entropy(logits[graph["train"]], graph["y"][graph["train"]]).backward()
        right = (logits.detach().argmax(1) == graph["y"]).float()
        best = max(best, (right[graph["val"]].mean().item(), right[graph["test"]].mean().item()))
        stepper.step()
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", nargs="*", default=["csbm"], help="csbm, or names that lcat.data.load knows")
    parser.add_argument("--layers", nargs="*", default=LAYERS, choices=LAYERS)
    parser.add_argument("--depths", nargs="*", type=int, default=DEPTHS)
    parser.add_argument("--residual", nargs="*", type=float, default=(0.0, RESIDUAL))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report: dict[str, Any] = {
        "command": "python benchmarks/optim_graphs.py " + " ".join(sys.argv[1:]),
        "torch": torch.__version__,
        "seeds": options.seeds,
        "epochs": options.epochs,
        "results": [],
    }
    for name, kind, depth, residual in product(options.datasets, options.layers, options.depths, options.residual):
        graphs = [block_model(s) if name == "csbm" else named(name, s) for s in range(options.seeds)]
        for optimizer in ("adamw", "pogo"):
            start, settings = time.perf_counter(), []
            for rate, decay in product(RATES[optimizer], DECAYS):
                runs = [
                    train_one(graph, kind, depth, residual, optimizer, rate, decay, seed, options.epochs)
                    for seed, graph in enumerate(graphs)
                ]
                settings.append(
                    {"rate": rate, "decay": decay, "val": [v for v, _ in runs], "test": [t for _, t in runs]}
                )
            best = max(settings, key=lambda s: statistics.mean(s["val"]))
            row = {"dataset": name, "layer": kind, "depth": depth, "residual": residual, "optimizer": optimizer,
                   "best": best, "settings": settings, "seconds": time.perf_counter() - start}  # fmt: skip
            report["results"].append(row)
            spread = f"{100 * min(best['test']):.1f} to {100 * max(best['test']):.1f}"
            mean = 100 * statistics.mean(best["test"])
            setting = f"{name:<8} {kind:<5} depth {depth:<3} residual {residual:<4} {optimizer:<5}"
            print(f"{setting} {mean:5.1f} %  ({spread}), rate {best['rate']:g}", flush=True)
            if options.output:
                options.output.parent.mkdir(parents=True, exist_ok=True)
                options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
