r"""Normal steps: polynomials in ``M M^H`` that take ``M`` back towards the manifold.

With ``C = M M^H`` and ``D = C - I``, the error after the tangent step, all are ``X' = W M`` with ``W`` a polynomial:

- ``half``: ``I - D / 2``, that is ``(3 I - C) / 2``, one Newton-Schulz step. Error ``-3/4 D^2 + 1/4 D^3``.
- ``order2``: ``I - D / 2 + 3/8 D^2``, the next term of ``(I + D)^(-1/2)``. Error of order ``D^3``; one more
  product of ``p x p x p``.
- ``best``: ``I - w D`` with the ``w`` that minimizes the error ``(1 - 2w) D + (w^2 - 2w) D^2 + w^2 D^3``; two
  more products of ``p x p x p``.
- ``none``: ``M`` as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcat.optim.options import NormalStep
from lcat.optim.products import Algebra

__all__ = [
    "NEWTON_STEPS",
    "NORMAL_STEPS",
    "best_polynomial",
    "best_weight",
    "half_polynomial",
    "order2_polynomial",
]

NEWTON_STEPS = 6


def half_polynomial(algebra: Algebra, C: Tensor) -> Tensor:
    """``(3 I - C) / 2``, in the memory of ``C``: POGO's default."""
    return algebra.add_identity_(C.mul_(-0.5), 1.5)


def order2_polynomial(algebra: Algebra, C: Tensor) -> Tensor:
    """``I - D / 2 + 3/8 D^2``: best where the learning rate is large."""
    D = algebra.add_identity_(C, -1.0)
    return algebra.add_identity_(algebra.addmm(D, D, D, beta=-1 / 2, alpha=3 / 8), 1.0)


def best_polynomial(algebra: Algebra, C: Tensor) -> Tensor:
    """``I - w D`` with ``w`` at the minimum of the landing polynomial, never worse than ``half``."""
    D = algebra.add_identity_(C, -1.0)
    w = best_weight(algebra, D).to(D.dtype)
    return algebra.add_identity_(D * -w, 1.0)


def best_weight(algebra: Algebra, D: Tensor) -> Tensor:
    """The ``w`` near 1/2 that minimizes ``P(w) = || (1 - 2w) D + (w^2 - 2w) D^2 + w^2 D^3 ||_F^2``.

    An eigenvalue ``s^2 - 1`` of ``D`` alone has its minimum at ``1 / (s (s + 1))``, up to which ``P`` is convex.
    Newton's method starts there for the norm of ``D``, left of the minima of all eigenvalues, in the dtype of
    ``D`` and without synchronization; where it does not improve on 1/2 the answer is 1/2. ``P`` has a second
    minimum near ``2/d - 1/2``, a reflection: solving for the roots of ``P`` may find that one, this does not.
    """
    # Normalized, so that the sixth powers of a small error do not underflow: D = d E with |E| = 1.
    d = algebra.norm(D).clamp_min(torch.finfo(D.dtype).tiny)
    E = D / d
    E2 = algebra.mm(E, E)
    E3 = algebra.mm(E2, E)
    t12, t22 = d * algebra.inner(E, E2), d * d * algebra.inner(E2, E2)
    t13 = t22  # tr D^4 either way
    t23, t33 = d**3 * algebra.inner(E2, E3), d**4 * algebra.inner(E3, E3)
    # P / d^2 with <E, E> = 1, expanded in powers of w
    c0 = torch.ones_like(t12)
    c1 = -4 - 4 * t12
    c2 = 4 + 10 * t12 + 4 * t22 + 2 * t13
    c3 = -4 * (t12 + t22 + t13 + t23)
    c4 = t22 + t33 + 2 * t23

    def value(w: Tensor) -> Tensor:
        return (((c4 * w + c3) * w + c2) * w + c1) * w + c0

    s = (1 + d).sqrt()
    w = 1 / (s * (s + 1))
    for _ in range(NEWTON_STEPS):
        slope = ((4 * c4 * w + 3 * c3) * w + 2 * c2) * w + c1
        curvature = (12 * c4 * w + 6 * c3) * w + 2 * c2
        w = torch.where(curvature > 0, w - slope / curvature, w)
    half = torch.full_like(d, 0.5)
    return torch.where(value(w) < value(half), w, half)


#: each takes ``C``, which it may overwrite, and returns ``W``
NORMAL_STEPS: dict[NormalStep, Callable[[Algebra, Tensor], Tensor] | None] = {
    "half": half_polynomial,
    "order2": order2_polynomial,
    "best": best_polynomial,
    "none": None,
}
