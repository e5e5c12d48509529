"""SLPG: projected (proximal) gradient steps with a Newton-Schulz correction, no penalty parameter."""

from __future__ import annotations

import math
from typing import Any, get_args

import torch
from torch import Tensor

from lcat.optim.bucket import Bucket
from lcat.optim.guard import HEADROOM, all_below, cap_norm, limit_of, shortened
from lcat.optim.optimizer import OrthogonalOptimizer
from lcat.optim.options import (
    DEFAULTS,
    Base,
    Check,
    Euclidean,
    Matrix,
    MaxStep,
    Orientation,
    Regularizer,
    constructor_options,
    guard_of,
    require_choice,
    require_max_step,
    require_number,
)
from lcat.optim.products import BATCHED, Scale
from lcat.optim.stable_step import MAX_STEP as MAX_STEPS

__all__ = ["SLPG"]

#: the bound of the guard, as after all Newton-Schulz steps
MAX_STEP = MAX_STEPS["half"]


class SLPG(OrthogonalOptimizer):
    r"""Sequential linearized proximal gradient for ``f(X) + gamma r(X)`` with orthonormal rows.

    One step solves the proximal gradient problem on the tangent space and corrects by Newton-Schulz:

    .. math::
        Y = \arg\min_{Y}\ \langle D, Y \rangle + \gamma\, r(Y) + \tfrac{1}{2 \eta} \|Y - X\|^2 \quad
        \text{with}\ \mathrm{sym}\bigl((Y - X) X^H\bigr) = 0, \qquad
        X' = \tfrac12 (3 I - Y Y^H)\, Y .

    Without a regularizer :math:`Y = X - \eta (D - \mathrm{sym}(D X^H) X)`: POGO with the Euclidean metric in place
    of the canonical one. With ``"l1"`` (:math:`\sum |X_{ij}|`) or ``"l21"`` (the sum of the norms of the columns,
    for choosing variables) the multiplier of the constraint is found by ``inner`` dual ascent steps, each one
    proximal map.

    Reference: Xiao, Liu and Yuan, "A penalty-free infeasible approach for a class of nonsmooth optimization
    problems over the Stiefel manifold", 2021. Implemented as far as its public summary defines it: the inner
    solver (dual ascent with step one, which converges because the dual is ``eta``-smooth) and the fixed step
    size are ours; the published code chooses step sizes of the Barzilai-Borwein kind.

    Args:
        params, lr, base, momentum, dampening, nesterov, betas, eps, tangent, max_step, matrix, orientation, foreach,
            capturable, maximize, weight_decay, check, euclidean, euclidean_lr, ns_steps: as in
            :class:`~lcat.optim.POGO`.
        regularizer: None, ``"l1"`` or ``"l21"``; not part of the loss that you differentiate.
        gamma: its weight. The guard also keeps ``lr * gamma`` times the norm of a subgradient of ``r`` (at most
            :math:`\sqrt{pn}` for ``"l1"``, :math:`\sqrt n` for ``"l21"``) below ``max_step``: longer proximal steps
            leave the tangent space before the multiplier is found and take the rank with them.
        inner: dual ascent steps (one is exact without a regularizer).

    Raises:
        ValueError: as POGO; an unknown regularizer, negative ``gamma`` or one without a regularizer, ``inner``
            below 1.

    Complexity: five products of ``p x p x n``, and two more for each inner step.

    Example:
        >>> import torch
        >>> from lcat.optim import SLPG
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = SLPG([weight], lr=0.1, regularizer="l21", gamma=0.1)
        >>> (weight * torch.ones(3, 5)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = DEFAULTS.lr,
        *,
        regularizer: Regularizer | None = None,
        gamma: float = 0.0,
        inner: int = 10,
        max_step: MaxStep = DEFAULTS.max_step,
        base: Base = DEFAULTS.base,
        momentum: float = DEFAULTS.momentum,
        dampening: float = DEFAULTS.dampening,
        nesterov: bool = DEFAULTS.nesterov,
        betas: tuple[float, float] = DEFAULTS.betas,
        eps: float = DEFAULTS.eps,
        tangent: bool = DEFAULTS.tangent,
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
        super().__init__(params, constructor_options(locals()))

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise a ValueError for options out of range."""
        super().check_options(group)
        require_choice(group, "regularizer", (None, *get_args(Regularizer)))
        require_number(group, "gamma", 0.0)
        require_max_step(group)
        if group["gamma"] > 0 and group["regularizer"] is None:
            raise ValueError(f"gamma={group['gamma']} weighs a regularizer; choose 'l1' or 'l21', or leave gamma out")
        if not isinstance(group["inner"], int) or isinstance(group["inner"], bool) or group["inner"] < 1:
            raise ValueError(f"inner must be a whole number of at least 1, got {group['inner']!r}")

    def max_error(self, group: dict[str, Any], p: int) -> float:
        """What one Newton-Schulz step leaves of the largest error that the guard lets through."""
        max_step = guard_of(group, MAX_STEP)
        if max_step is None or max_step > 1:
            return max(1.0, 0.5 * math.sqrt(p))
        return 0.75 * max_step**4 + 0.25 * max_step**6

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        """One proximal gradient step in the tangent space, then one Newton-Schulz step."""
        p, n = X.shape[-2:]
        max_step = guard_of(group, MAX_STEP)
        eta = group["lr"] * scale
        if max_step is not None:
            eta = cap_norm(BATCHED, D, eta, HEADROOM)
        if max_step is not None and group["gamma"] > 0:
            max_norm = math.sqrt(p * n if group["regularizer"] == "l1" else n)  # of a subgradient
            max_rate = max_step / (group["gamma"] * max_norm)
            eta = eta.clamp_max(max_rate) if isinstance(eta, Tensor) else min(eta, max_rate)
        step = D * (eta.to(D.dtype) if isinstance(eta, Tensor) else eta)
        Xh = BATCHED.mH(X)
        multiplier = _symmetric(BATCHED.mm(step, Xh)).neg_()  # eta times the multiplier, optimal without r
        weight = eta * group["gamma"]
        Y = _proximal(BATCHED.addmm(X - step, multiplier, X, alpha=-1.0), weight, group["regularizer"])
        if group["regularizer"] is not None:
            for _ in range(group["inner"]):
                multiplier = multiplier + _symmetric(BATCHED.mm(Y - X, Xh))
                Y = _proximal(BATCHED.addmm(X - step, multiplier, X, alpha=-1.0), weight, group["regularizer"])
        E = BATCHED.add_identity_(BATCHED.gram(Y), -1.0)
        limit = None if max_step is None else limit_of(p, n, bucket.params[0].dtype, max_step)
        if limit is not None and not (bucket.may_be_read and all_below(BATCHED.norm(E), limit)):
            cross = 2 * _symmetric(BATCHED.mm(Y - X, Xh))  # not zero where the multiplier is not found yet
            before = BATCHED.add_identity_(BATCHED.gram(X), -1.0)
            Y, E, _ = shortened(BATCHED, X, Y, E, before=before, cross=cross, limit=limit)
        return BATCHED.addmm(Y, E, Y, alpha=-0.5)


def _symmetric(A: Tensor) -> Tensor:
    return 0.5 * (A + BATCHED.mH(A))


def _proximal(Z: Tensor, weight: Scale, regularizer: Regularizer | None) -> Tensor:
    """``argmin_Y weight r(Y) + |Y - Z|^2 / 2``: soft thresholding of entries or of columns."""
    if regularizer is None:
        return Z
    size = Z.abs() if regularizer == "l1" else torch.linalg.vector_norm(Z, dim=-2, keepdim=True)
    factor = (1 - weight / size.clamp_min(torch.finfo(size.dtype).tiny)).clamp_min(0)
    return Z * factor.to(Z.dtype)
