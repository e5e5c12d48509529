"""Compile the kernels that gpu.py will launch, on all cores: Triton keeps them in its cache folder.

    python benchmarks/gpu_warm.py --processes 14            # for the tests and all parts but "tiles"
    python benchmarks/gpu_warm.py --processes 14 --tiles

Constants of a kernel (heads, features, types, options) are the same on a graph of 2,000 edges, so later runs find what
they need. Processes share nothing but the cache; a case that fails is named, and the others go on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import Any

import _source_tree  # noqa: F401
import torch
from _gpu_work import PRIMITIVES, Shape, layer_pairs, layer_step, operator_step, skewed_edges, view_of

WIDTHS = [(1, 16), (1, 64), (8, 8), (8, 16), (8, 32), (8, 64), (16, 64), (1, 47)]
CASES = [
    (heads, features, dtype, dropout)
    for heads, features in WIDTHS
    for dtype in ("float32", "bfloat16")
    for dropout in (0.0, 0.6)
]
NODES, EDGES = 500, 2_000


def compile_case(heads: int, features: int, dtype: str, dropout: float, device: torch.device) -> None:
    """Each operator and each layer once, forward and backward."""
    shape = Shape(heads, features, getattr(torch, dtype), dropout)
    graph = view_of(NODES, EDGES, device)
    for primitive in PRIMITIVES:
        operator_step(primitive, graph, shape)()
    edge_index = skewed_edges(NODES, EDGES, device)
    x, grad = (torch.randn(NODES, heads * features, device=device) for _ in range(2))
    with torch.autocast(device.type, shape.dtype, enabled=dtype != "float32"):
        for ours, _ in layer_pairs(heads * features, shape).values():
            layer_step(ours.to(device), x, edge_index, grad)()


def compile_tiles(shape: Shape, numbers: int, edges: int, device: torch.device) -> None:
    """Each operator once with this tile."""
    from _gpu_tiles import tiles

    graph = view_of(NODES, EDGES, device)
    with tiles(numbers, edges):
        for primitive in PRIMITIVES:
            operator_step(primitive, graph, shape)()


def cases_of(tiles: bool) -> list[tuple[Any, ...]]:
    """The arguments of :func:`compile_case`, or of :func:`compile_tiles`."""
    if not tiles:
        return CASES
    from _gpu_tiles import SHAPES, different_tiles

    return [(shape, *pair) for shape in SHAPES for pair in different_tiles(shape)]


def work(share: int, processes: int, tiles: bool) -> int:
    """The cases of one process; the number of those that failed."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    failed = 0
    for case in cases_of(tiles)[share::processes]:
        try:
            (compile_tiles if tiles else compile_case)(*case, device)
        except Exception as error:
            failed += 1
            print(f"{case}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return failed


def main() -> None:
    """Start the processes, or be one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--tiles", action="store_true", help='the kernels of the part "tiles"')
    parser.add_argument("--dry-run", action="store_true", help="also without a GPU, to see that the script works")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        sys.exit("no GPU is available: there is nothing to compile for (--dry-run shows that the script works)")
    if arguments.share is not None:
        sys.exit(min(work(arguments.share, arguments.processes, arguments.tiles), 1))
    start = time.perf_counter()
    command = [sys.executable, __file__, "--processes", str(arguments.processes)]
    command += ["--dry-run"] if arguments.dry_run else []
    command += ["--tiles"] if arguments.tiles else []
    children = [subprocess.Popen([*command, "--share", str(share)]) for share in range(arguments.processes)]
    failed = sum(child.wait() != 0 for child in children)
    taken = time.perf_counter() - start
    print(f"{len(cases_of(arguments.tiles))} cases in {taken:.0f} s, {failed} of {len(children)} processes failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
