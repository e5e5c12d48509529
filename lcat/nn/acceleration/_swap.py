"""accelerate, restore, accelerated."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch_geometric.nn.conv import MessagePassing

from lcat._text import counted
from lcat.nn._calls import forget_path, remember_path
from lcat.nn.acceleration._classes import is_swapped, original_class, swapped_class
from lcat.nn.acceleration._reasons import is_bound_by_pyg, reason_to_leave
from lcat.nn.acceleration._registry import adapted_base, adapter_of
from lcat.nn.acceleration._report import AccelerationReport, LeftLayer, SwappedLayer
from lcat.nn.acceleration._walk import class_name, named_layers

_STEPS = ("propagate", "edge_updater")
#: attribute of a layer that :func:`lcat.upgrade` has made an L-CAT: the name of the class that it had
UPGRADED_FROM = "_upgraded_from"


def accelerate(model: nn.Module) -> AccelerationReport:
    """Let lcat run the layers of PyG in a model, wherever it can run them faster.

    Each such layer gets another class, in place: one of lcat's that also is a subclass of the class it had. Nothing
    else changes. Parameters, buffers, hooks, the mode, names and references are the same objects as before; an
    optimizer made before goes on, and checkpoints fit in both directions. Outputs and gradients are those of PyG up to
    rounding (1e-6 in float32, 1e-10 in float64, relative to the largest); dropout draws other numbers.

    Layers that lcat does not know, and subclasses that change a step, are left alone: the report says why. Errors of
    swapped layers for wrong input name the path of the layer.

    Args:
        model: any module, or a single layer. Wrapped ones (DistributedDataParallel, FSDP, torch.compile) and all that
            contain modules (HeteroConv, GraphModule, ModuleDict, ...) are searched; a shared layer is swapped once.

    Returns:
        what was swapped and what was left, and why, by path in the model.

    Raises:
        TypeError: ``model`` is no module.

    Example:
        >>> import lcat
        >>> from torch_geometric.nn import GAT
        >>> model = GAT(8, 16, num_layers=2)
        >>> report = lcat.accelerate(model)
        >>> [layer.path for layer in report.swapped]
        ['convs.0', 'convs.1']
        >>> lcat.restore(model)
        2
    """
    report, _ = _accelerate(model)
    return report


def restore(model: nn.Module) -> int:
    """Undo :func:`lcat.accelerate`: every layer has the class again that it had.

    It does not undo :func:`lcat.upgrade`: layers that are L-CATs stay L-CATs. The way back from there is a copy made
    before, ``before = copy.deepcopy(model)``.

    Args:
        model: any module; one that was never accelerated stays as it is.

    Returns:
        the number of layers that were restored.

    Raises:
        TypeError: ``model`` is no module.

    Warns:
        UserWarning: nothing was restored, and the model has layers that :func:`lcat.upgrade` has made L-CATs.

    Example:
        >>> import lcat
        >>> from torch_geometric.nn import GATConv
        >>> layer = GATConv(8, 8)
        >>> _ = lcat.accelerate(layer)
        >>> lcat.restore(layer)
        1
        >>> type(layer) is GATConv
        True
    """
    _check_module(model)
    layers = [layer for _, layer in named_layers(model) if is_swapped(type(layer))]
    for layer in layers:
        _restore(layer)
    if not layers:
        _warn_of_upgraded(model)
    return len(layers)


def class_before_swap(layer: nn.Module) -> type[nn.Module]:
    """The class of a layer, for one that is accelerated the class that it had."""
    cls = type(layer)
    return original_class(cls) if is_swapped(cls) else cls


def restore_layer(layer: nn.Module) -> None:
    """Undo :func:`lcat.accelerate` for this layer, and not for what is inside of it."""
    if is_swapped(type(layer)):
        _restore(layer)


def _warn_of_upgraded(model: nn.Module) -> None:
    upgraded = [path for path, module in model.named_modules() if UPGRADED_FROM in module.__dict__]
    if upgraded:
        warnings.warn(
            f"nothing was restored: lcat.restore undoes lcat.accelerate, and not lcat.upgrade, which has made L-CATs "
            f"of {counted(len(upgraded), 'layer')} ({upgraded[0] or 'the model'!r}"
            f"{', ...' if len(upgraded) > 1 else ''}). The model of before is "
            f"a copy made before the upgrade: copy.deepcopy(model)",
            stacklevel=3,
        )


@contextmanager
def accelerated(model: nn.Module) -> Iterator[AccelerationReport]:
    """:func:`lcat.accelerate` for a block; at its end, also after an error, the layers swapped here are restored.

    Args:
        model: any module. Layers that were accelerated before stay so, and blocks may be nested.

    Raises:
        TypeError: ``model`` is no module.

    Example:
        >>> import lcat
        >>> from torch_geometric.nn import GCN
        >>> model = GCN(8, 16, num_layers=2)
        >>> with lcat.accelerated(model) as report:
        ...     print(len(report))
        2
    """
    report, layers = _accelerate(model)
    try:
        yield report
    finally:
        for layer in layers:
            if is_swapped(type(layer)):
                _restore(layer)


def _accelerate(model: nn.Module) -> tuple[AccelerationReport, list[nn.Module]]:
    _check_module(model)
    swapped, left, layers = [], [], []
    for path, layer in named_layers(model):
        scripted = isinstance(layer, torch.jit.ScriptModule)
        name = class_name(layer)
        reason = "it is compiled by TorchScript" if scripted else _swap(layer)
        if is_swapped(type(layer)):
            remember_path(layer, path)
        if reason is None:
            swapped.append(SwappedLayer(path, name))
            layers.append(layer)
        else:
            left.append(LeftLayer(path, name, reason))
    return AccelerationReport(tuple(swapped), tuple(left)), layers


def _swap(layer: nn.Module) -> str | None:
    """Give a layer its class of lcat's; the reason, if it is left alone."""
    reason = reason_to_leave(layer)
    if reason is not None:
        return reason
    try:
        _change_class(layer, swapped_class(type(layer)))
    except TypeError as error:  # a class with other slots
        return f"Python cannot change its class: {error}"
    return None


def _restore(layer: nn.Module) -> None:
    forget_path(layer)
    original = original_class(type(layer))
    base = adapted_base(original)
    assert base is not None
    for name in adapter_of(base).added:
        layer.__dict__.pop(name, None)
    _change_class(layer, original)
    if isinstance(layer, MessagePassing):
        layer._set_jittable_templates()  # PyG generates code for a class at its first instance, which may be this one
        if layer.explain:  # reads the signature of the class's own step, and binds what knows explainers
            layer._explain = None
            layer.explain = True


def _change_class(layer: nn.Module, cls: type[nn.Module]) -> None:
    bound = [name for name in _STEPS if name in layer.__dict__ and is_bound_by_pyg(layer, name)]
    layer.__class__ = cls
    for name in bound:
        layer.__dict__[name] = getattr(cls, f"_jinja_{name}", getattr(cls, name)).__get__(layer)


def _check_module(model: Any) -> None:
    if isinstance(model, nn.Module):
        return
    hint = "pass a torch.nn.Module: a model or a layer"
    if isinstance(model, type) and issubclass(model, nn.Module):
        hint = f"this is the class; pass an instance of {model.__name__}"
    elif isinstance(model, (list, tuple)):
        hint = "pass torch.nn.ModuleList(...) of it, or accelerate each one"
    kind = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
    raise TypeError(f"expected 'model' of type torch.nn.Module, got {kind}: {hint}")
