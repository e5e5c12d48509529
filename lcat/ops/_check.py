"""Checks that every primitive makes of its arguments, whatever the implementation."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph


def check_rows(name: str, x: Tensor, rows: int, side: str) -> None:
    """The first dimension of ``x`` counts the graph's nodes on one side."""
    if x.dim() == 0 or x.shape[0] != rows:
        raise ValueError(f"'{name}' has shape {list(x.shape)}; the graph has {rows} {side} nodes, so [{rows}, ...]")


def check_per_edge(name: str, values: Tensor | None, graph: Graph) -> None:
    """The first dimension of ``values`` counts the graph's edges."""
    if values is not None and (values.dim() == 0 or values.shape[0] != graph.num_edges):
        raise ValueError(
            f"'{name}' has shape {list(values.shape)}; the graph has {graph.num_edges} edges, so "
            f"[{graph.num_edges}, ...]"
        )
