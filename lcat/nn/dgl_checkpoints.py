"""Layers from checkpoints of the Deep Graph Library (DGL)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, TypedDict

import torch
from torch import Tensor
from typing_extensions import Unpack

from lcat._text import hint
from lcat.graph import graph_view
from lcat.nn import _checks
from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv

__all__ = ["dgl_edge_weight", "from_dgl"]

DGLLayer: TypeAlias = Literal["GATConv", "GATv2Conv", "GraphConv"]
DGLNorm: TypeAlias = Literal["both", "left", "none", "right"]


class DGLOptions(TypedDict, total=False):
    """Arguments of DGL's constructors that leave no trace in a ``state_dict``, and ``concat``."""

    attn_drop: float
    negative_slope: float
    residual: bool
    concat: bool
    norm: DGLNorm


_LAYERS: dict[str, tuple[str, ...]] = {
    "GATConv": ("attn_drop", "negative_slope", "residual", "concat"),
    "GATv2Conv": ("attn_drop", "negative_slope", "residual", "concat"),
    "GraphConv": ("norm",),
}
_NORMS = ("both", "left", "none", "right")


def from_dgl(
    layer: DGLLayer, state_dict: Mapping[str, Tensor], *, prefix: str = "", **options: Unpack[DGLOptions]
) -> GATConv | GATv2Conv | GCNConv:
    r"""A layer that computes what a layer of the Deep Graph Library (DGL) computes, from its ``state_dict``.

    DGL need not be installed. Sizes, heads and biases are read from the tensors. The layers add no self-loops, as
    DGL's do not: ``dgl.add_self_loop`` is :func:`torch_geometric.utils.add_self_loops`. The output of an attention
    layer is ``[N, H * F]``, which is DGL's ``[N, H, F]`` with ``flatten(1)``; with ``concat=False`` it is
    ``mean(dim=1)`` of that.

    ===============  =======================  ======================================================================
    DGL              lcat                     condition
    ===============  =======================  ======================================================================
    ``GATConv``      :class:`GATConv`
    ``GATv2Conv``    :class:`GATv2Conv`
    ``GraphConv``    :class:`GCNConv`         ``norm="both"``: every node has as many out-edges as in-edges (the
                                              graph is undirected), and there are no edge weights. Otherwise pass
                                              ``norm="none"`` here and :func:`dgl_edge_weight` to the layer.
    ===============  =======================  ======================================================================

    Args:
        layer: the name of DGL's class.
        state_dict: that of the layer, or of a model.
        prefix: what the names of the layer begin with in the ``state_dict`` of a model, such as ``"layers.0."``.
        **options: arguments of DGL's constructor that no tensor shows: for the attention layers ``attn_drop`` (0.0),
            ``negative_slope`` (0.2) and ``residual`` (False), and ``concat`` (True), see above; for ``GraphConv``
            ``norm``, "both" or "none". ``feat_drop`` and ``activation`` belong outside the layer:
            ``conv(dropout(x), edge_index)``.

    Returns:
        a :class:`GATConv`, :class:`GATv2Conv` or :class:`GCNConv` with the numbers of the checkpoint.

    Raises:
        TypeError: ``state_dict`` is no mapping of tensors, or an option is not known.
        ValueError: an unknown layer, names or shapes that do not fit it, or ``norm`` "left" or "right".

    Complexity:
        O(number of parameters).

    Example:
        >>> import torch
        >>> from lcat.nn import from_dgl
        >>> state = {"weight": torch.eye(2), "bias": torch.zeros(2)}
        >>> from_dgl("GraphConv", state)
        GCNConv(2, 2)
    """
    if not isinstance(layer, str):
        raise TypeError(
            f"expected 'layer' as a name ({', '.join(map(repr, _LAYERS))}), got {type(layer).__name__}: "
            "write from_dgl('GATConv', state_dict)"
        )
    if layer not in _LAYERS:
        raise ValueError(f"'layer' is {layer!r}{hint(layer, _LAYERS)}; it takes {', '.join(map(repr, _LAYERS))}")
    _check_options(layer, options)
    state = _State(layer, state_dict, prefix)
    if layer == "GraphConv":
        return _graph_conv(state, options.get("norm", "both"))
    attention = {
        "concat": _checks.read_flag("from_dgl", "concat", options.get("concat", True)),
        "dropout": options.get("attn_drop", 0.0),
        "negative_slope": options.get("negative_slope", 0.2),
        "add_self_loops": False,
    }
    residual = _checks.read_flag("from_dgl", "residual", options.get("residual", False))
    return (_gat if layer == "GATConv" else _gatv2)(state, attention, residual=residual)


def dgl_edge_weight(
    edge_index: Any,
    num_nodes: int | tuple[int, int],
    norm: DGLNorm = "both",
    edge_weight: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""The factor with which DGL's ``GraphConv`` multiplies the message of each edge.

    .. math::
        c_{ij} = w_{ij} \cdot \begin{cases} 1 / \sqrt{d^-_j\, d^+_i} & \text{both} \\ 1 / d^-_j & \text{left} \\
        1 / d^+_i & \text{right} \\ 1 & \text{none} \end{cases}

    with the number of out-edges of the source, :math:`d^-_j`, and of in-edges of the target, :math:`d^+_i`. Edge
    weights do not count in these numbers, which PyG's (and the paper's) normalization has otherwise.

    Args:
        edge_index: the E edges in any format.
        num_nodes: N, or the numbers of sources and targets.
        norm: as in DGL's ``GraphConv``.
        edge_weight: w, ``[E]``; ``None`` means 1.
        dtype: type of the result, where there are no weights.

    Returns:
        ``[E]``, for ``GCNConv(..., normalize=False)(x, edge_index, dgl_edge_weight(...))``.

    Raises:
        TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.

    Complexity:
        O(E + N) time.

    Example:
        >>> import torch
        >>> from lcat.nn import dgl_edge_weight
        >>> dgl_edge_weight(torch.tensor([[0, 1, 2], [2, 2, 0]]), 3, norm="right")
        tensor([0.5000, 0.5000, 1.0000])
    """
    if norm not in _NORMS:
        raise ValueError(f"'norm' is {norm!r}{hint(norm, _NORMS)}; it takes {', '.join(map(repr, _NORMS))}")
    num_sources, num_targets = num_nodes if isinstance(num_nodes, (tuple, list)) else (num_nodes, num_nodes)
    graph, edges = graph_view(edge_index, num_sources, num_targets)
    weight = edges.values if edge_weight is None else edge_weight
    if weight is None:
        weight = torch.ones(graph.source.shape[0], dtype=dtype, device=graph.source.device)
    elif weight.shape != graph.source.shape:
        raise ValueError(
            f"'edge_weight' has shape {list(weight.shape)}; expected [{graph.source.shape[0]}], one weight per edge"
        )
    if norm in ("both", "left"):
        weight = weight * _degree_factor(graph.source, num_sources, norm, weight.dtype)
    if norm in ("both", "right"):
        weight = weight * _degree_factor(graph.target, num_targets, norm, weight.dtype)
    return weight


def _degree_factor(ends: Tensor, num_nodes: int, norm: DGLNorm, dtype: torch.dtype) -> Tensor:
    degree = torch.bincount(ends, minlength=num_nodes).to(dtype)
    return degree.pow(-0.5 if norm == "both" else -1.0)[ends]


def _check_options(layer: str, options: Mapping[str, Any]) -> None:
    known = _LAYERS[layer]
    for name in options:
        if name in ("feat_drop", "activation"):
            raise TypeError(
                f"from_dgl takes no {name!r}: layers of lcat have none; apply it outside the layer, as in "
                f"{'conv(dropout(x), edge_index)' if name == 'feat_drop' else 'activation(conv(x, edge_index))'}"
            )
        if name not in known:
            raise TypeError(
                f"from_dgl does not know {name!r}{hint(name, known)} for {layer}; it takes {', '.join(known)}"
            )


class _State:
    """The tensors of one layer; names that nobody asked for are an error at the end."""

    def __init__(self, layer: str, state_dict: Any, prefix: str) -> None:
        got = "" if isinstance(state_dict, Mapping) else type(state_dict).__name__
        for name, value in () if got else state_dict.items():
            if not isinstance(value, Tensor):
                got = f"{name!r}: {type(value).__name__} in it"
                break
        if got:
            raise TypeError(
                f"expected 'state_dict' as a mapping from names to tensors, got {got}; pass what the layer's "
                f"state_dict() returned"
            )
        self.layer, self.prefix = layer, prefix
        self.tensors = {name[len(prefix) :]: t for name, t in state_dict.items() if name.startswith(prefix)}
        if not self.tensors:
            raise ValueError(
                f"no name in the state_dict begins with prefix={prefix!r}; it has {', '.join(state_dict) or 'no names'}"
            )

    def take(self, name: str, *, dim: int, optional: bool = False) -> Any:
        """The tensor of this name, with so many dimensions, and remove it."""
        tensor = self.tensors.pop(name, None)
        if tensor is None and not optional:
            raise ValueError(
                f"the state_dict does not fit DGL's {self.layer}: {self.prefix + name!r} is missing; left are "
                f"{sorted(self.tensors) or 'no names'}"
            )
        if tensor is not None and tensor.dim() != dim:
            raise ValueError(
                f"the state_dict does not fit DGL's {self.layer}: {self.prefix + name!r} has shape "
                f"{list(tensor.shape)}; expected {dim} dimensions"
            )
        return tensor

    def fill(self, conv: Any, values: Mapping[str, Tensor | None]) -> Any:
        """Load ``values`` into the layer, after a check that nothing is left."""
        if self.tensors:
            raise ValueError(
                f"the state_dict does not fit DGL's {self.layer}: {sorted(self.tensors)} are left over; check the "
                f"layer's name, 'prefix' and 'residual'"
            )
        filled = {name: tensor for name, tensor in values.items() if tensor is not None}
        dtype = next(iter(filled.values())).dtype
        conv = conv.to(dtype)
        own = conv.state_dict()
        wrong = [name for name, t in filled.items() if name not in own or own[name].shape != t.shape]
        if wrong:
            raise ValueError(
                f"the state_dict does not fit DGL's {self.layer}: the tensors for "
                + ", ".join(f"{name} of shape {list(filled[name].shape)}" for name in wrong)
                + f" do not fit {conv}; check that all of them are of the same layer"
            )
        conv.load_state_dict(filled)
        return conv


def _graph_conv(state: _State, norm: str) -> GCNConv:
    if norm in ("left", "right"):
        raise ValueError(
            f"'norm' is {norm!r}, which GCNConv does not have: pass norm='none' here, and "
            f"edge_weight=dgl_edge_weight(edge_index, num_nodes, norm={norm!r}) to the layer"
        )
    if norm not in _NORMS:
        raise ValueError(f"'norm' is {norm!r}{hint(norm, _NORMS)}; it takes 'both' or 'none'")
    weight, bias = state.take("weight", dim=2), state.take("bias", dim=1, optional=True)
    in_channels, out_channels = weight.shape
    conv = GCNConv(in_channels, out_channels, normalize=norm == "both", add_self_loops=False, bias=bias is not None)
    conv = state.fill(conv, {"lin.weight": weight.t(), "bias": bias})
    return conv  # type: ignore[no-any-return]


def _gat(state: _State, attention: dict[str, Any], *, residual: bool) -> GATConv:
    source, target = state.take("attn_l", dim=3), state.take("attn_r", dim=3)
    heads, width = source.shape[1:]
    values: dict[str, Any] = {"att_src": source, "att_dst": target}
    if "fc.weight" in state.tensors:
        values["lin.weight"] = weight = state.take("fc.weight", dim=2)
        in_channels: Any = weight.shape[1]
        into_targets = in_channels
    else:
        values["lin_src.weight"] = weight = state.take("fc_src.weight", dim=2)
        values["lin_dst.weight"] = state.take("fc_dst.weight", dim=2)
        into_targets = values["lin_dst.weight"].shape[1]
        in_channels = (weight.shape[1], into_targets)
    _check_heads(state, weight, heads, width)
    bias = state.take("bias", dim=1, optional=True)
    values |= _residual(state, into_targets, heads=heads, width=width, concat=attention["concat"], residual=residual)
    values["bias"] = _by_heads(_sum(bias, values.pop("res.bias", None)), heads, concat=attention["concat"])
    conv = GATConv(
        in_channels, width, heads, bias=values["bias"] is not None, residual="res.weight" in values, **attention
    )
    return state.fill(conv, values)  # type: ignore[no-any-return]


def _gatv2(state: _State, attention: dict[str, Any], *, residual: bool) -> GATv2Conv:
    att = state.take("attn", dim=3)
    heads, width = att.shape[1:]
    values: dict[str, Any] = {"att": att}
    for theirs, ours in (("fc_src", "lin_l"), ("fc_dst", "lin_r")):
        values[f"{ours}.weight"] = state.take(f"{theirs}.weight", dim=2)
        values[f"{ours}.bias"] = state.take(f"{theirs}.bias", dim=1, optional=True)
    left, right = values["lin_l.weight"], values["lin_r.weight"]
    _check_heads(state, left, heads, width)
    # Tensors of one module under two names are one in memory also after torch.save and torch.load.
    shared = left.shape == right.shape and left.data_ptr() == right.data_ptr()
    has_bias = values["lin_l.bias"] is not None
    values |= _residual(state, right.shape[1], heads=heads, width=width, concat=attention["concat"], residual=residual)
    out_bias = _by_heads(values.pop("res.bias", None), heads, concat=attention["concat"])
    in_channels = left.shape[1] if left.shape[1] == right.shape[1] else (left.shape[1], right.shape[1])
    conv = GATv2Conv(
        in_channels,
        width,
        heads,
        bias=has_bias,
        share_weights=shared,
        residual="res.weight" in values,
        **attention,
    )
    # DGL's layer has biases before the attention and none behind it, except that of a residual.
    if out_bias is None:
        conv.register_parameter("bias", None)
    values["bias"] = out_bias
    return state.fill(conv, values)  # type: ignore[no-any-return]


def _check_heads(state: _State, weight: Tensor, heads: int, width: int) -> None:
    if weight.shape[0] != heads * width:
        raise ValueError(
            f"the state_dict does not fit DGL's {state.layer}: a map has {weight.shape[0]} outputs, and the attention "
            f"vectors are for {heads} heads of {width}; check that all tensors are of the same layer"
        )


def _residual(
    state: _State, in_channels: int, *, heads: int, width: int, concat: bool, residual: bool
) -> dict[str, Tensor]:
    """The residual map: DGL has none in the checkpoint where input and output are of the same size."""
    weight = state.take("res_fc.weight", dim=2, optional=True)
    if weight is None:
        if not residual:
            return {}
        if in_channels != heads * width:
            raise ValueError(
                f"residual=True, but the state_dict has no 'res_fc.weight', which a layer from {in_channels} to "
                f"{heads} x {width} features needs: check 'residual'"
            )
        reference = next(iter(state.tensors.values()), None)
        weight = torch.eye(in_channels, dtype=None if reference is None else reference.dtype)
    bias = state.take("res_fc.bias", dim=1, optional=True)
    values = {"res.weight": weight if concat else weight.unflatten(0, (heads, width)).mean(dim=0)}
    return values if bias is None else values | {"res.bias": bias}


def _sum(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    return first if second is None else second if first is None else first + second


def _by_heads(bias: Tensor | None, heads: int, *, concat: bool) -> Tensor | None:
    """The bias of the layer's output: the mean over heads where that of the output is taken."""
    return bias if bias is None or concat else bias.unflatten(0, (heads, -1)).mean(dim=0)
