"""One POGO step on a batch of matrices: relative gradient, guard, normal step."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.optim.guard import bound, cap_norm, shorten
from lcat.optim.normal import NORMAL_STEPS
from lcat.optim.options import NormalStep
from lcat.optim.products import Algebra, Scale

__all__ = ["FROBENIUS_ROWS", "pogo_step"]

#: up to here the Frobenius norm is close enough to the Schatten-4 norm to stand for it
FROBENIUS_ROWS = 16


def pogo_step(
    algebra: Algebra,
    X: Tensor,
    D: Tensor,
    scale: Scale,
    *,
    exact: bool = True,
    normal_step: NormalStep = "half",
    max_step: float | None = 1.0,
    K: Tensor | None = None,
    return_gram: bool = False,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    r"""``X' = W M`` with ``M = X - scale R``, ``R = (K D - X D^H X) / 2`` and ``W`` the normal step.

    Six products of ``p x p x n`` when ``K = X X^H`` is computed here, five when it is given or not needed
    (``p = n``), and four when it is taken for the identity. Large temporaries are reused in place: on a CPU,
    memory touched for the first time costs more than the arithmetic done in it.

    Args:
        algebra: layout of all matrices.
        X: weights, rows orthonormal.
        D: the direction, see :mod:`lcat.optim.base`.
        scale: what multiplies it, the learning rate included.
        exact: whether ``K`` is ``X X^H``; otherwise it is the identity.
        normal_step: a key of :data:`lcat.optim.normal.NORMAL_STEPS`.
        max_step: bound of the guard, or None for no guard.
        K: ``X X^H`` where it is known; not written.
        return_gram: whether to return ``X' X'^H``, two products of ``p x p x p`` (``exact`` only).
        out: memory for ``X'`` where a normal step is taken, which may be that of ``X``.

    Returns:
        ``X'`` and its Gram matrix, or None in its place.
    """
    p, n = X.shape[algebra.rows], X.shape[algebra.columns]
    if exact and p == n and K is None:
        M, C = _square(algebra, X, D, scale, max_step=max_step)
    elif exact:
        M, C = _exact(algebra, X, D, scale, max_step=max_step, K=K)
    else:
        M, C = _identity(algebra, X, D, scale, max_step=max_step)
    polynomial = NORMAL_STEPS[normal_step]
    if polynomial is None:
        return M, C if return_gram else None
    C_before = C.clone() if return_gram else None  # the polynomial may overwrite C
    W = polynomial(algebra, C)
    next_gram = None if C_before is None else algebra.mm(algebra.mm(W, C_before), W)
    return algebra.mm(W, M, out), next_gram


def _exact(
    algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, *, max_step: float | None, K: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``M`` and ``M M^H``, which is ``K + T T^H`` with ``T = -scale R``, exactly.

    One Gram matrix is computed from the weights: ``X X^H``, or ``M M^H`` where ``K`` comes from the last step.
    Otherwise rounding errors of the weights would never be corrected and add up.
    """
    scale = bound(algebra, D, scale, max_step)
    H = algebra.mm(X, algebra.mH(D))
    is_known = K is not None
    K = K.clone() if K is not None else algebra.gram(X)
    T = algebra.addmm_(algebra.mm(K, D), H, X, beta=-1.0)  # 2 T = scale (H X - K D)
    T.mul_(_as(0.5 * scale, T))
    if is_known:
        M = T.add_(X)
        squared = algebra.gram(M, out=H).sub_(K)
        if max_step is not None:
            shrink = shorten(algebra, squared, max_step)
            torch.lerp(X, M, shrink, out=M)
            squared.mul_(shrink * shrink)
        return M, K.add_(squared)
    squared = algebra.gram(T, out=H)
    if max_step is not None:
        shrink = shorten(algebra, squared, max_step)
        T.mul_(shrink)
        squared.mul_(shrink * shrink)
    return T.add_(X), K.add_(squared)


def _square(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, *, max_step: float | None) -> tuple[Tensor, Tensor]:
    """The same for ``p = n``, where ``R = X skew(X^H D)`` needs no Gram matrix of ``X``.

    ``|| X A ||_S4 <= || X ||_2 || A ||_S4``, so the guard acts on ``A A^H``; up to 16 rows on the Frobenius norm of
    ``A``, at most twice as large, which saves that product.
    """
    A = algebra.mm(algebra.mH(X), D)
    A = A - algebra.mH(A)
    if max_step is not None and A.shape[algebra.rows] <= FROBENIUS_ROWS:
        A.mul_(_as(-1.0 * cap_norm(algebra, A, 0.5 * scale, max_step), A))
    else:
        A.mul_(_as(-0.5 * bound(algebra, A, scale, max_step), A))
        if max_step is not None:
            A.mul_(shorten(algebra, algebra.gram(A), max_step))
    M = algebra.addmm(X, X, A)
    return M, algebra.gram(M, out=A)


def _identity(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, *, max_step: float | None) -> tuple[Tensor, Tensor]:
    """The same with ``K = I`` in ``R``. Here ``M M^H`` is computed, or errors of ``X`` would never be corrected.

    That leaves no Gram matrix of the step for the guard, which takes the Frobenius norm instead.
    """
    H = algebra.mm(X, algebra.mH(D))
    T = algebra.mm(H, X).sub_(D)
    eta = 0.5 * scale
    if max_step is not None:
        eta = cap_norm(algebra, T, eta, max_step)
    M = T.mul_(_as(eta, T)).add_(X)
    return M, algebra.gram(M, out=H)


def _as(scale: Scale, A: Tensor) -> Scale:
    """``scale`` so that it can multiply ``A`` in place (a real tensor times a complex one)."""
    return scale.to(A.dtype) if isinstance(scale, Tensor) else scale
