"""One POGO step on a batch of matrices: relative gradient, guard, normal step."""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.optim.guard import Scale, bound, shorten
from lcat.optim.normal import NORMAL_STEPS
from lcat.optim.products import Algebra


def add_scaled(X: Tensor, D: Tensor, scale: Scale, factor: float) -> Tensor:
    """``X + factor scale D``, a new tensor; ``scale`` is a number or one number a matrix."""
    if isinstance(scale, Tensor):
        return torch.addcmul(X, D, scale.to(X.dtype), value=factor)
    return torch.add(X, D, alpha=factor * scale)


def times(A: Tensor, scale: Scale) -> Tensor:
    """``scale A`` in the dtype of ``A``."""
    return A * (scale.to(A.dtype) if isinstance(scale, Tensor) else scale)


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
    r"""``X' = W(C) M`` with ``M = X - scale R``, ``R = (K D - X D^H X) / 2``, ``C = M M^H``.

    Six products of ``p x p x n`` when ``K = X X^H`` is computed here, five when it is given, and four when it
    is taken for the identity. The guard acts on ``C - K``, which is exactly ``(scale R)(scale R)^H``, so it
    costs one pass; with ``K = I`` that is approximate and the guard's bound holds up to the orthogonality
    error of ``X``.

    Args:
        algebra: layout of all matrices.
        X: weights, rows orthonormal.
        D, scale: direction and learning rate, see :mod:`lcat.optim.base`.
        exact: whether ``K`` is ``X X^H``; otherwise it is the identity.
        normal: a key of :data:`lcat.optim.normal.NORMAL_STEPS`.
        max_step: bound of the guard, or None for no guard.
        K: ``X X^H`` where it is known.
        next_gram: whether to return ``X' X'^H``, two products of ``p x p x p``.

    Returns:
        ``X'`` and its Gram matrix, or None in its place.
    """
    scale = bound(algebra, D, scale, max_step)
    H = times(algebra.mm(X, algebra.mH(D)), _half(scale))
    if exact:
        if K is None:
            K = algebra.gram(X)
        M = algebra.addmm(X, times(K, _half(scale)), D, alpha=-1.0)
    else:
        M = add_scaled(X, D, scale, -0.5)
    M = algebra.addmm_(M, H, X)
    C = algebra.gram(M)
    if max_step is not None:
        if exact:
            squared = C - K
        else:
            squared = algebra.add_identity_(C.clone(), -1.0)
        shrink = shorten(algebra, squared, max_step)
        M = torch.lerp(X, M, shrink)
        C = torch.add(C, squared * (shrink * shrink - 1))
    polynomial = NORMAL_STEPS[normal]
    if polynomial is None:
        return M, C if next_gram else None
    W = polynomial(algebra, C)
    after = algebra.mm(algebra.mm(W, C), W) if next_gram else None
    return algebra.mm(W, M), after


def _half(scale: Scale) -> Scale:
    return 0.5 * scale
