"""The checks of arguments that all implementations of a primitive share: kernels trust what they are given."""

from __future__ import annotations

import numbers
from collections.abc import Set
from typing import Any, Literal

import torch
from torch import Tensor

from lcat._memory import check_memory
from lcat._tracing import is_traced
from lcat.graph import Graph
from lcat.ops._dtypes import FLOAT_DTYPES

__all__ = ["FLOATS", "NUMBERS", "WEIGHTS", "Arguments", "check_dense", "check_number", "check_probability"]

FLOATS = frozenset(FLOAT_DTYPES)
# What plain torch sums and multiplies as well; fused implementations take floating point only.
NUMBERS = FLOATS | {
    *(torch.complex64, torch.complex128),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8),
}
WEIGHTS = NUMBERS | {torch.bool}


class Arguments:
    """The tensors of one call, checked against the graph and each other.

    Args:
        graph: the edges.

    Attributes:
        sizes: the sizes of the graph, and those that the tensors must agree on, by letter.
        unusual_dtype: the type of the first tensor that is not of floating point, else ``None``.

    Raises:
        TypeError: ``graph`` is no Graph.
    """

    def __init__(self, graph: Graph) -> None:
        if not isinstance(graph, Graph):
            is_view = isinstance(graph, tuple) and len(graph) == 2 and isinstance(graph[0], Graph)
            way_out = (
                "graph_view returns the graph and the edge weights, so pass the first of both"
                if is_view
                else "lcat.graph.graph_view makes one of edges"
            )
            raise TypeError(f"expected 'graph' of type lcat.graph.Graph, got {_kind(graph)}: {way_out}")
        source = graph.source
        self.graph = graph
        self.sizes = {"N_source": graph.num_sources, "N_target": graph.num_targets, "E": source.shape[0], "1": 1}
        self.unusual_dtype: torch.dtype | None = None
        self._device = source.device
        self._tensors: list[tuple[str, Tensor]] = []

    def check_optional(
        self, name: str, tensor: Tensor | None, *letters: str, dtypes: Set[torch.dtype] = FLOATS
    ) -> None:
        """As :meth:`check`, where ``None`` is accepted."""
        if tensor is not None:
            self.check(name, tensor, *letters, dtypes=dtypes)

    def check(self, name: str, tensor: Tensor, *letters: str, dtypes: Set[torch.dtype] = FLOATS) -> None:
        """``tensor`` has one dimension per letter; a new letter takes its size from it.

        Raises:
            TypeError: no tensor.
            ValueError: another number of dimensions, another size, type, device or layout.
        """
        self._check_kind(name, tensor, dtypes)
        sizes, shape = self.sizes, tensor.shape
        if len(shape) == len(letters):
            for letter, size in zip(letters, shape, strict=True):
                if sizes.setdefault(letter, size) != size:
                    break
            else:
                return
        here = ", ".join(str(sizes.get(letter, letter)) for letter in letters)
        raise ValueError(
            f"expected '{name}' of shape [{', '.join(letters)}], here [{here}], got {list(shape)}: the graph "
            f"has {sizes['N_source']} source nodes, {sizes['N_target']} target nodes and {sizes['E']} edges"
        )

    def check_rows(
        self, name: str, x: Tensor, side: Literal["source", "target"], dtypes: Set[torch.dtype] = FLOATS
    ) -> None:
        """The first dimension of ``x`` counts the graph's nodes on one side; there may be any others."""
        self._check_kind(name, x, dtypes)
        rows, shape = self.sizes[f"N_{side}"], x.shape
        if len(shape) == 0 or shape[0] != rows:
            raise ValueError(
                f"expected '{name}' of shape [{rows}, ...], because the graph has {rows} {side} nodes, got "
                f"{list(shape)}"
            )

    def check_memory(self) -> None:
        """The memory of all tensors exists, and the indices of the graph are in range.

        For plain torch operations, which would read what is there instead; operators check their arguments again.
        """
        if is_traced():
            return
        self.graph.check_indices()
        for name, tensor in self._tensors:
            if type(tensor) in (Tensor, torch.nn.Parameter):  # others may keep their numbers elsewhere
                check_memory(name, tensor)

    def _check_kind(self, name: str, tensor: Tensor, dtypes: Set[torch.dtype]) -> None:
        if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_nested:
            check_dense(name, tensor)
        if tensor.device != self._device:
            raise ValueError(
                f"expected '{name}' on the device of the graph, {self._device}, got {tensor.device}: move one with "
                f".to(...)"
            )
        dtype = tensor.dtype
        if dtype not in FLOATS:
            if dtype not in dtypes:
                kinds = "floating point" if dtypes is FLOATS else "floating point, complex or integer"
                raise ValueError(
                    f"expected '{name}' of a {kinds} type, got {dtype}: convert it, for example with .float()"
                )
            self.unusual_dtype = self.unusual_dtype or dtype
        self._tensors.append((name, tensor))


def check_dense(name: str, tensor: Tensor) -> None:
    """``tensor`` is one, and dense: kernels read the memory behind it."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"expected '{name}' of type torch.Tensor, got {_kind(tensor)}")
    if tensor.layout is not torch.strided or tensor.is_nested:
        layout = "nested" if tensor.is_nested else str(tensor.layout)
        raise ValueError(f"expected '{name}' as a dense tensor, got layout {layout}: convert it with .to_dense()")


def check_probability(name: str, probability: Any) -> float:
    """``probability`` as a float in [0, 1]."""
    if type(probability) is not float:
        _check_real(name, probability, "a probability")
    if not 0 <= probability <= 1:
        raise ValueError(f"expected a probability '{name}' in [0, 1], got {probability}")
    return float(probability)


def check_number(name: str, value: Any) -> float:
    """``value`` as a finite float."""
    if type(value) is not float:
        _check_real(name, value, "a number")
    if not -torch.inf < value < torch.inf:
        raise ValueError(f"expected a finite number '{name}', got {value}")
    return float(value)


def _check_real(name: str, value: Any, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (float, int, numbers.Real)):
        raise TypeError(f"expected {what} '{name}', got {value!r} of type {_kind(value)}")


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
