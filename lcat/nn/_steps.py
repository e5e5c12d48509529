"""The one place that decides whether somebody has replaced, hooked or watches a step of a layer.

A layer that calls :mod:`lcat.ops` never runs PyG's steps (``message``, ``aggregate``, ...). Where one of them is not
the one that lcat ships, or is looked at, they must run.
"""

from __future__ import annotations

from typing import Any

from torch_geometric.nn.aggr import SumAggregation
from torch_geometric.nn.conv import MessagePassing

from lcat.nn._linear import has_hooks

_NAMES = ("propagate", "edge_updater", "message", "aggregate", "message_and_aggregate", "update", "edge_update")


# One expression each, as they run in every call of a layer, and torch.compile must read them.
def _steps_of_class(cls: type[MessagePassing]) -> tuple[Any, ...]:
    return (
        cls.propagate, cls.edge_updater, cls.message, cls.aggregate, cls.message_and_aggregate, cls.update,
        cls.edge_update,
    )  # fmt: skip


def _methods_of_sum() -> tuple[Any, ...]:
    return SumAggregation.__call__, SumAggregation.forward, SumAggregation.reduce


_SUM = _methods_of_sum()


def shipped_steps(cls: type) -> tuple[Any, ...]:
    """The steps of a class of lcat; ``None``, which equals no step, for those patched before lcat was imported."""
    return tuple(step if _is_original(step) else None for step in _steps_of_class(cls))


def _is_original(step: Any) -> bool:
    return step.__module__.startswith(("lcat.nn.", "torch_geometric.")) and not hasattr(step, "__wrapped__")


def has_other_steps(layer: MessagePassing, shipped: tuple[Any, ...]) -> bool:
    """Whether a step is not the shipped one: in a subclass, in a patched class, or in the instance."""
    return _steps_of_class(type(layer)) != shipped or has_own_steps(layer)


def has_own_steps(layer: MessagePassing) -> bool:
    """Whether the instance has a step that is not its class's own."""
    own = layer.__dict__
    if (
        "propagate" in own or "edge_updater" in own or "message" in own or "aggregate" in own
        or "message_and_aggregate" in own or "update" in own or "edge_update" in own
    ):  # fmt: skip
        return any(_is_other(layer, name) for name in _NAMES)
    return False


def has_other_step(layer: MessagePassing, name: str, shipped: tuple[Any, ...]) -> bool:
    """:func:`has_other_steps` of one step."""
    number = _NAMES.index(name)
    return _steps_of_class(type(layer))[number] is not shipped[number] or _is_other(layer, name)


def _is_other(layer: MessagePassing, name: str) -> bool:
    """Whether the instance has a step that is not its class's own (PyG binds that to instances in some cases)."""
    step = layer.__dict__.get(name)
    if step is None:
        return False
    return getattr(step, "__func__", None) is not getattr(type(layer), name) or step.__self__ is not layer


def has_step_hooks(layer: MessagePassing) -> bool:
    """Whether a hook is registered on a step."""
    attributes = layer.__dict__  # those of a module are slow to read by name
    return bool(
        attributes["_propagate_forward_pre_hooks"]
        or attributes["_propagate_forward_hooks"]
        or attributes["_message_forward_pre_hooks"]
        or attributes["_message_forward_hooks"]
        or attributes["_aggregate_forward_pre_hooks"]
        or attributes["_aggregate_forward_hooks"]
        or attributes["_edge_update_forward_pre_hooks"]
        or attributes["_edge_update_forward_hooks"]
        or has_fuse_hooks(layer)
    )


def has_fuse_hooks(layer: MessagePassing) -> bool:
    """Whether a hook is registered on ``message_and_aggregate``."""
    attributes = layer.__dict__
    return bool(
        attributes["_message_and_aggregate_forward_pre_hooks"] or attributes["_message_and_aggregate_forward_hooks"]
    )


def is_plain_sum(aggregation: Any) -> bool:
    """Whether a call of the aggregation is a sum and nothing more."""
    if type(aggregation) is not SumAggregation or "forward" in aggregation.__dict__:
        return False
    return bool(_methods_of_sum() == _SUM) and not has_hooks(aggregation)
