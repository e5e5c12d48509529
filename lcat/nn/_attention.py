"""The attention layers, step by step: one formula for all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.nn.dense.linear import Linear

from lcat.graph import Graph
from lcat.nn import _checks
from lcat.nn._average import average
from lcat.nn._inputs import AttentionEdges, Nodes
from lcat.nn._interpolation import Interpolation
from lcat.nn._linear import input_weight, is_plain, linear_weight, map_rows
from lcat.nn._messages import AttentionMessages
from lcat.ops import aggregate, draw_kept_edges, sparse_features

# Edges, beyond which a second sorted copy of them, 16 bytes per edge, costs more than one more rounding.
_LARGE = 10_000_000


class AttentionConv(AttentionMessages):
    """Base of the attention layers; not public. Subclasses define the projections and the score."""

    # What CAT and L-CAT add, see _lcat.py; ``None`` in GAT, that is lambda1 = 1 and lambda2 = 0.
    interpolation: Interpolation | None = None
    # The dimension of the heads in what the score sees of a node.
    _score_heads_dim = -1
    # Whether messages carry projections; where they carry ``x``, scores may need none.
    _values_are_projected = True
    lin_edge: Any
    lin_value: Any
    lin_mix: Any
    raw_lambda1: Tensor | None
    raw_lambda2: Tensor | None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lin_value = None
        self.lin_mix = None

    def _make_output(self, bias: bool) -> None:
        """Bias, residual and ``lin_mix``; made last, so that parameters come in PyG's order."""
        width = self.out_channels * (self.heads if self.concat else 1)
        if self.residual:
            self.res = Linear(self._channels(1), width, bias=False, weight_initializer="glorot")
        else:
            self.register_parameter("res", None)
        if _checks.read_flag(type(self).__name__, "bias", bias):
            self.bias = Parameter(torch.empty(width))
        else:
            self.register_parameter("bias", None)
        if self.separate_self:
            self.lin_mix = Linear(2 * width, width, bias=False, weight_initializer="glorot")

    def reset_parameters(self) -> None:
        """Draw all parameters anew; subclasses draw theirs."""
        super().reset_parameters()
        mix = self._modules.get("lin_mix")
        if mix is not None:
            mix.reset_parameters()

    def _linear(self, position: int, bias: bool) -> Linear:
        """A projection of sources (0) or targets (1) to all heads."""
        width = self.heads * self.out_channels
        return Linear(self._channels(position), width, bias=bias, weight_initializer="glorot")

    def _forward(
        self,
        x: Any,
        edge_index: Any,
        *,
        edge_attr: Any,
        edge_weight: Any,
        size: Any,
        return_attention_weights: bool | None,
        statistic: Tensor | None = None,
    ) -> Any:
        r"""``forward`` of every attention layer.

        The steps, in order, and which class defines them:

        1. ``_read_nodes``, ``_read_edges`` (``_inputs.py``): ``x`` and the edges, checked; the edges that the layer
           uses, with its self-loops.
        2. ``_project`` (GATConv, GATv2Conv): :math:`h = \Theta x + b` for every head, of sources and of targets.
        3. ``_values`` (here): what messages carry, :math:`h` of the sources; with ``share_values=False`` a
           projection of its own.
        4. ``_average`` (here): what the score sees of a node, averaged over its neighborhood,
           :math:`\tilde h_i = (h_i + \lambda_2 \sum_{j \in N(i)} h_j) / (1 + \lambda_2 |N(i)|)`. In GAT, where
           :math:`\lambda_2 = 0`, that is ``_score_inputs`` itself (GATConv: two scalars per node,
           :math:`a_s^\top h` and :math:`a_t^\top h`; GATv2Conv: key and query).
        5. ``_attend`` (GATConv, GATv2Conv): the score of each edge, times :math:`\lambda_1` (``_strength``, here; 1 in
           GAT), its softmax over the in-edges of a target, and the sum of the values with these weights, by
           :mod:`lcat.ops`. Where someone looks at messages, ``_attend_by_messages`` (``_messages.py``) takes its
           place, with PyG's steps ``edge_update`` (GATConv, GATv2Conv) and ``message``. Where nothing is averaged, and
           GATConv computes its scores from the values anyway, ``_attend_scoring`` is steps 4 and 5 in one.
        6. ``_finish`` (here): heads together, own features (``separate_self``), residual, bias; the attention, if asked
           for.

        ``symmetric_norm`` is part of the weights of the edges (step 1); ``edge_dropout`` leaves out edges in step 5.

        A tensor for nodes has shape [N, ...], or [B, N, ...] for B feature sets on one graph; pairs are (sources,
        targets). The arguments are those of :meth:`lcat.nn.GATConv.forward`; ``statistic`` replaces the averages of
        step 4, see :class:`lcat.nn.NeighborhoodStatistic`.
        """
        nodes = self._read_nodes(x, size, edge_index)
        if return_attention_weights:
            flag = "return_attention_weights"
            return_attention_weights = _checks.read_flag(type(self).__name__, flag, return_attention_weights)
        messages = bool(return_attention_weights) or self._wants_messages()
        edges = self._read_edges(
            edge_index, nodes, edge_attr=edge_attr, edge_weight=edge_weight, size=size, messages=messages
        )
        interpolation = self.interpolation
        averages = interpolation is not None and nodes.one_set and interpolation.lambda2.fixed != 0.0
        averages_features = averages and self._averages_features(nodes)
        projected: Any = None
        if self._values_are_projected:
            needs_values_alone = averages_features and not messages
            projected = self._project_values(nodes) if needs_values_alone else self._project(nodes)
        values = self._values(nodes, projected)
        own = self._own(nodes, projected, values) if self.separate_self else None
        alpha = None
        if not messages and statistic is None and self._scores_values(nodes, values):
            attended = edges if self.edge_dropout == 0.0 else self._without_dropped(edges)
            out = self._attend_scoring(attended, values)
            return self._finish(out, nodes, edges, own, None)
        score_inputs = self._average(nodes, edges, projected, statistic=statistic, averages_features=averages_features)
        if messages:
            keep = self._kept_edges(edges) if self.edge_dropout > 0.0 and self.training else None
            out, alpha = self._attend_by_messages(nodes, edges, values, score_inputs, keep)
        else:
            attended = edges if self.edge_dropout == 0.0 else self._without_dropped(edges)
            out = self._attend(nodes, attended, values, score_inputs)
        return self._finish(out, nodes, edges, own, alpha if return_attention_weights else None)

    def _without_dropped(self, edges: AttentionEdges) -> AttentionEdges:
        """Step 5: the edges that ``edge_dropout`` leaves, in training; averages (step 4) are over all of them."""
        if not self.training:
            return edges
        return edges._replace(graph=edges.graph.keeping(self._kept_edges(edges)))

    def _kept_edges(self, edges: AttentionEdges) -> Tensor:
        """Which edges ``edge_dropout`` leaves, [E'], drawn anew."""
        return draw_kept_edges(edges.graph, self.edge_dropout)

    def _own(self, nodes: Nodes, projected: tuple[Any, Any], values: tuple[Any, Any]) -> Tensor:
        """For ``separate_self``: what a node itself would send; of targets of another kind, their projection.

        [.., N_target, H, F]; zeros for targets without features.
        """
        source, target = values[0], projected[1]
        if nodes.one_set:
            own: Tensor = source
        elif target is None:
            own = source.new_zeros(*source.shape[:-3], nodes.counts[1], *source.shape[-2:])
        else:
            own = target
        return own

    def _project(self, nodes: Nodes) -> tuple[Any, Any]:
        """Step 2: the projections [.., N, H, F] of sources and targets; one tensor twice where they are the same."""
        raise NotImplementedError

    def _project_values(self, nodes: Nodes) -> tuple[Any, Any]:
        """Step 2 where scores are computed from averages of ``x``: only what messages carry, if that is projected."""
        if self.lin_value is not None:
            return None, None
        return self._by_head(map_rows(self._maps()[0], nodes.x[0]), nodes, 0), None

    def _values(self, nodes: Nodes, projected: tuple[Any, Any]) -> tuple[Any, Any]:
        """Step 3: what messages carry, at the source; at the target, what ``message(x_i=...)`` would see."""
        if self.lin_value is None:
            return projected
        return self._by_head(map_rows(self.lin_value, nodes.x[0]), nodes, 0), projected[1]

    def _by_head(self, mapped: Tensor, nodes: Nodes, position: int) -> Tensor:
        """What a map makes of sources (0) or targets (1), [.., N, H F], as [.., N, H, F].

        An embedding keeps more dimensions of nodes.
        """
        if not isinstance(mapped, Tensor):
            _checks.check_mapped(type(self).__name__, "lin", mapped)
        dims = mapped.dim()
        if nodes.batch is None and dims > 2:
            mapped, dims = mapped.flatten(1), 2
        shape = mapped.shape
        if dims < 2 or shape[-1] != self.heads * self.out_channels or shape[-2] != nodes.counts[position]:
            self._refuse_mapped(mapped, nodes, position)
        return mapped.view(*shape[:-1], self.heads, self.out_channels)

    def _edges_by_head(self, edge_attr: Tensor) -> Tensor:
        """The projection of edge features, [E, H, F]."""
        mapped, rows = self.lin_edge(edge_attr), edge_attr.shape[0]
        width = self.heads * self.out_channels
        _checks.check_mapped(type(self).__name__, "lin_edge", mapped)
        if mapped.numel() != rows * width:
            raise ValueError(
                f"the map 'lin_edge' of {type(self).__name__} returned shape {list(mapped.shape)}; expected heads * "
                f"out_channels = {width} features for each of {rows} edges: replace it by one of that width"
            )
        by_head: Tensor = mapped.reshape(rows, self.heads, self.out_channels)
        return by_head

    def _refuse_mapped(self, mapped: Tensor, nodes: Nodes, position: int) -> None:
        """Raise for what a map returned, of another shape than the layer needs."""
        own = input_weight(self._maps()[-position]) is not None  # then it is the layer that was changed
        changed = self._changed_since_made() if own else None
        if changed is not None:
            raise ValueError(changed)
        width, count = self.heads * self.out_channels, nodes.counts[position]
        what = f"{mapped.shape[-1]} features per node (shape {list(mapped.shape)})"
        if mapped.dim() < 2 or mapped.shape[-1] == width:
            what = f"shape {list(mapped.shape)}"
        raise ValueError(
            f"a map of {type(self).__name__} returned {what}; expected heads * out_channels = {width} features for "
            f"each of {count} nodes: replace it by one of that width"
        )

    def _changed_since_made(self) -> str | None:
        """Maps and attention vectors that are gone, or of another shape than heads and channels say."""
        name = type(self).__name__
        problem = super()._changed_since_made() or self._changed_numbers()
        if problem is not None:
            return problem
        if None in self._maps():
            needed = "'lin_l' and 'lin_r'" if hasattr(self, "lin_l") else "'lin', or 'lin_src' and 'lin_dst'"
            return f"a linear map of {name} is None; it takes {needed}: put a map of nodes there"
        shape = (1, self.heads, self.out_channels)
        for part in ("att", "att_src", "att_dst", "att_edge"):
            if part in self._parameters and not (part == "att_edge" and self.edge_dim is None):
                vector, first = self._parameters[part], self._attention_weight()
                problem = _checks.changed_attention(name, part, vector, shape=shape, like=first)
                if problem is not None:
                    return problem
        return self._changed_maps()

    def _changed_maps(self) -> str | None:
        """Linear maps of another shape or type than the layer was made with; what others take, only they know."""
        edge_dim = -1 if self.edge_dim in (None, -1, 0) else self.edge_dim
        widths = {"lin_edge": edge_dim, "lin_value": self._channels(0)}
        widths |= {"lin": self._channels(0), "lin_src": self._channels(0), "lin_dst": self._channels(1)}
        widths |= {"lin_l": self._channels(0), "lin_r": self._channels(1)}
        dtype = self._attention_weight().dtype
        for part, in_channels in widths.items():
            weight = linear_weight(getattr(self, part, None))
            if weight is None:
                continue
            problem = _checks.changed_weight(
                type(self).__name__, part, weight, channels=(in_channels, self.heads * self.out_channels), dtype=dtype
            )
            if problem is not None:
                return problem
        return None

    def _changed_numbers(self) -> str | None:
        """Options that were replaced by what they do not take."""
        name = type(self).__name__
        try:
            for option in ("heads", "out_channels"):
                _checks.read_size(name, option, getattr(self, option))
            _checks.read_number(name, "negative_slope", self.negative_slope)
            _checks.read_probability(name, "dropout", self.dropout)
        except ValueError as error:
            return str(error)
        return None

    def _score_inputs(self, nodes: Nodes, projected: tuple[Any, Any] | None) -> tuple[Any, Any]:
        """Step 4: what the score sees of sources and targets, linear in ``x``, [.., N, H, ...].

        ``projected`` is ``None`` where these nodes are not projected yet; it may not be needed.
        """
        raise NotImplementedError

    def _average(
        self, nodes: Nodes, edges: AttentionEdges, projected: Any, statistic: Tensor | None, averages_features: bool
    ) -> tuple[Any, Any]:
        """Step 4: :meth:`_score_inputs`, averaged over neighborhoods where lambda2 is not 0.

        With ``averages_features`` those of averages of ``x``, see :meth:`_averages_features`.
        """
        lambda2 = self._smoothing()
        averages_nothing = isinstance(lambda2, float) and lambda2 == 0.0
        if statistic is not None:
            if self.symmetric_norm:
                raise ValueError(
                    f"{type(self).__name__} with symmetric_norm=True takes no 'statistic': a block of rows does not "
                    f"have the degrees of its sources; pass all edges"
                )
            needed = nodes.one_set and not averages_nothing
            _checks.check_statistic(type(self).__name__, statistic, nodes.counts[0] if needed else None)
        if averages_nothing:
            return self._score_inputs(nodes, projected)
        if not nodes.one_set:
            return self._average_targets(nodes, edges, projected, lambda2)
        if averages_features:
            averages = self._average_of_features(nodes, edges, lambda2) if statistic is None else statistic
            if statistic is not None:
                _checks.check_statistic_like(type(self).__name__, statistic, nodes.swap_batch(nodes.x[0]))
            averaged = nodes.swap_batch(averages)
            return self._score_inputs(Nodes((averaged, averaged), nodes.counts, True, nodes.batch), None)
        pair = self._score_inputs(nodes, projected)
        averages = self._average_of_pair(pair, nodes, edges, lambda2) if statistic is None else statistic
        if statistic is not None:
            one = nodes.swap_batch(pair[0])
            _checks.check_statistic_like(
                type(self).__name__,
                statistic,
                one if pair[0] is pair[1] else torch.cat([one, one], dim=self._score_heads_dim),
            )
        both = nodes.swap_batch(averages)
        if pair[0] is pair[1]:
            return both, both
        source, target = both.chunk(2, dim=self._score_heads_dim)
        return source, target

    def _average_targets(
        self, nodes: Nodes, edges: AttentionEdges, projected: tuple[Any, Any], lambda2: Tensor | float
    ) -> tuple[Any, Any]:
        """Step 4 in a bipartite graph: a source receives nothing in this relation, and is not averaged."""
        source, target = self._score_inputs(nodes, projected)
        sent = nodes.swap_batch(self._sent_score_inputs(nodes, projected))
        # A target without features counts as zero.
        own = sent.new_zeros(nodes.counts[1], *sent.shape[1:]) if target is None else nodes.swap_batch(target)
        return source, nodes.swap_batch(self._averaged(own, sent, nodes=nodes, edges=edges, lambda2=lambda2))

    def _sent_score_inputs(self, nodes: Nodes, projected: tuple[Any, Any]) -> Tensor:
        """Step 4 in a bipartite graph: what sources contribute to the averages of targets."""
        raise NotImplementedError

    def _averages_features(self, nodes: Nodes) -> bool:
        """Step 4: whether the average is taken of ``x``, before the linear maps (GATv2Conv: also if ``x`` is narrow).

        Averaging and mapping can be exchanged only for weights that sum to 1: otherwise the bias would be scaled.
        """
        return self._caches_neighbor_sum(nodes)

    def _caches_neighbor_sum(self, nodes: Nodes) -> bool:
        """Step 4: whether the neighbor sum of ``x`` is the same in later calls, and is to be kept."""
        interpolation = self.interpolation
        assert interpolation is not None
        if not interpolation.cache_neighbor_sum or interpolation.neighbor_aggr != "sum":
            return False
        if not nodes.one_set or self.explain or self._smooths_by_head():
            return False
        if not (interpolation.neighbor_sum.can_keep(nodes.x[0]) and self._has_plain_maps()):
            return False
        return sparse_features(nodes.x[0]) is None  # those are mapped first: sums over neighbors are less sparse

    def _has_plain_maps(self) -> bool:
        """Whether the average may be taken before the maps, which then do not see ``x``."""
        return all(is_plain(linear) for linear in self._maps())

    def _average_of_features(self, nodes: Nodes, edges: AttentionEdges, lambda2: Tensor | float) -> Tensor:
        """Step 4: the averages of ``x``, [N, ...]."""
        x = nodes.x[0]
        rows, neighbor_sum = nodes.swap_batch(x), None
        if self._caches_neighbor_sum(nodes):
            assert self.interpolation is not None
            neighbor_sum = self.interpolation.neighbor_sum.of(x, self._neighborhood(edges, nodes), node_dim=-2)
        return self._averaged(rows, rows, nodes=nodes, edges=edges, lambda2=lambda2, neighbor_sum=neighbor_sum)

    def _average_of_pair(
        self, pair: tuple[Tensor, Tensor], nodes: Nodes, edges: AttentionEdges, lambda2: Tensor | float
    ) -> Tensor:
        """Step 4: the averages of the score inputs of sources and of targets, [N, ...].

        Where the two differ, heads of one follow those of the other: so kernels for GPUs read them where they are.
        """
        # A view of a shared one: its gradients add up before that of the values is added, here as in a pair.
        both = pair[0].view_as(pair[0]) if pair[0] is pair[1] else torch.cat(pair, dim=self._score_heads_dim)
        both = nodes.swap_batch(both)
        return self._averaged(both, both, nodes=nodes, edges=edges, lambda2=lambda2)

    def _neighborhood(self, edges: AttentionEdges, nodes: Nodes) -> Graph:
        """The edges j -> i with j in N(i): no self-loops.

        In a bipartite graph where the layer adds no self-loops, equal indices are different nodes, and all edges count.
        """
        loops_are_edges = not nodes.one_set and not self.add_self_loops
        return edges.input_graph if loops_are_edges else edges.input_graph.without_self_loops()

    def _averaged(
        self,
        own: Tensor,
        sent: Tensor,
        *,
        nodes: Nodes,
        edges: AttentionEdges,
        lambda2: Tensor | float,
        neighbor_sum: Tensor | None = None,
    ) -> Tensor:
        r""":math:`(h_i + \lambda_2 \sum_{j \in N(i)} h_j) / (1 + \lambda_2 |N(i)|)`, [N_target, ...].

        ``own`` [N_target, ...] are the :math:`h_i`, ``sent`` [N_source, ...] the :math:`h_j`; ``neighbor_sum`` is
        their sum where it is known.
        """
        assert self.interpolation is not None
        graph = self._neighborhood(edges, nodes)
        if neighbor_sum is None:
            mask = self._masked_edges() if self.explain else None
            has_all_loops = nodes.one_set and self.add_self_loops and edges.graph.num_loops == nodes.counts[0]
            large = not torch.compiler.is_compiling() and edges.graph.num_edges > _LARGE
            if mask is None and has_all_loops and large:
                # Over the edges of the attention, which are sorted anyway; its one loop per node is taken off again.
                neighbor_sum = aggregate(sent, edges.graph) - own
            else:
                neighbor_sum = aggregate(sent, graph, None if mask is None else graph.select(mask))
        degree = graph.in_degree.view(-1, *[1] * (own.dim() - 1))
        if self.interpolation.neighbor_aggr == "mean":
            neighbor_sum = neighbor_sum / degree.clamp(min=1)
        if isinstance(lambda2, Tensor) and lambda2.dim() > 0:
            if not self.interpolation.per_head or lambda2.shape != (self.heads,):
                # The caller names what was changed; see :class:`~lcat.nn._calls.CheckedCalls`.
                raise RuntimeError(f"expected lambda2 as one number, or one per head, got shape {list(lambda2.shape)}")
            lambda2 = self._along(lambda2, own)
        return average(own, neighbor_sum, degree, lambda2)

    def _along(self, per_head: Tensor, rows: Tensor) -> Tensor:
        """Numbers of heads, [H], in the form in which they multiply score inputs [N, ..., H, ...] side by side."""
        raise NotImplementedError

    def _smooths_by_head(self) -> bool:
        """Step 4: whether heads average in different ways, so that averages are of score inputs only."""
        return self.interpolation is not None and self.interpolation.per_head and self.raw_lambda2 is not None

    def _smoothing(self) -> Tensor | float:
        """Step 4: lambda2, the strength of the averaging."""
        return 0.0 if self.interpolation is None else self.interpolation.lambda2.value(self.raw_lambda2)

    def _strength(self) -> Tensor | float:
        """Step 5: lambda1, the factor of the score."""
        return 1.0 if self.interpolation is None else self.interpolation.lambda1.value(self.raw_lambda1)

    def _attend(
        self, nodes: Nodes, edges: AttentionEdges, values: tuple[Any, Any], score_inputs: tuple[Any, Any]
    ) -> Tensor:
        """Step 5: the sum of values, weighted by attention, [N, H', F], without forming messages."""
        raise NotImplementedError

    def _scores_projected(self, nodes: Nodes) -> bool:
        """Step 4: whether the score inputs are computed from the projections, though they need not be."""
        del nodes
        return False

    def _scores_values(self, nodes: Nodes, values: tuple[Any, Any]) -> bool:
        """Steps 4 and 5: whether :meth:`_attend_scoring` is both."""
        del nodes, values
        return False

    def _attend_scoring(self, edges: AttentionEdges, values: tuple[Any, Any]) -> Tensor:
        """Steps 4 and 5 in one, [N, H, F]."""
        raise NotImplementedError

    def _finish(
        self, out: Tensor, nodes: Nodes, edges: AttentionEdges, own: Tensor | None, alpha: Tensor | None
    ) -> Any:
        """Step 6: heads together, own features, residual, bias; with PyG's attention if there is ``alpha``."""
        if nodes.batch is not None:
            out = out.view(nodes.counts[1], nodes.batch, self.heads, self.out_channels).transpose(0, 1)
        out = out.flatten(-2) if self.concat else out.mean(dim=-2)
        if own is not None:
            out = self._mixed(own.flatten(-2) if self.concat else own.mean(dim=-2), out)
        width = self.heads * self.out_channels if self.concat else self.out_channels
        if self.res is not None and nodes.x[1] is not None:  # as in PyG: a target without features has no residual
            residual = map_rows(self.res, nodes.x[1])
            _checks.check_residual(type(self).__name__, residual, out)
            out = out + residual
        if self.bias is not None:
            if self.bias.numel() != width:
                _checks.check_bias(type(self).__name__, self.bias, width, out)
            out = out + self.bias
        elif self.res is None and own is None and out.requires_grad:
            out = out.clone()  # kernels keep their output for the backward pass; an in-place activation must not hit it
        return out if alpha is None else self._with_attention(out, nodes, edges, alpha)

    def _mixed(self, own: Tensor, attended: Tensor) -> Tensor:
        """Step 6: the map of own features beside what was attended to."""
        mix = self._modules.get("lin_mix")
        if mix is None:
            raise ValueError(
                f"'lin_mix' of {type(self).__name__} is None, but it was made with separate_self=True: put a linear "
                f"map of {2 * attended.shape[-1]} to {attended.shape[-1]} features there, or set separate_self to False"
            )
        out = mix(torch.cat([own, attended], dim=-1))
        _checks.check_mix(type(self).__name__, out, attended)
        mixed: Tensor = out
        return mixed

    def _with_attention(self, out: Tensor, nodes: Nodes, edges: AttentionEdges, alpha: Tensor) -> Any:
        """Step 6: ``(out, attention)`` as PyG returns it for this format of edges."""
        if nodes.batch is not None:
            alpha = alpha.view(edges.graph.num_edges, nodes.batch, self.heads)
        edge_index = edges.graph.edge_index(self.flow)
        if edges.edge_list.layout == "edge_index":
            return out, (edge_index, nodes.swap_batch(alpha))
        if nodes.batch is not None:
            raise ValueError("return_attention_weights needs edges as edge_index when x has shape [B, N, F]")
        shape = (nodes.counts[1], nodes.counts[0])
        matrix, ordered = edges.edge_list.with_values(edge_index, alpha, shape)
        return (out, matrix) if ordered is None else (out, (matrix, ordered))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, heads={self.heads})"
