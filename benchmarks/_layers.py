"""Layers of this library and their rivals under the same weights: steps to time, and whether the numbers agree."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor, nn

import lcat.nn
import lcat.ops

#: Each layer of this library, and the layer of PyG that takes its turn. PyG has no CAT and no L-CAT: beside them is the
#: layer whose place they take.
RIVALS = {
    "GCNConv": "GCNConv",
    "GATConv": "GATConv",
    "GATv2Conv": "GATv2Conv",
    "CATConv": "GATConv",
    "LCATConv": "GATConv",
    "LCATv2Conv": "GATv2Conv",
}
#: Layers whose numbers PyG has as well.
SHARED = tuple(name for name, rival in RIVALS.items() if name == rival)


def make_layer(module: Any, name: str, features: int, heads: int, width: int, dropout: float = 0.0) -> nn.Module:
    """A layer of ``lcat.nn`` or of PyG, from ``features`` to ``heads * width``; GCN drops no attention."""
    layer_class = getattr(module, name)
    if name == "GCNConv":
        layer: nn.Module = layer_class(features, heads * width)
    else:
        layer = layer_class(features, width, heads=heads, dropout=dropout)
    return layer


def make_pair(name: str, features: int, heads: int, width: int, dropout: float = 0.0) -> tuple[nn.Module, nn.Module]:
    """This library's layer and its rival, which has the same weights if it is the same layer."""
    ours = make_layer(lcat.nn, name, features, heads, width, dropout)
    theirs = make_layer(pyg, RIVALS[name], features, heads, width, dropout)
    if name in SHARED:
        theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def make_step(layer: Callable[..., Tensor], x: Tensor, edges: Any, parameters: list[Tensor]) -> Callable[[], Any]:
    """One forward and backward pass, with gradients of the input and all parameters."""
    wanted = [x, *parameters]
    cotangent = torch.randn(layer(x, edges).shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)

    def step() -> Any:
        out = layer(x, edges)
        return out, torch.autograd.grad(out, wanted, cotangent)

    return step


def make_inference(layer: Callable[..., Tensor], x: Tensor, edges: Any) -> Callable[[], Any]:
    """One forward pass without gradients."""

    def step() -> Any:
        with torch.no_grad():
            return layer(x, edges), ()

    return step


def same_numbers(name: str, ours: Any, theirs: Any, limit: float) -> None:
    """Stop unless output and gradients of two steps agree, each in norm."""
    for a, b in zip((ours[0], *ours[1]), (theirs[0], *theirs[1]), strict=True):
        off = float((a - b).detach().norm() / b.detach().norm().clamp(min=1.0))
        if not off < limit:
            raise SystemExit(f"{name}: numbers differ by {off:.2g}; no time is reported for wrong results")


def check_pair(name: str, ours: nn.Module, theirs: nn.Module, x: Tensor, edges: Tensor) -> None:
    """Without dropout, output and all gradients against the rival; of a layer that PyG has not, against its plain path.

    In float64, as a LeakyReLU within rounding of its kink has two right answers in float32; then once more in float32,
    without the kink.
    """
    for dtype, limit in ((torch.double, 1e-9), (torch.float, 1e-3)):
        results = []
        rival = theirs if name in SHARED else ours
        for layer, plain in ((ours, nullcontext()), (rival, lcat.ops.use_implementation("naive"))):
            layer = copy.deepcopy(layer).to(dtype).eval()
            if dtype is torch.float and hasattr(layer, "negative_slope"):
                layer.negative_slope = 1.0
            inputs = x.detach().to(dtype).requires_grad_()
            with plain:
                results.append(make_step(layer, inputs, edges, list(layer.parameters()))())
        same_numbers(name, *results, limit)
