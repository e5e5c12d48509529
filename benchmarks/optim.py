"""Orthogonal optimizers: time of a step against rivals, then problems with a known optimum.

    python benchmarks/optim.py --output benchmarks/results/optim.json
    python benchmarks/optim.py --scale paper --device cuda --output benchmarks/results/optim_gpu.json

First the numbers are checked (our published step against the formula in float64, and against pogo-torch where it is
installed); if they differ nothing is timed. Then all contenders make steps in turns in one process, on the same
gradients: medians of the time and of the ratio to the reference within a round. On Linux the steps are timed twice,
with the C library's allocator as it is and with one that keeps freed memory, because memory touched for the first time
is expensive on virtual machines; claim the larger ratio.

Rivals are used where they are installed and named as missing where not: ``pogo-torch`` (GPL-3; the published POGO) and
``geoopt`` from PyPI, ``landing`` from github.com/pierreablin/landing (the package of that name on PyPI is something
else). Without pogo-torch the reference is our own default.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import lcat
from lcat._environment import gpu_names, load_average, package_version, processor
from lcat._json import strict_json
from lcat.optim import naive
from lcat.optim.products import algebra_for

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _measure import write_results
from optim_rivals import CONTENDERS, Contender, missing, orthonormal

ROOT = Path(__file__).resolve().parents[1]

#: what is timed: name, shape of one parameter, how many parameters, dtype
SIZES: dict[str, tuple[tuple[int, ...], int, torch.dtype]] = {
    "500x700": ((1, 500, 700), 1, torch.float32),
    "1000 x 16x16": ((1000, 16, 16), 1, torch.float32),
    "10000 x 3x3": ((10_000, 3, 3), 1, torch.float32),
    "1000 parameters 16x16": ((1, 16, 16), 1000, torch.float32),
    "64 parameters 64x64": ((1, 64, 64), 64, torch.float32),
    "300x300": ((1, 300, 300), 1, torch.float32),
    "64x1024": ((1, 64, 1024), 1, torch.float32),
    "500x700 complex64": ((1, 500, 700), 1, torch.complex64),
    "1000 x 16x16 complex64": ((1000, 16, 16), 1, torch.complex64),
    "10000 x 3x3 complex64": ((10_000, 3, 3), 1, torch.complex64),
}
PAPER_SIZES: dict[str, tuple[tuple[int, ...], int, torch.dtype]] = {
    "1500x2000": ((1, 1500, 2000), 1, torch.float32),
    "10000 x 16x16": ((10_000, 16, 16), 1, torch.float32),
    "100000 x 3x3": ((100_000, 3, 3), 1, torch.float32),
    "1000 parameters 16x16": ((1, 16, 16), 1000, torch.float32),
    "18 parameters 1024x1024": ((1, 1024, 1024), 18, torch.float32),
    "10000 x 16x16 complex64": ((10_000, 16, 16), 1, torch.complex64),
}
FOUR, DEFAULT, REFERENCE = "POGO, identity gram (4 products)", "POGO", "pogo-torch"
PUBLISHED = "POGO, published"
#: largest ratio to pogo-torch that is aimed at: four products, default
TARGETS = {
    "500x700": (0.65, 0.85),
    "1000 x 16x16": (0.45, 0.60),
    "10000 x 3x3": (0.50, 0.60),
    "1000 parameters 16x16": (1 / 12, 1 / 10),
    "500x700 complex64": (0.65, None),
    "1000 x 16x16 complex64": (0.65, None),
    "10000 x 3x3 complex64": (0.65, None),
}
PRODUCTS_TARGET = 1.15


def wait(device: str) -> None:
    """Until the device has finished what was launched."""
    if device == "cuda":
        torch.cuda.synchronize()


def interleaved(runs: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each call in each round; one call of each a round, the order turning."""
    names = list(runs)
    for name in names:
        runs[name]()
    times: dict[str, list[float]] = {name: [] for name in names}
    for k in range(rounds):
        for i in range(len(names)):
            name = names[(i + k) % len(names)]
            wait(device)
            start = time.perf_counter()
            runs[name]()
            wait(device)
            times[name].append(time.perf_counter() - start)
    return times


def summary(times: dict[str, list[float]], reference: str) -> dict[str, dict[str, float]]:
    """Median milliseconds; median and quartiles of the ratio to the reference within a round; ratio of the best."""
    result = {}
    for name, series in times.items():
        ratios = [t / r for t, r in zip(series, times[reference], strict=True)]
        quartiles = statistics.quantiles(ratios, n=4)
        result[name] = {
            "ms": 1e3 * statistics.median(series),
            "ratio": statistics.median(ratios),
            "ratio_of_best": min(series) / min(times[reference]),
            "ratio_q25": quartiles[0],
            "ratio_q75": quartiles[2],
        }
    return result


def check_numbers(device: str) -> dict[str, float]:
    """Largest deviations of our step; raises where they are not rounding."""
    worst: dict[str, float] = {}
    for dtype in (torch.float64, torch.complex128):
        for shape in ((1, 50, 70), (20, 16, 16), (600, 3, 3), (2, 8, 64)):
            X, G = orthonormal(shape, dtype, device), 0.1 * torch.randn(shape, dtype=dtype, device=device)
            for name in (PUBLISHED, FOUR):
                run = CONTENDERS[name]([X], 0.1)
                run.advance([G])
                difference = float((run.read()[0] - naive.pogo(X, G, 0.1)).abs().max())
                worst[f"{name}, one step against the formula"] = max(
                    difference, worst.get(f"{name}, one step against the formula", 0.0)
                )
            if REFERENCE in CONTENDERS:
                ours, theirs = CONTENDERS[PUBLISHED]([X], 0.1), CONTENDERS[REFERENCE]([X], 0.1)
                for k in range(50):
                    torch.manual_seed(k)
                    G = 0.1 * torch.randn(shape, dtype=dtype, device=device)
                    ours.advance([G])
                    theirs.advance([G])
                name = "POGO against pogo-torch, 50 steps"
                worst[name] = max(worst.get(name, 0.0), float((ours.read()[0] - theirs.read()[0]).abs().max()))
    for name, difference in worst.items():
        if not difference < 1e-10:
            raise SystemExit(f"{name}: differs by {difference:.1e}; nothing is timed")
    return worst


def products_of(X: Tensor, D: Tensor, exact: bool) -> Callable[[], None]:
    """Only the matrix products of a step, as the step itself computes them, into memory that is there."""
    algebra = algebra_for(X)
    X, D = algebra.pack(X), algebra.pack(D)
    H, K, C = (algebra.gram(X) for _ in range(3))
    T, Y = torch.empty_like(X), torch.empty_like(X)
    Dh = algebra.mH(D)

    def run() -> None:
        algebra.mm(X, Dh, H)
        if exact:
            algebra.gram(X, K)
            algebra.mm(K, D, T)
            algebra.addmm_(T, H, X)
        else:
            algebra.mm(H, X, T)
        algebra.gram(T, C)
        algebra.mm(C, T, Y)

    return run


def time_steps(sizes: dict[str, Any], names: list[str], seconds: float, device: str) -> dict[str, Any]:
    """The step of every contender at every size, and the products alone."""
    results: dict[str, Any] = {}
    reference = REFERENCE if REFERENCE in names else DEFAULT
    for label, (shape, count, dtype) in sizes.items():
        torch.manual_seed(0)
        Xs = [orthonormal(shape, dtype, device) for _ in range(count)]
        Gs = [1e-3 * torch.randn_like(X) for X in Xs]
        runs: dict[str, Callable[[], Any]] = {}
        for name in names:
            if count > 1 and "orthogonal (" in name:
                continue  # a module for each of a thousand weights says nothing about a step
            try:
                contender: Contender = CONTENDERS[name](Xs, 0.01)
                contender.advance(Gs)
            except (NotImplementedError, RuntimeError, ValueError) as error:
                results.setdefault("refused", {})[f"{label}: {name}"] = str(error).splitlines()[0][:120]
                continue
            contender.prepare(Gs)
            runs[name] = contender.step
        if count == 1 and shape[0] == 1:
            runs["products of the default"] = products_of(Xs[0], Gs[0], True)
            runs["products of the 4-product form"] = products_of(Xs[0], Gs[0], False)
        measured, rounds = {}, {}
        for part, members in in_parts(runs, reference).items():
            once = sum(times[0] for times in interleaved(members, 1, device).values())
            rounds[part] = max(9, min(400, int(seconds / max(once, 1e-6))))
            methods = summary(interleaved(members, rounds[part], device), reference)
            measured.update({name: m for name, m in methods.items() if part == "main" or name != reference})
        if "products of the default" in measured:
            for name, floor in ((DEFAULT, "products of the default"), (FOUR, "products of the 4-product form")):
                measured[name]["to_products"] = measured[name]["ratio"] / measured[floor]["ratio"]
        results[label] = {"rounds": rounds, "reference": reference, "steps": measured}
        show(label, results[label])
    return results


def in_parts(runs: dict[str, Callable[[], Any]], reference: str) -> dict[str, dict[str, Callable[[], Any]]]:
    """The claims, the other contenders, and the slow ones: each in separate rounds, with the reference.

    A contender that moves much memory or takes long changes what the next one finds in the caches; the claimed
    ratios are measured among those that they are about.
    """
    once = {name: times[0] for name, times in interleaved(runs, 1, "cpu").items()}
    main = [reference, DEFAULT, FOUR, "products of the default", "products of the 4-product form"]
    slow = [name for name in runs if once[name] > 5 * once[reference] and name not in main]
    rest = [name for name in runs if name not in main and name not in slow]
    parts = {"main": main, "others": [reference, *rest], "slow": [reference, *slow]}
    return {
        part: {n: runs[n] for n in dict.fromkeys(names) if n in runs} for part, names in parts.items() if len(names) > 1
    }


def show(label: str, result: dict[str, Any]) -> None:
    """One size as a table."""
    rounds = ", ".join(f"{part} {count}" for part, count in result["rounds"].items())
    print(f"\n{label}  (ratio to {result['reference']}; rounds: {rounds})")
    for name, m in sorted(result["steps"].items(), key=lambda item: item[1]["ratio"]):
        extra = f"   {m['to_products']:.2f}x its products" if "to_products" in m else ""
        print(
            f"  {name:<38} {m['ms']:9.3f} ms  {m['ratio']:7.3f}  [{m['ratio_q25']:.3f}, {m['ratio_q75']:.3f}]"
            f"  best {m['ratio_of_best']:.3f}{extra}"
        )


def verdicts(modes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every target with the worst measured ratio over the allocator modes."""
    rows: list[dict[str, Any]] = []
    for label, (four, default) in TARGETS.items():
        for name, max_ratio in ((FOUR, four), (DEFAULT, default)):
            ratios = [mode[label]["steps"][name]["ratio"] for mode in modes.values() if label in mode]
            usable = all(mode.get(label, {}).get("reference") == REFERENCE for mode in modes.values())
            if max_ratio is not None and ratios and usable:
                rows.append(
                    {
                        "size": label,
                        "form": name,
                        "most": max_ratio,
                        "worst": max(ratios),
                        "met": max(ratios) <= max_ratio,
                    }
                )
    for name in (FOUR, DEFAULT):
        ratios = [mode["500x700"]["steps"][name]["to_products"] for mode in modes.values() if "500x700" in mode]
        if ratios:
            worst = max(ratios)
            rows.append({"size": "500x700, to its products", "form": name, "most": PRODUCTS_TARGET, "worst": worst,
                         "met": worst <= PRODUCTS_TARGET})  # fmt: skip
    return rows


def versions() -> dict[str, str]:
    packages = ("torch", "pogo-torch", "geoopt", "landing", "scikit-learn")
    installed = {package: package_version(package) or "not installed" for package in packages}
    return {"python": platform.python_version(), "lcat": lcat.__version__, **installed}


def machine(device: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"cpu": processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    load = load_average()
    if load is not None:
        facts["load"] = load
    if device == "cuda":
        facts["gpu"] = gpu_names()[torch.cuda.current_device()]
    return facts


def with_kept_memory(arguments: list[str]) -> dict[str, Any] | None:
    """The same timings in a process whose allocator gives nothing back to the system (glibc only)."""
    if platform.libc_ver()[0] != "glibc":
        return None
    keeps_memory = {
        "MALLOC_TRIM_THRESHOLD_": "4000000000",
        "MALLOC_MMAP_THRESHOLD_": "4000000000",
        "MALLOC_TOP_PAD_": "268435456",
    }
    path = ROOT / "benchmarks" / "results" / f".optim_kept_{os.getpid()}.json"
    print("\n== the same with an allocator that keeps freed memory ==")
    try:
        subprocess.run(
            [sys.executable, __file__, *arguments, "--steps-only", str(path)],
            env={**os.environ, **keeps_memory},
            check=True,
        )
        return dict(json.loads(path.read_text()))
    finally:
        path.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--scale", default="small", choices=("small", "paper"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0, help="about how long each size is timed")
    parser.add_argument("--only", nargs="*", help="contenders to time (the reference is added)")
    parser.add_argument("--skip", nargs="*", default=[], choices=("steps", "problems", "kept"))
    parser.add_argument("--steps-only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, why in missing().items():
        print(f"not installed: {name} ({why})")
    checked = check_numbers(options.device)
    for name, difference in checked.items():
        print(f"{name}: {difference:.1e}")
    names = [n for n in CONTENDERS if not options.only or n in options.only or n in (REFERENCE, DEFAULT, FOUR)]
    sizes = PAPER_SIZES if options.scale == "paper" else SIZES
    if options.steps_only:
        options.steps_only.write_text(strict_json(time_steps(sizes, names, options.seconds, options.device)))
        return
    report: dict[str, Any] = {
        "command": "python benchmarks/optim.py " + " ".join(sys.argv[1:]),
        "machine": machine(options.device),
        "versions": versions(),
        "missing": missing(),
        "checked": checked,
    }
    if "steps" not in options.skip:
        modes = {"as it is": time_steps(sizes, names, options.seconds, options.device)}
        if "kept" not in options.skip and options.device == "cpu":
            again = [a for i, a in enumerate(sys.argv[1:], 1) if a != "--output" and sys.argv[i - 1] != "--output"]
            with_memory = with_kept_memory(again)
            if with_memory is not None:
                modes["kept memory"] = with_memory
        report["steps"] = modes
        report["targets"] = verdicts(modes)
        print("\ntargets (worst of the allocator modes)")
        for row in report["targets"]:
            met = "met " if row["met"] else "MISS"
            print(f"  {met} {row['size']:<28} {row['form']:<34} {row['worst']:.3f} <= {row['most']:.3f}")
    if "problems" not in options.skip:
        from optim_problems import solve_all

        report["problems"] = solve_all(options.device, options.scale)
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
