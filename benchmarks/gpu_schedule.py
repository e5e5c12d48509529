"""What the schedule of the GPU kernels makes of a graph, without a GPU: lanes in use, the longest program, bytes.

    python benchmarks/gpu_schedule.py --output benchmarks/results/gpu_schedule.json

A program takes R segments and walks over them B edges at a time until the longest one ends: lanes of shorter segments
idle. Its dependent steps cannot overlap, so the longest program bounds the time of a pass from below. Both follow from
degrees, the schedule and the table of tiles alone. Degrees: the random graphs of gpu.py, and a power law with the size
and mean of ogbn-products.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import _source_tree  # noqa: F401
import torch
from _gpu_work import GRAPHS, PRIMITIVES, Shape, bytes_moved
from _measure import machine, write_results
from torch import Tensor

from lcat.graph import SortedEdges

PRODUCTS = (2_449_029, 123_718_280)
SHAPES = [(1, 16), (1, 64), (8, 8), (8, 32), (8, 64)]
KERNELS = ("aggregate", "gat_forward", "gat_source", "gatv2_forward", "gatv2_target", "gatv2_source")


def degrees_of(name: str) -> Tensor:
    """In-degrees of the named graph."""
    nodes, edges = PRODUCTS if name == "products" else GRAPHS[name]
    generator = torch.Generator().manual_seed(0)
    if name == "products":  # exponent 2.5 from a minimum on, cut at 20,000, scaled to the number of edges
        uniform = torch.rand(nodes, generator=generator, dtype=torch.float64)
        drawn = uniform.pow_(-1 / 1.5).clamp_(max=20_000 * 3 / 50)
        return (drawn * (edges / drawn.sum())).round().long()
    ends = (torch.rand(edges, generator=generator, dtype=torch.float64) ** 2 * nodes).long()
    return torch.bincount(ends, minlength=nodes)[torch.randperm(nodes, generator=generator)]


def rows_of(degrees: Tensor) -> SortedEdges:
    """Groups of these sizes; a schedule reads pointers and the number of edges, no edge."""
    indptr = torch.cat([torch.zeros(1, dtype=torch.long), degrees.cumsum(0)])
    nothing = torch.zeros(1, dtype=torch.int32).expand(int(indptr[-1]))
    return SortedEdges(indptr, nothing, nothing)


def figures(edges: SortedEdges, kernel: str, heads: int, features: int) -> dict[str, Any]:
    """Of one kernel on one graph."""
    from lcat.ops._triton.launch import tile_shape
    from lcat.ops._triton.schedule import schedule_of

    tile = tile_shape(kernel, heads, features, torch.float32)
    schedule = schedule_of(edges, tile.rows)
    length = schedule.stop - schedule.start
    padding = -len(length) % tile.rows
    programs = torch.cat([length, length.new_zeros(padding)]).view(-1, tile.rows)
    steps = (programs.max(dim=1).values + tile.edges - 1) // tile.edges
    longest = int(steps.argmax())
    return {
        "segment at most": schedule.tile,
        "rows": tile.rows,
        "edges": tile.edges,
        "programs": len(programs) * tile.head_blocks,
        "lanes used": round(float(length.sum() / (steps.sum() * tile.rows * tile.edges).clamp(min=1)), 3),
        "longest program, steps": int(steps.max()),
        "it starts after": round(longest / len(programs), 3),
        "rows of parts": schedule.num_parts,
    }


def main() -> None:
    """All graphs, shapes and kernels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--graphs", nargs="+", default=[*GRAPHS, "products"], choices=[*GRAPHS, "products"])
    arguments = parser.parse_args()
    rows = []
    # Shapes of tiles are plain arithmetic, in a module that imports Triton for its types.
    modules = {name: mock.MagicMock() for name in ("triton", "triton.language") if not _importable(name)}
    with mock.patch.dict("sys.modules", modules):
        for name in arguments.graphs:
            degrees = degrees_of(name)
            edges = rows_of(degrees)
            nodes, count = len(degrees), int(degrees.sum())
            for heads, features in SHAPES:
                moved = {p: bytes_moved(p, nodes, count, Shape(heads, features)) for p in PRIMITIVES}
                for kernel in KERNELS:
                    row = {"graph": name, "heads": heads, "features": features, "kernel": kernel}
                    rows.append({**row, **figures(edges, kernel, heads, features)})
                    primitive = "aggregate" if kernel == "aggregate" else f"{kernel.split('_')[0]}_attention"
                    rows[-1]["bytes of the primitive"] = moved[primitive]
                    print(rows[-1], flush=True)
    if arguments.output:
        write_results(arguments.output, {"machine": machine(), "rows": rows}, one_line="rows")


def _importable(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name.partition(".")[0]) is not None


if __name__ == "__main__":
    main()
