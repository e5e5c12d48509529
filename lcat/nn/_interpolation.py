"""How one layer interpolates between a mean, GAT and CAT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from lcat.nn._lambda import Scalar
from lcat.nn._neighbor_sum import NeighborSum

NeighborAggregation: TypeAlias = Literal["sum", "mean"]


@dataclass
class Interpolation:
    """Everything that CAT and L-CAT add to a GAT, without its parameters.

    The parameters belong to the layer (``raw_lambda1``, ``raw_lambda2``, ``lin_value``), so that a CAT has the
    ``state_dict`` of a GAT.

    Args:
        lambda1: strength of the score.
        lambda2: strength of the averaging.
        share_values: the values are the sources' projection (else ``lin_value`` makes them).
        neighbor_aggr: "sum" is the formula; "mean" divides the neighbors' sum by their number once more.
        cache_neighbor_sum: keep the neighbor sum of fixed features from call to call.
        per_head: each head has scalars of its own, where they are learned.
        neighbor_sum: where the sum is kept.
    """

    lambda1: Scalar
    lambda2: Scalar
    share_values: bool
    neighbor_aggr: NeighborAggregation
    cache_neighbor_sum: bool
    per_head: bool = False
    neighbor_sum: NeighborSum = field(default_factory=NeighborSum, repr=False)
