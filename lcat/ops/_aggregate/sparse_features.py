"""Linear maps of sparse features, whose rows hold few numbers: bags of words."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lcat._tracing import is_traced
from lcat.graph import graph_view
from lcat.ops._aggregate import aggregate
from lcat.ops.dispatch import must_be_plain

__all__ = ["sparse_linear"]


def sparse_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""A linear map of sparse features, :math:`y = x W^\top + b`: reads only the entries that ``x`` stores.

    The features of a node are in-edges from the columns of ``x``, with their entries as weights, so :func:`aggregate`
    computes the map and the gradient of ``weight``. Layers of lcat do this by themselves where ``x`` is a CSR matrix.
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
        TypeError: ``x`` or ``weight`` is no tensor.
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
    _check(x, weight)
    if x.requires_grad or is_traced() or must_be_plain():
        return F.linear(x, weight, bias)
    out = aggregate(weight.t().contiguous(), graph_view(x, None, None, name="x")[0], x.values().detach())
    return out if bias is None else out + bias


def _check(x: Tensor, weight: Tensor) -> None:
    for name, tensor in (("x", x), ("weight", weight)):
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
    for part in ("device", "dtype"):
        if getattr(x, part) != getattr(weight, part):
            raise ValueError(
                f"expected 'x' and 'weight' of one {part}, got {getattr(x, part)} and {getattr(weight, part)}: convert "
                f"one with .to(...)"
            )
