"""Features that are mostly zero, such as bags of words: where they are found, and linear maps of them."""

from __future__ import annotations

import warnings
import weakref
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lcat._checksum import checksum
from lcat._memory import has_memory
from lcat._tracing import is_traced, outside_inference_mode
from lcat._weak_entries import removal
from lcat.graph import graph_view
from lcat.ops import _native
from lcat.ops._aggregate import aggregate
from lcat.ops.dispatch import must_be_plain

__all__ = ["sparse_features", "sparse_linear"]

# Features per node and numbers in all below which a dense product is no slower (benchmarks/sparse_features.py), also
# where features are new in every step, but for narrow maps; and the same for the share of numbers that are not zero.
_MIN_WIDTH, _MIN_SIZE, _MAX_SHARE = 128, 2**21, 0.05
# The share is estimated from a few rows first, so that dense features cost next to nothing.
_SAMPLED_ROWS, _SAMPLED_SHARE = 16, 0.1
_TYPES = (torch.float32, torch.float64)


class _Seen(NamedTuple):
    key: weakref.ref[Tensor]
    state: tuple[int, int, int | None]
    matrix: Tensor | None


# By the identity of the features.
_seen: dict[int, _Seen] = {}


def sparse_features(x: Tensor) -> Tensor | None:
    """The entries of dense features that are mostly zero, as a CSR matrix; ``None`` for other features.

    The matrix is made at the first call and kept as long as ``x`` lives. Layers of lcat call this for the features
    that they map, so their results depend on the contents of ``x`` alone, not on what was called before.

    Args:
        x: ``[N, F]``. Sparse are at least 128 features per node and 2,097,152 numbers in all, of which at most 5 % are
            not zero, of float32 or float64 on the CPU. Not those that need a gradient, and none under autocast and
            where a compiler or a transform watches.

    Returns:
        a ``torch.sparse_csr`` matrix for :func:`sparse_linear`, or ``None``.

    Complexity:
        O(N F) time at the first call, and to read all numbers again in later ones, which shows whether somebody has
        written to ``x``: a few percent of a dense product. For features that are not sparse, some rows are read once.

    Example:
        >>> import torch
        >>> from lcat.ops import sparse_features
        >>> sparse_features(torch.eye(1500)).layout, sparse_features(torch.ones(1500, 1500))
        (torch.sparse_csr, None)
    """
    # A compiler would take the number of rows for a constant, or compile twice.
    if x.dim() != 2 or x.shape[1] < _MIN_WIDTH or is_traced() or x.numel() < _MIN_SIZE or not _can_be_sparse(x):
        return None
    number = id(x)
    seen = _seen.get(number)
    if seen is not None and seen.key() is x and seen.state == _state(x, seen.matrix):
        return seen.matrix
    matrix = _matrix_of(x)
    _seen[number] = _Seen(weakref.ref(x, removal(_seen, number)), _state(x, matrix), matrix)
    return matrix


def _can_be_sparse(x: Tensor) -> bool:
    plain = type(x) is Tensor and x.layout is torch.strided and x.is_cpu and x.dtype in _TYPES and x.is_contiguous()
    if not plain or x.requires_grad or x.is_inference() or torch.is_autocast_enabled("cpu"):
        return False
    return has_memory(x)


def _state(x: Tensor, matrix: Tensor | None) -> tuple[int, int, int | None]:
    """What shows that ``x`` has been written to; where no matrix was made of it, only what torch has counted."""
    return x._version, x.data_ptr(), None if matrix is None else checksum(x, "x")


def _matrix_of(x: Tensor) -> Tensor | None:
    sample = x[:: max(1, x.shape[0] // _SAMPLED_ROWS)]
    if int(sample.count_nonzero()) > _SAMPLED_SHARE * sample.numel():
        return None
    limit = int(_MAX_SHARE * x.numel())
    with outside_inference_mode(), warnings.catch_warnings():  # torch calls its CSR matrices a beta state
        warnings.simplefilter("ignore")
        if _native.STATUS.instruction_set is None:
            return x.detach().to_sparse_csr() if int(x.count_nonzero()) <= limit else None
        parts = _native.sparse_rows(x.detach(), limit)
        return None if parts is None else torch.sparse_csr_tensor(*parts, x.shape, check_invariants=False)


def sparse_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""A linear map of sparse features, :math:`y = x W^\top + b`: reads only the entries that ``x`` stores.

    The features of a node are in-edges from the columns of ``x``, with their entries as weights, so :func:`aggregate`
    computes the map and the gradient of ``weight``. Layers of lcat do this by themselves where ``x`` is a CSR matrix,
    and where it is dense and has such a matrix (:func:`sparse_features`).
    Where ``x`` needs a gradient, and in compiled or exported programs, it is :func:`torch.nn.functional.linear`.
    Autocast changes nothing: torch has no product of a CSR matrix in half precision.

    Args:
        x: ``[N, in]``, a ``torch.sparse_csr`` matrix. Its entries are grouped by column once, and the groups are kept
            as long as the matrix lives: pass the same one in every step.
        weight: ``[out, in]``.
        bias: ``[out]``.

    Returns:
        ``[N, out]``, dense.

    Raises:
        TypeError: ``x``, ``weight`` or ``bias`` is no tensor.
        ValueError: ``x`` is no CSR matrix, or the widths, devices or types differ.

    Complexity:
        O(nnz out) time forward and backward, O(nnz) memory that is kept for the groups; a dense product takes
        O(N in out).

    Example:
        >>> import torch, warnings
        >>> from lcat.ops import sparse_linear
        >>> warnings.simplefilter("ignore")  # torch's word on its CSR matrices
        >>> x = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]).to_sparse_csr()
        >>> sparse_linear(x, torch.tensor([[1.0, 10.0, 100.0]]))
        tensor([[20.],
                [ 1.]])
    """
    _check(x, weight, bias)
    if x.requires_grad or is_traced() or must_be_plain():
        return F.linear(x, weight, bias)
    out = aggregate(weight.t().contiguous(), graph_view(x, None, None, name="x")[0], x.values().detach())
    return out if bias is None else out + bias


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    tensors = {"x": x, "weight": weight} if bias is None else {"x": x, "weight": weight, "bias": bias}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"expected '{name}' as a tensor, got {type(tensor).__name__}")
    if x.layout is not torch.sparse_csr or x.dim() != 2:
        raise ValueError(
            f"expected 'x' as a CSR matrix of shape [N, in], got layout {x.layout} and shape {list(x.shape)}: "
            f"x.to_sparse_csr() makes one of a matrix"
        )
    if weight.layout is not torch.strided or weight.dim() != 2 or weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"expected a dense 'weight' of shape [out, {x.shape[1]}], as 'x' has {x.shape[1]} features, got layout "
            f"{weight.layout} and shape {list(weight.shape)}"
        )
    if bias is not None and (bias.layout is not torch.strided or bias.shape != weight.shape[:1]):
        raise ValueError(
            f"expected a dense 'bias' of shape [{weight.shape[0]}], as 'weight' has {weight.shape[0]} rows, got layout "
            f"{bias.layout} and shape {list(bias.shape)}"
        )
    for part in ("device", "dtype"):
        for name, tensor in tensors.items():
            if getattr(x, part) != getattr(tensor, part):
                raise ValueError(
                    f"expected 'x' and '{name}' of one {part}, got {getattr(x, part)} and {getattr(tensor, part)}: "
                    f"convert one with .to(...)"
                )
