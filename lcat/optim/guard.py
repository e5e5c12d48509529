r"""The step guard: no learning rate and no finite gradient can throw a matrix off the manifold.

POGO's tangent step multiplies out exactly, ``M M^H = X X^H + (eta R)(eta R)^H``, and one Newton-Schulz step
contracts as long as the eigenvalues of ``M M^H`` stay below 3. The guard shortens ``eta R``, matrix by matrix
and without reading from the device, to

    || eta R ||_S4 = || (eta R)(eta R)^H ||_F^(1/2) <= max_step,

the Schatten-4 norm: at least the largest singular value and at most the Frobenius norm. With ``max_step = 1``
the squared singular values then stay in ``[1/2, 1]`` forever, whatever the learning rate: from
``X X^H in [1/2, 1]`` follows ``M M^H in [1/2, 2]``, which ``s -> s (3 - s)^2 / 4`` maps into ``[1/2, 1]``.
Steps shorter than ``max_step`` are not changed at all. Gradients whose norm overflows their dtype (entries from about
1e19 in float32) leave a matrix where it is; those with entries that are infinite or not numbers are not guarded
against, as in all of torch.optim.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lcat.optim.products import Algebra, Scale

__all__ = ["HEADROOM", "bound", "cap_norm", "shorten", "shorten_tangent"]

#: the raw step ``eta D`` is first cut to this many times ``max_step``, so that no product below overflows
#: or drowns the tangent part in the rounding of the rest
HEADROOM = 100.0


def bound(algebra: Algebra, D: Tensor, scale: Scale, max_step: float | None) -> Scale:
    """``scale``, lowered where ``|| scale D ||_F`` exceeds ``HEADROOM max_step`` (per matrix)."""
    return scale if max_step is None else cap_norm(algebra, D, scale, HEADROOM * max_step)


def cap_norm(algebra: Algebra, T: Tensor, scale: Scale, max_norm: float) -> Tensor:
    """``min(scale, max_norm / || T ||_F)`` for every matrix: the factor with which ``T`` is no longer than that."""
    max_scale = max_norm / algebra.norm(T).clamp_min(torch.finfo(T.dtype).tiny)
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
