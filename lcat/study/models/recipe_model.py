"""A model with what makes plain layers strong: residuals, linear ends, norms before or after, jumping knowledge."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import JumpingKnowledge, PairNorm
from torch_geometric.utils import dropout_edge

from lcat.nn.dropout import drop_features
from lcat.study.models.sparse_input import map_features
from lcat.train import LayerStep

__all__ = ["ACTIVATIONS", "RecipeModel", "balanced_weights"]

#: Activations by name.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "leaky-relu": F.leaky_relu,
}
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "layer": nn.LayerNorm,
    "pair": lambda _: PairNorm(),
}


class RecipeModel(nn.Module):
    r"""Layers of one kind, each computing :math:`h' = \mathrm{drop}(\sigma(\mathrm{norm}(\mathrm{conv}(h) + r(h))))`.

    With ``norm_first`` it is :math:`\mathrm{drop}(\sigma(\mathrm{conv}(n) + r(h)))` with :math:`n = \mathrm{norm}(h)`.
    The last layer, which makes the logits, is a convolution with its residual alone, or, with ``linear_out``, a linear
    map after a hidden one.

    Args:
        make_conv: ``f(in_channels, out_channels, hidden)`` makes a convolution; ``hidden`` says whether its output is
            one of a hidden layer.
        in_channels, hidden_channels, out_channels, num_layers: sizes; ``num_layers`` counts convolutions.
        dropout: between layers.
        activation: a name of :data:`ACTIVATIONS`.
        norm: ``"none"``, ``"batch"``, ``"layer"`` or ``"pair"``.
        norm_first: norm before a convolution instead of after it.
        residual: ``"none"``, ``"identity"`` (where sizes agree) or ``"linear"``.
        linear_in: a linear map before the first convolution, with dropout and no activation.
        linear_out: a linear map after the last one.
        jk: ``"none"``, ``"cat"``, ``"max"`` or ``"lstm"`` over the outputs of all layers; needs ``linear_out``.
        drop_edges: probability of leaving out edges in training, for convolutions that cannot do so themselves.
        edge_values: which of ``"edge_weight"`` and ``"edge_attr"`` the convolutions take; others are not used.

    Shapes:
        ``x`` ``[N, in_channels]``, ``edge_index`` ``[2, E]``, output ``[N, out_channels]``.
    """

    def __init__(
        self,
        make_conv: Callable[[int, int, bool], nn.Module],
        *,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        dropout: float,
        activation: str,
        norm: str,
        norm_first: bool,
        residual: str,
        linear_in: bool,
        linear_out: bool,
        jk: str,
        drop_edges: float,
        edge_values: tuple[str, ...] = ("edge_weight", "edge_attr"),
    ) -> None:
        super().__init__()
        self.edge_values = edge_values
        self.dropout, self.drop_edges, self.residual, self.norm_first = dropout, drop_edges, residual, norm_first
        self.act = ACTIVATIONS[activation]
        self.first = nn.Linear(in_channels, hidden_channels) if linear_in else None
        self.num_hidden = num_layers if linear_out else num_layers - 1
        widths = [hidden_channels if linear_in else in_channels] + [hidden_channels] * num_layers
        if not linear_out:
            widths[-1] = out_channels
        self.convs, self.skips, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number in range(num_layers):
            before, after = widths[number], widths[number + 1]
            self.convs.append(make_conv(before, after, number < self.num_hidden))
            self.skips.append(nn.Linear(before, after) if residual == "linear" else nn.Identity())
            normed = (number > 0 or linear_in) if norm_first else number < self.num_hidden
            width = before if norm_first else after
            self.norms.append(_NORMS[norm](width) if normed and norm != "none" else nn.Identity())
        self.jump = None if jk == "none" else JumpingKnowledge(jk, hidden_channels, num_layers)
        wide = hidden_channels * num_layers if jk == "cat" else hidden_channels
        self.last = nn.Linear(wide, out_channels) if linear_out else None

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None, edge_attr: Tensor | None = None
    ) -> Tensor:
        """Logits ``[N, out_channels]``."""
        values: dict[str, Tensor] = {}
        for name, value in (("edge_weight", edge_weight), ("edge_attr", edge_attr)):
            if value is not None and name in self.edge_values:
                values[name] = value
        if self.drop_edges > 0 and self.training:
            edge_index, mask = dropout_edge(edge_index, self.drop_edges)
            values = {name: value[mask] for name, value in values.items()}
        h = x if self.first is None else drop_features(map_features(self.first, x), self.dropout, self.training)
        outputs = []
        for number, conv in enumerate(self.convs):
            h = self._layer(number, conv, h, edge_index, values)
            outputs.append(h)
        if self.last is None:
            return h
        logits: Tensor = self.last(h if self.jump is None else self.jump(outputs))
        return logits

    def _layer(self, number: int, conv: nn.Module, h: Tensor, edge_index: Tensor, values: dict[str, Tensor]) -> Tensor:
        out: Tensor = conv(self.norms[number](h) if self.norm_first else h, edge_index, **values)
        out = self._add_skip(number, out, h)
        return self._activate(number, out) if number < self.num_hidden else out

    def _add_skip(self, number: int, out: Tensor, h: Tensor) -> Tensor:
        skip = self.skips[number]
        if self.residual == "linear":
            assert isinstance(skip, nn.Linear)
            out = out + map_features(skip, h)
        elif self.residual == "identity" and out.shape == h.shape:
            out = out + (h.to_dense() if h.layout is torch.sparse_csr else h)
        return out

    def _activate(self, number: int, out: Tensor) -> Tensor:
        if not self.norm_first:
            out = self.norms[number](out)
        return drop_features(self.act(out), self.dropout, self.training)

    def layer_steps(self) -> list[LayerStep]:
        """The layers for :func:`lcat.train.layerwise_inference`, with all that comes before and after them."""
        return [self._step(number) for number in range(len(self.convs))]

    def _step(self, number: int) -> LayerStep:
        norm, hidden, is_last = self.norms[number], number < self.num_hidden, number == len(self.convs) - 1
        first = self.first if number == 0 and self.first is not None else nn.Identity()
        last = self.last if is_last and self.last is not None and self.jump is None else nn.Identity()

        def prepare(x: Tensor) -> Tensor:
            rows: Tensor = norm(first(x)) if self.norm_first else first(x)
            return rows

        def add_skip(out: Tensor, x: Tensor) -> Tensor:
            return self._add_skip(number, out, first(x))

        def finish(out: Tensor) -> Tensor:
            rows: Tensor = last(self._activate(number, out) if hidden else out)
            return rows

        conv, of_all_nodes = self.convs[number], isinstance(norm, PairNorm)
        if of_all_nodes and not self.norm_first:
            return LayerStep(conv, add_skip, on_all=finish, before=first)

        def then(out: Tensor, x: Tensor) -> Tensor:
            return finish(add_skip(out, x))

        return LayerStep(conv, then, **{"before_on_all" if of_all_nodes else "before": prepare})

    @property
    def layer_head(self) -> Callable[[list[Tensor]], Tensor] | None:
        """What comes after all layers, if it takes the rows of all of them."""
        jump, last = self.jump, self.last
        if jump is None or last is None:
            return None
        return lambda layers: last(jump(layers))


def balanced_weights(y: Tensor, num_classes: int) -> Tensor:
    """Weights of classes that make all of them count the same; 0 for classes without a node.

    Args:
        y: labels of the training nodes.
        num_classes: number of classes.
    """
    counts = torch.bincount(y, minlength=num_classes).float()
    return torch.where(counts > 0, counts.sum() / (counts.clamp(min=1) * (counts > 0).sum()), 0.0)
