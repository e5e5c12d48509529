"""The checks of arguments that all implementations of a primitive share: kernels trust the shapes."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from lcat.graph import Graph


class Shapes:
    """The sizes of one call: those of the graph, and those that its tensors must agree on.

    Args:
        graph: the edges.

    Raises:
        TypeError: ``graph`` is no Graph.
    """

    def __init__(self, graph: Graph) -> None:
        if not isinstance(graph, Graph):
            raise TypeError(
                f"expected 'graph' of type lcat.graph.Graph, got {_kind(graph)}: "
                "lcat.graph.graph_view makes one of edges"
            )
        self.sizes = {"N_source": graph.num_sources, "N_target": graph.num_targets, "E": graph.num_edges}

    def check_optional(self, name: str, tensor: Tensor | None, *letters: str) -> None:
        """As :meth:`check`, where ``None`` is accepted."""
        if tensor is not None:
            self.check(name, tensor, *letters)

    def check(self, name: str, tensor: Tensor, *letters: str) -> None:
        """``tensor`` has one dimension per letter; a new letter takes its size from it.

        Raises:
            TypeError: no tensor.
            ValueError: another number of dimensions, or another size.
        """
        check_tensor(name, tensor)
        sizes = self.sizes
        if tensor.dim() == len(letters):
            for letter, size in zip(letters, tensor.shape, strict=True):
                if sizes.setdefault(letter, size) != size:
                    break
            else:
                return
        here = ", ".join(str(sizes.get(letter, letter)) for letter in letters)
        raise ValueError(
            f"expected '{name}' of shape [{', '.join(letters)}], here [{here}], got {list(tensor.shape)}: the graph "
            f"has {sizes['N_source']} source nodes, {sizes['N_target']} target nodes and {sizes['E']} edges"
        )


def check_tensor(name: str, tensor: Tensor) -> None:
    """``tensor`` is one: kernels read the memory behind it."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"expected '{name}' of type torch.Tensor, got {_kind(tensor)}")


def check_probability(name: str, probability: float) -> None:
    """``probability`` is in [0, 1]."""
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability '{name}' in [0, 1], got {probability}")


def check_rows(name: str, x: Tensor, rows: int, side: Literal["source", "target"]) -> None:
    """The first dimension of ``x`` counts the graph's nodes on one side."""
    check_tensor(name, x)
    if x.dim() == 0 or x.shape[0] != rows:
        raise ValueError(
            f"expected '{name}' of shape [{rows}, ...], because the graph has {rows} {side} nodes, got {list(x.shape)}"
        )


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
