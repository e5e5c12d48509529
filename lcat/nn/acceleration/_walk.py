"""The layers of a model that a report has a line for."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch_geometric.nn.conv import MessagePassing

from lcat.nn.acceleration._registry import adapted_base


def named_layers(model: nn.Module) -> list[tuple[str, Any]]:
    """The message passing layers and scripted modules of a model, each once, with their paths."""
    layers: list[tuple[str, Any]] = []
    scripted: tuple[str, ...] = ()
    for path, module in model.named_modules():
        if path.startswith(scripted) and scripted:
            continue
        if isinstance(module, torch.jit.ScriptModule):
            scripted += (f"{path}." if path else "",)
            layers.append((path, module))
        elif isinstance(module, MessagePassing) or adapted_base(type(module)) is not None:
            layers.append((path, module))
    return layers


def class_name(layer: Any) -> str:
    """The name of a layer's class; TorchScript keeps that of the module that it has compiled."""
    return str(layer.original_name if isinstance(layer, torch.jit.ScriptModule) else type(layer).__name__)
