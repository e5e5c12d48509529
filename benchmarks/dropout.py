"""Dropout of features against torch's: time forward and backward, memory that waits for the backward pass.

    python benchmarks/dropout.py --output benchmarks/results/dropout.json

The sizes are hidden layers of Cora (2708 x 256) and of ogbn-arxiv (169,343 x 256). Before it is timed, the mask is
checked: values are 0 or x / (1 - p), their share is within five standard deviations of p, and the gradient has the
same mask. Memory is the peak of a forward pass: its result, and what is kept for the backward pass. Every combination
of threads and allocator (see ``_measure.ALLOCATORS``) runs in a process of its own.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _measure import ALLOCATORS, interleaved, machine, peak_megabytes, write_results
from torch import Tensor

from lcat.ops import dropout

SHAPES = {"Cora": (2708, 256), "ogbn-arxiv": (169_343, 256)}
P = 0.5


def step(function: Callable[[Tensor, float], Tensor], x: Tensor, grad: Tensor) -> Callable[[], Tensor | None]:
    """One pass forward and backward."""

    def run() -> Tensor | None:
        x.grad = None
        function(x, P).backward(grad)
        return x.grad

    return run


def check(function: Callable[[Tensor, float], Tensor], x: Tensor) -> None:
    """The mask's values, share and gradient."""
    y = function(x, P)
    keep = y != 0
    share = keep.double().mean().item()
    if abs(share - (1 - P)) > 5 * math.sqrt(P * (1 - P) / x.numel()):
        raise SystemExit(f"{share:.5f} of the entries are kept, expected about {1 - P}")
    torch.testing.assert_close(y[keep], x[keep] / (1 - P))
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(grad, keep / (1 - P))


def measure(rounds: int) -> list[dict[str, Any]]:
    """Every size in this process."""
    rows = []
    contenders = {"lcat": dropout, "torch": F.dropout}
    for name, shape in SHAPES.items():
        torch.manual_seed(0)
        x, grad = torch.rand(shape).add_(1).requires_grad_(), torch.ones(shape)
        for function in contenders.values():
            check(function, x)
        runs = {label: step(function, x, grad) for label, function in contenders.items()}
        memory = {label: peak_megabytes(functools.partial(function, x, P)) for label, function in contenders.items()}
        times = interleaved(runs, rounds)
        rows.append({"size": name, "shape": shape, "milliseconds": times, "megabytes forward": memory,
                     "ratio": times["lcat"] / times["torch"]})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one combination, as JSON
    options = parser.parse_args()
    if options.here:
        torch.set_num_threads(options.threads[0])
        print(json.dumps(measure(options.rounds)))
        return
    report: dict[str, Any] = {
        "command": "python benchmarks/dropout.py " + " ".join(sys.argv[1:]), "machine": machine(), "rows": [],
    }  # fmt: skip
    for threads in options.threads:
        for mode, variables in ALLOCATORS.items():
            command = [sys.executable, __file__, "--here", "--threads", str(threads), "--rounds", str(options.rounds)]
            done = subprocess.run(command, env={**os.environ, **variables}, check=True, capture_output=True, text=True)
            for row in json.loads(done.stdout):
                report["rows"].append({"threads": threads, "allocator": mode, **row})
                ms, mb = row["milliseconds"], row["megabytes forward"]
                print(f"{row['size']:<11} {threads} thread(s), {mode:<8} {ms['lcat']:8.2f} ms of {ms['torch']:8.2f} "
                      f"({row['ratio']:.2f}), {mb['lcat']:6.0f} MB of {mb['torch']:6.0f}", flush=True)  # fmt: skip
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
