"""Features of a data set as a sparse matrix, where few of them are not zero, and linear maps of them."""

from __future__ import annotations

import warnings
import weakref

import torch
from torch import Tensor, nn

from lcat.ops import sparse_linear

__all__ = ["map_features", "sparse_features"]

#: A dense product is no slower above this share of entries that are not zero, or below this width.
_SHARE, _WIDTH = 0.05, 128
# By the identity of the features: all cells of a data set share the matrix, and its groups.
_seen: dict[int, tuple[weakref.ref[Tensor], int, Tensor | None]] = {}


def sparse_features(x: Tensor) -> Tensor | None:
    """The CSR matrix of features that are mostly zero, made once for each tensor; ``None`` for others.

    Only on the CPU and for float32 and float64, for which lcat's sparse product is made.

    Args:
        x: ``[N, F]``.

    Example:
        >>> import torch
        >>> from lcat.study.models.sparse_input import sparse_features
        >>> sparse_features(torch.eye(200)).layout, sparse_features(torch.ones(200, 200))
        (torch.sparse_csr, None)
    """
    wrong_kind = x.dim() != 2 or x.layout is not torch.strided or not x.is_cpu or x.requires_grad
    if wrong_kind or x.shape[1] < _WIDTH or x.dtype not in (torch.float32, torch.float64):
        return None
    if torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"):
        return None
    number = id(x)
    seen = _seen.get(number)
    if seen is None or seen[0]() is not x or seen[1] != x._version:
        seen = (weakref.ref(x, lambda reference: _freed(number, reference)), x._version, _matrix_of(x))
        _seen[number] = seen
    return seen[2]


def map_features(linear: nn.Linear, x: Tensor) -> Tensor:
    """``linear(x)``, of a CSR matrix by :func:`lcat.ops.sparse_linear`."""
    if x.layout is torch.sparse_csr:
        return sparse_linear(x, linear.weight, linear.bias)
    out: Tensor = linear(x)
    return out


def _matrix_of(x: Tensor) -> Tensor | None:
    if int(x.count_nonzero()) > _SHARE * x.numel():
        return None
    with warnings.catch_warnings():  # torch calls its CSR matrices a beta state
        warnings.simplefilter("ignore")
        return x.to_sparse_csr()


def _freed(number: int, reference: weakref.ref[Tensor]) -> None:
    seen = _seen.get(number)
    if seen is not None and seen[0] is reference:
        del _seen[number]
