"""PNA's aggregation as the code published with L-CAT computes it, where PyG's has other numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.nn.aggr import DegreeScalerAggregation, VarAggregation


class PublishedStdAggregation(VarAggregation):
    """``sqrt(relu(var) + 1e-5)``: also where all messages are equal, or none arrives, it is not 0."""

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        """As in PyG."""
        variance: Tensor = super().forward(x, index, ptr, dim_size, dim)
        return (variance.relu() + 1e-5).sqrt()


class PublishedScaling(DegreeScalerAggregation):
    """Scalers that count a node without in-edges as one of degree 1, and read ``deg`` as degrees, not a histogram."""

    def __init__(self, aggregators: Sequence[str], scalers: Sequence[str], deg: Tensor) -> None:
        modules = [PublishedStdAggregation() if name == "std" else name for name in aggregators]
        super().__init__(modules, list(scalers), deg)
        degrees = deg.to(torch.float)
        self.init_avg_deg_lin = degrees.mean().item()
        self.init_avg_deg_log = (degrees + 1).log().mean().item()
        self.reset_parameters()

    def forward(
        self,
        x: Tensor,
        index: Tensor | None = None,
        ptr: Tensor | None = None,
        dim_size: int | None = None,
        dim: int = -2,
    ) -> Tensor:
        """As in PyG."""
        self.assert_index_present(index)
        assert index is not None
        out: Tensor = self.aggr(x, index, ptr, dim_size, dim)
        shape = [1] * out.dim()
        shape[dim] = -1
        ones = torch.ones_like(index, dtype=out.dtype)
        degree = out.new_zeros(out.shape[dim]).scatter_add(0, index, ones).clamp(min=1).view(shape)
        factors = {
            "identity": lambda: 1.0,
            "amplification": lambda: (degree + 1).log() / self.avg_deg_log,
            "attenuation": lambda: self.avg_deg_log / (degree + 1).log(),
            "linear": lambda: degree / self.avg_deg_lin,
            "inverse_linear": lambda: self.avg_deg_lin / degree,
        }
        return torch.cat([out * factors[name]() for name in self.scaler], dim=-1)
