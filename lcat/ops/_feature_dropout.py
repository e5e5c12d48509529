"""Dropout of features that keeps no mask: compiled on the CPU, torch's own elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lcat._memory import check_memory
from lcat._tracing import is_traced
from lcat.graph import graph_view, own_edge_index
from lcat.ops import _fused, _native
from lcat.ops._check import FLOATS, check_dense, check_probability
from lcat.ops._operands import check_options
from lcat.ops._operators import Operator
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import must_be_plain

__all__ = ["dropout"]

_TYPES = (torch.float32, torch.float64)
_MATRICES = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    r"""Zero each entry with probability ``p`` and scale the others, as :func:`torch.nn.functional.dropout`.

    .. math:: y_i = \frac{b_i\, x_i}{1 - p}, \qquad b_i \sim \mathrm{Bernoulli}(1 - p).

    On CPUs torch draws one entry after the other, on one thread, and keeps one number per entry for the backward pass.
    This draws by counter (Philox, as attention dropout here), on all threads, and keeps a seed of eight bytes:
    the mask is drawn again in the backward pass. On other devices, for other types than float32 and float64, under
    functorch transforms, while ``torch.export`` records and without the compiled kernels it is torch's function.

    Args:
        x: any shape; a complex number is dropped as a whole. Of a sparse matrix (COO, CSR, CSC) the stored entries are
            dropped; :func:`sparse_linear` need not group those of a CSR matrix again.
        p: probability of zero, in [0, 1].
        training: ``False`` returns ``x`` itself.

    Raises:
        TypeError: ``x`` is no tensor, or ``p`` no number.
        ValueError: ``x`` is neither dense nor such a matrix, or not of a floating point or complex type, or ``p`` is
            outside [0, 1].

    Complexity:
        O(n) time; O(1) memory is kept for the backward pass.

    Example:
        >>> import torch
        >>> from lcat.ops import dropout
        >>> torch.manual_seed(0)
        <...>
        >>> y = dropout(torch.ones(1000, 8), 0.25)
        >>> y.unique()
        tensor([0.0000, 1.3333])
    """
    is_matrix = isinstance(x, Tensor) and x.layout in _MATRICES
    if not is_matrix:
        check_dense("x", x)
    p = check_probability("p", p)
    if x.dtype not in FLOATS and not x.is_complex():
        raise ValueError(f"expected 'x' of a floating point or complex type, got {x.dtype}: convert it with .float()")
    if not training or p == 0:
        return x
    if is_matrix:
        return _drop_entries(x, p)
    compiled = x.device.type == "cpu" and x.dtype in _TYPES and _native.STATUS.instruction_set is not None
    if not compiled or is_transformed(x) or must_be_plain():
        if type(x) is Tensor and not is_traced():
            check_memory("x", x)
        if x.is_complex():  # torch draws no complex numbers
            factor = F.dropout(torch.ones_like(x.real), p)
            return torch.where(factor == 0, torch.zeros_like(x), x * factor)
        return F.dropout(x, p)
    seed = _fused.draw_seed(p, x.device)
    assert seed is not None  # p > 0
    result: Tensor = _DROPOUT(_Arguments(x, seed, p))
    return result


def _drop_entries(x: Tensor, p: float) -> Tensor:
    """Dropout of the entries that a sparse matrix stores; the result of a CSR matrix is grouped as ``x`` is.

    A zero stays zero whether it is dropped or not, so this has the distribution of dropout on the dense matrix.
    """
    if x.layout is torch.sparse_coo:
        x = x.coalesce()  # several entries of one place are one number
        return torch.sparse_coo_tensor(x.indices(), dropout(x.values(), p), x.shape, is_coalesced=True)
    values = dropout(x.values(), p)
    if x.layout is torch.sparse_csc:
        return torch.sparse_csc_tensor(x.ccol_indices(), x.row_indices(), values, x.shape)
    result = torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape)
    if not (is_traced() or x.requires_grad):
        own_edge_index(graph_view(x, None, None, name="x")[0], "source_to_target", result)
    return result


class _Arguments(NamedTuple):
    """The arguments of ``lcat::dropout``."""

    x: Tensor
    seed: Tensor
    p: float

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return tuple(self)


def _run(arguments: _Arguments) -> tuple[Tensor]:
    x = arguments.x
    out = torch.empty_like(x)
    _native.call("dropout", x.dtype, x, out, x.numel(), arguments.p, _native.seed_value(arguments.seed))
    return (out,)


def _check(arguments: _Arguments) -> None:
    if arguments.x.dtype not in _TYPES:
        raise ValueError(f"expected 'x' of type float32 or float64, got {arguments.x.dtype}")
    check_options(arguments.p, arguments.seed)


def _fake(arguments: _Arguments) -> Tensor:
    return arguments.x.new_empty(arguments.x.shape)


def _setup_context(ctx: Any, arguments: _Arguments, output: Tensor) -> None:
    del output
    ctx.save_for_backward(arguments.seed)
    ctx.p = arguments.p


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (seed,) = ctx.saved_tensors
    return _DROPOUT.gradients([_DROPOUT.overload(grad, seed, ctx.p)])


_DROPOUT = Operator(
    "dropout",
    _Arguments,
    results=1,
    kernels={"cpu": _run},
    check=_check,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
)
