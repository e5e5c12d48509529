"""Problems with a known optimum: gap, orthogonality error and time of every optimizer.

    python benchmarks/optim_problems.py --output benchmarks/results/optim_problems.json
    python benchmarks/optim_problems.py --scale paper --device cuda --output optim_problems_gpu.json

Online PCA, Procrustes and many small Procrustes problems are solved by every contender from the same start with the
same number of steps. Each is tuned by the same rule: powers of four as learning rates with cosine decay, outwards until
the best is none of the ends (or beyond 1e-4 or 1e4: marked), then half and twice the best, and the best of all held
constant. The gap is that of the nearest orthonormal matrix, in float64: a point off the manifold can lie below the
optimum, and would look better than it is. Adam has momentum, so plain descent is there with momentum 0.9 as well.

Where pogo-torch is installed, its loss curves are compared with ours in double precision first.

An orthogonal CNN on scikit-learn's digits chooses its learning rate on a validation set. A unitary Born machine in
complex64 models 4 x 4 bars and stripes. Optimizers of other packages are used where they are installed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lcat
from lcat.optim import (
    POGO,
    Landing,
    LandingPC,
    RiemannianAdam,
    RiemannianSGD,
    orthogonality_error,
    orthogonalize_,
    project_,
)
from lcat.optim.measure import nearest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _measure import machine, write_results
from optim_rivals import CONTENDERS, Contender, _ours, missing, orthonormal

#: where the search for a learning rate starts, by how much it goes on, and where it ends
RATES, FACTOR, FARTHEST = (0.1, 0.4, 1.6, 6.4), 4.0, (1e-4, 1e4)
#: the other parametrizations are slower, the other retractions move alike to two digits
SKIP = (
    "torch orthogonal (matrix_exp) + SGD",
    "torch orthogonal (householder) + SGD",
    "pogo-torch, VectorAdam",
    "RiemannianSGD, polar",
    "RiemannianSGD, cayley",
)
SOLVERS: dict[str, Callable[[list[Tensor], float], Contender]] = {
    **{name: make for name, make in CONTENDERS.items() if name not in SKIP},
    "POGO, momentum": partial(_ours, POGO, momentum=0.9),
    "POGO published, momentum": partial(_ours, POGO, momentum=0.9, iteration="published", max_step=1.0),
    "POGO, momentum, tangent": partial(_ours, POGO, momentum=0.9, tangent=True),
    "POGO, vadam, tangent": partial(_ours, POGO, base="vadam", tangent=True),
    "Landing, momentum": partial(_ours, Landing, momentum=0.9),
    "Landing, momentum, tangent": partial(_ours, Landing, momentum=0.9, tangent=True),
    "LandingPC, tangent": partial(_ours, LandingPC, tangent=True),
    "RiemannianSGD, qr, momentum": partial(_ours, RiemannianSGD, momentum=0.9),
}


@dataclass
class Problem:
    """``value`` and ``gradient`` of a function of ``X (B, p, n)`` whose minimum is ``best``.

    ``value`` takes ``X`` in double precision, ``gradient`` in that of ``start`` or in double.
    """

    start: Tensor
    value: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor], Tensor]
    best: float

    def gap(self, X: Tensor) -> float:
        """``(f - best) / |best|`` at the orthonormal matrices nearest to ``X``; not a number where there are none."""
        wide = X.detach().to(double(X.dtype))
        if not bool(torch.isfinite(wide).all()):
            return float("nan")
        return (float(self.value(nearest(wide))) - self.best) / abs(self.best)


def double(dtype: torch.dtype) -> torch.dtype:
    """The double precision type that belongs to ``dtype``."""
    return torch.complex128 if dtype.is_complex else torch.float64


def pca(p: int, n: int, device: str) -> Problem:
    """The leading ``p`` directions of a covariance with spectrum ``10^0 ... 10^-3``: ``min -tr(X A X^T) / 2``.

    Its small eigenvalues lie close together, so plain descent is still on its way after some hundred steps.
    """
    Q = torch.linalg.qr(torch.randn(n, n, device=device))[0]
    spectrum = torch.logspace(0, -3, n, device=device)
    A = (Q * spectrum) @ Q.mT
    exact = A.double()
    return Problem(
        orthonormal((1, p, n), torch.float32, device),
        lambda X: -0.5 * (X @ exact * X).sum(),
        lambda X: -X @ A.to(X.dtype),
        float(-0.5 * torch.linalg.eigvalsh((exact + exact.mT) / 2)[-p:].sum()),
    )


def procrustes(batch: int, n: int, dtype: torch.dtype, device: str) -> Problem:
    """``min |X A - B|^2 / 2`` for each matrix, ``X`` square, solved with the singular vectors of ``B A^H``."""
    A = torch.randn(batch, n, n, dtype=dtype, device=device) / n**0.5
    B = torch.randn(batch, n, n, dtype=dtype, device=device) / n**0.5
    A2, B2 = A.to(double(dtype)), B.to(double(dtype))
    U, S, Vh = torch.linalg.svd(B2 @ A2.mH)
    start = orthonormal((batch, n, n), dtype, device)
    if not dtype.is_complex:
        # A path of rotations cannot reach a reflection: start in the component of the optimum.
        flip = torch.sign(torch.linalg.det(start.double()) * torch.linalg.det(U @ Vh))
        start[:, 0] *= flip.to(dtype)[:, None]
    best = 0.5 * (A2.abs().square().sum() + B2.abs().square().sum()) - S.sum()
    return Problem(
        start,
        lambda X: 0.5 * (X @ A2 - B2).abs().square().sum(),
        lambda X: (X @ A.to(X.dtype) - B.to(X.dtype)) @ A.to(X.dtype).mH,
        float(best),
    )


def solve(problem: Problem, name: str, lr: float, schedule: str, steps: int) -> dict[str, Any]:
    """One run: final gap, steps to a gap of 1e-3, final and worst orthogonality error, the median time of a step."""
    run = SOLVERS[name]([problem.start], lr)
    look = max(1, steps // 20)
    seconds, worst, reached = [], 0.0, None
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(run.optimizer, steps) if schedule == "cosine" else None
    for k in range(steps):
        run.prepare([problem.gradient(run.read()[0])])
        start = _now(problem.start)
        run.step()
        seconds.append(_now(problem.start) - start)
        if cosine is not None:
            cosine.step()
        if k < 3 or (k + 1) % look == 0:
            X = run.read()[0]
            error = orthogonality_error(X)
            worst = worst if error <= worst else error  # max() would lose what is not a number
            if not worst < float("inf"):
                break
            if reached is None and (k + 1) % look == 0 and problem.gap(X) < 1e-3:
                reached = k + 1
    X = run.read()[0]
    return {"lr": lr, "schedule": schedule, "gap": problem.gap(X), "error": orthogonality_error(X),
            "worst_error": worst, "steps_to_1e-3": reached,
            "ms_per_step": 1e3 * statistics.median(seconds)}  # fmt: skip


def _now(X: Tensor) -> float:
    if X.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def search(
    run: Callable[[float], dict[str, Any]],
    rates: tuple[float, ...],
    factor: float,
    loss: Callable[[dict[str, Any]], float],
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """All runs, and the best of them: at ``rates``, then outwards until the best rate is not one of the ends.

    Where no loss is finite it goes downwards. The best says with ``at_end`` whether the search stopped before it had
    passed it; it is None where no loss was finite.
    """
    runs = {rate: run(rate) for rate in rates}

    def height(rate: float) -> float:
        value = loss(runs[rate])
        return value if math.isfinite(value) else math.inf  # not a number is smaller than nothing

    while True:
        ends = (min(runs), max(runs))
        best = min(sorted(runs), key=lambda rate: (height(rate), rate in ends))
        is_finite = math.isfinite(height(best))
        if not is_finite:
            best = ends[0]
        beyond = best / factor if best == ends[0] else best * factor
        if best not in ends or not FARTHEST[0] <= beyond <= FARTHEST[1]:
            return list(runs.values()), runs[best] | {"at_end": best in ends} if is_finite else None
        runs[beyond] = run(beyond)


def solve_by_all(label: str, problem: Problem, steps: int) -> dict[str, Any]:
    """The best run of every contender: smallest gap among those that ended on the manifold."""
    results: dict[str, Any] = {}
    for name in SOLVERS:
        try:
            runs, first = search(lambda lr, name=name: solve(problem, name, lr, "cosine", steps), RATES, FACTOR, _gap)
            if first is None:
                results[name] = {"refused": "no learning rate ended on the manifold"}
                continue
            runs += [solve(problem, name, factor * first["lr"], "cosine", steps) for factor in (0.5, 2.0)]
            constant = solve(problem, name, min(runs, key=_gap)["lr"], "constant", steps)
        except (NotImplementedError, RuntimeError, ValueError) as error:
            results[name] = {"refused": str(error).splitlines()[0][:100]}
            continue
        best = min([*runs, constant], key=_gap)
        results[name] = best | {"at_end": first["at_end"], "gap_constant_lr": constant["gap"]}
    print(f"\n{label}  ({steps} steps)")
    for name, r in sorted(results.items(), key=lambda item: item[1].get("gap", float("inf"))):
        if "refused" in r:
            print(f"  {name:<38} {r['refused']}")
        else:
            mark = "*" if r["at_end"] else " "
            print(f"  {name:<38} gap {r['gap']:8.1e}  error {r['error']:.1e} (worst {r['worst_error']:.1e})  to 1e-3: "
                  f"{r['steps_to_1e-3'] or '-':>4}  {r['ms_per_step']:7.2f} ms  lr {r['lr']:g}{mark} {r['schedule']}, "
                  f"constant {r['gap_constant_lr']:.1e}", flush=True)  # fmt: skip
    return {"steps": steps, "best": problem.best, "methods": results}


def _gap(run: dict[str, Any]) -> float:
    """What the search minimizes: the gap, infinite for runs that ended off the manifold."""
    return float(run["gap"]) if run["gap"] == run["gap"] and run["error"] < 0.1 else float("inf")


#: ours beside the published implementation; without the guard, which that one lacks
SAME = {
    "pogo-torch": partial(_ours, POGO, iteration="published"),
    "pogo-torch, VectorAdam": partial(_ours, POGO, base="vadam", iteration="published"),
}
SAME_CURVE = 1e-9  # largest relative difference of two losses that count as equal


def compare_curves(label: str, problem: Problem, steps: int) -> dict[str, float]:
    """The largest relative difference of our loss curve to pogo-torch's, in double precision, by method and rate."""
    wide = Problem(problem.start.to(double(problem.start.dtype)), problem.value, problem.gradient, problem.best)
    differences = {}
    for theirs in filter(CONTENDERS.__contains__, SAME):
        for lr in (0.025, 0.1, 0.4):
            curves = []
            for make in (SAME[theirs], CONTENDERS[theirs]):
                run = make([wide.start], lr)
                curve = []
                for _ in range(steps):
                    X = run.read()[0]
                    curve.append(float(wide.value(X)))
                    run.advance([wide.gradient(X)])
                curves.append(torch.tensor(curve, dtype=torch.float64))
            differences[f"{theirs}, lr {lr:g}"] = float(((curves[0] - curves[1]) / curves[1]).abs().max())
    if differences:
        print(f"{label}: loss curves to pogo-torch's, largest relative difference of {steps} steps "
              + ", ".join(f"{difference:.1e}" for difference in differences.values()), flush=True)  # fmt: skip
    return differences


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


#: what is tuned in each method on the digits: one learning rate, from three values outwards
DIGITS: dict[str, tuple[tuple[float, ...], Callable[[DigitsCNN, float], torch.optim.Optimizer]]] = {}


def _on_digits(name: str, rates: tuple[float, ...], orthonormal_start: bool = True) -> Any:
    """Register a method; ``orthonormal_start`` makes its kernels orthonormal first."""

    def register(make: Callable[..., torch.optim.Optimizer]) -> Any:
        def build(model: DigitsCNN, lr: float) -> torch.optim.Optimizer:
            kernels = [model.conv1.weight, model.conv2.weight, model.conv3.weight]
            if orthonormal_start:
                orthogonalize_(kernels, matrix="conv")
            rest = [p for p in model.parameters() if all(p is not k for k in kernels)]
            groups = [{"params": kernels, "matrix": "conv"}, {"params": rest, "orthogonal": False, "lr": 1e-2}]
            return make(model, groups, lr)

        DIGITS[name] = (rates, build)
        return make

    return register


_FREE, _CONSTRAINED = (3e-3, 1e-2, 3e-2), (0.1, 0.3, 1.0)
_on_digits("Adam, free kernels", _FREE, False)(lambda m, _, lr: torch.optim.Adam(m.parameters(), lr=lr))
_on_digits("Adam, free, orthonormal start", _FREE)(lambda m, _, lr: torch.optim.Adam(m.parameters(), lr=lr))
_on_digits("POGO, vadam", _CONSTRAINED)(lambda _, groups, lr: POGO(groups, lr=lr, base="vadam"))
_on_digits("POGO, vadam, tangent", _CONSTRAINED)(lambda _, groups, lr: POGO(groups, lr=lr, base="vadam", tangent=True))
_on_digits("POGO, sgd", _CONSTRAINED)(lambda _, groups, lr: POGO(groups, lr=lr, momentum=0.9))
_on_digits("RiemannianAdam, qr", _CONSTRAINED)(lambda _, groups, lr: RiemannianAdam(groups, lr=lr))
_on_digits("Landing, vadam", _CONSTRAINED)(lambda _, groups, lr: Landing(groups, lr=lr, base="vadam"))


def digits(epochs: int = 10, seeds: int = 5) -> dict[str, Any]:
    """scikit-learn's 8 x 8 digits: test accuracy with free and with orthogonal kernels.

    Per seed 60 % of the images train, 20 % choose the learning rate, 20 % test. The Euclidean part of the orthogonal
    methods keeps a learning rate of 1e-2: every method has one rate to choose, of at least three, a factor of three
    apart.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)
    results: dict[str, Any] = {}
    for name, (rates, build) in DIGITS.items():
        tests, rates_won, errors, times = [], [], [], []
        for seed in range(seeds):
            train, held = train_test_split(range(len(y)), test_size=0.4, random_state=seed, stratify=labels)
            valid, test = train_test_split(held, test_size=0.5, random_state=seed, stratify=labels[held])

            def run(lr: float, seed: int = seed, train=train, valid=valid, test=test, build=build) -> dict[str, Any]:
                torch.manual_seed(seed)
                model = DigitsCNN()
                optimizer = build(model, lr)
                start = time.perf_counter()
                _fit(model, optimizer, x[train], y[train], epochs)
                seconds = time.perf_counter() - start
                kernels = [c.weight for c in (model.conv1, model.conv2, model.conv3)]
                return {"valid": _accuracy(model, x[valid], y[valid]), "test": _accuracy(model, x[test], y[test]),
                        "lr": lr, "error": orthogonality_error(kernels, matrix="conv"), "seconds": seconds}  # fmt: skip

            runs, best = search(run, rates, 3.0, lambda outcome: -outcome["valid"])
            if best is None:
                raise SystemExit(f"digits, {name}: no accuracy is a number")
            tests.append(best["test"])
            rates_won.append(best["lr"])
            errors.append(best["error"])
            times += [outcome["seconds"] for outcome in runs]
        results[name] = {"accuracy": tests, "mean": statistics.mean(tests), "std": statistics.stdev(tests),
                         "chosen_lr": rates_won, "error": max(errors), "seconds": statistics.median(times)}  # fmt: skip
        rates_chosen = ", ".join(f"{lr:.2g}" for lr in rates_won)
        print(f"  {name:<38} accuracy {100 * statistics.mean(tests):.2f} +- {100 * statistics.stdev(tests):.2f} %  "
              f"error {max(errors):.1e}  {statistics.median(times):.1f} s  lr {rates_chosen}", flush=True)  # fmt: skip
    return results


def _fit(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, epochs: int) -> None:
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        schedule.step()


@torch.no_grad()
def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).float().mean())


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


def born_machine(steps: int = 200, bond: int = 20) -> dict[str, Any]:
    """A unitary Born machine in complex64 on 4 x 4 bars and stripes; the bound is the log of their number.

    The bound is that of any distribution. Learning rates from three values outwards, a factor of three apart, ten times
    as large without normalization.
    """
    images = bars_and_stripes()
    everything = torch.cartesian_prod(*[torch.tensor([0, 1])] * 16)
    best = float(torch.tensor(float(len(images))).log())
    methods: dict[str, Callable[[Any, float], Any]] = {
        "POGO, vadam": lambda p, lr: POGO(p, lr=lr, base="vadam"),
        "POGO, sgd": lambda p, lr: POGO(p, lr=10 * lr, momentum=0.9),
        "POGO, vadam, tangent": lambda p, lr: POGO(p, lr=lr, base="vadam", tangent=True),
        "POGO, sgd, tangent": lambda p, lr: POGO(p, lr=10 * lr, momentum=0.9, tangent=True),
        "RiemannianAdam, qr": lambda p, lr: RiemannianAdam(p, lr=lr),
        "RiemannianSGD, qr": lambda p, lr: RiemannianSGD(p, lr=10 * lr, momentum=0.9),
        "Landing, vadam": lambda p, lr: Landing(p, lr=lr, base="vadam"),
    }
    results: dict[str, Any] = {"bound": best, "images": len(images), "bond": bond, "steps": steps}
    for name, maker in methods.items():

        def run(lr: float, maker: Callable[[Any, float], Any] = maker) -> dict[str, Any]:
            torch.manual_seed(0)
            cores = nn.Parameter(orthonormal((16, bond, 2 * bond), torch.complex64, "cpu"))
            optimizer = maker([cores], lr)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
            seconds = []
            for _ in range(steps):
                optimizer.zero_grad()
                born_loss(cores, images).backward()
                start = time.perf_counter()
                optimizer.step()
                seconds.append(time.perf_counter() - start)
                schedule.step()
            error = orthogonality_error(cores)
            project_(cores)  # off the manifold the probabilities do not add up to one
            loss = float(born_loss(cores, images).detach())
            return {"lr": optimizer.defaults["lr"], "loss": loss, "above_bound": loss - best, "error": error,
                    "ms_per_step": 1e3 * statistics.median(seconds), "cores": cores.detach()}  # fmt: skip

        _, winner = search(run, (0.1, 0.3, 1.0), 3.0, lambda outcome: outcome["loss"])
        if winner is None:
            raise SystemExit(f"Born machine, {name}: no learning rate ended with a finite loss")
        total = sum(float(torch.exp(-_each(winner["cores"], part)).sum()) for part in everything.split(8192))
        if abs(total - 1) > 1e-2:
            raise SystemExit(f"Born machine, {name}: the probabilities add up to {total}, not to one")
        results[name] = {k: v for k, v in winner.items() if k != "cores"} | {"total_probability": total}
        print(f"  {name:<38} -log p {winner['loss']:.4f} (bound {best:.4f})  error {winner['error']:.1e}  "
              f"sum of p {total:.6f}  lr {winner['lr']:g}{'*' if winner['at_end'] else ''}", flush=True)  # fmt: skip
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
            "online PCA 40x56": (partial(pca, 40, 56, device), 200),
            "Procrustes 50": (partial(procrustes, 1, 50, torch.float32, device), 200),
            "40 Procrustes 16x16": (partial(procrustes, 40, 16, torch.float32, device), 200),
            "200 Procrustes 3x3": (partial(procrustes, 200, 3, torch.float32, device), 200),
            "15 Procrustes 16x16 complex64": (partial(procrustes, 15, 16, torch.complex64, device), 200),
        }
    results: dict[str, Any] = {}
    for label, (make, steps) in problems.items():
        problem = make()
        curves = compare_curves(label, problem, steps)
        if any(difference > SAME_CURVE for difference in curves.values()):
            raise SystemExit(f"{label}: our loss curve is not pogo-torch's: {curves}")
        results[label] = solve_by_all(label, problem, steps) | {"curve_difference_to_pogo_torch": curves}
    try:
        print("\northogonal CNN on digits")
        results["orthogonal CNN on digits"] = digits()
    except ImportError as error:
        results["orthogonal CNN on digits"] = {"skipped": str(error)}
        print(f"  skipped: {error}")
    print("\nunitary Born machine on bars and stripes, complex64")
    results["unitary Born machine"] = born_machine()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--scale", default="small", choices=("small", "paper"))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, why in missing().items():
        print(f"not installed: {name} ({why})")
    report = {
        "command": "python benchmarks/optim_problems.py " + " ".join(sys.argv[1:]),
        "machine": machine() | ({"gpu": torch.cuda.get_device_name()} if options.device == "cuda" else {}),
        "versions": {"lcat": lcat.__version__, "torch": torch.__version__},
        "missing": missing(),
        "search": {"rates": RATES, "factor": FACTOR, "farthest": FARTHEST},
        "problems": solve_all(options.device, options.scale),
    }
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
