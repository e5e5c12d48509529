"""Landing and LandingPC: an attraction towards the manifold in place of a normal step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.optim.bucket import Bucket
from lcat.optim.guard import HEADROOM, cap_norm
from lcat.optim.optimizer import OrthogonalOptimizer
from lcat.optim.options import (
    DEFAULTS,
    Base,
    Check,
    Euclidean,
    Matrix,
    Orientation,
    constructor_options,
    require_number,
    require_safe,
)
from lcat.optim.products import Algebra, Scale, algebra_for

__all__ = ["Landing", "LandingPC"]


class Landing(OrthogonalOptimizer):
    r"""The landing algorithm with a safe step: approaches the manifold while it descends.

    .. math::
        F = R + \lambda (X X^H - I) X, \qquad R = \tfrac12 (X X^H D - X D^H X), \qquad X' = X - \eta F .

    With :math:`E = X X^H - I` the new error is exactly
    :math:`E - 2 \eta \lambda (E + E^2) + \eta^2 F F^H`, so with :math:`d = \|E\|` and :math:`f = \|F\|` it stays
    within ``safe`` as long as

    .. math::
        \eta \le \frac{\alpha + \sqrt{\alpha^2 + f^2 (\mathrm{safe} - d)}}{f^2}, \quad \alpha = \lambda d (1 - d),
        \qquad \eta \le \frac{1}{2 \lambda (1 + d)} .

    The learning rate of each matrix is cut to that, on the device. Unlike :class:`~lcat.optim.POGO` the weights
    are only near the manifold during training: at a constant learning rate the error settles around
    :math:`\eta \|R\|^2 / (2 \lambda)`.

    References: Ablin and Peyré, "Fast and accurate optimization on the orthogonal manifold without retraction",
    AISTATS 2022; Ablin, Vary, Gao and Absil, JMLR 2024 (rectangular matrices). The bound above is ours: the
    components of F are orthogonal, which makes it exact in F.

    Args:
        attraction: :math:`\lambda`.
        safe: largest orthogonality error :math:`\|X X^H - I\|_F` that a step may leave, in (0, 1). Weights that
            start beyond it come back first; beyond 1 the safe step is zero (``project_`` them).
        params, lr, base, momentum, dampening, nesterov, betas, eps, tangent, matrix, orientation, foreach, capturable,
            maximize, weight_decay, check, euclidean, euclidean_lr, ns_steps: as in :class:`~lcat.optim.POGO`.

    Raises:
        ValueError: as POGO; ``attraction <= 0`` or ``safe`` outside (0, 1).

    Complexity: four products of ``p x p x n`` per matrix, none of them for a normal step.

    Example:
        >>> import torch
        >>> from lcat.optim import Landing
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = Landing([weight], lr=0.1)
        >>> for _ in range(100):
        ...     optimizer.zero_grad()
        ...     (weight - torch.ones(3, 5) / 3).square().sum().backward()
        ...     optimizer.step()
        >>> optimizer.orthogonality_error() < 0.5
        True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = DEFAULTS.lr,
        *,
        attraction: float = 1.0,
        safe: float = DEFAULTS.safe,
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
        require_number(group, "attraction", 0.0, strict=True)
        require_safe(group)

    def max_error(self, group: dict[str, Any], p: int) -> float:  # noqa: ARG002
        """``safe``."""
        safe: float = group["safe"]
        return safe

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        """One step on the batch ``X (B, p, n)``, its length cut to the safe one."""
        algebra = algebra_for(X)
        X, D, scale = algebra.pack(X), algebra.pack(D), algebra.pack_scale(scale)
        weight = group["attraction"]
        F, E = landing_field(algebra, X, D, scale, weight=weight)
        d, f = algebra.norm(E), algebra.norm(F).clamp_min(torch.finfo(bucket.real).tiny)
        alpha = weight * d * (1 - d).clamp_min(0) / f  # divided by f, whose square may overflow
        max_rate = (alpha + (alpha * alpha + (group["safe"] - d).clamp_min(0)).sqrt()) / f
        max_rate = torch.minimum(max_rate, 0.5 / (weight * (1 + d)))
        max_rate = torch.minimum(max_rate, longest_rate(algebra, D, scale))
        return algebra.unpack(X - F * cap_rate(group["lr"], max_rate).to(X.dtype))


class LandingPC(OrthogonalOptimizer):
    r"""Landing with a preconditioned gradient and an attraction that does not depend on the learning rate.

    .. math::
        X' = X - \eta R - \tfrac12 (X X^H - I) X .

    ``R`` is the relative gradient of the base update, by default Adam with one second moment per matrix
    (``base="vadam"``), which makes learning rates comparable between layers; the attraction is one
    Newton-Schulz step, taken at ``X`` and not, as POGO does, at the point after the gradient step. That saves a
    product and costs accuracy: the error left by a step is :math:`\eta^2 R R^H`, not its square.

    The POGO paper compares with a method of this name, whose definition was not accessible to us when this was
    written: the formula above is what this class does, and nothing is claimed about that method. The step is cut so
    that the error stays within ``safe``: with :math:`d = \|X X^H - I\|` and :math:`q = \eta \|R\|`,
    :math:`\tfrac34 d^2 + \tfrac14 d^3 + d \sqrt{1 + d}\, q + q^2 \le \mathrm{safe}`.

    Args:
        safe: as in :class:`Landing`; the others as in :class:`~lcat.optim.POGO`.

    Raises:
        ValueError: as :class:`Landing`.

    Complexity: five products of ``p x p x n`` per matrix.

    Example:
        >>> import torch
        >>> from lcat.optim import LandingPC
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = LandingPC([weight], lr=0.1)
        >>> weight.square().sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = DEFAULTS.lr,
        *,
        safe: float = DEFAULTS.safe,
        base: Base = "vadam",
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
        require_safe(group)

    def max_error(self, group: dict[str, Any], p: int) -> float:  # noqa: ARG002
        """``safe``."""
        safe: float = group["safe"]
        return safe

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        """One step on the batch ``X (B, p, n)``, its length cut to the safe one."""
        algebra = algebra_for(X)
        X, D, scale = algebra.pack(X), algebra.pack(D), algebra.pack_scale(scale)
        R, E = relative_gradient(algebra, X, D, scale)
        d, r = algebra.norm(E), algebra.norm(R).clamp_min(torch.finfo(bucket.real).tiny)
        cross = d * (1 + d).sqrt()
        margin = (group["safe"] - 0.75 * d**2 - 0.25 * d**3).clamp_min(0)
        max_rate = ((cross * cross + 4 * margin).sqrt() - cross) / (2 * r)
        max_rate = torch.minimum(max_rate, longest_rate(algebra, D, scale))
        R.mul_(-cap_rate(group["lr"], max_rate).to(R.dtype)).add_(X)
        return algebra.unpack(algebra.addmm_(R, E.mul_(-0.5), X))


def landing_field(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, *, weight: float) -> tuple[Tensor, Tensor]:
    """``scale (K D - X D^H X) / 2 + weight (K - I) X`` and ``K - I`` with ``K = X X^H``."""
    half_scale = _halved(scale, X)
    H = algebra.mm(X, algebra.mH(D)).mul_(-half_scale)
    K = algebra.gram(X)
    F = algebra.mm(K, D).mul_(half_scale)
    E = algebra.add_identity_(K, -1.0)
    return algebra.addmm_(F, H.add_(E, alpha=weight), X), E


def relative_gradient(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
    """``scale (K D - X D^H X) / 2`` and ``K - I`` with ``K = X X^H``."""
    H = algebra.mm(X, algebra.mH(D)).neg_()
    K = algebra.gram(X)
    R = algebra.addmm_(algebra.mm(K, D), H, X).mul_(_halved(scale, X))
    return R, algebra.add_identity_(K, -1.0)


def _halved(scale: Scale, A: Tensor) -> Scale:
    """``scale / 2``, in the dtype of ``A``."""
    return 0.5 * (scale.to(A.dtype) if isinstance(scale, Tensor) else scale)


def longest_rate(algebra: Algebra, D: Tensor, scale: Scale) -> Tensor:
    """The rate from which on the rounding of a direction, which is not tangent, would be seen in the weights."""
    return cap_norm(algebra, D, torch.finfo(D.dtype).max ** 0.5, HEADROOM) / scale


def cap_rate(lr: float | Tensor, max_rate: Tensor) -> Tensor:
    """``min(lr, max_rate)`` for every matrix."""
    return torch.minimum(max_rate, lr.to(max_rate)) if isinstance(lr, Tensor) else max_rate.clamp_max(lr)
