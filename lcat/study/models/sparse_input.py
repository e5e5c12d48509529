"""Features that are mostly zero as a sparse matrix, and a linear map of features that may be one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat.ops import sparse_features, sparse_linear

__all__ = ["map_features", "with_sparse_features"]


def map_features(linear: nn.Linear, x: Tensor) -> Tensor:
    """``linear(x)``, of a CSR matrix by :func:`lcat.ops.sparse_linear`."""
    if x.layout is torch.sparse_csr:
        return sparse_linear(x, linear.weight, linear.bias)
    out: Tensor = linear(x)
    return out


def with_sparse_features(graph: Data) -> Data:
    """The graph, with a CSR matrix as ``x`` if few features are not zero; see :func:`lcat.ops.sparse_features`.

    Layers of lcat find this matrix themselves, but read all of a dense ``x`` in every call, to see that nobody has
    written to it. A study writes to no features. Models of users get those that they know.
    """
    matrix = sparse_features(graph.x)
    if matrix is None:
        return graph
    graph = copy.copy(graph)
    graph.x = matrix
    return graph
