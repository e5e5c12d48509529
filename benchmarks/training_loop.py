"""What ``lcat.train.fit``, the loop of studies, costs over a loop written by hand, epoch by epoch on Cora.

    python benchmarks/training_loop.py --data FOLDER        # Cora from files, both allocator modes, JSON
    python benchmarks/training_loop.py                      # a generated graph of its shape
    python benchmarks/training_loop.py --quick
    python benchmarks/training_loop.py --counts             # functions and operators of an epoch; nothing is timed

Both train the same model (dropout off, so that numbers can be compared) with Adam: a step, then the accuracy of the
three parts. The loop by hand keeps the weights that validate best, and nothing else; ``fit`` also follows the
validation loss and the lambdas, stops on a diverged loss, and checks its arguments once. First the accuracies of all
epochs must agree. "no model" has free logits as weights: what is left is the loop itself. ``BUDGET`` below is what an
epoch may cost the interpreter.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _command import least_favorable, make_parser, run
from _counts import Budget, Counts, count
from _measure import spread, spread_text
from _standins import SHAPES, Shape, stand_in
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat.data import Split, load, random_split
from lcat.nn import models
from lcat.train import FitConfig, fit
from lcat.train.optimizers import parameter_groups

MODELS = ("no model", "GCN", "GAT", "LCAT")
EPOCHS = 20
# Time of fit over the loop by hand, of whole models.
MOST = 1.05

# Calls of Python functions, and torch operators, of an epoch of the loop without a model.
BUDGET: Budget = {
    "loop": {
        "epoch": Counts(140, 144),
    },
}


class FreeLogits(nn.Module):
    """A number for every node and class."""

    def __init__(self, nodes: int, classes: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(nodes, classes))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        del x, edge_index
        return self.logits * 1.0


def make_model(name: str, data: Data, classes: int) -> nn.Module:
    """The same weights at each call."""
    torch.manual_seed(0)
    if name == "no model":
        return FreeLogits(data.num_nodes, classes)
    heads = {} if name == "GCN" else {"heads": 8}
    model: nn.Module = getattr(models, name)(data.num_features, 64, 2, classes, **heads)
    return model


def by_hand(model: nn.Module, data: Data, split: Split, epochs: int) -> list[float]:
    """Accuracies of the validation nodes."""
    # As fit does: lone numbers, the lambdas, take no weight decay.
    optimizer = torch.optim.Adam(parameter_groups(model, weight_decay=5e-4), lr=0.01)
    best, weights, accuracies = -1.0, model.state_dict(), []
    for _ in range(epochs):
        model.train()
        optimizer.zero_grad()
        out = model(data.x, data.edge_index)
        loss = F.cross_entropy(out[split.train], data.y[split.train])
        loss.backward()
        optimizer.step()
        float(loss.detach())
        model.eval()
        with torch.no_grad():
            predicted = model(data.x, data.edge_index).argmax(dim=-1)
        _, val, _ = (
            int((predicted[mask] == data.y[mask]).sum()) / int(mask.sum())
            for mask in (split.train, split.val, split.test)
        )
        accuracies.append(val)
        if val > best:
            best, weights = val, copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    return accuracies


def by_fit(model: nn.Module, data: Data, split: Split, epochs: int) -> list[float]:
    """Accuracies of the validation nodes."""
    return fit(model, data, split, FitConfig(epochs=epochs, patience=None)).history.val


LOOPS: dict[str, Callable[..., list[float]]] = {"fit": by_fit, "by hand": by_hand}


def read_task(folder: Path | None) -> tuple[Data, Split, str]:
    """Graph, split, and where they are from."""
    if folder is None:
        data = stand_in(SHAPES["cora"])
        return data, random_split(data.y, (0.05, 0.2, 0.75)), "generated"
    dataset = load("cora", folder, download=False)
    return dataset.data, dataset.split(0), "files"


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per model; the loops take turns, every run with a model that is made anew."""
    data, split, source = read_task(options.data)
    classes = int(data.y.max()) + 1
    print(f"\nCora ({source}); ms an epoch (quartiles), least", flush=True)
    rows = []
    for name in options.models:
        accuracies = {loop: train(make_model(name, data, classes), data, split, 5) for loop, train in LOOPS.items()}
        if accuracies["fit"] != accuracies["by hand"]:
            raise SystemExit(f"{name}: accuracies differ, {accuracies}; no time is reported for wrong results")
        times: dict[str, list[float]] = {loop: [] for loop in LOOPS}
        end = time.perf_counter() + options.seconds
        while (options.rounds is None and time.perf_counter() < end) or len(times["fit"]) < (options.rounds or 5):
            for loop, train in LOOPS.items():
                model = make_model(name, data, classes)
                start = time.perf_counter()
                train(model, data, split, EPOCHS)
                times[loop].append((time.perf_counter() - start) / EPOCHS * 1e3)
        ratios = [ours / theirs for ours, theirs in zip(times["fit"], times["by hand"], strict=True)]
        row = {"model": name, "source": source, "epochs": EPOCHS, "fit": spread(times["fit"]),
               "by hand": spread(times["by hand"]), "ratio": spread(ratios)["median"]}  # fmt: skip
        rows.append(row)
        sides = "   ".join(f"{loop} {spread_text(spread(times[loop]))}" for loop in LOOPS)
        print(f"  {name:<9}{sides}   fit / by hand {row['ratio']:.3f}", flush=True)
    return rows


def summarize(modes: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The largest ratio of each model."""
    summary = []
    for name in MODELS:
        ratios = {mode: [row["ratio"] for row in rows if row["model"] == name] for mode, rows in modes.items()}
        if all(ratios.values()):
            limit = None if name == "no model" else MOST
            summary.append(least_favorable(f"fit / a loop by hand, {name}", ratios, "at most", limit))
    return summary


def counts(options: argparse.Namespace) -> tuple[Budget, Budget]:
    """Of an epoch without a model; beside it that of the loop by hand. Ten epochs more, divided by ten."""
    del options
    data = stand_in(Shape(200, 1000, features=8, classes=4, largest=20, density=0.2))
    split = random_split(data.y)
    sides = []
    for train in LOOPS.values():
        few, many = (
            count(lambda train=train, epochs=epochs: train(FreeLogits(200, 4), data, split, epochs), warm_up=1)
            for epochs in (5, 15)
        )
        per_epoch = [round((more - less) / 10) for less, more in zip(few, many, strict=True)]
        sides.append({"loop": {"epoch": Counts(*per_epoch)}})
    return sides[0], sides[1]


def main() -> None:
    parser = make_parser(__doc__, seconds=20.0)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    folder = os.environ.get("LCAT_TEST_DATA")
    parser.add_argument("--data", type=Path, default=folder, help="folder of data sets; LCAT_TEST_DATA by default")
    options = parser.parse_args()
    run(__file__, options, counts=counts, budget=BUDGET, measure=measure, summarize=summarize, rival="by hand")


if __name__ == "__main__":
    main()
