"""Noise on a graph: edges that mean nothing, and features that are off."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected

from lcat._numbers import as_float
from lcat._pyg_datasets import one_graph_of
from lcat._seeds import derive_seed
from lcat._text import counted
from lcat.data.datasets.items import DataError

__all__ = ["noisy_edges", "noisy_features"]

_EDGE_VALUES = ("edge_weight", "edge_attr")


def noisy_edges(data: Data, level: float, seed: int) -> Data:
    """The graph with ``round(level * E)`` random edges more, as in the robustness study of GATv2 (Brody et al. 2022).

    New edges are drawn uniformly among the pairs of different nodes without an edge, without repeats. A graph that
    holds both directions of every edge gets both directions of each new one, and ``E`` counts pairs; in others a new
    edge has one direction. Weights and features of new edges are those of edges drawn from the graph's.

    Args:
        data: ``x`` ``[N, F]``, ``edge_index`` ``[2, E]``, ``y`` ``[N]``; left alone.
        level: number of new edges relative to that of edges (self-loops left out), 0 or more.
        seed: the only source of randomness.

    Returns:
        A graph that shares ``x`` and ``y`` with ``data``. Cost O(E log E).

    Raises:
        DataError: if the graph has no room for that many edges, the level is negative, or ``data`` no such graph.

    Example:
        >>> from lcat.data import csbm, noisy_edges
        >>> data = csbm(n=100, seed=0)
        >>> noisy_edges(data, 0.5, seed=0).num_edges == data.num_edges + 2 * round(
        ...     data.num_edges / 2 * 0.5
        ... )
        True
    """
    level = _read_level(level)
    _check_graph(data)
    n = int(data.num_nodes)
    edge_index = data.edge_index
    undirected = is_undirected(edge_index, num_nodes=n)
    row, col = edge_index.long()
    proper = row != col
    row, col = row[proper], col[proper]
    if undirected:
        row, col = row.minimum(col), row.maximum(col)
    taken = (row * n + col).unique()
    wanted = round(level * taken.numel())
    room = (n * (n - 1) // 2 if undirected else n * (n - 1)) - taken.numel()
    if wanted > room:
        needed = counted(wanted, "new edge")
        raise DataError(f"noise of level {level:g} needs {needed} and the graph has room for {room}")
    generator = torch.Generator().manual_seed(derive_seed(seed, "noise on edges"))
    pairs = _free_pairs(n, taken, wanted, room, undirected, generator)
    new = torch.stack([pairs // n, pairs % n])
    if undirected:
        new = torch.cat([new, new.flip(0)], dim=1)
    edges = torch.cat([edge_index, new.to(edge_index.dtype)], dim=1)
    return Data(
        x=data.x, edge_index=edges, y=data.y, **_values_of_more_edges(data, pairs.numel(), undirected, generator)
    )


def noisy_features(data: Data, level: float, seed: int) -> Data:
    """The graph with normal noise on every feature: ``x + level * std(x) * z``, ``z`` standard normal.

    Args:
        data: ``x`` ``[N, F]``, ``edge_index`` ``[2, E]``, ``y`` ``[N]``; left alone.
        level: standard deviation of the noise relative to that of all entries of ``x``, 0 or more.
        seed: the only source of randomness.

    Returns:
        A graph that shares ``edge_index`` and ``y`` with ``data``.

    Raises:
        DataError: if the level is negative, or ``data`` no such graph.

    Example:
        >>> from lcat.data import csbm, noisy_features
        >>> data = csbm(n=100, seed=0)
        >>> noise = noisy_features(data, 0.5, seed=0).x - data.x
        >>> abs(float(noise.std() / data.x.std()) - 0.5) < 0.05
        True
    """
    level = _read_level(level)
    _check_graph(data)
    if not isinstance(data.x, Tensor) or not data.x.is_floating_point():
        got = str(data.x.dtype) if isinstance(data.x, Tensor) else type(data.x).__name__
        raise DataError(
            f"noise on features needs data.x as a tensor of a floating-point type, got {got}: set data.x, or convert "
            "it with data.x.float()"
        )
    if data.x.layout != torch.strided:
        raise DataError(
            f"noise on features needs a dense data.x, because every entry changes, got {data.x.layout}: convert it "
            "with data.x.to_dense()"
        )
    generator = torch.Generator().manual_seed(derive_seed(seed, "noise on features"))
    draw = torch.randn(data.x.shape, generator=generator, dtype=data.x.dtype)
    values = {key: data[key] for key in _EDGE_VALUES if data.get(key) is not None}
    return Data(x=data.x + level * data.x.std() * draw, edge_index=data.edge_index, y=data.y, **values)


def _free_pairs(n: int, taken: Tensor, wanted: int, room: int, undirected: bool, generator: torch.Generator) -> Tensor:
    """``wanted`` different codes ``row * n + col`` that are not in ``taken``, each set of them as likely."""
    if 4 * wanted > room:
        # In a dense graph drawing would rarely hit what is free: list what is free and choose.
        every = torch.arange(n * n)
        low, high = every // n, every % n
        free = torch.ones(n * n, dtype=torch.bool)
        free[taken] = False
        free &= (low < high) if undirected else (low != high)
        free_codes = free.nonzero().view(-1)
        return free_codes[torch.randperm(free_codes.numel(), generator=generator)[:wanted]]
    free = taken.new_empty(0)
    while free.numel() < wanted:
        ends = torch.randint(n, (2, 2 * (wanted - free.numel()) + 16), generator=generator)
        row, col = ends[:, ends[0] != ends[1]]
        if undirected:
            row, col = row.minimum(col), row.maximum(col)
        codes = row * n + col
        codes = codes[~torch.isin(codes, taken)]
        # Repeats go, in the order of drawing, so that the rest stays a uniform sample.
        pool = torch.cat([free, codes])
        values, inverse = pool.unique(return_inverse=True)
        first = torch.full_like(values, pool.numel()).scatter_reduce_(
            0, inverse, torch.arange(pool.numel()), reduce="amin"
        )
        free = pool[first.sort().values]
    return free[:wanted]


def _values_of_more_edges(data: Data, new: int, undirected: bool, generator: torch.Generator) -> dict[str, Tensor]:
    """Weights and features of the edges with those of ``new`` more pairs, each that of an old edge."""
    present = [key for key in _EDGE_VALUES if data.get(key) is not None]
    if not present:
        return {}
    drawn = torch.randint(max(data.edge_index.size(1), 1), (new,), generator=generator)
    if undirected:
        drawn = torch.cat([drawn, drawn])  # both directions of a pair are alike
    return {key: torch.cat([data[key], data[key][drawn]]) for key in present}


def _check_graph(data: Any) -> None:
    if not isinstance(data, Data):
        raise DataError(
            f"noise is for a torch_geometric.data.Data with x, edge_index and y, got {type(data).__name__}"
            f"{one_graph_of(data) or ': pass Data(x=x, edge_index=edge_index, y=y)'}"
        )
    if not isinstance(data.edge_index, Tensor):
        raise DataError(f"noise needs data.edge_index as a tensor [2, E], got {type(data.edge_index).__name__}")


def _read_level(level: Any) -> float:
    number = as_float(level)
    if number is None:
        raise DataError(f"the level of noise must be a number, got {level!r}")
    if not (number >= 0 and math.isfinite(number)):
        raise DataError(f"the level of noise must be 0 or more; got {level}")
    return number
