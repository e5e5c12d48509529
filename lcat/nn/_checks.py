"""Checks of the arguments of layers; every error says which argument, what it got, what it takes and the way out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter

from lcat._edge_formats import EdgeList


def check_features(
    layer: str, name: str, x: Any, *, channels: int, weight: Tensor | None, dims: tuple[int, ...] = (2, 3)
) -> None:
    """``x`` is a floating point tensor [N, channels] (or [B, N, channels]) that ``weight`` can multiply.

    ``weight`` is ``None`` where a user has replaced the layer's own map by another one.
    """
    if not isinstance(x, Tensor):
        raise TypeError(
            f"'{name}' of {layer} is of type {type(x).__name__}; it takes a tensor of shape [N, {channels}]"
        )
    shape = list(x.shape)
    width = "in_channels" if channels == -1 else str(channels)
    if x.dim() not in dims:
        raise ValueError(
            f"'{name}' of {layer} has shape {shape}; it takes [N, {width}]"
            + (f", or [B, N, {width}] for B feature sets on one graph" if 3 in dims else "")
        )
    if channels != -1 and shape[-1] != channels:
        raise ValueError(
            f"'{name}' of {layer} has {shape[-1]} features per node (shape {shape}), but the layer was made with "
            f"in_channels={channels}; pass features of that size, or in_channels=-1 to take the size of the first input"
        )
    if not x.is_floating_point() and not x.is_complex():
        raise ValueError(f"'{name}' of {layer} has dtype {x.dtype}; it takes floating point: convert with .float()")
    if weight is None:
        return
    if x.device != weight.device:
        raise ValueError(
            f"'{name}' of {layer} is on {x.device}, the layer is on {weight.device}: move one with .to(...)"
        )
    if isinstance(weight, UninitializedParameter) or under_autocast(x):
        return
    if x.dtype != weight.dtype:
        raise ValueError(
            f"'{name}' of {layer} has dtype {x.dtype}, the layer's weights {weight.dtype}: convert one with "
            f".to(...), or run under torch.autocast"
        )


def under_autocast(x: Tensor) -> bool:
    """Autocast is on for the device of ``x`` (torch refuses the question for meta tensors)."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def check_edge_device(layer: str, edges: EdgeList, device: torch.device) -> None:
    """The edges are on the device of the features."""
    if edges.key.device != device:
        raise ValueError(
            f"'{edges.name}' of {layer} is on {edges.key.device}, 'x' is on {device}: move one with .to(...)"
        )


def check_edge_tensor(
    layer: str, name: str, values: Any, edges: EdgeList, *, device: torch.device, dims: tuple[int, ...]
) -> None:
    """``values`` has one row per edge of the input."""
    takes = " or ".join(f"[{edges.num_edges}{', D' * (d - 1)}]" for d in dims)
    if not isinstance(values, Tensor):
        raise TypeError(f"'{name}' of {layer} is of type {type(values).__name__}; it takes a tensor of shape {takes}")
    if values.dim() not in dims:
        raise ValueError(f"'{name}' of {layer} has shape {list(values.shape)}; it takes {takes}")
    if values.shape[0] != edges.num_edges:
        raise ValueError(
            f"'{name}' of {layer} has {values.shape[0]} rows (shape {list(values.shape)}), but '{edges.name}' has "
            f"{edges.num_edges} edges: one row per edge, in the order of the edges"
        )
    if values.device != device:
        raise ValueError(f"'{name}' of {layer} is on {values.device}, 'x' is on {device}: move one with .to(...)")


def check_edge_features(layer: str, name: str, values: Tensor, x: Tensor) -> None:
    """``values`` are edge features that a layer for ``x`` can multiply with its weights."""
    if values.dtype != x.dtype and not under_autocast(x):
        raise ValueError(
            f"'{name}' of {layer} has dtype {values.dtype}, 'x' has {x.dtype}: convert one with .to(...), or run "
            f"under torch.autocast"
        )


def weights_like(values: Tensor, x: Tensor) -> Tensor:
    """Weights of edges in the dtype of ``x``: float64 weights, as NumPy makes them, would make float64 features.

    Under autocast, where types mix, weights of half precision stay as they are, and others become float32 at least.
    """
    if values.is_complex() or (x.is_complex() and values.is_floating_point()):
        return values
    if not under_autocast(x):
        return values.to(x.dtype)
    narrow = values.is_floating_point() and values.dtype.itemsize <= 4
    return values if narrow else values.to(torch.promote_types(x.dtype, torch.float32))


def check_size(layer: str, size: Any, counts: tuple[int | None, int | None]) -> tuple[int | None, int | None]:
    """``size=(N_0, N_1)`` agrees with the rows of x; returns the number of nodes on each side."""
    if size is None:
        return counts
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise ValueError(f"'size' of {layer} is {size!r}; it takes (number of source nodes, number of target nodes)")
    known: list[int | None] = []
    for side, stated, counted in zip(("x[0]", "x[1]"), size, counts, strict=True):
        if stated is not None and counted is not None and stated != counted:
            raise ValueError(
                f"'size' of {layer} is {tuple(size)}, but {side} has {counted} nodes: Encountered tensor with size "
                f"{counted} in dimension 0, but expected size {stated}"
            )
        known.append(counted if stated is None else stated)
    return known[0], known[1]


def check_statistic(layer: str, statistic: Any, num_nodes: int | None) -> None:
    """``statistic`` has one row per node; ``num_nodes`` is ``None`` for a call that needs no statistic."""
    if num_nodes is None:
        raise ValueError(
            f"'statistic' was passed to a {layer} that needs none: its 'neighborhood_statistic' is None for these "
            f"arguments; leave it out"
        )
    if not isinstance(statistic, Tensor):
        raise TypeError(
            f"'statistic' of {layer} is of type {type(statistic).__name__}; it takes the tensor that "
            f"'neighborhood_statistic' returns"
        )
    if statistic.dim() == 0 or statistic.shape[0] != num_nodes:
        raise ValueError(
            f"'statistic' of {layer} has shape {list(statistic.shape)}, but 'x' has {num_nodes} nodes: it takes one "
            f"row per node, as 'neighborhood_statistic' returns them"
        )


def check_fill_value(layer: str, fill_value: Any, edge_dim: int | None, reductions: tuple[str, ...]) -> None:
    """``fill_value`` is a number, a tensor with one number per feature of an edge, or the name of a reduction."""
    if isinstance(fill_value, str) and fill_value not in reductions:
        raise ValueError(
            f"'fill_value' of {layer} is {fill_value!r}; it takes a float, a tensor of shape [edge_dim], or one "
            f"of {', '.join(map(repr, reductions))}"
        )
    if isinstance(fill_value, Tensor) and edge_dim not in (None, -1) and fill_value.numel() not in (1, edge_dim):
        raise ValueError(
            f"'fill_value' of {layer} has shape {list(fill_value.shape)}; it takes one number, or as many as "
            f"edge_dim={edge_dim} says"
        )


def check_positive(layer: str, **values: Any) -> None:
    """Every value is an int of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"'{name}' of {layer} is {value!r}; it takes an int of at least 1")


def check_channels(layer: str, in_channels: Any) -> None:
    """``in_channels`` is a positive int, -1, or a pair of them."""
    pair = in_channels if isinstance(in_channels, (tuple, list)) else (in_channels, in_channels)
    good = len(pair) == 2 and all(isinstance(c, int) and not isinstance(c, bool) and (c == -1 or c > 0) for c in pair)
    if not good:
        raise ValueError(
            f"'in_channels' of {layer} is {in_channels!r}; it takes a positive int, -1 (take the size of the first "
            f"input), or a pair of them (sources, targets) for bipartite graphs"
        )


def check_probability(layer: str, name: str, value: Any) -> None:
    """A dropout probability."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise ValueError(f"'{name}' of {layer} is {value!r}; it takes a probability in [0, 1]")
