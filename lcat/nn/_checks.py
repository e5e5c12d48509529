"""Checks of the arguments of layers; every error says which argument, what it got, what it takes and the way out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedParameter
from torch_geometric.typing import SparseTensor

from lcat._edge_formats import EdgeList
from lcat._memory import check_memory
from lcat._numbers import as_bool, as_float, as_int
from lcat._tracing import is_jit_tracing, needs_static_shape


def check_features(
    layer: str,
    name: str,
    x: Any,
    *,
    channels: int,
    weight: Tensor | None,
    edge_index: Any,
    has_scores: bool = True,
) -> None:
    """``x`` is a floating point tensor [N, channels] (or [B, N, channels]) that ``weight`` can multiply.

    ``weight`` is ``None`` where a user has replaced the layer's own map by another one, which may take integers (an
    embedding), another width and another device. ``edge_index`` is looked at where ``x`` is wrong: they may have been
    swapped. Without scores (GCN), features may be complex, and feature sets on one graph may have any number of leading
    dimensions.
    """
    if not isinstance(x, Tensor):
        _refuse_swapped(layer, x, edge_index)
        width = "in_channels" if channels == -1 else channels
        raise TypeError(
            f"'{name}' of {layer} is of type {type(x).__name__}; it takes a tensor of shape [N, {width}]"
            f"{'' if x is None else ': torch.as_tensor makes one of numbers'}"
        )
    if not x.is_floating_point():
        if not x.is_complex():
            _refuse_swapped(layer, x, edge_index)
        if weight is not None:
            _check_number_type(layer, name, x, has_scores)
    if x.layout != torch.strided:
        _refuse_swapped(layer, x, edge_index)
        if str(x.layout) == "torch._mkldnn":
            refuse_other_kinds(layer, name, x, f"[N, {channels}]")
    if x.is_nested:  # has no shape
        raise ValueError(
            f"'{name}' of {layer} is a nested tensor; it takes a dense one: put several graphs into one with "
            f"torch_geometric.data.Batch, or convert it with torch.nested.to_padded_tensor"
        )
    shape, dim = x.shape, x.dim()
    if dim < 2 or dim > 3:
        _check_dim(layer, name, shape, channels=channels, weight=weight, has_scores=has_scores)
    _check_memory(name, x)
    if weight is None:
        return
    if shape[-1] != channels:
        _check_width(layer, name, list(shape), channels=channels, weight=weight)
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


def _check_number_type(layer: str, name: str, x: Tensor, has_scores: bool) -> None:
    """``x``, not of floating point, is complex, and the layer takes that."""
    if x.is_complex():
        if has_scores:
            raise ValueError(
                f"'{name}' of {layer} has dtype {x.dtype}; it takes real numbers, because attention compares scores "
                f"and complex numbers have no order: pass real and imaginary parts as features, "
                f"torch.view_as_real(x).flatten(-2), twice as many"
            )
        return
    convert = ".dequantize()" if x.is_quantized else ".float()"
    raise ValueError(f"'{name}' of {layer} has dtype {x.dtype}; it takes floating point: convert with {convert}")


def _check_dim(
    layer: str, name: str, shape: torch.Size, *, channels: int, weight: Tensor | None, has_scores: bool
) -> None:
    fewest = 2 if has_scores or weight is not None else 1
    if len(shape) < fewest or (has_scores and len(shape) > 3):
        width = "in_channels" if channels == -1 else str(channels)
        sets = f"[B, N, {width}]" if has_scores else f"[..., N, {width}]"
        raise ValueError(
            f"'{name}' of {layer} has shape {list(shape)}; it takes [N, {width}], or {sets} for "
            f"{'B ' if has_scores else ''}feature sets on one graph"
        )


def _check_width(layer: str, name: str, shape: list[int], *, channels: int, weight: Tensor | None) -> None:
    """A layer made with in_channels=-1 takes what its first input had."""
    if channels != -1:
        raise ValueError(
            f"'{name}' of {layer} has {shape[-1]} features per node (shape {shape}), but the layer was made with "
            f"in_channels={channels}; pass features of that size, or in_channels=-1 to take the size of the first input"
        )
    if weight is None or isinstance(weight, UninitializedParameter) or shape[-1] == weight.shape[-1]:
        return
    raise ValueError(
        f"'{name}' of {layer} has {shape[-1]} features per node (shape {shape}), but the layer was made with "
        f"in_channels=-1 and its first input had {weight.shape[-1]}; pass features of that size, or make another layer"
    )


def _refuse_swapped(layer: str, x: Any, edge_index: Any) -> None:
    """Raise a ValueError if ``x`` holds edges and ``edge_index`` features."""
    features = edge_index[0] if isinstance(edge_index, (tuple, list)) and edge_index else edge_index
    if not isinstance(features, Tensor) or features.layout != torch.strided or not features.is_floating_point():
        return
    if isinstance(x, Tensor):
        holds_edges = x.layout != torch.strided or (x.dim() == 2 and x.shape[0] == 2 and not x.is_floating_point())
    else:
        holds_edges = isinstance(x, SparseTensor)
    if holds_edges:
        raise ValueError(
            f"'x' and 'edge_index' of {layer} are swapped: got edges of shape {_shape(x)} first and features "
            f"of shape {list(features.shape)} second; expected {layer}(...)(x, edge_index)"
        )


def _shape(edges: Any) -> list[int]:
    return list(edges.shape) if isinstance(edges, Tensor) else list(edges.sizes())


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
    """``values`` is a dense tensor with one row per edge of the input."""
    if not isinstance(values, Tensor) or values.layout is not torch.strided or values.is_nested:
        refuse_other_kinds(layer, name, values, _row_shapes(edges.num_edges, dims))
    if values.dim() not in dims:
        takes = _row_shapes(edges.num_edges, dims)
        raise ValueError(f"'{name}' of {layer} has shape {list(values.shape)}; it takes {takes}")
    if values.shape[0] != edges.num_edges:
        raise ValueError(
            f"'{name}' of {layer} has {values.shape[0]} rows (shape {list(values.shape)}), but '{edges.name}' has "
            f"{edges.num_edges} edges: one row per edge, in the order of the edges"
        )
    if values.device != device:
        raise ValueError(f"'{name}' of {layer} is on {values.device}, 'x' is on {device}: move one with .to(...)")
    _check_memory(name, values)


def refuse_other_kinds(layer: str, name: str, values: Any, takes: str) -> None:
    """Raise for what is no dense tensor; ``takes`` says which shape it should have."""
    if not isinstance(values, Tensor):
        raise TypeError(
            f"'{name}' of {layer} is of type {type(values).__name__}; it takes a tensor of shape {takes}: "
            f"torch.as_tensor makes one of numbers"
        )
    if values.is_nested:
        raise ValueError(f"'{name}' of {layer} is a nested tensor; it takes a dense one of shape {takes}")
    if values.layout is not torch.strided:
        raise ValueError(
            f"'{name}' of {layer} has layout {values.layout}; it takes a dense tensor of shape {takes}: convert it "
            f"with .to_dense()"
        )


def _row_shapes(rows: int | str, dims: tuple[int, ...]) -> str:
    return " or ".join(f"[{rows}{', D' * (d - 1)}]" for d in dims)


def _check_memory(name: str, tensor: Tensor) -> None:
    """Torch's own operations read what is not there any more, or crash."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
    if plain and not needs_static_shape(tensor):
        check_memory(name, tensor)


def check_edge_features(layer: str, name: str, values: Tensor, x: Tensor, weight: Tensor) -> None:
    """``values`` are edge features that a layer for ``x`` can multiply with ``weight``."""
    if x.is_floating_point() or x.is_complex():
        expected, owner = x.dtype, "'x' has"
    else:  # a user's map makes features of them
        expected, owner = weight.dtype, "the layer's weights have"
    if values.dtype == expected:
        return
    check_not_quantized(layer, name, values)
    if not (values.is_floating_point() and values.dtype.itemsize > 1 and under_autocast(x)):
        raise ValueError(
            f"'{name}' of {layer} has dtype {values.dtype}, {owner} {expected}: convert one with .to(...), or run "
            f"under torch.autocast"
        )


def check_not_quantized(layer: str, name: str, values: Tensor) -> None:
    """``values`` are numbers, and not codes of numbers."""
    if values.is_quantized:
        raise ValueError(
            f"'{name}' of {layer} has dtype {values.dtype}, which is quantized; it takes numbers: convert it with "
            f".dequantize()"
        )


def weights_like(layer: str, name: str, values: Tensor, x: Tensor) -> Tensor:
    """Weights of edges in the dtype of ``x``: float64 weights, as NumPy makes them, would make float64 features.

    Under autocast, where types mix, weights of half precision stay as they are, and others become float32 at least.
    """
    if values.dtype == x.dtype and values.is_floating_point():
        return values
    check_not_quantized(layer, name, values)
    if values.is_complex() and not x.is_complex():
        raise ValueError(
            f"'{name}' of {layer} has dtype {values.dtype}, 'x' has {x.dtype}; complex weights need complex features, "
            f"which GCNConv takes: convert x, or pass real weights, such as their .abs() or .real"
        )
    if values.is_complex() or (x.is_complex() and values.is_floating_point()):
        return values
    if not x.is_floating_point() and not x.is_complex():  # a user's map makes features of them
        return values if values.is_floating_point() else values.to(torch.get_default_dtype())
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
    for side, number, counted in zip(("x[0]", "x[1]"), size, counts, strict=True):
        stated = None if number is None else read_count(number)
        if number is not None and stated is None:
            raise ValueError(
                f"'size' of {layer} is {tuple(size)!r}; it takes two ints of at least 0, (number of source nodes, "
                f"number of target nodes), or None for one that 'x' states"
            )
        if stated is not None and counted is not None and stated != counted:
            raise ValueError(
                f"'size' of {layer} is {tuple(size)}, but {side} has {counted} nodes: Encountered tensor with size "
                f"{counted} in dimension 0, but expected size {stated}"
            )
        known.append(counted if stated is None else stated)
    return known[0], known[1]


def check_statistic_like(layer: str, statistic: Tensor, like: Tensor) -> None:
    """``statistic`` has the shape and device of ``like``, and real numbers."""
    same = statistic.shape == like.shape and statistic.device == like.device
    if not same or not statistic.is_floating_point():
        raise ValueError(
            f"'statistic' of {layer} has shape {list(statistic.shape)}, {statistic.dtype}, on {statistic.device}; it "
            f"takes {list(like.shape)}, {like.dtype}, on {like.device}, as 'neighborhood_statistic' returns it"
        )


def check_scale(layer: str, statistic: Tensor, x: Tensor) -> None:
    """``statistic`` of a GCN, one number per node, does not lose its imaginary part."""
    takes = f"it takes one number per node, [{statistic.shape[0]}], as 'neighborhood_statistic' returns it"
    if statistic.dim() != 1:
        raise ValueError(f"'statistic' of {layer} has shape {list(statistic.shape)}; {takes}")
    if statistic.is_complex() and not x.is_complex():
        raise ValueError(
            f"'statistic' of {layer} has dtype {statistic.dtype}, 'x' has {x.dtype}; {takes} for these features: a "
            f"complex one needs complex x"
        )
    if not (statistic.is_floating_point() or statistic.is_complex()) or statistic.is_quantized:
        raise ValueError(f"'statistic' of {layer} has dtype {statistic.dtype}; {takes}")
    if statistic.device != x.device:
        raise ValueError(
            f"'statistic' of {layer} is on {statistic.device}, 'x' is on {x.device}: move one with .to(...)"
        )


def read_count(value: Any) -> int | None:
    """A number of nodes as an int, or as what stands for one in a trace; ``None`` for anything else."""
    if type(value) is int or isinstance(value, torch.SymInt) or (isinstance(value, Tensor) and is_jit_tracing()):
        return value if type(value) is not int or value >= 0 else None  # type: ignore[return-value]
    number = as_int(value)
    return number if number is not None and number >= 0 else None


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
    refuse_other_kinds(layer, "statistic", statistic, "[N, ...]")
    if statistic.dim() == 0 or statistic.shape[0] != num_nodes:
        raise ValueError(
            f"'statistic' of {layer} has shape {list(statistic.shape)}, but 'x' has {num_nodes} nodes: it takes one "
            f"row per node, as 'neighborhood_statistic' returns them"
        )


def check_fill_value(layer: str, fill_value: Any, edge_dim: int | None, reductions: tuple[str, ...]) -> Any:
    """``fill_value`` is a number, a tensor with one number per feature of an edge, or the name of a reduction.

    Returns:
        it, a number as a float.
    """
    takes = f"a float, a tensor of shape [edge_dim], or one of {', '.join(map(repr, reductions))}"
    if isinstance(fill_value, str):
        if fill_value not in reductions:
            raise ValueError(f"'fill_value' of {layer} is {fill_value!r}; it takes {takes}")
        return fill_value
    if isinstance(fill_value, Tensor):
        refuse_other_kinds(layer, "fill_value", fill_value, "[] or [edge_dim]")
        check_not_quantized(layer, "fill_value", fill_value)
        if fill_value.is_complex():
            raise ValueError(f"'fill_value' of {layer} has dtype {fill_value.dtype}; it takes real numbers")
        check_fill_width(layer, fill_value, edge_dim)
        return fill_value
    number = as_float(fill_value)
    if number is None or not math.isfinite(number):
        raise ValueError(f"'fill_value' of {layer} is {fill_value!r}; it takes {takes}")
    return number


def check_fill_width(layer: str, fill_value: Tensor, edge_dim: int | None) -> None:
    """A tensor as ``fill_value`` has one number, or one for each of the features of an edge, where those are known."""
    shape = list(fill_value.shape)
    row = shape[:-1] in ([], [1])
    if not row or (edge_dim not in (None, -1, 0) and fill_value.numel() not in (1, edge_dim)):
        raise ValueError(
            f"'fill_value' of {layer} has shape {shape}; it takes one number, or as many in a row as edge_dim="
            f"{edge_dim} says"
        )


#: no layer has so many features or heads, and torch has no tensors of them
_TOO_MANY = 2**48


def read_size(layer: str, name: str, value: Any) -> int:
    """A number of features or heads, at least 1, as an int."""
    number = as_int(value)
    if number is None or number < 1:
        raise ValueError(f"'{name}' of {layer} is {value!r}; it takes an int of at least 1")
    _check_not_too_many(layer, name, number)
    return number


def _check_not_too_many(layer: str, name: str, number: int) -> None:
    if number > _TOO_MANY:
        raise ValueError(f"'{name}' of {layer} is {number}; it takes an int of at most 2**48, and of what memory holds")


def read_size_or_lazy(layer: str, name: str, value: Any) -> int:
    """A number of features, or -1: as many as the first input has."""
    return -1 if as_int(value) == -1 else read_size(layer, name, value)


def read_edge_dim(layer: str, value: Any) -> int | None:
    """``edge_dim`` as an int; -1 and, as in PyG, 0 (a data set without any) take the size of the first ones."""
    if value is None:
        return None
    number = as_int(value)
    if number is None or number < -1:
        raise ValueError(
            f"'edge_dim' of {layer} is {value!r}; it takes None (no edge features), the number of features per "
            f"edge, or -1 (take the size of the first ones)"
        )
    _check_not_too_many(layer, "edge_dim", number)
    return number


def read_channels(layer: str, in_channels: Any) -> int | tuple[int, int]:
    """``in_channels``, a positive int, -1, or a pair of them."""
    is_pair = isinstance(in_channels, (tuple, list))
    sizes = [as_int(size) for size in (in_channels if is_pair else (in_channels,))]
    if len(sizes) != (2 if is_pair else 1) or any(size is None or size < -1 or size == 0 for size in sizes):
        raise ValueError(
            f"'in_channels' of {layer} is {in_channels!r}; it takes a positive int, -1 (take the size of the first "
            f"input), or a pair of them (sources, targets) for bipartite graphs"
        )
    first, second = sizes[0], sizes[-1]
    assert first is not None
    assert second is not None
    _check_not_too_many(layer, "in_channels", max(first, second))
    return (first, second) if is_pair else first


def read_probability(layer: str, name: str, value: Any, what: str = "a probability") -> float:
    """A dropout probability, or another share."""
    number = as_float(value)
    if number is None or not 0.0 <= number <= 1.0:
        raise ValueError(f"'{name}' of {layer} is {value!r}; it takes {what} in [0, 1]")
    return number


def read_flag(layer: str, name: str, value: Any) -> bool:
    """True or false, NumPy's too; 1 and 0 as command lines parse them. A text would be true, whatever it says."""
    flag = as_bool(value)
    if flag is None:
        raise ValueError(f"'{name}' of {layer} is {value!r}; it takes True or False")
    return flag


def read_number(layer: str, name: str, value: Any) -> float:
    """Any finite real number."""
    number = as_float(value)
    if number is None or not math.isfinite(number):
        raise ValueError(f"'{name}' of {layer} is {value!r}; it takes a finite float")
    return number


def check_bias(layer: str, bias: Tensor, width: int, out: Tensor) -> None:
    """``bias`` can be added to ``out``, whose last dimension has ``width`` features, without another shape."""
    try:
        fits = torch.broadcast_shapes(bias.shape, out.shape) == out.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"'bias' of {layer} has shape {list(bias.shape)}, but the output has {width} features: 'bias', 'concat' or "
            f"a linear map was replaced after the layer was made; replace 'bias' by a parameter of shape [{width}], or "
            f"by None"
        )


def check_mapped(layer: str, name: str, mapped: Any) -> None:
    """What a map that a user has put into a layer returns is a tensor of numbers."""
    if not isinstance(mapped, Tensor):
        raise TypeError(
            f"the map '{name}' of {layer} returned {type(mapped).__name__}; expected a tensor with one row per node or "
            f"edge: wrap it in a module that returns one"
        )


def changed_weight(
    layer: str, name: str, weight: Tensor, *, channels: tuple[int, int], dtype: torch.dtype
) -> str | None:
    """What to say of the weight of a map that has another shape or type than the layer was made with."""
    inputs, width = channels
    expected = [width, weight.shape[-1] if inputs in (-1, 0) else inputs]
    if list(weight.shape) != expected:
        return (
            f"the weight of '{name}' of {layer} has shape {list(weight.shape)}, but the layer has {expected[1]} input "
            f"and {width} output features (all heads): a map or a number of features or heads was replaced after the "
            f"layer was made; make another layer"
        )
    if weight.dtype != dtype:
        return (
            f"the weight of '{name}' of {layer} has dtype {weight.dtype}, the layer's others have {dtype}: convert one "
            f"with .to(...)"
        )
    return None


def changed_attention(
    layer: str, name: str, vector: Tensor | None, *, shape: tuple[int, int, int], like: Tensor | None
) -> str | None:
    """What to say of an attention vector that is gone, or does not fit the heads or the other weights."""
    if vector is None:
        return f"'{name}' of {layer} is None; it takes a parameter of shape {list(shape)}"
    try:
        fits = torch.broadcast_shapes(vector.shape, shape) == shape
    except RuntimeError:
        fits = False
    if not fits:
        return (
            f"'{name}' of {layer} has shape {list(vector.shape)}; it takes {list(shape)}, that is [1, heads, "
            f"out_channels]: one of them was replaced after the layer was made; make another layer"
        )
    if not vector.is_floating_point():
        return f"'{name}' of {layer} has dtype {vector.dtype}; attention takes weights of a floating point type"
    if like is not None and vector.dtype != like.dtype:
        return (
            f"'{name}' of {layer} has dtype {vector.dtype}, the layer's others have {like.dtype}: convert one with "
            f".to(...)"
        )
    return None


def check_mix(layer: str, mixed: Any, attended: Tensor) -> None:
    """What the map of own and attended features returns has the shape of the latter."""
    check_mapped(layer, "lin_mix", mixed)
    if mixed.shape != attended.shape:
        raise ValueError(
            f"the map 'lin_mix' of {layer} returned shape {list(mixed.shape)}; expected {list(attended.shape)}: "
            f"replace it by a map of {2 * attended.shape[-1]} to {attended.shape[-1]} features"
        )


def check_residual(layer: str, residual: Any, out: Tensor) -> None:
    """What the map of the residual returns has the shape of the output."""
    check_mapped(layer, "res", residual)
    if residual.shape != out.shape:
        raise ValueError(
            f"the map 'res' of {layer} returned shape {list(residual.shape)}, but the output has {list(out.shape)}: "
            f"'res', 'concat' or 'heads' was replaced after the layer was made; replace 'res' by a map to "
            f"{out.shape[-1]} features, or by None"
        )
