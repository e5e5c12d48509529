"""Which steps of PyG's layers are known: messages ``x_j`` and ``w_ij x_j``, and what matrices do instead.

A layer belongs here where its ``message`` returns one of the two, for all arguments that its ``forward`` passes. Then
``propagate`` is a primitive of :mod:`lcat.ops`, whatever else the layer does.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch_geometric.nn
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.models.linkx import SparseLinear

__all__ = ["MessageForm", "form_of"]


class MessageForm(NamedTuple):
    """What the messages of a layer are.

    Attributes:
        value: the argument of ``propagate`` whose rows are sent.
        weight: the argument that multiplies them, one number per edge, or ``None``; the layer may pass ``None`` too.
        must_be_none: arguments with which the messages are others.
        ignores_entries: whether the step for matrices leaves out the entries of a SparseTensor (of a torch.sparse
            matrix it never does).
        steps: PyG's own ``message`` and ``message_and_aggregate``.
    """

    value: str
    weight: str | None
    must_be_none: tuple[str, ...]
    ignores_entries: bool
    steps: tuple[Any, Any]


def _original(step: Any) -> Any:
    """``step`` as PyG ships it; ``None``, which equals no step, for one patched before lcat was imported."""
    return step if step.__module__.startswith("torch_geometric.") and not hasattr(step, "__wrapped__") else None


_AGGREGATE, _UPDATE = _original(MessagePassing.aggregate), _original(MessagePassing.update)
_forms: dict[Any, MessageForm] = {}


def _add(
    *classes: str | type,
    value: str = "x",
    weight: str | None = None,
    must_be_none: tuple[str, ...] = (),
    ignores_entries: bool = False,
) -> None:
    for named in classes:
        cls: Any = getattr(torch_geometric.nn, named, None) if isinstance(named, str) else named
        if cls is not None:  # every version of PyG has some layers that others lack
            steps = (_original(cls.message), _original(cls.message_and_aggregate))
            _forms[cls.message] = MessageForm(value, weight, must_be_none, ignores_entries, steps)


_add("SAGEConv", "GINConv", "MFConv", "SignedConv", ignores_entries=True)
_add("RGCNConv", must_be_none=("edge_type_ptr",), ignores_entries=True)
_add(
    *("GCNConv", "GraphConv", "SimpleConv", "GatedGraphConv", "APPNP", "SGConv", "SSGConv", "TAGConv", "GCN2Conv"),
    *("ARMAConv", "ClusterGCNConv", "LGConv", "MixHopConv", "PDNConv", "PANConv", "WLConvContinuous"),
    *("LabelPropagation",),
    weight="edge_weight",
)
_add("ChebConv", weight="norm")
_add(SparseLinear, value="weight", weight="edge_weight")


def form_of(cls: type[MessagePassing]) -> MessageForm | None:
    """The form of a layer's messages; ``None`` if it is another one, or one of the steps is not PyG's own."""
    form = _forms.get(cls.message)
    if form is None or cls.aggregate is not _AGGREGATE or cls.update is not _UPDATE:
        return None
    return form if (cls.message, cls.message_and_aggregate) == form.steps else None
