"""A deep model of GCNII's layers, which all see the features of the first one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.nn.dense.linear import Linear
from torch_geometric.nn.resolver import activation_resolver
from torch_geometric.typing import Adj, OptTensor

from lcat.nn import _checks
from lcat.nn._calls import CheckedCalls
from lcat.nn._initial_residual import InitialResidualMixin
from lcat.nn._lcat import ScalarsOfLayers, missing_scalars
from lcat.nn._options import arguments_of, check_keywords
from lcat.nn.dropout import drop_features
from lcat.nn.edge_attention import call_with_attention


class InitialResidualModel(ScalarsOfLayers, CheckedCalls, torch.nn.Module):  # type: ignore[misc]  # on purpose, see CheckedCalls
    """Linear map, layers, linear map; see :class:`lcat.nn.models.LCATGCN2`."""

    _layer: ClassVar[Callable[..., InitialResidualMixin]]

    def __init__(
        self,
        *,
        in_channels: int,
        hidden_channels: int,
        num_layers: int,
        out_channels: int | None,
        dropout: float,
        act: str | Callable[..., Any] | None,
        act_kwargs: dict[str, Any] | None,
        alpha: float,
        theta: float | None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_keywords(name, kwargs, arguments_of(type(self), self._layer))  # type: ignore[arg-type]
        self.in_channels = _checks.read_size_or_lazy(name, "in_channels", in_channels)
        self.hidden_channels = _checks.read_size(name, "hidden_channels", hidden_channels)
        self.num_layers = _checks.read_size(name, "num_layers", num_layers)
        is_last = out_channels is None
        self.out_channels = hidden_channels if is_last else _checks.read_size(name, "out_channels", out_channels)
        self.dropout = _checks.read_probability(name, "dropout", dropout)
        self.act = activation_resolver(act, **(act_kwargs or {})) if act is not None else torch.nn.Identity()
        self.lin_in = Linear(self.in_channels, self.hidden_channels)
        self.convs = torch.nn.ModuleList(
            self._layer(hidden_channels, alpha=alpha, theta=theta, layer=None if theta is None else position, **kwargs)
            for position in range(1, self.num_layers + 1)
        )
        self.lin_out = None if is_last else Linear(self.hidden_channels, self.out_channels)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in (self.lin_in, *self.convs, self.lin_out):
            if module is not None:
                module.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        edge_attr: OptTensor = None,
        return_attention_weights: bool | None = None,
    ) -> Any:
        """Run the model.

        Args:
            x: node features, ``[N, in_channels]``.
            edge_index: the edges in any format.
            edge_weight: weights of the edges, for all layers.
            edge_attr: features of the edges, for the scores of all layers.
            return_attention_weights: if True, return ``(out, attention)`` with a list of what each layer returns,
                ``(edges, alpha)`` for an ``edge_index``; :func:`lcat.nn.attention_of_edges` finds the input's edges in
                it.
        """
        if return_attention_weights is not None:
            name = type(self).__name__
            if _checks.read_flag(name, "return_attention_weights", return_attention_weights):
                return call_with_attention(self, x, edge_index, edge_weight, edge_attr)
        x = x_0 = self.act(self.lin_in(self._dropped(x)))
        for conv in self.convs:
            x = self.act(conv(self._dropped(x), x_0, edge_index, edge_weight, edge_attr))
        return x if self.lin_out is None else self.lin_out(self._dropped(x))

    def _dropped(self, x: Tensor) -> Tensor:
        return drop_features(x, self.dropout, self.training)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch; the error of a checkpoint without lambdas says how to start from it."""
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            raise missing_scalars(self, state_dict, error) from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels}, num_layers={self.num_layers})"
