"""RSDM: a Riemannian step in a random submanifold, for matrices that are too large for a full step."""

from __future__ import annotations

import math
from typing import Any, get_args

import torch
from torch import Tensor

from lcat.optim.bucket import Bucket
from lcat.optim.guard import bound, shorten_tangent
from lcat.optim.optimizer import OrthogonalOptimizer
from lcat.optim.options import (
    DEFAULTS,
    Base,
    Check,
    Euclidean,
    Matrix,
    MaxStep,
    Orientation,
    Retraction,
    Sampling,
    constructor_options,
    guard_of,
    is_due,
    require_choice,
    require_max_step,
    require_period,
)
from lcat.optim.products import BATCHED, Scale
from lcat.optim.retractions import RETRACTIONS, newton_schulz

__all__ = ["RSDM"]


class RSDM(OrthogonalOptimizer):
    r"""Random submanifold descent: rotates ``rank`` random directions of the ``n`` in every step.

    With ``P`` (``rank x n``, orthonormal rows, drawn anew in every step)

    .. math::
        A = \mathrm{skew}\bigl((X P^H)^H (D P^H)\bigr), \qquad Y = \mathrm{retract}_I(-\eta A), \qquad
        X' = X + X P^H (Y - I) P .

    ``sampling="permutation"`` draws ``rank`` of the ``n`` columns, which needs no product with ``P``;
    ``"orthogonal"`` draws ``P`` uniformly, which mixes better and costs ``O(n r^2)`` more.

    Reference: Han, Poirion and Takeda, "Efficient optimization with orthogonality constraint: a randomized
    Riemannian submanifold method", ICML 2025. Here for batches, wide and tall, real and complex matrices.

    The draws are a function of ``seed`` and of the number of updates of the parameter, computed on the device:
    they need no generator state and are exactly the same after resuming. Matrices of the same size and age draw the
    same ``P``.

    Args:
        params, lr, base, momentum, dampening, nesterov, betas, eps, max_step, matrix, orientation, foreach, capturable,
            maximize, weight_decay, check, euclidean, euclidean_lr, ns_steps: as in :class:`~lcat.optim.POGO`.
        rank: size of the submanifold, at most ``n`` (larger values are cut); None for half of ``n``, at least two
            (one real direction alone cannot be rotated).
        sampling: ``"permutation"`` or ``"orthogonal"``.
        retraction: ``"qr"``, ``"polar"`` or ``"cayley"``, of ``rank x rank`` matrices.
        stabilize: number of updates from one Newton-Schulz step to the next, which removes accumulated rounding errors
            (the published method lets them grow); 0 for never, which ``capturable=True`` needs.
        seed: of the draws.

    Raises:
        ValueError: as POGO; ``rank`` below 1.

    Complexity: products ``p r^2`` and ``r^3`` (``permutation``), and ``p n r`` and ``n r^2`` (``orthogonal``),
        instead of ``p^2 n``.

    Example:
        >>> import torch
        >>> from lcat.optim import RSDM
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = RSDM([weight], lr=0.1, rank=3)
        >>> (weight * torch.ones(3, 5)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = DEFAULTS.lr,
        *,
        rank: int | None = None,
        sampling: Sampling = "permutation",
        retraction: Retraction = DEFAULTS.retraction,
        stabilize: int = DEFAULTS.stabilize,
        seed: int = 0,
        max_step: MaxStep = DEFAULTS.max_step,
        base: Base = DEFAULTS.base,
        momentum: float = DEFAULTS.momentum,
        dampening: float = DEFAULTS.dampening,
        nesterov: bool = DEFAULTS.nesterov,
        betas: tuple[float, float] = DEFAULTS.betas,
        eps: float = DEFAULTS.eps,
        matrix: Matrix = DEFAULTS.matrix,
        orientation: Orientation = DEFAULTS.orientation,
        foreach: bool | None = DEFAULTS.foreach,
        capturable: bool = DEFAULTS.capturable,
        maximize: bool = DEFAULTS.maximize,
        weight_decay: float = DEFAULTS.weight_decay,
        check: Check = DEFAULTS.check,
        euclidean: Euclidean = DEFAULTS.euclidean,
        euclidean_lr: float | Tensor = DEFAULTS.euclidean_lr,
        ns_steps: int = DEFAULTS.ns_steps,
    ) -> None:
        super().__init__(params, constructor_options(locals(), updates=0))

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise a ValueError for options out of range."""
        super().check_options(group)
        require_choice(group, "sampling", get_args(Sampling))
        require_choice(group, "retraction", get_args(Retraction))
        require_max_step(group)
        require_period(group, "stabilize", 0)
        rank = group["rank"]
        if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool) or rank < 1):
            raise ValueError(f"rank must be None or a whole number of at least 1, got {rank!r}")
        if rank == 1 and any(not p.is_complex() for p in group["params"]) and group["orthogonal"]:
            raise ValueError("rank=1 rotates nothing in a real matrix: one direction has no angle; use rank=2 or more")
        if not isinstance(group["seed"], int) or isinstance(group["seed"], bool):
            raise ValueError(f"seed must be a whole number, got {group['seed']!r}")

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        """One step in the submanifold that this update of the parameters draws."""
        n = X.shape[-1]
        rank = min(n, group["rank"] if group["rank"] is not None else max(2, (n + 1) // 2))
        age = bucket.per_matrix(bucket.step)[:, 0, 0]
        if group["sampling"] == "permutation":
            columns = permutation(age, n, group["seed"])[:, None, :rank].expand(-1, X.shape[-2], -1)
            Xr, Dr = X.gather(2, columns), D.gather(2, columns)
            Y = self._rotation(Xr, Dr, scale, group)
            new = X.clone().scatter_(2, columns, Xr @ Y)
        else:
            P = random_directions(age, rank, n, dtype=X.dtype, seed=group["seed"])
            Xr, Dr = X @ P.mH, D @ P.mH
            Y = self._rotation(Xr, Dr, scale, group)
            new = X + (Xr @ Y - Xr) @ P
        return newton_schulz(new) if is_due(group, "stabilize") else new

    @staticmethod
    def _rotation(Xr: Tensor, Dr: Tensor, scale: Scale, group: dict[str, Any]) -> Tensor:
        """``Y (B, r, r)``: one step from the identity on the rotations of the sampled directions."""
        S = Xr.mH @ Dr
        A = 0.5 * (S - S.mH)
        max_step = guard_of(group)
        eta = bound(BATCHED, A, group["lr"] * scale, max_step)
        V = A * (-(eta.to(A.dtype) if isinstance(eta, Tensor) else eta))
        V = shorten_tangent(BATCHED, V, max_step)
        eye = torch.eye(V.shape[-1], dtype=V.dtype, device=V.device).expand_as(V)
        return RETRACTIONS[group["retraction"]](eye, V, max_step)


def permutation(age: Tensor, n: int, seed: int) -> Tensor:
    """A pseudo-random permutation of ``n`` for each entry of ``age (B,)``: a function of age and seed."""
    return hashed(age, n, seed).argsort(dim=-1)


def random_directions(age: Tensor, r: int, n: int, *, dtype: torch.dtype, seed: int) -> Tensor:
    """Uniformly distributed orthonormal rows ``(B, r, n)`` for each entry of ``age (B,)``."""
    real = torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32
    parts = 2 if dtype.is_complex else 1
    count = parts * r * n
    # Box and Muller: two uniform numbers make a normal one; the half keeps the logarithm finite.
    u = (hashed(age, 2 * count, seed).to(torch.float64) + 0.5) / 2**32
    normal = ((-2 * u[:, :count].log()).sqrt() * (2 * math.pi * u[:, count:]).cos()).to(real)
    Z = normal.view(-1, n, r, parts) if parts == 2 else normal.view(-1, n, r)
    Z = torch.view_as_complex(Z.contiguous()) if parts == 2 else Z
    Q, R = torch.linalg.qr(Z)
    P: Tensor = (Q * torch.sgn(R.diagonal(dim1=-2, dim2=-1))[..., None, :]).mH
    return P


def hashed(age: Tensor, count: int, seed: int) -> Tensor:
    """``(B, count)`` pseudo-random integers of 32 bits, a function of ``age (B,)``, position and seed alone."""
    position = torch.arange(count, dtype=torch.int64, device=age.device)
    # Every bit of a seed of any size counts, 32 at a time, and all numbers fit into int64.
    key, high = seed & 0xFFFFFFFF, seed >> 32
    while high not in (0, -1):
        key, high = (key * 0x85EBCA6B + (high & 0xFFFFFFFF)) & 0xFFFFFFFF, high >> 32
    x = mix(age.to(torch.int64)[:, None] * 0x9E3779B1 + ((key * 0x85EBCA6B) & 0xFFFFFFFF))
    return mix(x + mix(position * 0xC2B2AE35 + 0x27D4EB2F))


def mix(x: Tensor) -> Tensor:
    """A bijective mixing of 32-bit integers (shift and multiply), held in int64 so that nothing overflows."""
    x = x & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x45D9F3B) & 0xFFFFFFFF
    return x ^ (x >> 16)
