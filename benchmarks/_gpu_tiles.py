"""Other tiles than those of the table: other numbers per warp, other edges of a row per step."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from _gpu_work import Shape

import lcat.ops._aggregate.triton
import lcat.ops._gat_attention.triton
import lcat.ops._gatv2_attention.triton  # noqa: F401 - they must have the table's function before it is replaced
from lcat.ops._triton import launch

__all__ = ["SHAPES", "different_tiles", "tiles"]

#: The shapes that are tried, the most telling first.
SHAPES = [
    *(Shape(heads, features) for heads, features in ((8, 32), (8, 8), (8, 64), (1, 64), (1, 16), (8, 16))),
    *(Shape(8, features, torch.bfloat16) for features in (8, 32, 64)),
    Shape(8, 32, dropout=0.6),
]
_NUMBERS = (256, 512, 1024)
_EDGES = (1, 2, 4)


@contextmanager
def tiles(numbers: int, edges: int) -> Iterator[None]:
    """Inside, a warp of every kernel holds this many numbers and takes this many edges of a row in a step."""
    real, table = launch.tile_shape, dict(launch._NUMBERS_PER_WARP)

    def other(kernel: str, heads: int, features: int, dtype: torch.dtype) -> launch.TileShape:
        tile = real(kernel, heads, features, dtype)
        at_once = tile.rows * tile.edges  # of the table's tile, which may hold more rows
        share = numbers // (2 if dtype == torch.float64 else 1)
        at_once = max(at_once, share * tile.warps // (tile.heads * tile.features))
        taken = min(edges, at_once)
        rows = min(at_once // taken, max(64 // (taken * tile.heads), 1))
        return launch.TileShape(rows, taken, tile.heads, tile.features, tile.head_blocks, tile.warps)

    modules = [module for name, module in sys.modules.items() if name.startswith("lcat.ops.") and module]
    users = [module for module in modules if getattr(module, "tile_shape", None) is real]
    launch._NUMBERS_PER_WARP.update(dict.fromkeys(table, (numbers, numbers)))
    for module in users:
        module.tile_shape = other  # type: ignore[attr-defined]
    try:
        yield
    finally:
        launch._NUMBERS_PER_WARP.update(table)
        for module in users:
            module.tile_shape = real  # type: ignore[attr-defined]


def different_tiles(shape: Shape) -> list[tuple[int, int]]:
    """Numbers per warp and edges per step that lead to different tiles."""
    seen, pairs = set(), []
    for numbers in _NUMBERS:
        for edges in _EDGES:
            with tiles(numbers, edges):
                tile = launch.tile_shape("gatv2_source", shape.heads, shape.features, torch.float32)
            if tile not in seen:
                seen.add(tile)
                pairs.append((numbers, edges))
    return pairs
