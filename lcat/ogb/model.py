"""The model of the leaderboard scripts: layers of one kind, with normalization, residuals and linear ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch_geometric.utils import trim_to_layer

from lcat._names import LayerName, has_attention, has_v2_scores, looks_one_hop
from lcat.nn import CATConv, CATv2Conv, GATConv, GATv2Conv, GCNConv, LCATConv, LCATv2Conv
from lcat.ops import dropout
from lcat.train import LayerStep

__all__ = ["LAYERS", "Activation", "NodeModel", "Norm", "Residual", "exact_when_trimmed"]

Norm = Literal["none", "layer", "batch"]
Residual = Literal["none", "identity", "linear"]
Activation = Literal["relu", "elu"]

#: The layers by name.
LAYERS: dict[LayerName, Callable[..., nn.Module]] = {
    "gcn": GCNConv,
    "gat": GATConv,
    "gatv2": GATv2Conv,
    "cat": CATConv,
    "catv2": CATv2Conv,
    "lcat": LCATConv,
    "lcatv2": LCATv2Conv,
}
_NORMS: dict[Norm, Callable[[int], nn.Module]] = {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}
# In place: what comes before them keeps no copy of its output.
_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"relu": F.relu_, "elu": F.elu_}


def exact_when_trimmed(layer: LayerName) -> bool:
    """Whether leaving out the edges into a batch's outer nodes changes no result.

    So it is where a message depends on its two ends alone, and not where it depends on degrees (GCN) or on averages
    (CAT, L-CAT) around them.
    """
    return looks_one_hop(layer)


class NodeModel(nn.Module):
    r"""Layers of one kind between optional linear maps.

    A hidden layer computes, with ``activation_first``, :math:`h' = \mathrm{drop}(\mathrm{norm}(\sigma(c) + r))`, else
    :math:`h' = \mathrm{drop}(\sigma(\mathrm{norm}(c + r)))`, where c is the convolution of h and r its residual. The
    last layer computes :math:`c`, plus its residual if that is linear; with ``linear_ends`` it is a hidden layer
    followed by a linear map.

    Args:
        in_channels: features of a node.
        out_channels: classes or tasks.
        layer: a name of :data:`LAYERS`.
        num_layers, hidden_channels, heads, out_heads, norm, residual, activation, activation_first, linear_ends, bias,
            dropout, attention_dropout, input_dropout: as :class:`lcat.ogb.Settings`.
        recompute: keep nothing of a convolution for the backward pass but its input and its matrix products, which
            cost most of its time, and compute the rest once more there.
        edge_dim: features of an edge, ``None`` without. GCN takes their mean as the weight of an edge.

    Shapes:
        - x: ``[N, in_channels]``; edge_index: ``[2, E]``; edge_attr: ``[E, edge_dim]``
        - output: ``[N, out_channels]`` (with trimming: a row for each of the nodes that are left)

    Example:
        >>> import torch
        >>> from lcat.ogb.model import NodeModel
        >>> model = NodeModel(8, 3, layer="lcat", num_layers=2, hidden_channels=16, heads=4)
        >>> model(torch.randn(5, 8), torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        layer: LayerName,
        num_layers: int,
        hidden_channels: int,
        heads: int = 1,
        out_heads: int = 1,
        norm: Norm = "none",
        residual: Residual = "none",
        activation: Activation = "relu",
        activation_first: bool = True,
        linear_ends: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        input_dropout: float = 0.0,
        recompute: bool = False,
        edge_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.layer, self.residual, self.activation_first = layer, residual, activation_first
        self.recompute = recompute
        self.act = _ACTIVATIONS[activation]
        self.dropout, self.input_dropout, self.linear_ends = dropout, input_dropout, linear_ends
        self.first = nn.Linear(in_channels, hidden_channels) if linear_ends else None
        self.last = nn.Linear(hidden_channels, out_channels) if linear_ends else None
        widths = [hidden_channels if linear_ends else in_channels] + [hidden_channels] * num_layers
        if not linear_ends:
            widths[-1] = out_channels
        self.num_hidden = num_layers if linear_ends else num_layers - 1
        self.convs, self.norms, self.skips = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number in range(num_layers):
            inside = number < self.num_hidden
            options = {"bias": bias, **_attention(layer, inside, heads, out_heads, attention_dropout, edge_dim)}
            width = widths[number + 1] // options.get("heads", 1) if inside else widths[number + 1]
            self.convs.append(LAYERS[layer](widths[number], width, **options))
            if residual == "linear":
                self.skips.append(nn.Linear(widths[number], widths[number + 1]))
            if inside and norm != "none":
                self.norms.append(_NORMS[norm](hidden_channels))

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        num_sampled_nodes: Sequence[int] | None = None,
        num_sampled_edges: Sequence[int] | None = None,
    ) -> Tensor:
        """Logits ``[N, out_channels]``.

        Args:
            x, edge_index, edge_attr: the graph or a batch of it.
            num_sampled_nodes, num_sampled_edges: numbers found in each hop of a sampled batch; with them every layer
                computes only what later ones need, see :func:`exact_when_trimmed`.
        """
        h = self.enter(x)
        for number in range(len(self.convs)):
            if num_sampled_nodes is not None and num_sampled_edges is not None:
                h, edge_index, edge_attr = trim_to_layer(
                    number, list(num_sampled_nodes), list(num_sampled_edges), h, edge_index, edge_attr
                )
            h = self.step(number, h, edge_index, edge_attr)
        return self.leave(h)

    def enter(self, x: Tensor) -> Tensor:
        """What comes before the first layer; a function of each node alone."""
        h = x if self.first is None else F.relu(self.first(x))
        return dropout(h, self.input_dropout, self.training)

    def step(self, number: int, h: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """One layer and what belongs to it."""
        conv, edges = self.convs[number], self.edge_inputs(edge_attr)
        if self.recompute and self.training:
            out = checkpoint(partial(conv, **edges), h, edge_index, use_reentrant=False, context_fn=_keeping_products)
        else:
            out = conv(h, edge_index, **edges)
        return self.after(number, out, h)

    def after(self, number: int, out: Tensor, h: Tensor) -> Tensor:
        """What comes after a convolution: a function of its output and input at each node alone."""
        if number >= self.num_hidden:
            return out + self.skips[number](h) if self.residual == "linear" else out
        residual: Tensor | None = None
        if self.residual == "linear":
            residual = self.skips[number](h)
        elif self.residual == "identity" and out.shape == h.shape:
            residual = h
        if self.activation_first and residual is not None and self.act is F.relu_:
            out = _ReLUKeepingBits.apply(out)
        elif self.activation_first:
            out = self.act(out)
        if residual is not None:
            out = out + residual
        if len(self.norms) > 0:
            out = self.norms[number](out)
        if not self.activation_first:
            out = self.act(out)
        return dropout(out, self.dropout, self.training)

    def layer_steps(self) -> list[LayerStep]:
        """The layers for :func:`lcat.train.layerwise_inference`, with all that comes after them."""
        steps = [LayerStep(conv, partial(self.after, number)) for number, conv in enumerate(self.convs)]
        last = len(steps) - 1
        steps[last] = LayerStep(self.convs[last], lambda out, h: self.leave(self.after(last, out, h)))
        return steps

    def enter_in_blocks(self, x: Tensor, rows: int = 65_536) -> Tensor:
        """:meth:`enter` for blocks of nodes, collected on the CPU."""
        if self.first is None:
            return x
        return torch.cat([self.enter(block.to(self.first.weight.device)).cpu() for block in x.split(rows)])

    def edge_inputs(self, edge_attr: Tensor | None) -> dict[str, Tensor]:
        """What the layers take of the edges' features, by the names of their arguments."""
        if edge_attr is None:
            return {}
        return {"edge_attr": edge_attr} if has_attention(self.layer) else {"edge_weight": edge_attr.mean(dim=-1)}

    def leave(self, h: Tensor) -> Tensor:
        """What comes after the last layer; a function of each node alone."""
        out: Tensor = h if self.last is None else self.last(h)
        return out


class _ReLUKeepingBits(torch.autograd.Function):
    """ReLU in place, of which one byte per entry is kept and not a float: for where the result is not kept anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(x > 0)
        return x.relu_()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        positive: Tensor = ctx.saved_tensors[0]
        return grad * positive


# Matrix products cost most of the time of a convolution and little of what it keeps.
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


def _keeping_products() -> tuple[Any, Any]:
    """What a recomputed convolution keeps besides its input."""
    contexts: tuple[Any, Any] = create_selective_checkpoint_contexts(list(_PRODUCTS))
    return contexts


def _attention(
    layer: LayerName, inside: bool, heads: int, out_heads: int, dropout: float, edge_dim: int | None
) -> dict[str, Any]:
    """Arguments that attention layers have and GCN has not."""
    if not has_attention(layer):
        return {}
    options: dict[str, Any] = {"heads": heads if inside else out_heads, "concat": inside, "dropout": dropout}
    if has_v2_scores(layer):
        options["share_weights"] = True  # as GATv2's authors, for as many parameters as GAT
    if edge_dim is not None:
        options["edge_dim"] = edge_dim
    return options
