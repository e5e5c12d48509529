"""Models of several layers on PyG's BasicGNN: activation, norm, jumping knowledge, dropout, trimming.

Every model takes :class:`torch_geometric.nn.models.basic_gnn.BasicGNN`'s arguments and passes all others to its
layers. Attention models follow PyG's GAT: with ``concat=True`` (the default) hidden layers have
``hidden_channels // heads`` features per head, and the last layer averages its heads if it makes the output.

:class:`LCATGCN2` and :class:`LCATv2GCN2` are no BasicGNN: all their layers also see the features of the first one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn.aggr import Aggregation
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.models.basic_gnn import BasicGNN
from torch_geometric.nn.resolver import activation_resolver, normalization_resolver
from torch_geometric.typing import Adj
from torch_geometric.utils._trim_to_layer import TrimToLayer
from typing_extensions import Unpack

from lcat._text import hint
from lcat.nn import _checks
from lcat.nn._calls import CheckedCalls
from lcat.nn._initial_residual import InitialResidualMixin
from lcat.nn._initial_residual_model import InitialResidualModel
from lcat.nn._inputs import FillValue
from lcat.nn._interpolation import NeighborAggregation
from lcat.nn._lambda import Parametrization
from lcat.nn._lcat import ScalarsOfLayers, missing_scalars
from lcat.nn._options import AttentionOptions, arguments_of, check_keywords
from lcat.nn._principal_neighborhood import Scaler
from lcat.nn._scripting import cannot_be_scripted
from lcat.nn.dropout import Dropout
from lcat.nn.edge_attention import call_with_attention
from lcat.nn.gat_conv import GATConv
from lcat.nn.gatv2_conv import GATv2Conv
from lcat.nn.gcn_conv import GCNConv
from lcat.nn.lcat_conv import CATConv, LCATConv
from lcat.nn.lcat_gcn2_conv import LCATGCN2Conv, LCATv2GCN2Conv
from lcat.nn.lcat_pna_conv import LCATPNAConv, LCATv2PNAConv
from lcat.nn.lcatv2_conv import CATv2Conv, LCATv2Conv

__all__ = ["CAT", "GAT", "GCN", "LCAT", "LCATGCN2", "LCATPNA", "CATv2", "GATv2", "LCATv2", "LCATv2GCN2", "LCATv2PNA"]


JumpingMode: TypeAlias = Literal["last", "cat", "max", "lstm"]


class LayerOptions(AttentionOptions, total=False):
    """What models pass to their layers; each layer takes those that its constructor names."""

    add_self_loops: bool | None
    bias: bool
    # GCNConv
    improved: bool
    cached: bool
    normalize: bool
    # attention layers
    heads: int
    concat: bool
    negative_slope: float
    edge_dim: int | None
    fill_value: FillValue
    residual: bool
    share_weights: bool
    v2: bool
    # CAT and L-CAT
    lambda1: float | None
    lambda2: float | None
    share_values: bool
    score_bias: bool
    parametrization: Parametrization
    lambda1_init: float
    lambda2_init: float
    neighbor_aggr: NeighborAggregation
    cache_neighbor_sum: bool
    lambdas_per_head: bool
    # with PNA
    aggregators: Sequence[str | Aggregation]
    scalers: Sequence[Scaler]
    deg: Tensor
    towers: int
    post_layers: int
    train_norm: bool
    head_channels: int
    # with GCNII
    shared_weights: bool
    loop_weight: float | None


class _Trim(TrimToLayer):
    """Trimming of sampled batches, layer by layer, for lists of as many hops as there are layers at least.

    With fewer hops, PyG's would cut off the seeds, and return no row at all.
    """

    def __init__(self, model: str, num_layers: int) -> None:
        super().__init__()
        self.model = model
        self.num_layers = num_layers

    @torch.jit.unused
    def forward(
        self,
        layer: int,
        num_sampled_nodes_per_hop: list[int] | None,
        num_sampled_edges_per_hop: list[int] | None,
        x: Tensor,
        edge_index: Adj,
        edge_attr: Tensor | None = None,
    ) -> tuple[Tensor, Adj, Tensor | None]:
        """Drop the nodes and edges that no layer from number ``layer`` on needs."""
        both = isinstance(num_sampled_nodes_per_hop, list) and isinstance(num_sampled_edges_per_hop, list)
        # Where one is none, PyG says so; to_hetero passes pairs of lists, or of nothing.
        if layer == 0 and both and self.num_layers > 1:
            hops = self.num_layers
            for name, counts, num_needed in (
                ("num_sampled_nodes_per_hop", num_sampled_nodes_per_hop, hops + 1),
                ("num_sampled_edges_per_hop", num_sampled_edges_per_hop, hops),
            ):
                assert counts is not None
                if len(counts) < num_needed:
                    raise ValueError(
                        f"'{name}' of {self.model} has {len(counts)} entries, but its {hops} layers need at least "
                        f"{num_needed}: sample one hop per layer (num_neighbors with {hops} numbers), or leave the two "
                        f"lists out"
                    )
        trimmed: tuple[Tensor, Adj, Tensor | None] = super().forward(
            layer, num_sampled_nodes_per_hop, num_sampled_edges_per_hop, x, edge_index, edge_attr
        )
        return trimmed


class _Model(CheckedCalls, BasicGNN):
    """BasicGNN with checked arguments."""

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        hidden_channels: int,
        num_layers: int,
        out_channels: int | None = None,
        dropout: float = 0.0,
        act: str | Callable[..., Any] | None = "relu",
        act_first: bool = False,
        act_kwargs: dict[str, Any] | None = None,
        norm: str | Callable[..., Any] | None = None,
        norm_kwargs: dict[str, Any] | None = None,
        jk: JumpingMode | None = None,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        name = type(self).__name__
        modes = get_args(JumpingMode)
        if jk is not None and jk not in modes:
            raise ValueError(f"'jk' of {name} is {jk!r}{hint(jk, modes)}; it takes None, {', '.join(map(repr, modes))}")
        for part, value, part_options in (("act", act, act_kwargs), ("norm", norm, norm_kwargs)):
            _check_part(name, part, value, part_options)
        try:
            super().__init__(
                in_channels=_checks.read_channels(name, in_channels),
                hidden_channels=_checks.read_size(name, "hidden_channels", hidden_channels),
                num_layers=_checks.read_size(name, "num_layers", num_layers),
                out_channels=None if out_channels is None else _checks.read_size(name, "out_channels", out_channels),
                dropout=_checks.read_probability(name, "dropout", dropout),
                act=act,
                act_first=_checks.read_flag(name, "act_first", act_first),
                act_kwargs=act_kwargs,
                norm=norm,
                norm_kwargs=norm_kwargs,
                jk=jk,
                **kwargs,
            )
        except (TypeError, ValueError) as error:
            problem = _refused_options(name, act=act, act_kwargs=act_kwargs, norm=norm, norm_kwargs=norm_kwargs)
            if problem is None:
                raise
            raise type(error)(problem) from None
        self.dropout: torch.nn.Dropout = Dropout(_checks.read_probability(name, "dropout", dropout))
        self._trim = _Trim(name, self.num_layers)

    def __prepare_scriptable__(self) -> Any:
        """``torch.jit.script`` asks for this before it compiles."""
        raise cannot_be_scripted(self)

    def inference(self, loader: NeighborLoader, *args: Any, **kwargs: Any) -> Tensor:
        """As in PyG: layer by layer, over a NeighborLoader of all nodes with ``num_neighbors=[-1]``.

        :func:`lcat.train.layerwise_inference` takes edges and needs no loader.

        Raises:
            TypeError, ValueError: the loader is no such one; the model is in training mode, or uses ``jk``.
        """
        problem = _inference_problem(self, loader)
        if problem is not None:
            raise problem
        out: Tensor = super().inference(loader, *args, **kwargs)
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch; the error of a checkpoint of a GAT says how to start an L-CAT from it."""
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise missing_scalars(self, state_dict, error) from None

    def _check_layer_options(self, layer: type[MessagePassing], options: dict[str, Any]) -> None:
        """Raise a TypeError, with a hint, for options that neither the model nor its layers take."""
        check_keywords(type(self).__name__, options, arguments_of(type(self), layer))


class GCN(_Model):
    """Layers of :class:`~lcat.nn.GCNConv`.

    Example:
        >>> from lcat.nn.models import GCN
        >>> GCN(16, 32, num_layers=2, out_channels=7, dropout=0.5)
        GCN(16, 7, num_layers=2)
    """

    supports_edge_weight: Final[bool] = True
    supports_edge_attr: Final[bool] = False
    supports_norm_batch: bool

    def init_conv(self, in_channels: Any, out_channels: int, **kwargs: Any) -> MessagePassing:
        """One layer."""
        self._check_layer_options(GCNConv, kwargs)
        return GCNConv(in_channels, out_channels, **kwargs)


class _WithAttention(_Model):
    """A model whose layers return their attention."""

    def forward(
        self,
        x: Tensor,
        edge_index: Adj,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        num_sampled_nodes_per_hop: list[int] | None = None,
        num_sampled_edges_per_hop: list[int] | None = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """As PyG's BasicGNN.

        Args:
            x: node features, ``[N, in_channels]``.
            edge_index: the edges in any format.
            edge_weight: weights of the edges.
            edge_attr: features of the edges.
            batch: the graph of each node, for norms that need it.
            batch_size: the number of graphs.
            num_sampled_nodes_per_hop: of a sampled batch, see :class:`torch_geometric.loader.NeighborLoader`.
            num_sampled_edges_per_hop: of a sampled batch.
            return_attention_weights: if True, return ``(out, attention)`` with a list of what each layer returns,
                ``(edges, alpha)`` for an ``edge_index``; :func:`lcat.nn.attention_of_edges` finds the input's edges in
                it.
        """
        arguments = (
            x, edge_index, edge_weight, edge_attr, batch, batch_size, num_sampled_nodes_per_hop,
            num_sampled_edges_per_hop,
        )  # fmt: skip
        # to_hetero traces with a stand-in for every argument.
        if return_attention_weights is None or isinstance(return_attention_weights, torch.fx.Proxy):
            return super().forward(*arguments)
        if not _checks.read_flag(type(self).__name__, "return_attention_weights", return_attention_weights):
            return super().forward(*arguments)
        return call_with_attention(self, *arguments)


class _AttentionModel(_WithAttention):
    supports_edge_weight: Final[bool] = True
    supports_edge_attr: Final[bool] = True
    supports_norm_batch: bool

    _layer: type[MessagePassing]

    def init_conv(self, in_channels: Any, out_channels: int, **kwargs: Any) -> MessagePassing:
        """One layer; ``out_channels`` counts all heads where they are concatenated."""
        return self._make_layer(self._layer, in_channels, out_channels, kwargs)

    def _make_layer(
        self, layer: type[MessagePassing], in_channels: Any, out_channels: int, kwargs: dict[str, Any]
    ) -> MessagePassing:
        name = type(self).__name__
        self._check_layer_options(layer, kwargs)
        heads = _checks.read_size(name, "heads", kwargs.pop("heads", 1))
        concat = _checks.read_flag(name, "concat", kwargs.pop("concat", True))
        if getattr(self, "_is_conv_to_out", False):
            concat = False
        if concat and out_channels % heads != 0:
            raise ValueError(
                f"{name} has {out_channels} channels in a layer, which {heads} heads cannot share: make "
                f"'hidden_channels' a multiple of 'heads', or use concat=False"
            )
        width = out_channels // heads if concat else out_channels
        kwargs.setdefault("dropout", self.dropout.p)
        return layer(in_channels, width, heads=heads, concat=concat, **kwargs)


class GAT(_AttentionModel):
    """Layers of :class:`~lcat.nn.GATConv` (``v2=True`` as in PyG: of :class:`~lcat.nn.GATv2Conv`).

    Example:
        >>> from lcat.nn.models import GAT
        >>> GAT(16, 32, num_layers=2, out_channels=7, heads=8, dropout=0.6)
        GAT(16, 7, num_layers=2)
    """

    _layer = GATConv

    def init_conv(self, in_channels: Any, out_channels: int, **kwargs: Any) -> MessagePassing:
        """One layer; ``out_channels`` counts all heads where they are concatenated."""
        layer = GATv2Conv if _checks.read_flag(type(self).__name__, "v2", kwargs.pop("v2", False)) else GATConv
        return self._make_layer(layer, in_channels, out_channels, kwargs)


class GATv2(_AttentionModel):
    """Layers of :class:`~lcat.nn.GATv2Conv`."""

    _layer = GATv2Conv


class CAT(ScalarsOfLayers, _AttentionModel):
    """Layers of :class:`~lcat.nn.CATConv`."""

    _layer = CATConv


class CATv2(ScalarsOfLayers, _AttentionModel):
    """Layers of :class:`~lcat.nn.CATv2Conv`."""

    _layer = CATv2Conv


class LCAT(ScalarsOfLayers, _AttentionModel):
    """Layers of :class:`~lcat.nn.LCATConv`; ``lambda1`` and ``lambda2`` fix or learn the scalars of all layers.

    Example:
        >>> from lcat.nn.models import LCAT
        >>> model = LCAT(16, 32, num_layers=2, out_channels=7, heads=8)
        >>> [round(conv.lambda1.item(), 2) for conv in model.convs]
        [0.5, 0.5]
    """

    _layer = LCATConv


class LCATv2(ScalarsOfLayers, _AttentionModel):
    """Layers of :class:`~lcat.nn.LCATv2Conv`; ``lambda1`` and ``lambda2`` fix or learn the scalars of all layers."""

    _layer = LCATv2Conv


class LCATPNA(ScalarsOfLayers, _WithAttention):
    """Layers of :class:`~lcat.nn.LCATPNAConv`, which needs ``aggregators``, ``scalers`` and ``deg``.

    Messages have ``hidden_channels // heads`` features per head in all layers, if ``head_channels`` is not passed. The
    layer that makes the output has one tower.

    Example:
        >>> import torch
        >>> from lcat.nn.models import LCATPNA
        >>> deg = torch.tensor([0, 5, 3])  # number of nodes by in-degree
        >>> LCATPNA(
        ...     16,
        ...     32,
        ...     2,
        ...     7,
        ...     heads=4,
        ...     aggregators=["mean", "max", "std"],
        ...     scalers=["identity"],
        ...     deg=deg,
        ... )
        LCATPNA(16, 7, num_layers=2)
    """

    supports_edge_weight: Final[bool] = True
    supports_edge_attr: Final[bool] = True
    supports_norm_batch: bool

    _layer: type[MessagePassing] = LCATPNAConv

    def init_conv(self, in_channels: Any, out_channels: int, **kwargs: Any) -> MessagePassing:
        """One layer."""
        name = type(self).__name__
        self._check_layer_options(self._layer, kwargs)
        missing = [argument for argument in ("aggregators", "scalers", "deg") if argument not in kwargs]
        if missing:
            raise TypeError(
                f"{name} needs {', '.join(map(repr, missing))}: pass what PNA aggregates, such as aggregators=['mean', "
                f"'max'], scalers=['identity'], and deg=, the histogram of in-degrees"
            )
        heads = _checks.read_size(name, "heads", kwargs.get("heads", 1))
        if kwargs.get("head_channels") is None:
            if self.hidden_channels % heads != 0:
                raise ValueError(
                    f"{name} has {self.hidden_channels} hidden channels, which {heads} heads cannot share: make "
                    f"'hidden_channels' a multiple of 'heads', or pass head_channels="
                )
            kwargs["head_channels"] = self.hidden_channels // heads
        if getattr(self, "_is_conv_to_out", False):
            kwargs["towers"] = 1
        kwargs.setdefault("dropout", self.dropout.p)
        return self._layer(in_channels, out_channels, **kwargs)


class LCATv2PNA(LCATPNA):
    """:class:`LCATPNA` with layers of :class:`~lcat.nn.LCATv2PNAConv`."""

    _layer = LCATv2PNAConv


class LCATGCN2(InitialResidualModel):
    r"""GCNII with layers of :class:`~lcat.nn.LCATGCN2Conv`: a linear map, the layers, a linear map.

    From `"Simple and Deep Graph Convolutional Networks" <https://arxiv.org/abs/2007.02133>`_: the initial residual
    keeps models of dozens of layers trainable.

    Args:
        in_channels: features per node; -1 takes the size of the first input.
        hidden_channels: features inside, a multiple of ``heads``.
        num_layers: number of layers.
        out_channels: features of the output; ``None`` leaves out the last map.
        dropout: probability of dropping a feature, before each map and layer; for attention,
            :class:`~lcat.nn.LCATGCN2Conv` has its own, which is 0 here.
        act, act_kwargs: the activation.
        alpha: strength of the initial residual.
        theta: :math:`\theta` of the identity mapping, whose strength in layer :math:`\ell` is
            :math:`\log(\theta / \ell + 1)`; ``None`` for 1.
        **kwargs: of the layers.

    Shapes:
        - x: ``[N, in_channels]``
        - output: ``[N, out_channels]``

    Example:
        >>> from lcat.nn.models import LCATGCN2
        >>> LCATGCN2(16, 64, num_layers=32, out_channels=7, dropout=0.6, heads=4)
        LCATGCN2(16, 7, num_layers=32)
    """

    _layer: ClassVar[Callable[..., InitialResidualMixin]] = LCATGCN2Conv

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int | None = None,
        dropout: float = 0.0,
        act: str | Callable[..., Any] | None = "relu",
        act_kwargs: dict[str, Any] | None = None,
        alpha: float = 0.1,
        theta: float | None = 0.5,
        **kwargs: Unpack[LayerOptions],
    ) -> None:
        _check_part(type(self).__name__, "act", act, act_kwargs)
        try:
            super().__init__(
                in_channels=in_channels,
                hidden_channels=hidden_channels,
                num_layers=num_layers,
                out_channels=out_channels,
                dropout=dropout,
                act=act,
                act_kwargs=act_kwargs,
                alpha=alpha,
                theta=theta,
                **kwargs,
            )
        except (TypeError, ValueError) as error:
            problem = _refused_options(type(self).__name__, act=act, act_kwargs=act_kwargs)
            if problem is None:
                raise
            raise type(error)(problem) from None


class LCATv2GCN2(LCATGCN2):
    """:class:`LCATGCN2` with layers of :class:`~lcat.nn.LCATv2GCN2Conv`."""

    _layer = LCATv2GCN2Conv


#: how PyG makes an activation or a norm of its name
_RESOLVERS: dict[str, Callable[..., Any]] = {
    "act": activation_resolver,
    "norm": lambda query, **rest: normalization_resolver(query, 1, **rest),
}


def _check_part(model: str, name: str, part: Any, options: Any) -> None:
    """Raise for an ``act`` or ``norm`` that PyG does not take, or fails with at the first call."""
    if options is not None and not isinstance(options, dict):
        raise TypeError(
            f"'{name}_kwargs' of {model} is {options!r}; it takes a dict of the arguments of '{name}', or None"
        )
    if isinstance(part, type) or not (part is None or isinstance(part, str) or callable(part)):
        way_out = f": pass an instance, {part.__name__}(...), or the name" if isinstance(part, type) else ""
        raise TypeError(
            f"'{name}' of {model} is {part!r}; it takes a name, a callable such as a module, or None{way_out}"
        )


def _refused_options(model: str, *, act: Any, act_kwargs: Any, norm: Any = None, norm_kwargs: Any = None) -> str | None:
    """What to say of arguments that ``act`` or ``norm`` does not take; asked for where making a model has failed."""
    for name, part, options in (("act", act, act_kwargs), ("norm", norm, norm_kwargs)):
        if part is None:
            continue
        try:
            _RESOLVERS[name](part, **(options or {}))
        except TypeError as error:
            if not options:
                return f"'{name}' of {model} is {part!r}, which cannot be made by its name: {error}; pass an instance"
            return f"'{name}_kwargs' of {model} is {options!r}, which {part!r} does not take: {error}"
        except ValueError as error:  # lists what it knows in no order
            known = sorted(re.findall("'([^']+)'", str(error).partition("among choices")[2]), key=str.lower)
            if known:
                meant = hint(part, known, show=repr)
                return f"'{name}' of {model} is {part!r}{meant}; it takes a name that PyG knows: {', '.join(known)}"
    return None


def _inference_problem(model: Any, loader: Any) -> Exception | None:
    """Why PyG's ``inference``, which asserts all of this, cannot run."""
    name = type(model).__name__
    other = "lcat.train.layerwise_inference(model, x, edge_index) needs no loader"
    if model.jk_mode not in (None, "last"):
        return ValueError(
            f"'inference' of {name} works with jk=None or 'last', got jk={model.jk_mode!r}: call the model"
        )
    if not isinstance(loader, NeighborLoader):
        return TypeError(
            f"'loader' of {name}.inference is {_kind(loader)}; it takes a torch_geometric.loader.NeighborLoader of all "
            f"nodes with num_neighbors=[-1]; {other}"
        )
    hops, seeds = len(loader.node_sampler.num_neighbors), len(loader.dataset)
    if hops != 1 or seeds != loader.data.num_nodes:
        return ValueError(
            f"'loader' of {name}.inference samples {hops} hops for {seeds} of {loader.data.num_nodes} nodes; it takes "
            f"one hop (num_neighbors=[-1]) for all nodes (input_nodes=None); {other}"
        )
    if model.training:
        return ValueError(f"{name}.inference is for a model in evaluation mode: call model.eval() first")
    return None


def _kind(value: Any) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
