"""What the orthogonal optimizers hold at any learning rate, and what it costs.

    python benchmarks/optim_errors.py --output benchmarks/results/optim_errors.json

Errors: every method runs at its defaults, from 0.001 to 10,000 as a learning rate, on PCA of four sizes, Procrustes, an
orthogonal recurrent network that copies its input, and a small CNN with orthogonal kernels; kept is the largest
``|X X^H - I|`` after any step of any run, and the smallest gap to the optimum (or loss) over the rates.

Times: POGO as it is by default against the published iteration with the guard of before, steps in turns in one process;
medians of the ratio within a round. ``load`` in the results says whether other work ran on the machine.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import lcat
from lcat.optim import (
    POGO,
    RSDM,
    SLPG,
    Landing,
    LandingPC,
    RiemannianAdam,
    RiemannianSGD,
    orthogonal_groups,
    orthogonality_error,
    orthogonalize_,
)

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _measure import machine, write_results
from optim_problems import DigitsCNN, Problem, pca, procrustes
from optim_rivals import orthonormal

RATES = (1e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.5, 1.0, 5.0, 20.0, 100.0, 1e4)
PUBLISHED = {"iteration": "published", "max_step": 1.0}
METHODS: dict[str, Callable[..., Any]] = {
    "POGO": POGO,
    "POGO, momentum": partial(POGO, momentum=0.9),
    "POGO, vadam": partial(POGO, base="vadam"),
    "POGO, muon": partial(POGO, base="muon", momentum=0.9),
    "POGO published, guard 1": partial(POGO, **PUBLISHED),
    "POGO published, guard 1, momentum": partial(POGO, momentum=0.9, **PUBLISHED),
    "POGO published, guard 1, vadam": partial(POGO, base="vadam", **PUBLISHED),
    "Landing": Landing,
    "Landing, momentum": partial(Landing, momentum=0.9),
    "LandingPC": LandingPC,
    "RiemannianSGD, momentum": partial(RiemannianSGD, momentum=0.9),
    "RiemannianAdam": RiemannianAdam,
    "RSDM, vadam": partial(RSDM, base="vadam"),
    "SLPG": SLPG,
    "SLPG, momentum": partial(SLPG, momentum=0.9),
}


def few_directions() -> Problem:
    """The leading 3 of 20 directions, eigenvalues up to about 9."""
    A = torch.randn(20, 20)
    A = A @ A.T / 20 * 3
    exact = A.double()
    best = float(-torch.linalg.eigvalsh(exact)[-3:].sum())
    start = orthonormal((1, 3, 20), torch.float32, "cpu")
    return Problem(start, lambda X: -(X @ exact * X).sum(), lambda X: -2 * X @ A.to(X.dtype), best)


def solve(make: Callable[..., Any], problem: Problem, lr: float, steps: int) -> dict[str, float]:
    """Gap at the end and the largest error on the way, at a constant rate."""
    weight = nn.Parameter(problem.start.clone())
    optimizer, worst = make([weight], lr=lr), 0.0
    for _ in range(steps):
        weight.grad = problem.gradient(weight.detach())
        optimizer.step()
        size = orthogonality_error(weight)
        worst = size if not size <= worst else worst
        if not worst < math.inf:
            break
    return {"lr": lr, "gap": problem.gap(weight) if worst < math.inf else math.nan, "worst_error": worst}


class Copying(nn.Module):
    """A recurrent network that repeats what it saw ten steps ago."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.RNN(4, 32, nonlinearity="relu")
        self.last = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.rnn(x)[0])
        return out


def recurrent(make: Callable[..., Any], lr: float, steps: int = 60) -> dict[str, float]:
    """The loss at the end of an orthogonal RNN, and the largest error of its recurrent weight."""
    torch.manual_seed(0)
    model = Copying()
    optimizer, worst, loss = make(orthogonal_groups(model, orthogonalize="qr", lr=1e-2), lr=lr), 0.0, torch.tensor(0.0)
    for _ in range(steps):
        symbols = torch.randint(0, 4, (20, 16))
        x = F.one_hot(symbols, 4).float()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x)[10:].flatten(0, 1), symbols[:-10].flatten())
        loss.backward()
        optimizer.step()
        worst = max(worst, optimizer.orthogonality_error())
    return {"lr": lr, "gap": loss.item(), "worst_error": worst}


def kernels(make: Callable[..., Any], lr: float, steps: int = 40) -> dict[str, float]:
    """The loss of a CNN with orthogonal kernels on random images with a fixed labelling, and the largest error."""
    torch.manual_seed(0)
    model = DigitsCNN()
    weights = [model.conv1.weight, model.conv2.weight, model.conv3.weight]
    orthogonalize_(weights, matrix="conv")
    rest = [p for p in model.parameters() if all(p is not w for w in weights)]
    groups = [{"params": weights, "matrix": "conv"}, {"params": rest, "orthogonal": False, "lr": 1e-2}]
    optimizer, worst, loss = make(groups, lr=lr), 0.0, torch.tensor(0.0)
    x = torch.rand(64, 1, 8, 8)
    y = (x.mean((1, 2, 3)) * 400).long() % 10
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        worst = max(worst, optimizer.orthogonality_error())
    return {"lr": lr, "gap": loss.item(), "worst_error": worst}


def errors(steps: int, names: list[str]) -> dict[str, Any]:
    """The largest error and the smallest gap of every method on every problem."""
    torch.manual_seed(0)
    problems = {
        "PCA 20x3": few_directions(),
        "PCA 40x56": pca(40, 56, "cpu"),
        "PCA 8x200": pca(8, 200, "cpu"),
        "PCA 100x110": pca(100, 110, "cpu"),
        "Procrustes 50": procrustes(1, 50, torch.float32, "cpu"),
        "40 Procrustes 16x16 complex64": procrustes(40, 16, torch.complex64, "cpu"),
    }
    results: dict[str, Any] = {}
    for name in names:
        make = METHODS[name]
        rows: dict[str, Any] = {}
        runs_of = {label: partial(solve, make, problem, steps=steps) for label, problem in problems.items()}
        runs_of |= {"orthogonal RNN": partial(recurrent, make, steps=min(60, steps)),
                    "orthogonal CNN": partial(kernels, make, steps=min(40, steps))}  # fmt: skip
        for label, run in runs_of.items():
            runs = [run(lr=lr) for lr in RATES]
            finite = [r for r in runs if math.isfinite(r["gap"])]
            best = min(finite, key=lambda r: abs(r["gap"]), default=None)
            worst = max((r["worst_error"] for r in runs), key=lambda e: math.inf if math.isnan(e) else e)
            rows[label] = {"worst_error": worst, "best": best}
        results[name] = rows
        worst = max(r["worst_error"] for r in rows.values())
        gaps = ", ".join(f"{r['best']['gap']:.0e}" for r in rows.values() if r["best"])
        print(f"{name:<36} worst error {worst:.1e}   gaps {gaps}", flush=True)
    return results


SIZES: dict[str, tuple[tuple[int, ...], int]] = {
    "500x700": ((1, 500, 700), 1),
    "300x300": ((1, 300, 300), 1),
    "64x1024": ((1, 64, 1024), 1),
    "1000 x 16x16": ((1000, 16, 16), 1),
    "10000 x 3x3": ((10_000, 3, 3), 1),
    "64 parameters 64x64": ((1, 64, 64), 64),
    "1 parameter 16x16": ((1, 16, 16), 1),
}


def times(seconds: float) -> dict[str, Any]:
    """Medians of the ratio of the default step to the published one, within rounds."""
    results: dict[str, Any] = {}
    for label, (shape, count) in SIZES.items():
        results[label] = {}
        for base, options in (("sgd", {}), ("momentum", {"momentum": 0.9}), ("vadam", {"base": "vadam"})):
            torch.manual_seed(0)
            start = [orthonormal(shape, torch.float32, "cpu") for _ in range(count)]
            grads = [1e-3 * torch.randn_like(X) for X in start]
            runs = {}
            for name, more in (("default", {}), ("published", PUBLISHED)):
                params = [nn.Parameter(X.clone()) for X in start]
                for p, g in zip(params, grads, strict=True):
                    p.grad = g
                runs[name] = POGO(params, lr=1e-3, **options, **more).step
            ratios: list[float] = []
            end = time.perf_counter() + seconds
            while time.perf_counter() < end or len(ratios) < 15:
                spent = {}
                for name in sorted(runs, reverse=len(ratios) % 2 == 1):
                    begin = time.perf_counter()
                    runs[name]()
                    spent[name] = time.perf_counter() - begin
                ratios.append(spent["default"] / spent["published"])
            quartiles = statistics.quantiles(ratios[5:], n=4)
            results[label][base] = {"ratio": quartiles[1], "q25": quartiles[0], "q75": quartiles[2],
                                    "rounds": len(ratios) - 5}  # fmt: skip
            print(f"{label:<22} {base:<9} {quartiles[1]:.2f} [{quartiles[0]:.2f}, {quartiles[2]:.2f}]", flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=6.0, help="about how long each size and base is timed")
    parser.add_argument("--skip", nargs="*", default=[], choices=("errors", "times"))
    parser.add_argument("--only", nargs="*", choices=METHODS, help="methods whose errors are measured")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "command": "python benchmarks/optim_errors.py " + " ".join(sys.argv[1:]),
        "machine": machine(),
        "versions": {"lcat": lcat.__version__, "torch": torch.__version__},
        "rates": RATES,
    }
    if "times" not in options.skip:
        report["times"] = times(options.seconds)
    if "errors" not in options.skip:
        report["steps"] = options.steps
        report["errors"] = errors(options.steps, options.only or list(METHODS))
    report["machine at the end"] = machine()
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
