"""Why a layer is left alone."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from torch import nn
from torch_geometric.nn.conv import GINEConv, MessagePassing

from lcat.nn.acceleration._classes import is_made_by_torch, is_swapped, swapped_class
from lcat.nn.acceleration._registry import adapted_base, adapter_of

# What a subclass may define without changing a step of the layer.
_HARMLESS = frozenset({"__init__", "__repr__", "__module__", "__doc__", "__setstate__", "forward", "reset_parameters"})
_UNKNOWN = "lcat has no faster form of this class"
# Layers that one might expect to be swapped.
_KNOWN: dict[type[nn.Module], str] = {
    GINEConv: "relu(x_j + e_ij) is a row of its own for each edge: nothing is faster without forming it",
}
# What PyG generates for each class, at its first instance.
_GENERATED = {"propagate": "_jinja_propagate", "edge_updater": "_jinja_edge_updater"}
_OF_GENERATED = frozenset(
    {"_orig_propagate", "_jinja_propagate", "_orig_edge_updater", "_jinja_edge_updater", "collect", "edge_collect"}
)


def reason_to_leave(layer: nn.Module) -> str | None:
    """Why this layer is left alone; ``None`` for one that can be swapped."""
    cls = type(layer)
    if is_swapped(cls):
        return "already accelerated"
    if any(base.__module__.startswith("lcat.") for base in cls.__mro__):
        return "already a layer of lcat"
    base = adapted_base(cls)
    if base is None:
        return next((reason for known, reason in _KNOWN.items() if known in cls.__mro__), _UNKNOWN)
    return (
        _changed_class(cls, base)
        or _changed_instance(layer, base)
        or adapter_of(base).why_not(layer)
        or _impossible(layer, base)
    )


def _changed_class(cls: type, base: type[nn.Module]) -> str | None:
    """What a subclass of a class of PyG does in its own way."""
    for own in cls.__mro__:
        if own in base.__mro__ or own.__module__.startswith("torch."):
            continue
        replaced = sorted(set(_definitions(own)) & _definitions_of_layers(base) - _HARMLESS)
        if replaced:
            return f"{own.__name__} overrides {_listed(replaced)}"
        if "forward" in vars(own) and adapter_of(base).replaces_forward and not _calls_super(vars(own)["forward"]):
            return f"'forward' of {own.__name__} does not call that of {base.__name__}"
    return None


def _definitions(cls: type) -> Iterator[str]:
    names = vars(cls)
    for name, value in names.items():
        if name in _OF_GENERATED or (name in _GENERATED and names.get(_GENERATED[name]) is value):
            continue
        yield name


def _definitions_of_layers(cls: type) -> set[str]:
    """What PyG's classes define that every module does not have, and may call."""
    return {name for base in cls.__mro__ if base not in nn.Module.__mro__ for name in vars(base)} - set(vars(object))


def _changed_instance(layer: nn.Module, base: type[nn.Module]) -> str | None:
    """What somebody has put on this very layer."""
    attributes = layer.__dict__
    replaced = [
        name
        for name in attributes
        if inspect.isfunction(getattr(base, name, None)) and not (name in _GENERATED and is_bound_by_pyg(layer, name))
    ]
    if replaced:
        return f"{_listed(replaced)} was replaced on this layer"
    if not isinstance(layer, MessagePassing):
        return None
    if layer.explain:
        return "an explainer works with it"
    if layer.decomposed_layers > 1:
        return f"decomposed_layers={layer.decomposed_layers} splits messages by features"
    return None


def is_bound_by_pyg(layer: nn.Module, name: str) -> bool:
    """Whether an instance has its class's own step, as PyG binds it when an explainer begins and ends."""
    step, cls = layer.__dict__[name], type(layer)
    own = [getattr(cls, attribute, None) for attribute in (f"_orig_{name}", f"_jinja_{name}", name)]
    return getattr(step, "__self__", None) is layer and getattr(step, "__func__", None) in own


def _impossible(layer: nn.Module, base: type[nn.Module]) -> str | None:
    """Names that mean something else in lcat's layer, and bases that go with no other."""
    cls, users = type(layer), set(layer.__dict__)
    users.update(layer._parameters, layer._buffers, layer._modules)
    for own in cls.__mro__:
        if own not in base.__mro__ and not is_made_by_torch(own):
            users.update(vars(own))
    taken = sorted(users & (set(dir(swapped_class(base))) - set(dir(base)) - set(adapter_of(base).added)))
    if taken:
        return f"it has {_listed(taken)}, which lcat's layer uses for something else"
    try:
        swapped_class(cls)
    except Exception as error:  # a user's class may refuse to be inherited from in any way
        return f"no class can be derived from {cls.__name__} and lcat's layer: {error}"
    return None


def _calls_super(forward: Any) -> bool:
    function = inspect.unwrap(forward)
    if not isinstance(function, FunctionType):
        return False
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    return "forward" in names


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
