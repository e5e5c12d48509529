r"""Guards: no learning rate and no finite gradient can throw a matrix off the manifold.

The default one looks at what a step is about to leave. After a tangent step ``M = X + T`` the error
``E = M M^H - I`` is computed for the normal step anyway; one Newton-Schulz step leaves ``3/4 |E|^2`` of it. Where
``|E|_F`` is larger than ``max_step^2``, :func:`shortened` cuts ``T``, matrix by matrix, to the length that meets the
limit. For orthonormal ``X`` that length is the Schatten-4 norm ``|| T T^H ||_F^(1/2)``, at least the largest singular
value of ``T`` and at most its Frobenius norm. Shorter steps are not changed at all.

For the published iteration :func:`shorten` cuts ``eta R`` to ``|| (eta R)(eta R)^H ||_F^(1/2) <= max_step`` before
``M`` is formed, where ``M M^H = X X^H + (eta R)(eta R)^H`` exactly. With ``max_step = 1`` the squared singular values
then stay in ``[1/2, 1]`` forever: from ``X X^H in [1/2, 1]`` follows ``M M^H in [1/2, 2]``, which
``s -> s (3 - s)^2 / 4`` maps into ``[1/2, 1]``. Retractions, which are exact after a step of any length, use it too.

Gradients are shortened before they come here (:func:`lcat.optim.base.limited`); those with entries that are infinite
or not numbers are not guarded against, as in all of torch.optim.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lcat.optim.products import Algebra, Scale

__all__ = [
    "HEADROOM",
    "all_below",
    "bound",
    "cap_norm",
    "limit_of",
    "shorten",
    "shorten_tangent",
    "shortened",
]

#: the raw step ``eta D`` is first cut to this many times ``max_step``, so that no product below overflows
#: or drowns the tangent part in the rounding of the rest
HEADROOM = 100.0


def bound(algebra: Algebra, D: Tensor, scale: Scale, max_step: float | None) -> Scale:
    """``scale``, lowered where ``|| scale D ||_F`` exceeds ``HEADROOM max_step`` (per matrix)."""
    return scale if max_step is None else cap_norm(algebra, D, scale, HEADROOM * max_step)


def cap_norm(algebra: Algebra, T: Tensor, scale: Scale, max_norm: float) -> Tensor:
    """``min(scale, max_norm / || T ||_F)`` for every matrix: the factor with which ``T`` is no longer than that."""
    # Finite for zero, or nothing times an infinite rate would be no number.
    max_scale = max_norm / algebra.norm(T).clamp_min(4 * max(max_norm, 1.0) * torch.finfo(T.dtype).tiny)
    return torch.minimum(max_scale, scale.to(max_scale)) if isinstance(scale, Tensor) else max_scale.clamp_max(scale)


def shorten(algebra: Algebra, squared: Tensor, max_step: float) -> Tensor:
    """The factor in ``(0, 1]`` that shortens ``eta R`` to ``max_step``, from ``squared = (eta R)(eta R)^H``.

    Its dtype is that of the matrices, so it can weigh complex ones.
    """
    length = algebra.norm(squared).clamp_min(torch.finfo(squared.dtype).tiny).sqrt_()
    return (max_step / length).clamp_max(1).to(squared.dtype)


def shorten_tangent(algebra: Algebra, T: Tensor, max_step: float | None) -> Tensor:
    """``T``, shortened to ``max_step``: the guard of the methods that do not compute ``T T^H`` anyway."""
    if max_step is None:
        return T
    return T * shorten(algebra, algebra.gram(T), max_step)


def limit_of(p: int, n: int, dtype: torch.dtype, max_step: float) -> float:
    """Largest ``|M M^H - I|_F``: ``max_step^2``, and what storing ``X`` in ``dtype`` may add to it by rounding."""
    return max_step * max_step + 2 * p / math.sqrt(n) * torch.finfo(dtype).eps


def shortened(
    algebra: Algebra, X: Tensor, M: Tensor, E: Tensor, *, before: Tensor, cross: Tensor | None, limit: float
) -> tuple[Tensor, Tensor, Tensor]:
    """``X + s T`` for ``M = X + T``, its error, and the largest ``s`` in (0, 1] that keeps it below the limit.

    With ``before = X X^H - I`` and ``cross = X T^H + T X^H`` (None where it vanishes) the error is
    ``before + s cross + s^2 T T^H``. It would not do to take ``before`` for zero: then the error of ``X`` would never
    be removed while steps are cut.

    Args:
        algebra: layout of all matrices.
        X: weights.
        M: weights after the whole step.
        E: ``M M^H - I``; not written.
        before: ``X X^H - I``.
        cross: ``X T^H + T X^H`` or None.
        limit: largest Frobenius norm of the error.
    """
    squared = E - before if cross is None else E - before - cross
    # A start with a large error has a quarter of the limit left: it comes back while it descends.
    margin = (limit - algebra.norm(before)).clamp_min(0.25 * limit)
    second = algebra.norm(squared)
    first = torch.zeros_like(second) if cross is None else algebra.norm(cross)
    root = (first.square() + 4 * second * margin).sqrt_()
    s = (2 * margin / (first + root).clamp_min(torch.finfo(second.dtype).tiny)).clamp_max(1.0)
    is_short = algebra.norm(E) <= limit
    s = torch.where(is_short, 1.0, s).to(M.dtype)
    error = before + squared * (s * s)
    if cross is not None:
        error += cross * s
    # Not torch.lerp, which starts from M in complex numbers: of a long step only rounding would be left.
    return torch.where(is_short, M, (M - X).mul_(s).add_(X)), torch.where(is_short, E, error), s


def all_below(size: Tensor, limit: float) -> bool:
    """Whether all are numbers of at most ``limit`` (reads from the device)."""
    return float(size) <= limit if size.numel() == 1 else bool((size <= limit).all())
