"""Landing and LandingPC: no normal step of their own, an attraction towards the manifold instead."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.optim.base import Scale
from lcat.optim.bucket import Bucket
from lcat.optim.optimizer import OrthogonalOptimizer, options, require_number
from lcat.optim.products import Algebra, algebra_for


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
        params, lr, base, momentum, dampening, nesterov, betas, eps, tangent, matrix, orient, foreach, capturable,
            maximize, weight_decay, check, euclidean, euclidean_lr, ns_steps: as in :class:`~lcat.optim.POGO`.
        attraction: :math:`\lambda`.
        safe: largest orthogonality error :math:`\|X X^H - I\|_F` that a step may leave, in (0, 1). Weights that
            start beyond it come back first; beyond 1 the safe step is zero (``project_`` them).

    Raises:
        ValueError: as POGO; ``attraction <= 0`` or ``safe`` outside (0, 1).

    Complexity: four products of ``p x p x n`` a matrix, none of them a normal step.

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
        lr: float | Tensor = 1e-2,
        *,
        attraction: float = 1.0,
        safe: float = 0.5,
        base: str = "sgd",
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        tangent: bool = False,
        matrix: str | tuple[int, ...] | None = None,
        orient: str = "auto",
        foreach: bool | None = None,
        capturable: bool = False,
        maximize: bool = False,
        weight_decay: float = 0.0,
        check: str = "init",
        euclidean: str = "adamw",
        euclidean_lr: float | Tensor = 1e-3,
        ns_steps: int = 5,
    ) -> None:
        super().__init__(params, options(locals()))

    def check_options(self, group: dict[str, Any]) -> None:
        super().check_options(group)
        require_number(group, "attraction", 0.0, strict=True)
        require_safe(group)

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        algebra = algebra_for(X)
        X, D, scale = algebra.pack(X), algebra.pack(D), algebra.pack_scale(scale)
        weight = group["attraction"]
        F, E = landing_field(algebra, X, D, scale, weight)
        d, f = algebra.norm(E), algebra.norm(F).clamp_min(torch.finfo(bucket.real).tiny)
        alpha = weight * d * (1 - d).clamp_min(0) / f  # over f, whose square may be beyond the largest number
        most = (alpha + (alpha * alpha + (group["safe"] - d).clamp_min(0)).sqrt()) / f
        most = torch.minimum(most, 0.5 / (weight * (1 + d)))
        return algebra.unpack(X - F * at_most(group["lr"], most).to(X.dtype))


class LandingPC(OrthogonalOptimizer):
    r"""Landing with a preconditioned gradient and an attraction that does not depend on the learning rate.

    .. math::
        X' = X - \eta R - \tfrac12 (X X^H - I) X .

    ``R`` is the relative gradient of the base update, by default Adam with one second moment a matrix
    (``base="vadam"``), which makes learning rates comparable between layers; the attraction is one
    Newton-Schulz step, taken at ``X`` and not, as POGO does, at the point after the gradient step. That saves a
    product and costs accuracy: the error left by a step is :math:`\eta^2 R R^H`, not its square.

    The POGO paper compares with a method of this name, whose definition was not open to us when this was
    written: what stands above is what this class does, nothing is claimed about that one. Its step is cut so
    that the error stays within ``safe``: with :math:`d = \|X X^H - I\|` and :math:`q = \eta \|R\|`,
    :math:`\tfrac34 d^2 + \tfrac14 d^3 + d \sqrt{1 + d}\, q + q^2 \le \mathrm{safe}`.

    Args:
        safe: as in :class:`Landing`; the others as in :class:`~lcat.optim.POGO`.

    Raises:
        ValueError: as :class:`Landing`.

    Complexity: five products of ``p x p x n`` a matrix.

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
        lr: float | Tensor = 1e-2,
        *,
        safe: float = 0.5,
        base: str = "vadam",
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        tangent: bool = False,
        matrix: str | tuple[int, ...] | None = None,
        orient: str = "auto",
        foreach: bool | None = None,
        capturable: bool = False,
        maximize: bool = False,
        weight_decay: float = 0.0,
        check: str = "init",
        euclidean: str = "adamw",
        euclidean_lr: float | Tensor = 1e-3,
        ns_steps: int = 5,
    ) -> None:
        super().__init__(params, options(locals()))

    def check_options(self, group: dict[str, Any]) -> None:
        super().check_options(group)
        require_safe(group)

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        algebra = algebra_for(X)
        X, D, scale = algebra.pack(X), algebra.pack(D), algebra.pack_scale(scale)
        R, E = relative_gradient(algebra, X, D, scale)
        d, r = algebra.norm(E), algebra.norm(R).clamp_min(torch.finfo(bucket.real).tiny)
        cross = d * (1 + d).sqrt()
        left = (group["safe"] - 0.75 * d**2 - 0.25 * d**3).clamp_min(0)
        most = ((cross * cross + 4 * left).sqrt() - cross) / (2 * r)
        R.mul_(-at_most(group["lr"], most).to(R.dtype)).add_(X)
        return algebra.unpack(algebra.addmm_(R, E.mul_(-0.5), X))


def landing_field(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale, weight: float) -> tuple[Tensor, Tensor]:
    """``scale (K D - X D^H X) / 2 + weight (K - I) X`` and ``K - I`` with ``K = X X^H``."""
    half = _half(scale, X)
    H = algebra.mm(X, algebra.mH(D)).mul_(-half)
    K = algebra.gram(X)
    F = algebra.mm(K, D).mul_(half)
    E = algebra.add_identity_(K, -1.0)
    return algebra.addmm_(F, H.add_(E, alpha=weight), X), E


def relative_gradient(algebra: Algebra, X: Tensor, D: Tensor, scale: Scale) -> tuple[Tensor, Tensor]:
    """``scale (K D - X D^H X) / 2`` and ``K - I`` with ``K = X X^H``."""
    H = algebra.mm(X, algebra.mH(D)).neg_()
    K = algebra.gram(X)
    R = algebra.addmm_(algebra.mm(K, D), H, X).mul_(_half(scale, X))
    return R, algebra.add_identity_(K, -1.0)


def _half(scale: Scale, A: Tensor) -> Scale:
    return 0.5 * (scale.to(A.dtype) if isinstance(scale, Tensor) else scale)


def at_most(lr: float | Tensor, most: Tensor) -> Tensor:
    """``min(lr, most)`` for every matrix."""
    return torch.minimum(most, lr.to(most)) if isinstance(lr, Tensor) else most.clamp_max(lr)


def require_safe(group: dict[str, Any]) -> None:
    """Raise a ValueError unless ``safe`` lies in (0, 1)."""
    require_number(group, "safe", 0.0, strict=True)
    if group["safe"] >= 1:
        raise ValueError(f"safe must lie between 0 and 1, got {group['safe']!r}; the usual value is 0.5")
