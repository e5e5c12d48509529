"""What makes a PNA of an L-CAT, in either version of the score: several aggregations of the messages, scaled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch_geometric.nn import PNAConv
from torch_geometric.nn.aggr import Aggregation, DegreeScalerAggregation
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.nn.inits import reset
from torch_geometric.nn.resolver import activation_resolver

from lcat._text import hint
from lcat.nn import _checks
from lcat.nn._inputs import AttentionEdges, Nodes
from lcat.nn._lcat import LCATMixin
from lcat.nn._linear import map_rows
from lcat.nn._neighbor_count import counted

Scaler: TypeAlias = Literal["identity", "amplification", "attenuation", "linear", "inverse_linear"]
_NO_PAIR = "it takes an int of at least 1: the nodes' own values stand beside the aggregates, so all have one map"


class PrincipalNeighborhoodMixin(LCATMixin):
    """Stands before LCATConv or LCATv2Conv in the bases of a layer.

    The steps of a call are those of :meth:`AttentionConv._forward`, with PyG's aggregation of messages in the place of
    a sum, and the networks of PNA at the end.
    """

    aggr_module: Any
    #: Adds up the histogram of in-degrees, the argument ``deg``, over the batches of a loader; PyG's.
    get_degree_histogram = staticmethod(PNAConv.get_degree_histogram)

    def _read_channels(self, in_channels: Any, heads: Any, head_channels: Any) -> tuple[int, int]:
        """``in_channels`` and the features of a message per head."""
        name = type(self).__name__
        if isinstance(in_channels, (tuple, list)):
            raise ValueError(f"'in_channels' of {name} is {in_channels!r}; {_NO_PAIR}")
        in_channels = _checks.read_size_or_lazy(name, "in_channels", in_channels)
        heads = _checks.read_size(name, "heads", heads)
        if head_channels is not None:
            return in_channels, _checks.read_size(name, "head_channels", head_channels)
        if in_channels == -1 or in_channels % heads != 0:
            raise ValueError(
                f"'in_channels' of {name} is {in_channels}, which {heads} heads cannot share: pass head_channels=, the "
                f"features of a message per head"
            )
        return in_channels, in_channels // heads

    def _read_aggregation(self, aggregators: Any, scalers: Any, deg: Any, train_norm: bool) -> DegreeScalerAggregation:
        """PyG's module of the aggregations and scalers."""
        name = type(self).__name__
        for what, items in (("aggregators", aggregators), ("scalers", scalers)):
            if isinstance(items, (str, Aggregation)) or not isinstance(items, Sequence) or not items:
                raise ValueError(f"'{what}' of {name} is {items!r}; it takes a list of names, such as {_EXAMPLE[what]}")
        known = get_args(Scaler)
        for scaler in scalers:
            if scaler not in known:
                raise ValueError(
                    f"'scalers' of {name} has {scaler!r}{hint(scaler, known)}; it takes {', '.join(map(repr, known))}"
                )
        if not isinstance(deg, Tensor) or deg.dim() != 1 or deg.is_complex() or deg.numel() == 0:
            got = f"shape {list(deg.shape)}" if isinstance(deg, Tensor) else f"type {type(deg).__name__}"
            raise ValueError(
                f"'deg' of {name} is of {got}; it takes the histogram of in-degrees as a tensor, deg[d] nodes of "
                f"degree d: torch.bincount of the degrees, or {name}.get_degree_histogram(loader)"
            )
        if not (bool((deg >= 0).all()) and float(deg[1:].sum()) > 0.0):
            raise ValueError(
                f"'deg' of {name} is {deg.tolist()}; it takes the histogram of in-degrees, numbers of at least 0, with "
                f"one node or more of a degree above 0"
            )
        try:
            return DegreeScalerAggregation(
                list(aggregators), list(scalers), deg, _checks.read_flag(name, "train_norm", train_norm)
            )
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"'aggregators' of {name} is {aggregators!r}; it takes names such as {_EXAMPLE['aggregators']}, or "
                f"aggregations of torch_geometric.nn.aggr: {error}"
            ) from None

    def _make_networks(
        self,
        *,
        out_channels: int,
        num_aggregates: int,
        towers: int,
        post_layers: int,
        act: str | Callable[..., Any] | None,
        act_kwargs: dict[str, Any] | None,
        bias: bool,
    ) -> None:
        """The networks of the towers, and the map that mixes them."""
        name = type(self).__name__
        out_channels = _checks.read_size(name, "out_channels", out_channels)
        towers, post_layers = (
            _checks.read_size(name, "towers", towers),
            _checks.read_size(name, "post_layers", post_layers),
        )
        for what, number in (("heads", self.heads), ("out_channels", out_channels)):
            if number % towers != 0:
                raise ValueError(f"'{what}' of {name} is {number}, which {towers} towers cannot share")
        self.towers = towers
        self.width = out_channels
        width = (num_aggregates + 1) * self.out_channels * self.heads // towers
        self.post_nns = nn.ModuleList()
        for _ in range(towers):
            modules: list[nn.Module] = [Linear(width, out_channels // towers)]
            for _ in range(post_layers - 1):
                modules += [activation_resolver(act, **(act_kwargs or {}))]
                modules += [Linear(out_channels // towers, out_channels // towers)]
            self.post_nns.append(nn.Sequential(*modules))
        self.lin_out = Linear(out_channels, out_channels, bias=_checks.read_flag(name, "bias", bias))

    def reset_parameters(self) -> None:
        """Draw all parameters anew; learned scalars start again where they started."""
        super().reset_parameters()
        if "post_nns" in self._modules:  # not yet, while the constructor of the attention layer runs
            for network in self.post_nns:
                reset(network)
            self.lin_out.reset_parameters()

    def _wants_messages(self) -> bool:
        """Always: maxima and deviations are taken over messages, which must exist."""
        return True

    def _read_edges(
        self, edge_index: Any, nodes: Nodes, *, edge_attr: Any, edge_weight: Any, size: Any, messages: bool
    ) -> AttentionEdges:
        """The edges, weighted by ``|N(i)| w_ij``."""
        edges = super()._read_edges(
            edge_index, nodes, edge_attr=edge_attr, edge_weight=edge_weight, size=size, messages=messages
        )
        return edges._replace(weight=counted(edges.graph, edges.weight, nodes.x[0].dtype))

    def _values(self, nodes: Nodes, projected: tuple[Any, Any]) -> tuple[Any, Any]:
        """Step 3: what messages carry, and the same of the targets, which stands beside the aggregates."""
        if nodes.one_set:
            source = super()._values(nodes, projected)[0]
            return source, source
        source = super()._values(nodes, projected)[0]
        if nodes.x[1] is None:
            return source, source.new_zeros(*source.shape[:-3], nodes.counts[1], *source.shape[-2:])
        linear = self._maps()[0] if self.lin_value is None else self.lin_value
        return source, self._by_head(map_rows(linear, nodes.x[1]), nodes, 1)

    def _attend_by_messages(
        self,
        nodes: Nodes,
        edges: AttentionEdges,
        values: tuple[Tensor | None, ...],
        score_inputs: tuple[Tensor | None, ...],
        keep: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Step 5: the node's own values and the aggregates, [N, H', K]."""
        out, alpha = super()._attend_by_messages(nodes, edges, values, score_inputs, keep)
        own = values[1]
        assert own is not None
        return torch.cat([nodes.fold(own), out], dim=-1), alpha

    def _finish(
        self, out: Tensor, nodes: Nodes, edges: AttentionEdges, own: Tensor | None, alpha: Tensor | None
    ) -> Any:
        """Step 6: the networks of the towers."""
        del own  # stands beside the aggregates anyway
        if nodes.batch is not None:
            out = out.view(nodes.counts[1], nodes.batch, self.heads, -1).transpose(0, 1)
        parts = out.flatten(-2).chunk(self.towers, dim=-1)
        mapped = [network(part) for network, part in zip(self.post_nns, parts, strict=True)]
        result = self.lin_out(torch.cat(mapped, dim=-1) if len(mapped) > 1 else mapped[0])
        return result if alpha is None else self._with_attention(result, nodes, edges, alpha)

    def __repr__(self) -> str:
        if self.interpolation is None:
            return super().__repr__()
        return (
            f"{type(self).__name__}({self.in_channels}, {self.width}, heads={self.heads}, towers={self.towers}, "
            f"edge_dim={self.edge_dim}, {self._describe_scalars(self.interpolation)})"
        )


_EXAMPLE = {
    "aggregators": "['mean', 'min', 'max', 'std']",
    "scalers": "['identity', 'amplification', 'attenuation']",
}
