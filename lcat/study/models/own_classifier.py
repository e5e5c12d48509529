"""An own model as a study calls it: with the graph, and the values of its edges where its forward takes them."""

from __future__ import annotations

import inspect

from torch import Tensor, nn
from torch_geometric.data import Data

__all__ = ["OwnClassifier"]

_EDGE_VALUES = ("edge_weight", "edge_attr")
_VALUES = (*_EDGE_VALUES, "batch")


class OwnClassifier(nn.Module):
    """An own model.

    Args:
        gnn: the model; its forward takes ``(x, edge_index)``, and ``edge_weight``, ``edge_attr`` and ``batch`` (the
            graph of each node) by name if it uses them.
        name: for messages.

    Raises:
        TypeError: if its forward takes something else.

    Shapes:
        ``x`` ``[N, F]``, ``edge_index`` ``[2, E]``, output ``[N, C]`` logits; with ``batch``, ``[G, C]``.
    """

    def __init__(self, gnn: nn.Module, name: str) -> None:
        super().__init__()
        self.gnn = gnn
        self._name = name
        self._takes = _check_forward(gnn, name)
        self._edge_values: dict[str, Tensor] = {}

    @property
    def takes_batch(self) -> bool:
        """Its forward takes the graph of each node, and so makes outputs of graphs."""
        return "batch" in self._takes

    def edge_keys(self, data: Data) -> list[str]:
        """Names of the values of edges that the forward takes from a graph."""
        return [key for key in self._takes if key in _EDGE_VALUES and data.get(key) is not None]

    def use_edge_values(self, data: Data) -> None:
        """Take weights and features of the edges, and the graph of each node, if the forward takes them."""
        self._edge_values = {key: data[key] for key in self._takes if data.get(key) is not None}

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits ``[N, C]``.

        Raises:
            RuntimeError: if the model has written into what it was called with: the next epoch would get that.
        """
        inputs = {"x": x, "edge_index": edge_index, **self._edge_values}
        before = {key: _version(value) for key, value in inputs.items()}
        logits: Tensor = self.gnn(x, edge_index, **self._edge_values)
        written = [key for key, value in inputs.items() if _version(value) != before[key]]
        if written:
            raise RuntimeError(
                f"{self._name}.forward must leave its inputs as they are, and wrote into {', '.join(written)}: every "
                f"epoch would begin with what the last one left. Take operations that return a new tensor, as in "
                f"x = x + y in place of x += y, relu(x) in place of relu_(x), and inplace=False"
            )
        return logits


def _version(value: object) -> int | None:
    """How often a tensor was written into; ``None`` where torch does not count."""
    if not isinstance(value, Tensor) or value.is_inference():
        return None
    return value._version


def _check_forward(gnn: nn.Module, name: str) -> tuple[str, ...]:
    """The values of edges that the forward takes.

    Raises:
        TypeError: if it cannot be called as ``(x, edge_index)``.
    """
    signature = inspect.signature(gnn.forward)
    try:
        signature.bind(None, None, **({"batch": None} if "batch" in signature.parameters else {}))
    except TypeError as error:
        raise TypeError(
            f"{name}.forward must take (x, edge_index), and may take edge_attr, edge_weight and batch; it takes "
            f"{signature} ({error})"
        ) from None
    parameters = signature.parameters.values()
    first = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY][:2]
    if any(value in first for value in _VALUES):
        raise TypeError(
            f"{name}.forward must take x and edge_index first, and then edge_attr or edge_weight; it takes {signature}"
        )
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return _EDGE_VALUES
    return tuple(value for value in _VALUES if value in signature.parameters)
