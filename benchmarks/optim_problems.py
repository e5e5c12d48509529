"""Problems with a known optimum for benchmarks/optim.py: gap, orthogonality error and time of every method.

Every method gets the same small grid of learning rates and the same number of steps; the best final gap is reported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from optim_rivals import CONTENDERS, orthonormal
from torch import Tensor, nn

from lcat.optim import POGO, Landing, RiemannianAdam, RiemannianSGD, orthogonality_error, orthogonalize_

GRID = (0.05, 0.15, 0.5, 1.5, 5.0)
SKIP = ("torch orthogonal (matrix_exp) + SGD", "torch orthogonal (householder) + SGD", "pogo-torch, VectorAdam")


@dataclass
class Problem:
    """``value`` and ``gradient`` of a function of ``X (B, p, n)`` whose minimum is ``best``."""

    start: Tensor
    value: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor], Tensor]
    best: float

    def gap(self, X: Tensor) -> float:
        return abs(float(self.value(X)) - self.best) / abs(self.best)


def pca(p: int, n: int, device: str) -> Problem:
    """The leading ``p`` directions of a covariance with spectrum ``10^0 ... 10^-3``: ``min -tr(X A X^T) / 2``."""
    Q = torch.linalg.qr(torch.randn(n, n, device=device))[0]
    spectrum = torch.logspace(0, -3, n, device=device)
    A = (Q * spectrum) @ Q.mT
    return Problem(
        orthonormal((1, p, n), torch.float32, device),
        lambda X: -0.5 * (X @ A * X).double().sum(),
        lambda X: -X @ A,
        float(-0.5 * spectrum[:p].double().sum()),
    )


def procrustes(batch: int, n: int, dtype: torch.dtype, device: str) -> Problem:
    """``min |X A - B|^2 / 2`` a matrix, ``X`` square, solved by the singular vectors of ``B A^H``."""
    A = torch.randn(batch, n, n, dtype=dtype, device=device) / n**0.5
    B = torch.randn(batch, n, n, dtype=dtype, device=device) / n**0.5
    U, S, Vh = torch.linalg.svd((B @ A.mH).to(torch.complex128 if dtype.is_complex else torch.float64))
    start = orthonormal((batch, n, n), dtype, device)
    if not dtype.is_complex:
        # A path of rotations cannot reach a reflection: start in the component of the optimum.
        flip = torch.sign(torch.linalg.det(start.double()) * torch.linalg.det(U @ Vh))
        start[:, 0] *= flip.to(dtype)[:, None]
    best = 0.5 * (A.abs().double().square().sum() + B.abs().double().square().sum()) - S.sum()
    return Problem(
        start,
        lambda X: 0.5 * (X @ A - B).abs().double().square().sum(),
        lambda X: (X @ A - B) @ A.mH,
        float(best),
    )


def solve(problem: Problem, name: str, lr: float, steps: int) -> dict[str, Any]:
    """One run: final gap, worst and final orthogonality error, seconds in the optimizer, the curve of the loss."""
    run = CONTENDERS[name]([problem.start], lr)
    seconds, worst, curve = 0.0, 0.0, []
    for k in range(steps):
        X = run.read()[0]
        run.prepare([problem.gradient(X)])
        start = time.perf_counter()
        run.step()
        seconds += time.perf_counter() - start
        if k % max(1, steps // 25) == 0 or k in (1, 5):
            X = run.read()[0]
            worst = max(worst, orthogonality_error(X))
            curve.append(float(problem.value(X)))
    X = run.read()[0]
    return {"lr": lr, "gap": problem.gap(X), "error": orthogonality_error(X), "worst_error": worst,
            "ms_per_step": 1e3 * seconds / steps, "curve": curve}  # fmt: skip


def solve_by_all(label: str, problem: Problem, steps: int) -> dict[str, Any]:
    """The best of the grid for every contender, and how far POGO's loss curve is from pogo-torch's."""
    results: dict[str, Any] = {}
    runs: dict[tuple[str, float], dict[str, Any]] = {}
    for name in CONTENDERS:
        if name in SKIP:
            continue
        found = []
        for lr in GRID:
            try:
                outcome = solve(problem, name, lr, steps)
            except (NotImplementedError, RuntimeError, ValueError) as error:
                results[name] = {"refused": str(error).splitlines()[0][:100]}
                break
            runs[name, lr] = outcome
            if outcome["gap"] == outcome["gap"] and outcome["error"] < 0.1:  # a number, and on the manifold
                found.append(outcome)
        if found:
            results[name] = min(found, key=lambda outcome: outcome["gap"])
        else:
            results.setdefault(name, {"refused": "no learning rate of the grid stayed on the manifold"})
    curves = {}
    for lr in GRID:
        if ("pogo-torch", lr) in runs:
            ours, theirs = runs["POGO", lr]["curve"], runs["pogo-torch", lr]["curve"]
            curves[str(lr)] = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))
    print(f"\n{label}  ({steps} steps, best of lr {GRID})")
    for name, r in sorted(results.items(), key=lambda item: item[1].get("gap", float("inf"))):
        if "refused" in r:
            print(f"  {name:<38} {r['refused']}")
        else:
            print(f"  {name:<38} gap {r['gap']:.1e}  error {r['error']:.1e} (worst {r['worst_error']:.1e})  "
                  f"{r['ms_per_step']:8.2f} ms  lr {r['lr']}")  # fmt: skip
    if curves:
        print(
            "  loss curves, POGO to pogo-torch, largest relative difference:",
            {k: f"{v:.1e}" for k, v in curves.items()},
        )
    return {"steps": steps, "methods": results, "curve_difference_to_pogo_torch": curves}


class DigitsCNN(nn.Module):
    """Three convolutions whose kernels, read as matrices, have orthonormal rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 9, 3, padding=1)
        self.conv2 = nn.Conv2d(9, 32, 3, padding=1, stride=2)
        self.conv3 = nn.Conv2d(32, 64, 3, padding=1, stride=2)
        self.last = nn.Linear(64 * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3):
            x = conv(x).relu()
        return self.last(x.flatten(1))


def digits(epochs: int = 15, seeds: int = 3) -> dict[str, Any]:
    """scikit-learn's 8 x 8 digits: test accuracy with all weights free (Adam) and with orthogonal kernels."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    results: dict[str, Any] = {}

    def groups(model: DigitsCNN) -> list[dict[str, Any]]:
        kernels = [model.conv1.weight, model.conv2.weight, model.conv3.weight]
        orthogonalize_(kernels, matrix="conv")
        rest = [p for p in model.parameters() if all(p is not k for k in kernels)]
        return [{"params": kernels, "matrix": "conv"}, {"params": rest, "orthogonal": False, "lr": 3e-3}]

    makers: dict[str, Callable[[DigitsCNN], Any]] = {
        "Adam, free kernels": lambda m: torch.optim.Adam(m.parameters(), lr=3e-3),
        "POGO vadam, orthogonal kernels": lambda m: POGO(groups(m), lr=0.1, base="vadam"),
        "POGO sgd, orthogonal kernels": lambda m: POGO(groups(m), lr=0.1, momentum=0.9),
        "RiemannianAdam, orthogonal kernels": lambda m: RiemannianAdam(groups(m), lr=0.1),
        "Landing, orthogonal kernels": lambda m: Landing(groups(m), lr=0.1, momentum=0.9),
    }
    for name, maker in makers.items():
        accuracies, errors, seconds = [], [], []
        for seed in range(seeds):
            x1, x2, y1, y2 = train_test_split(images, labels, test_size=0.3, random_state=seed, stratify=labels)
            train, test = (torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8) / 16 for x in (x1, x2))
            targets, wanted = torch.tensor(y1), torch.tensor(y2)
            torch.manual_seed(seed)
            model = DigitsCNN()
            optimizer = maker(model)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
            start = time.perf_counter()
            for _ in range(epochs):
                for batch in torch.randperm(len(train)).split(64):
                    optimizer.zero_grad()
                    F.cross_entropy(model(train[batch]), targets[batch]).backward()
                    optimizer.step()
                schedule.step()
            seconds.append(time.perf_counter() - start)
            with torch.no_grad():
                accuracies.append(float((model(test).argmax(1) == wanted).float().mean()))
            errors.append(
                orthogonality_error([c.weight for c in (model.conv1, model.conv2, model.conv3)], matrix="conv")
            )
        results[name] = {"accuracy": accuracies, "error": max(errors), "seconds": statistics.median(seconds)}
        print(f"  {name:<38} accuracy {100 * statistics.mean(accuracies):.2f} %  error {max(errors):.1e}")
    return results


def bars_and_stripes(side: int = 4) -> Tensor:
    """The images whose rows are constant or whose columns are: ``2 (2^side - 1)`` of them, as bits."""
    rows = torch.cartesian_prod(*[torch.tensor([0, 1])] * side)
    bars = rows[:, :, None].expand(-1, side, side).reshape(-1, side * side)
    stripes = rows[:, None, :].expand(-1, side, side).reshape(-1, side * side)
    return torch.unique(torch.cat((bars, stripes)), dim=0)


def _each(cores: Tensor, images: Tensor) -> Tensor:
    """``-log p`` of every image."""
    N, D, _ = cores.shape
    A = cores.view(N, D, 2, D).transpose(1, 2)
    v = torch.zeros(len(images), 1, D, dtype=cores.dtype)
    v[:, 0, 0] = 1
    for site in range(N):
        v = v @ A[site][images[:, site]]
    return -v.abs().square().sum((1, 2)).clamp_min(1e-30).log()


def born_loss(cores: Tensor, images: Tensor) -> Tensor:
    """Mean ``-log p`` under a matrix product state: ``p(x) = |e_1^T A_1[x_1] ... A_N[x_N]|^2``.

    The cores ``(N, D, 2 D)`` have orthonormal rows, ``sum_s A[s] A[s]^H = I`` (right-canonical), so the
    probabilities of all images add up to one.
    """
    return _each(cores, images).mean()


def born_machine(steps: int = 400, bond: int = 20) -> dict[str, Any]:
    """A unitary Born machine in complex64 on 4 x 4 bars and stripes; the bound is the log of their number.

    The bound is that of any distribution; bond 20 reaches it, bond 8 does not. Best of three learning rates.
    """
    images = bars_and_stripes()
    everything = torch.cartesian_prod(*[torch.tensor([0, 1])] * 16)
    best = float(torch.tensor(float(len(images))).log())
    methods: dict[str, Callable[[Any, float], Any]] = {
        "POGO, vadam": lambda p, lr: POGO(p, lr=lr, base="vadam"),
        "POGO, sgd": lambda p, lr: POGO(p, lr=10 * lr, momentum=0.9),
        "RiemannianAdam, qr": lambda p, lr: RiemannianAdam(p, lr=lr),
        "RiemannianSGD, qr": lambda p, lr: RiemannianSGD(p, lr=10 * lr, momentum=0.9),
        "Landing, vadam": lambda p, lr: Landing(p, lr=lr, base="vadam"),
    }
    results: dict[str, Any] = {"bound": best, "images": len(images), "bond": bond}
    for name, maker in methods.items():
        found = []
        for lr in (0.1, 0.3, 1.0):
            torch.manual_seed(0)
            cores = nn.Parameter(orthonormal((16, bond, 2 * bond), torch.complex64, "cpu"))
            optimizer = maker([cores], lr)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            seconds = 0.0
            for _ in range(steps):
                optimizer.zero_grad()
                born_loss(cores, images).backward()
                start = time.perf_counter()
                optimizer.step()
                seconds += time.perf_counter() - start
                schedule.step()
            loss = float(born_loss(cores, images).detach())
            found.append({"lr": optimizer.defaults["lr"], "loss": loss, "above_bound": loss - best,
                          "error": orthogonality_error(cores), "ms_per_step": 1e3 * seconds / steps,
                          "cores": cores.detach()})  # fmt: skip
        chosen = min(found, key=lambda outcome: outcome["loss"])
        total = sum(float(torch.exp(-_each(chosen["cores"], part)).sum()) for part in everything.split(8192))
        if abs(total - 1) > 1e-2:
            raise SystemExit(f"Born machine, {name}: the probabilities add up to {total}, not to one")
        results[name] = {k: v for k, v in chosen.items() if k != "cores"} | {"total_probability": total}
        print(f"  {name:<38} -log p {chosen['loss']:.4f} (bound {best:.4f})  error {chosen['error']:.1e}  "
              f"sum of p {total:.6f}  lr {chosen['lr']:g}")  # fmt: skip
    return results


def solve_all(device: str, scale: str) -> dict[str, Any]:
    """Every problem, at the size of a CPU or of the paper."""
    torch.manual_seed(0)
    if scale == "paper":
        problems = {
            "online PCA 1500x2000": (partial(pca, 1500, 2000, device), 3000),
            "Procrustes 2000": (partial(procrustes, 1, 2000, torch.float32, device), 500),
            "10000 Procrustes 16x16": (partial(procrustes, 10_000, 16, torch.float32, device), 500),
            "100000 Procrustes 3x3": (partial(procrustes, 100_000, 3, torch.float32, device), 500),
            "10000 Procrustes 16x16 complex64": (partial(procrustes, 10_000, 16, torch.complex64, device), 500),
        }
    else:
        problems = {
            "online PCA 150x210": (partial(pca, 150, 210, device), 300),
            "Procrustes 100": (partial(procrustes, 1, 100, torch.float32, device), 300),
            "300 Procrustes 16x16": (partial(procrustes, 300, 16, torch.float32, device), 300),
            "2000 Procrustes 3x3": (partial(procrustes, 2000, 3, torch.float32, device), 300),
            "100 Procrustes 16x16 complex64": (partial(procrustes, 100, 16, torch.complex64, device), 300),
        }
    results: dict[str, Any] = {}
    for label, (make, steps) in problems.items():
        results[label] = solve_by_all(label, make(), steps)
    try:
        print("\northogonal CNN on digits")
        results["orthogonal CNN on digits"] = digits()
    except ImportError as error:
        results["orthogonal CNN on digits"] = {"skipped": str(error)}
        print(f"  skipped: {error}")
    print("\nunitary Born machine on bars and stripes, complex64")
    results["unitary Born machine"] = born_machine()
    return results
