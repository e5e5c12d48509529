"""What ``torch.jit.script`` gets of layers and models."""

from __future__ import annotations

from typing import Any

from torch_geometric.nn.conv import MessagePassing


def layer_of_pyg(layer: Any) -> Any:
    """The PyG layer that ``layer``, of a class of lcat, stands before: its steps are those that TorchScript compiles.

    A subclass of somebody else stays what it is.
    """
    if not type(layer).__module__.startswith("lcat.nn."):
        return layer
    cls: Any = next(base for base in type(layer).__mro__ if base.__module__.startswith("torch_geometric."))
    # Its constructor generates the code of the class, from the source of PyG's class and not of lcat's.
    made: Any = object.__new__(cls)
    MessagePassing.__init__(made)
    plain: Any = object.__new__(cls)
    plain.__dict__.update(layer.__dict__, inspector=made.inspector)
    return plain


def cannot_be_scripted(module: Any) -> TypeError:
    """The error for a layer or model that TorchScript cannot compile."""
    return TypeError(
        f"torch.jit.script cannot compile {type(module).__name__}: use torch.jit.trace(model, (x, edge_index)), "
        f"torch.export.export or torch.onnx.export"
    )
