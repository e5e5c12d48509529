"""What layers ask of the in-edges of *sources*: taken down where those edges are, given back where they are not."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch_geometric.nn import conv as pyg_conv

from lcat.nn import GATConv, GATv2Conv, GCNConv
from lcat.nn._lcat import LCATMixin

# Layers whose output at a node depends on nothing but the node, its in-edges and their sources.
_ONE_HOP = (
    GATConv, GATv2Conv, pyg_conv.GATConv, pyg_conv.GATv2Conv, pyg_conv.SAGEConv, pyg_conv.GINConv, pyg_conv.GINEConv,
    pyg_conv.GraphConv, pyg_conv.TransformerConv,
)  # fmt: skip


class _Recorded(Exception):
    """Ends a layer's call when what was wanted of it is there."""


def far_method(conv: nn.Module) -> str | None:
    """The method of a layer whose result for *all* nodes of a block takes in-edges of all of them, if it has one.

    Raises:
        TypeError: for a layer of which it is not known how far it looks.
        ValueError: for one that keeps what it knows of another graph.
    """
    if isinstance(conv, GCNConv):
        if conv.cached:
            raise ValueError("a layer with cached=True keeps the normalization of one graph: make it with cached=False")
        return "_scale" if conv.normalize else None
    if isinstance(conv, LCATMixin):
        lambda2 = conv._lambda("lambda2")
        return None if isinstance(lambda2, float) and lambda2 == 0.0 else "_averaged"
    if isinstance(conv, _ONE_HOP):
        return None
    known = ", ".join(sorted({layer.__name__ for layer in _ONE_HOP}))
    raise TypeError(
        f"it is not known how far a {type(conv).__module__}.{type(conv).__name__} looks; layerwise_inference knows the "
        f"layers of lcat.nn, and of PyG {known}: run the model on the whole graph instead"
    )


def takes_features(name: str) -> bool:
    """Whether that method looks at features; the degrees of GCN do not depend on them."""
    return name != "_scale"


def record(conv: nn.Module, name: str, features: Tensor, edge_index: Tensor, per_edge: dict[str, Tensor]) -> Tensor:
    """That method's result when the layer is called on a block; the call ends there."""
    method = getattr(conv, name)
    found: list[Tensor] = []

    def recorder(*arguments: Any) -> Tensor:
        found.append(method(*arguments))
        raise _Recorded

    with _standing_in(conv, name, recorder), contextlib.suppress(_Recorded):
        conv(features, edge_index, **per_edge)
    return found[0]


def replaying(conv: nn.Module, recorded: Tensor | None, nodes: Tensor) -> contextlib.AbstractContextManager[None]:
    """A context in which the layer's method answers with what was recorded for these nodes."""
    if recorded is None:
        return contextlib.nullcontext()
    name = far_method(conv)
    assert name is not None
    device = next(conv.parameters()).device
    return _standing_in(conv, name, lambda *arguments: recorded[nodes].to(device))


@contextlib.contextmanager
def _standing_in(conv: nn.Module, name: str, function: Callable[..., Tensor]) -> Iterator[None]:
    conv.__dict__[name] = function
    try:
        yield
    finally:
        del conv.__dict__[name]
