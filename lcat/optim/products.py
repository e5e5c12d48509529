"""The few matrix products an orthogonal step is made of, in three memory layouts.

A step is written once, over the operations of :class:`Algebra`, and runs on

- :class:`Batched`: ``(B, p, n)``, batched BLAS calls; the general case;
- :class:`Single`: ``(p, n)``, plain BLAS calls; one matrix, where ``X X^H`` of a large matrix is computed
  block row by block row so that its upper half costs nothing;
- :class:`BatchLast`: ``(p, n, B)``, elementwise multiply-adds along the batch; for very many very small
  matrices on a CPU, where a batched BLAS call spends its time on the calls (3 to 8 times faster at 3 x 3).

Complexity: a product costs ``2 B p^2 n`` flops (four times that in complex arithmetic) in all of them.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

__all__ = [
    "BATCHED",
    "BATCH_LAST",
    "SINGLE",
    "Algebra",
    "BatchLast",
    "Batched",
    "Scale",
    "Single",
    "algebra_for",
]

#: what multiplies a direction: one number, or one per matrix ``(B, 1, 1)``
Scale: TypeAlias = float | Tensor

#: ``X X^H`` of one large matrix is computed in blocks of this many rows (per thread), lower half only
GRAM_ROWS = 96
#: a batch of matrices is worth transposing to ``(p, n, B)`` up to this size and from this batch on
SMALL_ROWS, SMALL_ENTRIES, SMALL_BATCH = 6, 64, 500


class Algebra:
    """Products and reductions over one layout; ``p``, ``n`` and the batch are where the layout puts them."""

    rows, columns = -2, -1
    matrix_dims: tuple[int, int] = (-2, -1)

    def mH(self, A: Tensor) -> Tensor:  # noqa: N802 - as torch.Tensor.mH
        """The conjugate transpose, laid out so that the next product reads it fast."""
        # Batched complex products with a lazily conjugated operand are up to 5 times slower: conjugate now.
        return A.conj_physical().mT if A.is_complex() else A.mT

    def pack(self, X: Tensor) -> Tensor:
        """From ``(B, p, n)`` to this layout."""
        raise NotImplementedError

    def unpack(self, X: Tensor) -> Tensor:
        """Back to ``(B, p, n)``."""
        raise NotImplementedError

    def pack_scale(self, scale: Scale) -> Scale:
        """One number per matrix, ``(B, 1, 1)``, or one for all, to this layout."""
        return self.pack(scale) if isinstance(scale, Tensor) and scale.dim() == 3 else scale

    def mm(self, A: Tensor, B: Tensor, out: Tensor | None = None) -> Tensor:
        """``A B``, into ``out`` where one is given (its old content is lost)."""
        raise NotImplementedError

    def addmm(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
        """``beta C + alpha A B`` as a new tensor."""
        raise NotImplementedError

    def addmm_(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0) -> Tensor:
        """``C = beta C + A B`` in place."""
        raise NotImplementedError

    def gram(self, X: Tensor, out: Tensor | None = None) -> Tensor:
        """``X X^H``."""
        return self.mm(X, self.mH(X), out)

    def add_identity_(self, A: Tensor, value: float) -> Tensor:
        """``A += value I`` in place, ``A (p, p)``."""
        A.diagonal(dim1=self.matrix_dims[0], dim2=self.matrix_dims[1]).add_(value)
        return A

    def norm(self, A: Tensor) -> Tensor:
        """The Frobenius norm of every matrix, real, kept broadcastable against ``A``."""
        # Complex reductions are slow on CPUs; the squared modulus is the sum over both real parts.
        if A.is_complex():
            A = torch.view_as_real(A.resolve_conj())
            dims = tuple(d - 1 if d < 0 else d for d in self.matrix_dims)
            parts: Tensor = torch.linalg.vector_norm(A, dim=(*dims, -1), keepdim=True)
            return parts.squeeze(-1)
        norm: Tensor = torch.linalg.vector_norm(A, dim=self.matrix_dims, keepdim=True)
        return norm

    def inner(self, A: Tensor, B: Tensor) -> Tensor:
        """``Re <A, B>_F`` of every pair of matrices, kept broadcastable."""
        product = A.real * B.real + A.imag * B.imag if A.is_complex() else A * B
        return product.sum(self.matrix_dims, keepdim=True)


class Batched(Algebra):
    """A batch ``(B, p, n)``."""

    def mm(self, A: Tensor, B: Tensor, out: Tensor | None = None) -> Tensor:
        """``A B``, into ``out`` where one is given."""
        return torch.bmm(A, B) if out is None else torch.bmm(A, B, out=out)

    def addmm(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
        """``beta C + alpha A B`` as a new tensor."""
        return torch.baddbmm(C, A, B, beta=beta, alpha=alpha)

    def addmm_(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0) -> Tensor:
        """``C = beta C + A B`` in place."""
        return C.baddbmm_(A, B, beta=beta)

    def pack(self, X: Tensor) -> Tensor:
        """From ``(B, p, n)`` to this layout."""
        return X.contiguous()  # a batched product into transposed memory is 6 times slower

    def unpack(self, X: Tensor) -> Tensor:
        """Back to ``(B, p, n)``."""
        return X


class Single(Algebra):
    """One matrix ``(p, n)``."""

    def mH(self, A: Tensor) -> Tensor:  # noqa: N802 - as torch.Tensor.mH
        """The conjugate transpose."""
        return A.mH  # a single complex product passes the conjugation on to BLAS

    def mm(self, A: Tensor, B: Tensor, out: Tensor | None = None) -> Tensor:
        """``A B``, into ``out`` where one is given."""
        return torch.mm(A, B) if out is None else torch.mm(A, B, out=out)

    def addmm(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
        """``beta C + alpha A B`` as a new tensor."""
        return torch.addmm(C, A, B, beta=beta, alpha=alpha)

    def addmm_(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0) -> Tensor:
        """``C = beta C + A B`` in place."""
        return C.addmm_(A, B, beta=beta)

    def gram(self, X: Tensor, out: Tensor | None = None) -> Tensor:
        """``X X^H``, of a large matrix on a CPU by blocks."""
        if torch.compiler.is_compiling() or X.device.type != "cpu":
            return self.mm(X, X.mH, out)
        rows = GRAM_ROWS * torch.get_num_threads()
        if X.shape[0] <= 2 * rows:
            return self.mm(X, X.mH, out)
        if out is None:
            out = torch.empty(X.shape[0], X.shape[0], dtype=X.dtype, device=X.device)
        return _lower_then_mirror(X, out, rows)

    def pack(self, X: Tensor) -> Tensor:
        """From ``(B, p, n)`` to this layout."""
        return X[0]

    def unpack(self, X: Tensor) -> Tensor:
        """Back to ``(B, p, n)``."""
        return X[None]


def _lower_then_mirror(X: Tensor, C: Tensor, rows: int) -> Tensor:
    """``C = X X^H`` block row by block row up to the diagonal, the rest mirrored: down to half the flops."""
    starts = range(0, X.shape[0], rows)
    for i in starts:
        torch.mm(X[i : i + rows], X[: i + rows].mH, out=C[i : i + rows, : i + rows])
    for i in starts:
        C[:i, i : i + rows] = C[i : i + rows, :i].mH
    return C


class BatchLast(Algebra):
    """Many small matrices with the batch as the last, contiguous dimension: ``(p, n, B)``."""

    rows, columns = 0, 1
    matrix_dims = (0, 1)

    def mH(self, A: Tensor) -> Tensor:  # noqa: N802 - as torch.Tensor.mH
        """The conjugate transpose."""
        A = A.transpose(0, 1)
        return A.conj_physical() if A.is_complex() else A

    def mm(self, A: Tensor, B: Tensor, out: Tensor | None = None) -> Tensor:
        """``A B``, into ``out`` where one is given."""
        out = torch.mul(A[:, 0, None], B[None, 0], out=out)
        for k in range(1, A.shape[1]):
            out.addcmul_(A[:, k, None], B[None, k])
        return out

    def addmm(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
        """``beta C + alpha A B`` as a new tensor."""
        out = C.clone() if beta == 1.0 else C * beta
        for k in range(A.shape[1]):
            out.addcmul_(A[:, k, None], B[None, k], value=alpha)
        return out

    def addmm_(self, C: Tensor, A: Tensor, B: Tensor, beta: float = 1.0) -> Tensor:
        """``C = beta C + A B`` in place."""
        if beta != 1.0:
            C.mul_(beta)
        for k in range(A.shape[1]):
            C.addcmul_(A[:, k, None], B[None, k])
        return C

    def norm(self, A: Tensor) -> Tensor:
        """The Frobenius norm of every matrix."""
        if A.is_complex():
            return torch.view_as_real(A.resolve_conj()).square().sum((0, 1, 3)).sqrt_()[None, None]
        return A.square().sum((0, 1), keepdim=True).sqrt_()

    def pack(self, X: Tensor) -> Tensor:
        """From ``(B, p, n)`` to this layout."""
        return X.permute(1, 2, 0).contiguous()

    def unpack(self, X: Tensor) -> Tensor:
        """Back to ``(B, p, n)``."""
        return X.permute(2, 0, 1)


BATCHED, SINGLE, BATCH_LAST = Batched(), Single(), BatchLast()


def algebra_for(X: Tensor, small: bool = True) -> Algebra:
    """The fastest layout for ``X (B, p, n)``; ``small=False`` where a method needs ``torch.linalg``."""
    B, p, n = X.shape
    if B == 1:
        return SINGLE
    if (
        small
        and X.device.type == "cpu"
        and p <= SMALL_ROWS
        and p * n <= SMALL_ENTRIES
        and B >= SMALL_BATCH
        and not torch.compiler.is_compiling()
    ):
        return BATCH_LAST
    return BATCHED
