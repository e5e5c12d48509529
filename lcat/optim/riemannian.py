"""Riemannian gradient descent and Adam on the Stiefel manifold, with retractions."""

from __future__ import annotations

from typing import Any, get_args

from torch import Tensor

from lcat.optim.base import tangent_part
from lcat.optim.bucket import Bucket
from lcat.optim.guard import all_below, bound, shorten_tangent
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
    constructor_options,
    guard_of,
    is_due,
    require_choice,
    require_max_step,
    require_period,
)
from lcat.optim.products import BATCHED, Scale
from lcat.optim.retractions import RETRACTIONS, newton_schulz

__all__ = ["RiemannianAdam", "RiemannianSGD"]


class _Riemannian(OrthogonalOptimizer):
    """What both share: gradients and buffers in the tangent space, a retraction at the end."""

    _base: Base = "sgd"

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise a ValueError for options out of range."""
        super().check_options(group)
        require_choice(group, "retraction", get_args(Retraction))
        require_choice(group, "base", (self._base,))
        require_max_step(group)
        require_period(group, "stabilize", 0)

    def prepare(self, X: Tensor, G: Tensor, group: dict[str, Any], bucket: Bucket) -> Tensor:  # noqa: ARG002
        """The tangent part of the gradient; the buffers are transported to the tangent space at ``X``."""
        # The buffer was tangent at the last point; projecting it onto the tangent space here transports it.
        for name in ("momentum_buffer", "exp_avg"):
            if bucket.any_has(name):
                buffer = bucket.matrices(name)
                buffer.copy_(tangent_part(BATCHED, X, buffer))
        return tangent_part(BATCHED, X, G)

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        """One step along the tangent direction ``D``, retracted."""
        max_step = guard_of(group)
        eta = bound(BATCHED, D, group["lr"] * scale, max_step)
        V = D * (-(eta.to(D.dtype) if isinstance(eta, Tensor) else eta))
        if max_step is not None and not (bucket.may_be_read and all_below(BATCHED.norm(V), max_step)):
            # Where the direction is short beside its gradient, a long step is rounding, which is not tangent.
            V = shorten_tangent(BATCHED, tangent_part(BATCHED, X, V), max_step)
        Y = RETRACTIONS[group["retraction"]](X, V, max_step)
        if is_due(group, "stabilize"):
            Y = newton_schulz(Y)
        return Y


class RiemannianSGD(_Riemannian):
    r"""Gradient descent with momentum along the Stiefel manifold.

    .. math::
        g = G - \mathrm{sym}(G X^H) X, \quad m \leftarrow \mu\, \mathrm{proj}_X(m) + g, \quad
        X' = \mathrm{retract}_X(-\eta\, m) .

    ``retraction="qr"`` (Gram-Schmidt), ``"polar"`` (the nearest orthonormal matrix) or ``"cayley"`` (the Cayley
    transform, Wen and Yin, 2013). All agree with the exponential map to first order, ``polar`` to second.

    Args:
        params, lr, momentum, dampening, nesterov, max_step, matrix, orientation, foreach, capturable, maximize,
            weight_decay, check, euclidean, euclidean_lr: as in :class:`~lcat.optim.POGO`; the projection removes
            the weight decay altogether.
        retraction: ``"qr"``, ``"polar"`` or ``"cayley"``.
        stabilize: number of updates from one Newton-Schulz step to the next, which removes the rounding errors that
            ``"cayley"`` accumulates (the others do not); 0 for never, which ``capturable=True`` needs.

    Raises:
        ValueError: as POGO.

    Complexity: two products of ``p x p x n`` (four with momentum) and the retraction; three more where the guard acts.
        On a CPU a LAPACK QR of one large matrix costs about as much as POGO's step; for batches of small ones it is
        several times slower.

    Example:
        >>> import torch
        >>> from lcat.optim import RiemannianSGD
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = RiemannianSGD([weight], lr=0.1, retraction="polar")
        >>> (weight * torch.ones(3, 5)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = DEFAULTS.lr,
        *,
        momentum: float = DEFAULTS.momentum,
        dampening: float = DEFAULTS.dampening,
        nesterov: bool = DEFAULTS.nesterov,
        retraction: Retraction = DEFAULTS.retraction,
        stabilize: int = DEFAULTS.stabilize,
        max_step: MaxStep = DEFAULTS.max_step,
        matrix: Matrix = DEFAULTS.matrix,
        orientation: Orientation = DEFAULTS.orientation,
        foreach: bool | None = DEFAULTS.foreach,
        capturable: bool = DEFAULTS.capturable,
        maximize: bool = DEFAULTS.maximize,
        weight_decay: float = DEFAULTS.weight_decay,
        check: Check = DEFAULTS.check,
        euclidean: Euclidean = DEFAULTS.euclidean,
        euclidean_lr: float | Tensor = DEFAULTS.euclidean_lr,
        betas: tuple[float, float] = DEFAULTS.betas,
        eps: float = DEFAULTS.eps,
    ) -> None:
        super().__init__(params, constructor_options(locals(), base="sgd", updates=0))


class RiemannianAdam(_Riemannian):
    r"""Adam along the Stiefel manifold, with one second moment per matrix.

    .. math::
        g = G - \mathrm{sym}(G X^H) X, \quad m \leftarrow \beta_1 \mathrm{proj}_X(m) + (1 - \beta_1) g, \quad
        v \leftarrow \beta_2 v + (1 - \beta_2) \|g\|_F^2, \quad
        X' = \mathrm{retract}_X\bigl(-\eta\, \hat m / (\sqrt{\hat v} + \epsilon)\bigr) .

    Reference: Bécigneul and Ganea, "Riemannian adaptive optimization methods", ICLR 2019: the second moment is one
    number per factor of the product manifold, here per matrix, because no single entry has a meaning on the manifold.

    Args:
        params, lr, betas, eps, max_step, matrix, orientation, foreach, capturable, maximize, weight_decay, check,
            euclidean, euclidean_lr: as in :class:`~lcat.optim.POGO`.
        retraction, stabilize: as in :class:`RiemannianSGD`.

    Raises:
        ValueError: as POGO.

    Complexity: four products of ``p x p x n`` and the retraction; three more where the guard acts.

    Example:
        >>> import torch
        >>> from lcat.optim import RiemannianAdam
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = RiemannianAdam([weight], lr=0.1)
        >>> (weight * torch.ones(3, 5)).sum().backward()
        >>> optimizer.step()
    """

    _base = "vadam"

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = DEFAULTS.lr,
        *,
        betas: tuple[float, float] = DEFAULTS.betas,
        eps: float = DEFAULTS.eps,
        retraction: Retraction = DEFAULTS.retraction,
        stabilize: int = DEFAULTS.stabilize,
        max_step: MaxStep = DEFAULTS.max_step,
        matrix: Matrix = DEFAULTS.matrix,
        orientation: Orientation = DEFAULTS.orientation,
        foreach: bool | None = DEFAULTS.foreach,
        capturable: bool = DEFAULTS.capturable,
        maximize: bool = DEFAULTS.maximize,
        weight_decay: float = DEFAULTS.weight_decay,
        check: Check = DEFAULTS.check,
        euclidean: Euclidean = DEFAULTS.euclidean,
        euclidean_lr: float | Tensor = DEFAULTS.euclidean_lr,
    ) -> None:
        super().__init__(params, constructor_options(locals(), base="vadam", updates=0))
