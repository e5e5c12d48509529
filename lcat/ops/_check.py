"""The checks of arguments that all implementations of a primitive share: kernels trust the shapes."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from lcat.graph import Graph


class Shapes:
    """The sizes of one call: those of the graph, and those that its tensors must agree on.

    Args:
        graph: the edges.
    """

    def __init__(self, graph: Graph) -> None:
        self.sizes = {"N_source": graph.num_sources, "N_target": graph.num_targets, "E": graph.num_edges}

    def check(self, name: str, tensor: Tensor | None, *letters: str) -> None:
        """``tensor`` has one dimension per letter; a new letter takes its size from it.

        Raises:
            ValueError: another number of dimensions, or another size.
        """
        if tensor is None:
            return
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


def check_rows(name: str, x: Tensor, rows: int, side: Literal["source", "target"]) -> None:
    """The first dimension of ``x`` counts the graph's nodes on one side."""
    if x.dim() == 0 or x.shape[0] != rows:
        raise ValueError(
            f"expected '{name}' of shape [{rows}, ...], because the graph has {rows} {side} nodes, got {list(x.shape)}"
        )
