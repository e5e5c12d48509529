r"""Normal steps: polynomials in ``C = M M^H`` that take ``M`` back towards the manifold.

All are ``X' = W M`` with ``W`` a polynomial in ``C``; with ``D = C - I`` the error ``X' X'^H - I`` becomes

========== ======================== ================================ ==================
``half``   ``(3 I - C) / 2``        ``-3/4 D^2 + 1/4 D^3``           no extra product
``order2`` ``(15 I - 10 C + 3 C^2) / 8``  ``5/8 D^3 + O(D^4)``       one ``p x p x p``
``best``   ``I - w D``, ``w`` minimising the error ``|| (1 - 2w) D + (w^2 - 2w) D^2 + w^2 D^3 ||_F``  two ``p x p x p``
``none``   ``I``                    ``D``                            (and one less)
========== ======================== ================================ ==================
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcat.optim.products import Algebra

NEWTON_STEPS = 4


def half(algebra: Algebra, C: Tensor) -> Tensor:
    """``(3 I - C) / 2``, one Newton-Schulz step: POGO's default, weight one half."""
    return algebra.add_identity_(C * -0.5, 1.5)


def order2(algebra: Algebra, C: Tensor) -> Tensor:
    """``(15 I - 10 C + 3 C^2) / 8``, the next member of the family; best where the learning rate is large."""
    return algebra.add_identity_(algebra.addmm(C, C, C, beta=-10 / 8, alpha=3 / 8), 15 / 8)


def best(algebra: Algebra, C: Tensor) -> Tensor:
    """``I - w (C - I)`` with ``w`` at the minimum of the landing polynomial, never worse than ``half``."""
    D = algebra.add_identity_(C.clone(), -1.0)
    w = best_weight(algebra, D).to(C.dtype)
    return algebra.add_identity_(D * -w, 1.0)


def best_weight(algebra: Algebra, D: Tensor) -> Tensor:
    """The ``w`` near 1/2 that minimises ``P(w) = || (1 - 2w) D + (w^2 - 2w) D^2 + w^2 D^3 ||_F^2``.

    Newton's method on the quartic from 1/2, in the dtype of ``D`` and without synchronisation; where it does
    not improve on 1/2 the answer is 1/2. ``P`` also has a minimum near ``2/d - 1/2``, a reflection: solving
    for its roots finds that one too, starting at 1/2 does not.
    """
    # Normalised, so that the sixth powers of a small error do not underflow: D = d E with |E| = 1.
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

    w = torch.full_like(d, 0.5)
    for _ in range(NEWTON_STEPS):
        slope = ((4 * c4 * w + 3 * c3) * w + 2 * c2) * w + c1
        curvature = (12 * c4 * w + 6 * c3) * w + 2 * c2
        w = torch.where(curvature > 0, w - slope / curvature, w)
    start = torch.full_like(d, 0.5)
    return torch.where(value(w) < value(start), w, start)


NORMAL_STEPS: dict[str, Callable[[Algebra, Tensor], Tensor] | None] = {
    "half": half,
    "order2": order2,
    "best": best,
    "none": None,
}
