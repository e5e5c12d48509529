"""Linear maps of bags of words against torch's dense product: forward, and the gradient of the weights.

    python benchmarks/sparse_features.py --output benchmarks/results/sparse_features.json

The features have the rows, columns and density of data sets, "batch" those of a sampled batch of CS. "kept" are the
same in every call, as in training on a whole graph; "new" are another tensor in every call, as in mini-batches, so
they are searched for entries and grouped each time (their memory is the same one, in the caches of the processor).
Values and gradients are compared with the dense product before anything is timed. The contenders take turns in one
process, once for each number of threads and allocator (``_measure.ALLOCATORS``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from _measure import ALLOCATORS, interleaved, machine, write_results
from torch import Tensor

from lcat.ops import sparse_features, sparse_linear


class Features(NamedTuple):
    """A matrix of random bags of words."""

    rows: int
    columns: int
    density: float


SIZES = {
    "Cora": Features(2708, 1433, 0.0127),
    "CiteSeer": Features(3327, 3703, 0.0085),
    "batch": Features(1500, 6805, 0.0088),
    "DBLP": Features(17_716, 1639, 0.0032),
    "CS": Features(18_333, 6805, 0.0088),
}
WIDTHS = (16, 64, 256)


def by_entries(x: Tensor, weight: Tensor) -> Tensor:
    """What layers do."""
    matrix = sparse_features(x)
    if matrix is None:
        raise SystemExit(f"features of shape {list(x.shape)} are not taken for sparse ones")
    return sparse_linear(matrix, weight)


def by_entries_of_another(x: Tensor, weight: Tensor) -> Tensor:
    """The same for a tensor that was not seen before."""
    return by_entries(x.view(x.shape), weight)


def step(function: Callable[[Tensor], Tensor], weight: Tensor, grad: Tensor) -> Callable[[], Tensor | None]:
    """One pass forward and backward."""

    def run() -> Tensor | None:
        weight.grad = None
        function(weight).backward(grad)
        return weight.grad

    return run


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every size and width in this process."""
    rows = []
    for name in options.sizes:
        size = SIZES[name]
        torch.manual_seed(0)
        x = torch.rand(size.rows, size.columns)
        x *= torch.rand_like(x) < size.density
        for width in WIDTHS:
            weight = torch.randn(width, size.columns, requires_grad=True)
            grad = torch.randn(size.rows, width)
            runs = {
                "kept": step(partial(by_entries, x), weight, grad),
                "new": step(partial(by_entries_of_another, x), weight, grad),
                "dense": step(partial(F.linear, x), weight, grad),
            }
            torch.testing.assert_close(by_entries(x, weight), F.linear(x, weight), rtol=1e-4, atol=1e-4)
            for run in (runs["kept"], runs["new"]):
                torch.testing.assert_close(run(), runs["dense"](), rtol=1e-3, atol=1e-3)
            times = interleaved(runs, options.rounds)
            rows.append({
                "features": name, **size._asdict(), "width": width, "milliseconds": times,
                "dense over kept": times["dense"] / times["kept"], "dense over new": times["dense"] / times["new"],
            })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--threads", type=int, nargs="*", default=sorted({1, os.cpu_count() or 1}))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one combination, as JSON
    options = parser.parse_args()
    if options.here:
        torch.set_num_threads(options.threads[0])
        print(json.dumps(measure(options)))
        return
    report: dict[str, Any] = {
        "command": "python benchmarks/sparse_features.py " + " ".join(sys.argv[1:]), "machine": machine(), "rows": [],
    }  # fmt: skip
    for threads in options.threads:
        for mode, variables in ALLOCATORS.items():
            command = [sys.executable, __file__, "--here", "--threads", str(threads), "--rounds", str(options.rounds)]
            command += ["--sizes", *options.sizes]
            done = subprocess.run(
                command, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE, text=True
            )
            for row in json.loads(done.stdout):
                report["rows"].append({"threads": threads, "allocator": mode, **row})
                ms = row["milliseconds"]
                print(f"{row['features']:<9} x {row['width']:<4} {threads} thread(s), {mode:<8} ms: "
                      f"kept {ms['kept']:.2f}, new {ms['new']:.2f}, dense {ms['dense']:.2f}", flush=True)  # fmt: skip
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
