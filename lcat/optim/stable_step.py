r"""POGO's default step: four products, and a guard that looks at the error that the step is about to leave.

With ``H = X D^H`` the tangent step is ``T = eta (H X - D) / 2`` (``X X^H`` taken for the identity; for ``p = n``
``T = -eta X skew(X^H D)``, which needs no identity), ``M = X + T``, and the normal step is a polynomial in
``E = M M^H - I``. ``E`` is computed from ``M`` itself, so it holds everything that went wrong before: the error of
``X``, the identity in ``T``, rounding. One Newton-Schulz step leaves ``3/4 |E|^2``.

The guard keeps ``|E|_F`` below ``max_step^2``. Where it is larger, ``T`` is shortened by the ``s`` with

    |X X^H - I| + s |X T^H + T X^H| + s^2 |T T^H| = max_step^2,

for which all matrices but ``X X^H`` are there already. For orthonormal ``X`` that is the Schatten-4 norm of ``T``,
``|| T T^H ||_F^(1/2)``, cut to ``max_step``.

A buffer (momentum, the first moment) that is projected at every point, ``m <- m - sym(m X^H) X``, stays tangent. With
``H`` at hand that is one product. Where a step is shortened, so is the buffer: otherwise it would go on growing while
the weights cannot follow, and carry them far beyond the optimum.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.optim.guard import all_below, cap_norm, shortened
from lcat.optim.normal import NORMAL_STEPS
from lcat.optim.options import NormalStep
from lcat.optim.products import Algebra, Scale

__all__ = ["HEADROOM", "MAX_STEP", "stable_step"]

#: the bound of the guard for each normal step: all leave an error below 1e-3 (3/4 0.18^4, 5/8 0.33^6)
MAX_STEP: dict[NormalStep, float] = {"half": 0.18, "order2": 0.33, "best": 0.18, "none": 0.18}
#: longest raw step ``eta D``: beyond it products overflow, and rounding covers the tangent part
HEADROOM = 1e5


def stable_step(
    algebra: Algebra,
    X: Tensor,
    D: Tensor,
    eta: Scale,
    *,
    limit: float | None,
    normal_step: NormalStep = "half",
    exact: bool = False,
    buffer: Tensor | None = None,
    looks: bool = True,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """One step from ``X`` along ``-eta D``.

    Args:
        algebra: layout of all matrices.
        X: weights, rows nearly orthonormal.
        D: the direction.
        eta: what multiplies it, the learning rate included.
        limit: largest ``|M M^H - I|_F``, see :func:`lcat.optim.guard.limit_of`; None for no guard.
        normal_step: a key of :data:`lcat.optim.normal.NORMAL_STEPS`, but "none".
        exact: compute ``X X^H`` in ``T`` too (two more products).
        buffer: ``D`` as ``(B, p, n)`` where it is a buffer, which is then projected onto the tangent space at ``X``, in
            place.
        looks: whether the error may be read from the device, so that the guard costs nothing where it has nothing to
            do; otherwise it always computes its product.
        out: memory for the result, which may be that of ``X``.

    Returns:
        The new weights, and the factor that the guard shortened each step by (None where it did not have to look).
    """
    s = None
    if limit is not None and not looks:
        eta = cap_norm(algebra, D, eta, HEADROOM)
    M, H = _tangent_step(algebra, X, D, eta, exact=exact, buffer=buffer)
    E = algebra.add_identity_(algebra.gram(M), -1.0)
    if limit is not None:
        size = algebra.norm(E)
        if not looks or not all_below(size, limit):
            if looks and not all_below(size, HEADROOM * HEADROOM):
                eta = cap_norm(algebra, D, eta, HEADROOM)
                M, H = _tangent_step(algebra, X, D, eta, exact=exact, buffer=None)
                E = algebra.add_identity_(algebra.gram(M), -1.0)
            before = algebra.add_identity_(algebra.gram(X), -1.0)
            cross = None
            if H is not None and not exact:
                # X T^H + T X^H, which would vanish if X were orthonormal
                Z = algebra.mm(H, before).mul_(_as(0.5 * eta, H))
                cross = Z + algebra.mH(Z)
            M, E, s = shortened(algebra, X, M, E, before=before, cross=cross, limit=limit)
    if normal_step == "half":
        W = algebra.add_identity_(E.mul_(-0.5), 1.0)
    else:
        polynomial = NORMAL_STEPS[normal_step]
        assert polynomial is not None
        W = polynomial(algebra, algebra.add_identity_(E, 1.0))
    return algebra.mm(W, M, out), s


def _tangent_step(
    algebra: Algebra, X: Tensor, D: Tensor, eta: Scale, *, exact: bool, buffer: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """``M = X + T``, and ``X D^H`` (None for square matrices, whose step needs none of it)."""
    if X.shape[algebra.rows] == X.shape[algebra.columns]:
        A = algebra.mm(algebra.mH(X), D)
        A = A - algebra.mH(A)
        if buffer is None:
            return algebra.addmm(X, X, A.mul_(_as(-0.5 * eta, A))), None
        T = algebra.mm(X, A)  # twice the tangent part of D
        # The fewer passes over memory the better: for small matrices they are as long as the products.
        if torch.compiler.is_compiling():
            buffer.copy_(algebra.unpack(T) * 0.5)
        else:
            torch.mul(algebra.unpack(T), 0.5, out=buffer)
        return _moved(X, T, -0.5 * eta), None
    H = algebra.mm(X, algebra.mH(D))
    T = algebra.addmm_(algebra.mm(algebra.gram(X), D).neg_(), H, X) if exact else algebra.mm(H, X).sub_(D)
    if buffer is not None:
        algebra.addmm_(D, (H + algebra.mH(H)).mul_(-0.5), X)
        if torch.compiler.is_compiling() or D.data_ptr() != buffer.data_ptr():
            buffer.copy_(algebra.unpack(D))
    return _moved(X, T, 0.5 * eta), H


def _moved(X: Tensor, T: Tensor, eta: Scale) -> Tensor:
    """``X + eta T``, in the memory of ``T``."""
    if torch.compiler.is_compiling():
        return X + T * _as(eta, T)
    if isinstance(eta, Tensor):
        return torch.addcmul(X, T, eta.to(T.dtype), out=T)
    return torch.add(X, T, alpha=eta, out=T)


def _as(scale: Scale, A: Tensor) -> Scale:
    """``scale`` so that it can multiply ``A`` in place (a real tensor times a complex one)."""
    return scale.to(A.dtype) if isinstance(scale, Tensor) else scale
