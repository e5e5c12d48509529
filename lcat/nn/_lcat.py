"""What makes an L-CAT of a GAT, in either version: two scalars, averages, and values of its own."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import Parameter

from lcat.nn._attention import AttentionConv
from lcat.nn._interpolation import Interpolation, NeighborAggregation
from lcat.nn._lambda import Parametrization, Scalar, check_parametrization
from lcat.nn.neighborhood_statistic import StatisticInputs


class LCATMixin(AttentionConv):
    """Stands before GATConv or GATv2Conv in the bases of a layer; its constructor calls :meth:`_interpolate` last.

    The steps of a call, with the averages, are those of :meth:`AttentionConv._forward`.
    """

    def _interpolate(
        self,
        *,
        lambda1: float | None,
        lambda2: float | None,
        share_values: bool,
        value_bias: bool,
        parametrization: Parametrization,
        lambda1_init: float,
        lambda2_init: float,
        neighbor_aggr: NeighborAggregation,
        cache_neighbor_sum: bool,
    ) -> None:
        """Make :attr:`interpolation` and its parameters, and reset them."""
        known = get_args(NeighborAggregation)
        if neighbor_aggr not in known:
            raise ValueError(
                f"'neighbor_aggr' of {type(self).__name__} is {neighbor_aggr!r}; it takes "
                f"{' or '.join(map(repr, known))}"
            )
        check_parametrization(parametrization)
        self.interpolation = Interpolation(
            lambda1=Scalar("lambda1", fixed=lambda1, initial=lambda1_init, parametrization=parametrization),
            lambda2=Scalar("lambda2", fixed=lambda2, initial=lambda2_init, parametrization=parametrization),
            share_values=share_values,
            neighbor_aggr=neighbor_aggr,
            cache_neighbor_sum=cache_neighbor_sum,
        )
        self.lin_value = None if share_values else self._linear(0, bias=value_bias)
        for scalar in (self.interpolation.lambda1, self.interpolation.lambda2):
            raw = Parameter(torch.empty(())) if scalar.fixed is None else None
            self.register_parameter(f"raw_{scalar.name}", raw)
        self._reset_interpolation(self.interpolation)

    def reset_parameters(self) -> None:
        """Draw all parameters anew; learned scalars start again where they started."""
        super().reset_parameters()
        if self.interpolation is not None:  # not yet, when the constructor of the GAT layer resets its own
            self._reset_interpolation(self.interpolation)

    def _reset_interpolation(self, interpolation: Interpolation) -> None:
        if self.lin_value is not None:
            self.lin_value.reset_parameters()
        for scalar in (interpolation.lambda1, interpolation.lambda2):
            if scalar.fixed is None:
                torch.nn.init.constant_(getattr(self, f"raw_{scalar.name}"), scalar.initial_raw())

    @property
    def lambda1(self) -> Tensor:
        """Strength of the score, a 0-dimensional tensor in [0, 1]: 0 is a mean over in-edges, 1 is attention."""
        return self._as_tensor(self._strength())

    @property
    def lambda2(self) -> Tensor:
        """Strength of the averaging, a 0-dimensional tensor in [0, 1]: 0 scores as GAT, 1 scores as CAT."""
        return self._as_tensor(self._smoothing())

    def _as_tensor(self, value: Tensor | float) -> Tensor:
        if isinstance(value, Tensor):
            return value
        some = next(self.parameters())
        return torch.tensor(value, dtype=torch.promote_types(some.dtype, torch.float32))

    @property
    def statistic_depends_on(self) -> StatisticInputs | None:
        """``"features"``: scores see averages of the sources' neighborhoods; ``None`` if lambda2 is fixed at 0."""
        assert self.interpolation is not None
        return None if self.interpolation.lambda2.fixed == 0.0 else "features"

    def neighborhood_statistic(
        self, x: Tensor, edge_index: Any, edge_attr: Tensor | None = None, edge_weight: Tensor | None = None
    ) -> Tensor | None:
        """The averages of the neighborhoods that the scores see; see :class:`lcat.nn.NeighborhoodStatistic`.

        Args:
            x: ``[N, in_channels]`` or ``[B, N, in_channels]``.
            edge_index: the edges in any format.
            edge_attr: checked, and not used.
            edge_weight: checked, and not used: averages do not depend on it.

        Returns:
            ``[N, ...]``, for ``forward(..., statistic=)``; its other dimensions are the layer's own business. ``None``
            if lambda2 is fixed at 0.
        """
        lambda2 = self._smoothing()
        if isinstance(lambda2, float) and lambda2 == 0.0:
            return None
        nodes = self._read_nodes(x, None, edge_index)
        edges = self._read_edges(
            edge_index, nodes, edge_attr=edge_attr, edge_weight=edge_weight, size=None, messages=False
        )
        if not nodes.one_set:
            return None  # sources are not averaged
        if self._averages_features(nodes):
            return self._average_of_features(nodes, edges, lambda2)
        return self._average_of_pair(self._score_inputs(nodes, None), nodes, edges, lambda2)

    def __repr__(self) -> str:
        if self.interpolation is None:
            return super().__repr__()
        scalars = [
            f"{scalar.name}={scalar.describe(getattr(self, f'raw_{scalar.name}'))}"
            for scalar in (self.interpolation.lambda1, self.interpolation.lambda2)
        ]
        return f"{super().__repr__()[:-1]}, {', '.join(scalars)})"
