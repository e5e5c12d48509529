"""What makes a GCNII of an L-CAT, in either version of the score: values, weights of the edges, and the last step."""

from __future__ import annotations

from math import log
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.nn.inits import glorot
from torch_geometric.typing import Adj, OptTensor, SparseTensor

from lcat.graph import CacheKey
from lcat.nn import _checks
from lcat.nn._gcn_norm import symmetric_factors, weights_with_loops
from lcat.nn._inputs import AttentionEdges, LayerOutput, Nodes, read_edge_weight
from lcat.nn._interpolation import Interpolation
from lcat.nn._lcat import LCATMixin
from lcat.nn._linear import linear_weight
from lcat.nn._neighbor_count import counted
from lcat.nn.neighborhood_statistic import StatisticInputs

_FACTORS: CacheKey[Tensor] = CacheKey("GCNII with attention: a factor per edge")


class InitialResidualMixin(LCATMixin):
    """Stands before LCATConv or LCATv2Conv in the bases of a layer.

    Its constructor calls :meth:`_make_initial_residual` last. The steps of a call are those of
    :meth:`AttentionConv._forward`, with ``x`` itself for values, and one more at the end.
    """

    _values_are_projected = False
    weight1: Parameter | None
    weight2: Parameter | None

    def _read_channels(self, channels: Any, heads: Any) -> tuple[int, int]:
        """``channels`` and features per head."""
        name = type(self).__name__
        channels, heads = _checks.read_size(name, "channels", channels), _checks.read_size(name, "heads", heads)
        if channels % heads != 0:
            raise ValueError(
                f"'channels' of {name} is {channels}, which {heads} heads cannot share: make it a multiple of 'heads'"
            )
        return channels, channels // heads

    def _make_initial_residual(
        self,
        *,
        channels: int,
        alpha: float,
        theta: float | None,
        layer: int | None,
        shared_weights: bool,
        share_values: bool,
        cached: bool,
        add_self_loops: bool,
        normalize: bool,
        loop_weight: float | None,
    ) -> None:
        name = type(self).__name__
        self.channels = channels
        self.alpha = _checks.read_probability(name, "alpha", alpha, "a share of the first features")
        self.beta = _read_beta(name, theta, layer)
        self.cached = _checks.read_flag(name, "cached", cached)
        self.normalize = _checks.read_flag(name, "normalize", normalize)
        self.loop_weight = None if loop_weight is None else _checks.read_number(name, "loop_weight", loop_weight)
        # As in PyG, loops come with the normalization; a weight of their own is a wish for them.
        add_self_loops = _checks.read_flag(name, "add_self_loops", add_self_loops)
        self.add_self_loops = add_self_loops and (self.normalize or self.loop_weight is not None)
        shared = {
            "weight1": _checks.read_flag(name, "share_values", share_values),
            "weight2": _checks.read_flag(name, "shared_weights", shared_weights),
        }
        for part, is_shared in shared.items():
            self.register_parameter(part, None if is_shared else Parameter(torch.empty(channels, channels)))
        self._reset_weights()

    def reset_parameters(self) -> None:
        """Draw all parameters anew; learned scalars start again where they started."""
        super().reset_parameters()
        if "weight1" in self._parameters:  # not yet, while the constructor of the attention layer runs
            self._reset_weights()

    def _reset_weights(self) -> None:
        glorot(self.weight1)
        glorot(self.weight2)

    @overload  # as in PyG's GCN2Conv, x_0 comes second
    def forward(
        self,
        x: Tensor,
        x_0: Tensor,
        edge_index: Adj,
        edge_weight: OptTensor = ...,
        edge_attr: OptTensor = ...,
        return_attention_weights: Literal[False] | None = ...,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        x: Tensor,
        x_0: Tensor,
        edge_index: Tensor,
        edge_weight: OptTensor = ...,
        edge_attr: OptTensor = ...,
        return_attention_weights: Literal[True] = ...,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]: ...

    @overload
    def forward(
        self,
        x: Tensor,
        x_0: Tensor,
        edge_index: SparseTensor,
        edge_weight: OptTensor = ...,
        edge_attr: OptTensor = ...,
        return_attention_weights: Literal[True] = ...,
    ) -> tuple[Tensor, SparseTensor]: ...

    @overload
    def forward(
        self,
        x: Tensor,
        x_0: Tensor,
        edge_index: Adj,
        edge_weight: OptTensor = ...,
        edge_attr: OptTensor = ...,
        return_attention_weights: bool | None = ...,
    ) -> LayerOutput: ...

    def forward(
        self,
        x: Tensor,
        x_0: Tensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        edge_attr: OptTensor = None,
        return_attention_weights: bool | None = None,
    ) -> LayerOutput:
        """Run the layer.

        Args:
            x: node features.
            x_0: the features that the first layer of the model got.
            edge_index: the edges in any format.
            edge_weight: weights of the edges, which are normalized if the layer does that; ``None`` means 1, or the
                entries of a matrix.
            edge_attr: features of the edges, for the score.
            return_attention_weights: if True, return ``(out, (edge_index, alpha))`` as
                :meth:`lcat.nn.GATConv.forward`: what multiplies the features, that is ``P_ij`` for every head.

        Raises:
            TypeError, ValueError, IndexError: the message names the argument, what it got, and what it takes.
        """
        name = type(self).__name__
        if isinstance(x, (tuple, list)):
            raise ValueError(
                f"'x' of {name} is a {type(x).__name__}; it takes one tensor: this layer has no bipartite form, "
                f"LCATConv and LCATv2Conv have"
            )
        out: Any = self._forward(
            x,
            edge_index,
            edge_attr=edge_attr,
            edge_weight=edge_weight,
            size=None,
            return_attention_weights=return_attention_weights,
        )
        out, attention = out if isinstance(out, tuple) else (out, None)
        out = self._with_residual(out, self._read_initial(x_0, out))
        return out if attention is None else (out, attention)

    def _read_initial(self, x_0: Any, out: Tensor) -> Tensor:
        """``x_0``, its first N rows, as PyG's GCN2Conv takes it in batches that get smaller."""
        name, rows = type(self).__name__, out.shape[-2]
        takes = f"it takes the features of the first layer, {[*out.shape[:-1], self.channels]}"
        if not isinstance(x_0, Tensor):
            hint = ": the edges come third, (x, x_0, edge_index)" if x_0 is not None else ""
            raise TypeError(f"'x_0' of {name} is of type {type(x_0).__name__}; {takes}{hint}")
        if not (x_0.is_floating_point() or x_0.is_complex()) or x_0.layout is not torch.strided:
            raise ValueError(
                f"'x_0' of {name} has dtype {x_0.dtype} and layout {x_0.layout}; {takes}: the edges come third, (x, "
                f"x_0, edge_index)"
            )
        if x_0.dim() != out.dim() or x_0.shape[-1] != self.channels or x_0.shape[-2] < rows:
            raise ValueError(f"'x_0' of {name} has shape {list(x_0.shape)}; {takes}")
        if x_0.device != out.device:
            raise ValueError(f"'x_0' of {name} is on {x_0.device}, 'x' is on {out.device}: move one with .to(...)")
        return x_0[..., :rows, :]

    def _with_residual(self, out: Tensor, x_0: Tensor) -> Tensor:
        """The initial residual and the identity mapping, [.., N, channels]."""
        first, second = (1.0 - self.alpha) * out, self.alpha * x_0
        if self.weight2 is None:
            return self._mapped(first + second, self._identity_weight())
        return self._mapped(first, self._identity_weight()) + self._mapped(second, self.weight2)

    def _mapped(self, x: Tensor, weight: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        if not _checks.under_autocast(x) and rows.dtype != weight.dtype:
            rows = rows.to(weight.dtype)
        mapped = torch.addmm(rows, rows, weight, beta=1.0 - self.beta, alpha=self.beta)
        return mapped.view(*x.shape[:-1], mapped.shape[-1])

    def _identity_weight(self) -> Tensor:
        """``weight1``; with ``share_values`` the matrix of the map that scores the sources."""
        if self.weight1 is not None:
            return self.weight1
        weight = linear_weight(self._maps()[0])
        if weight is None:
            raise ValueError(
                f"{type(self).__name__} was made with share_values=True, where the matrix of the sources' map is also "
                f"that of the identity mapping, but this map was replaced by one without a weight: make the layer with "
                f"share_values=False"
            )
        return weight

    def _values(self, nodes: Nodes, projected: tuple[Any, Any]) -> tuple[Any, Any]:
        """Step 3: messages carry ``x``, [.., N, H, F]."""
        del projected
        x = nodes.x[0]
        values = self._by_head(x if x.layout is torch.strided else x.to_dense(), nodes, 0)
        return values, values

    def _read_edges(
        self, edge_index: Any, nodes: Nodes, *, edge_attr: Any, edge_weight: Any, size: Any, messages: bool
    ) -> AttentionEdges:
        """The edges, weighted by ``|N(i)| w_ij``, which are normalized if the layer does that."""
        edges = super()._read_edges(
            edge_index, nodes, edge_attr=edge_attr, edge_weight=None, size=size, messages=messages
        )
        if edge_weight is None and edges.edge_list.values is not None and edges.edge_list.values.dim() == 1:
            edge_weight = edges.edge_list.values  # those of a matrix, as in PyG's GCN2Conv
        x = nodes.x[0]
        if edge_weight is not None:
            edge_weight = read_edge_weight(self, edge_weight, edges.edge_list, x)
            return edges._replace(weight=self._factors(edges, edge_weight, edge_weight.dtype))
        factors = edges.graph.cached(
            _FACTORS,
            lambda: self._factors(edges, None, x.dtype),
            x.dtype, self.normalize, self.add_self_loops, self.loop_weight,
        )  # fmt: skip
        return edges._replace(weight=factors)

    def _factors(self, edges: AttentionEdges, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
        """What multiplies attention, for every edge of the layer, [E']."""
        graph, num_loops = edges.graph, edges.graph.num_loops if self.add_self_loops else 0
        if weight is None:
            weight = torch.ones(graph.num_edges, dtype=dtype, device=graph.device)
        elif self.add_self_loops:
            weight = weights_with_loops(edges.input_graph, graph, weight, missing=1.0)
        if self.normalize:
            weight = symmetric_factors(graph, weight)
        if self.loop_weight is not None and num_loops:
            weight = torch.cat([weight[:-num_loops], weight.new_full((num_loops,), self.loop_weight)])
        return counted(graph, weight, weight.dtype)

    @property
    def statistic_depends_on(self) -> StatisticInputs | None:
        """``"features"``, as it looks more than one hop far, see :meth:`neighborhood_statistic`."""
        return "features"

    def neighborhood_statistic(self, *args: Any, **kwargs: Any) -> Tensor | None:
        """Refused: a layer that also takes ``x_0`` is not computed block by block.

        Raises:
            NotImplementedError: always.
        """
        del args, kwargs
        raise NotImplementedError(
            f"{type(self).__name__} is not computed block by block: it takes 'x_0', which layerwise inference does not "
            f"pass; call the model on the whole graph"
        )

    def _changed_since_made(self) -> str | None:
        """Weights of another shape, and what the attention layer finds."""
        for name in ("weight1", "weight2"):
            weight: Tensor | None = getattr(self, name)
            if weight is not None and list(weight.shape) != [self.channels, self.channels]:
                return (
                    f"'{name}' of {type(self).__name__} has shape {list(weight.shape)}; it takes "
                    f"{[self.channels, self.channels]}, or None"
                )
        return super()._changed_since_made()

    def _describe(self, interpolation: Interpolation) -> str:
        return (
            f"{self.channels}, alpha={self.alpha:g}, beta={self.beta:g}, heads={self.heads}, "
            f"{self._describe_scalars(interpolation)}"
        )

    def __repr__(self) -> str:
        if self.interpolation is None:
            return super().__repr__()
        return f"{type(self).__name__}({self._describe(self.interpolation)})"


def _read_beta(name: str, theta: Any, layer: Any) -> float:
    """The strength of the identity mapping, ``log(theta / layer + 1)``; 1 without ``theta`` and ``layer``."""
    if theta is None and layer is None:
        return 1.0
    if theta is None or layer is None:
        raise ValueError(f"{name} has theta={theta!r} and layer={layer!r}; pass both, or none for beta = 1")
    number, position = _checks.read_number(name, "theta", theta), _checks.read_size(name, "layer", layer)
    if number <= -position:
        raise ValueError(f"'theta' of {name} is {theta!r}; it takes a number above -layer, normally above 0")
    return log(number / position + 1.0)
