"""A linear map of features that may be a sparse matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lcat.ops import sparse_linear

__all__ = ["map_features"]


def map_features(linear: nn.Linear, x: Tensor) -> Tensor:
    """``linear(x)``, of a CSR matrix by :func:`lcat.ops.sparse_linear`."""
    if x.layout is torch.sparse_csr:
        return sparse_linear(x, linear.weight, linear.bias)
    out: Tensor = linear(x)
    return out
