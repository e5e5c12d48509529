"""One POGO step on a batch of matrices: relative gradient, guard, normal step."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.optim.guard import Scale, at_most, bound, shorten
from lcat.optim.normal import NORMAL_STEPS
from lcat.optim.products import Algebra

#: up to here the Frobenius norm is close enough to the Schatten-4 norm to stand for it
FROBENIUS_ROWS = 16


def pogo_step(
    algebra: Algebra,
    X: Tensor,
    D: Tensor,
    scale: Scale,
    *,
    exact: bool = True,
    normal: str = "half",
    max_step: float | None = 1.0,
    K: Tensor | None = None,
    next_gram: bool = False,
) -> tuple[Tensor, Tensor | None]:
    r"""``X' = W M`` with ``M = X - scale R``, ``R = (K D - X D^H X) / 2`` and ``W`` the normal step.

    Six products of ``p x p x n`` when ``K = X X^H`` is computed here, five when it is given or not needed
    (``p = n``), and four when it is taken for the identity. Large temporaries are reused in place: on a CPU,
    memory touched for the first time costs more than the arithmetic done in it.

    Args:
        algebra: layout of all matrices.
        X: weights, rows orthonormal.
        D, scale: direction and learning rate, see :mod:`lcat.optim.base`.
        exact: whether ``K`` is ``X X^H``; otherwise it is the identity.
        normal: a key of :data:`lcat.optim.normal.NORMAL_STEPS`.
        max_step: bound of the guard, or None for no guard.
        K: ``X X^H`` where it is known; not written.
        next_gram: whether to return ``X' X'^H``, two products of ``p x p x p`` (``exact`` only).

    Returns:
        ``X'`` and its Gram matrix, or None in its place.
    """
    p, n = X.shape[algebra.rows], X.shape[algebra.columns]
    if exact and p == n and K is None:
        M, error = _square(algebra, X, D, scale, max_step)
    elif exact:
        M, error = _exact(algebra, X, D, scale, max_step, K)
    else:
        M, error = _identity(algebra, X, D, scale, max_step)
    if next_gram:
        C = algebra.add_identity_(error.clone(), 1.0)
    polynomial = NORMAL_STEPS[normal]
    if polynomial is None:
        return M, C if next_gram else None
    W = polynomial(algebra, error)
    after = algebra.mm(algebra.mm(W, C), W) if next_gram else None
    return algebra.mm(W, M), after


def _exact(
    algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, max_step: float | None, K: Tensor | None
) -> tuple[Tensor, Tensor]:
    """``M`` and ``M M^H - I``, where ``M M^H`` is ``K + T T^H`` with ``T = -scale R``, exactly.

    One Gram matrix is computed from the weights: ``X X^H``, or ``M M^H`` where ``K`` comes from the last step.
    Otherwise rounding errors of the weights would go unseen and add up.
    """
    scale = bound(algebra, D, scale, max_step)
    H = algebra.mm(X, algebra.mH(D))
    known = K is not None
    K = K.clone() if K is not None else algebra.gram(X)
    T = algebra.addmm_(algebra.mm(K, D), H, X, beta=-1.0)  # 2 T = scale (H X - K D)
    T.mul_(_as(0.5 * scale, T))
    if known:
        M = T.add_(X)
        squared = algebra.gram(M, out=H).sub_(K)
        if max_step is not None:
            shrink = shorten(algebra, squared, max_step)
            torch.lerp(X, M, shrink, out=M)
            squared.mul_(shrink * shrink)
        return M, algebra.add_identity_(K.add_(squared), -1.0)
    squared = algebra.gram(T, out=H)
    if max_step is not None:
        shrink = shorten(algebra, squared, max_step)
        T.mul_(shrink)
        squared.mul_(shrink * shrink)
    return T.add_(X), algebra.add_identity_(K.add_(squared), -1.0)


def _square(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, max_step: float | None) -> tuple[Tensor, Tensor]:
    """The same for ``p = n``, where ``R = X skew(X^H D)`` needs no Gram matrix of ``X``.

    ``|| X A ||_S4 <= || X ||_2 || A ||_S4``, so the guard acts on ``A A^H``; up to 16 rows on the Frobenius norm of
    ``A``, at most twice as large, which saves that product.
    """
    A = algebra.mm(algebra.mH(X), D)
    A = A - algebra.mH(A)
    if max_step is not None and A.shape[algebra.rows] <= FROBENIUS_ROWS:
        A.mul_(_as(-1.0 * at_most(algebra, A, 0.5 * scale, max_step), A))
    else:
        A.mul_(_as(-0.5 * bound(algebra, A, scale, max_step), A))
        if max_step is not None:
            A.mul_(shorten(algebra, algebra.gram(A), max_step))
    M = algebra.addmm(X, X, A)
    return M, algebra.add_identity_(algebra.gram(M, out=A), -1.0)


def _identity(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, max_step: float | None) -> tuple[Tensor, Tensor]:
    """The same with ``K = I`` in ``R``. Here ``M M^H`` is computed, or errors of ``X`` would never be seen.

    That leaves no Gram matrix of the step for the guard, which takes the Frobenius norm instead.
    """
    H = algebra.mm(X, algebra.mH(D))
    T = algebra.mm(H, X).sub_(D)
    eta = 0.5 * scale
    if max_step is not None:
        eta = at_most(algebra, T, eta, max_step)
    M = torch.addcmul(X, T, eta.to(T.dtype)) if isinstance(eta, Tensor) else torch.add(X, T, alpha=eta)
    return M, algebra.add_identity_(algebra.gram(M, out=H), -1.0)


def _as(scale: Scale, A: Tensor) -> Scale:
    """``scale`` so that it can multiply ``A`` in place (a real tensor times a complex one)."""
    return scale.to(A.dtype) if isinstance(scale, Tensor) else scale
