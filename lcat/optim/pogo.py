"""POGO: a tangent step followed by one Newton-Schulz step."""

from __future__ import annotations

import math
from typing import Any, get_args

import torch
from torch import Tensor

from lcat.optim.base import BASES, Direction, tangent_part
from lcat.optim.bucket import Bucket
from lcat.optim.guard import limit_of
from lcat.optim.optimizer import OrthogonalOptimizer, Update
from lcat.optim.options import (
    DEFAULTS,
    Base,
    Check,
    Euclidean,
    GramMode,
    Iteration,
    Matrix,
    MaxStep,
    NormalStep,
    Orientation,
    constructor_options,
    guard_of,
    is_due,
    require_choice,
    require_max_step,
    require_period,
)
from lcat.optim.pogo_step import pogo_step
from lcat.optim.products import BATCHED, Scale, algebra_for
from lcat.optim.stable_step import MAX_STEP, stable_step

__all__ = ["POGO"]

#: largest step for "order2", whose polynomial overshoots. It is below 0.66, from where on steps that all push in one
#: direction would make a square matrix grow without end (0.73 for a wide one)
ORDER2_STEP = 0.65

#: ``X X^H`` is carried to the next step (two products of p x p x p) instead of computed anew from this n / p on
CARRY_RATIO = 3


class POGO(OrthogonalOptimizer):
    r"""Optimizes matrices with orthonormal rows or columns, and the other parameters of a model as well.

    With the direction :math:`D` of the base update (the gradient, its momentum, ...) one step is

    .. math::
        R &= \tfrac12 (X X^H D - X D^H X), \qquad M = X - \eta R, \\
        X' &= \tfrac12 (3 I - M M^H)\, M .

    The first line moves along the manifold and inflates the singular values only to second order,
    :math:`M M^H = X X^H + \eta^2 R R^H`; the second is one Newton-Schulz step of the polar decomposition. After
    a step from an orthonormal matrix :math:`\|X' X'^H - I\| \le \tfrac34 \|\eta R\|^4`, and errors do not
    accumulate: each step removes what the last one left. No inverse, no factorization.

    By default (``iteration="stable"``) the error stays below 1e-3 at any learning rate, with any base and any finite
    gradients, in single and double precision: where a step would leave more, it is shortened. And the buffers of
    momentum and of Adam are projected onto the tangent space at every point, without which momentum would pull the
    weights back to where their gradients came from.

    Reference: Javaloy and Vergari, "An Embarrassingly Simple Way to Optimize Orthogonal Matrices at Scale",
    ICML 2026. Written from the mathematics; the momentum buffer starts with the gradient, as in torch.optim.

    Args:
        params: parameters, named parameters or groups; :func:`lcat.optim.orthogonal_groups` makes the groups
            of a model. Groups with ``orthogonal=False`` are updated by AdamW (``euclidean="adamw"``) or SGD.
        lr: learning rate of the orthogonal groups, a number or a tensor.
        iteration: ``"stable"``, or ``"published"`` for the iteration of the paper: buffers keep the part of gradients
            that is normal to the manifold, :math:`X X^H` is computed, and there is no guard unless ``max_step`` gives
            one. At large rates it leaves the manifold, with momentum for good.
        base: ``"sgd"``; ``"vadam"``, Adam with one second moment per matrix; or ``"muon"``, momentum with its
            singular values set to about one (then ``lr`` is an angle).
        momentum, dampening, nesterov: of ``base="sgd"`` and ``"muon"``, as in torch.optim.SGD.
        betas, eps: of ``base="vadam"``, and of AdamW in the Euclidean groups.
        tangent: give the base update only the tangent part of the gradient, :math:`G - \mathrm{sym}(G X^H) X` (two
            more products). With ``iteration="stable"`` that changes the second moment of ``"vadam"`` only.
        normal_step: ``"half"`` (above), ``"order2"`` (error of third order instead of second, one
            more small product), ``"best"`` (the weight that minimizes the error, never worse than half) or
            ``"none"``.
        normal_every: number of updates of the group from one normal step to the next; between them the error
            grows by :math:`\eta^2 \|R\|^2` per step. From 2 on, and with ``normal_step="none"``, the step is the
            published one with projected buffers.
        max_step: the guard: :math:`\eta R` of every matrix is shortened to this length (Schatten-4 norm, at
            least its largest singular value), such that :math:`\|M M^H - I\|_F \le \mathrm{max\_step}^2`. ``"auto"`` is
            0.18 (0.33 with ``"order2"``), from which the error of 1e-3 follows; with 1 the squared singular values stay
            in [1/2, 1]. Where it acts, the buffer is shortened as well. None removes the guard. With
            ``iteration="published"``, ``"auto"`` is None; ``"order2"`` has at most 0.65, ``normal_every=k`` about
            :math:`1/\sqrt k` of it, and ``normal_step="none"`` no bound, because each guarded step adds to the last.
        gram_mode: ``"identity"`` takes :math:`X X^H` for the identity in :math:`R`, ``"exact"`` computes it (two more
            products); ``"auto"`` is identity for the stable iteration, exact for the published one.
        matrix: how a parameter is read: None (the last two dimensions, the others a batch), ``"conv"`` for a
            kernel as (out, rest), or a shape such as ``(heads, channels, -1)``.
        orientation: ``"rows"`` or ``"cols"`` orthonormal, ``"auto"`` the smaller side.
        foreach: whether to stack parameters of one shape into one call: True, False, or None where that is faster.
        capturable: keep everything that CUDA graphs need on the device.
        maximize: go up instead of down.
        weight_decay: decoupled in AdamW groups; in orthogonal groups added to the gradient as published, where
            it cannot shrink anything (a warning says so).
        check: ``"init"`` refuses what is not orthonormal at construction, ``"always"`` checks after every step
            too (synchronizes), ``"off"`` never checks.
        euclidean, euclidean_lr: method and default learning rate of groups with ``orthogonal=False``.
        ns_steps: quintic steps of ``base="muon"``.

    Raises:
        TypeError: an option that does not exist, with a hint; a model in place of parameters.
        ValueError: at construction, for a parameter that cannot be constrained (no matrix, lazy, integer,
            sharded, not orthonormal) or an option out of range.
        RuntimeError: at a step, for sparse or sharded gradients.

    Notes:
        The identity in :math:`R` differs from the exact step by :math:`\tfrac{\eta}{2} (X X^H - I) D` before the
        normal step: rounding where the matrices are orthonormal to rounding. The normal step is computed from
        :math:`M M^H` itself, so that this error is removed with the others.

        Half precision is limited by its storage: :math:`|X X^H - I|` is about ``p / sqrt(n)`` times its rounding (2e-2
        for a 64 x 64 bfloat16 matrix), for which the guard allows.

        Complexity: per matrix and step 4 products of ``p x p x n`` (``2 p^2 n`` flops each), 5 with momentum or
        ``"vadam"`` if ``p < n``, 2 more with Nesterov's momentum, ``"muon"`` and momentum, or ``tangent=True``. On a
        CPU the guard costs a product only where it acts; compiled and on an accelerator it always does. Published: 6,
        4 for square matrices (5 with a guard); 5 and two of ``p x p x p`` for ``n >= 3 p`` without a guard, where
        ``X X^H`` is carried from step to step (a state ``gram`` of ``p x p``). State: ``step``, ``momentum_buffer`` or
        ``exp_avg`` like the parameter, ``exp_avg_sq`` one real number per matrix.

    Example:
        >>> import torch
        >>> from lcat.optim import POGO, orthogonality_error
        >>> layer = torch.nn.Linear(16, 16)
        >>> _ = torch.nn.init.orthogonal_(layer.weight)
        >>> optimizer = POGO(
        ...     [{"params": [layer.weight]}, {"params": [layer.bias], "orthogonal": False, "lr": 1e-2}],
        ...     lr=0.1, base="vadam",
        ... )
        >>> for _ in range(10):
        ...     optimizer.zero_grad()
        ...     layer(torch.randn(4, 16)).square().mean().backward()
        ...     optimizer.step()
        >>> orthogonality_error(layer.weight) < 1e-5
        True
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = DEFAULTS.lr,
        *,
        iteration: Iteration = "stable",
        base: Base = DEFAULTS.base,
        momentum: float = DEFAULTS.momentum,
        dampening: float = DEFAULTS.dampening,
        nesterov: bool = DEFAULTS.nesterov,
        betas: tuple[float, float] = DEFAULTS.betas,
        eps: float = DEFAULTS.eps,
        tangent: bool = DEFAULTS.tangent,
        normal_step: NormalStep = "half",
        normal_every: int = 1,
        max_step: MaxStep = DEFAULTS.max_step,
        gram_mode: GramMode = "auto",
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
        require_choice(group, "iteration", get_args(Iteration))
        require_choice(group, "normal_step", get_args(NormalStep))
        require_choice(group, "gram_mode", get_args(GramMode))
        require_max_step(group)
        require_period(group, "normal_every", 1)

    def max_error(self, group: dict[str, Any], p: int) -> float:
        """What a step leaves: below 1e-3 at the defaults; otherwise what the next normal steps take back."""
        max_step = self._max_step(group)
        if self._is_stable(group) and max_step is not None and max_step <= 1:
            d = max_step * max_step
            cube = 0.375 * d * d if group["normal_step"] == "order2" else 0.0
            return abs((1 + d) * (1 - 0.5 * d + cube) ** 2 - 1)
        return max(1.0, 0.5 * math.sqrt(p))

    def direction(self, X: Tensor, G: Tensor, group: dict[str, Any], bucket: Bucket) -> Direction:
        """The base update; buffers that the step cannot project with its own products are projected here."""
        keeps = group["iteration"] == "published" or (self._is_stable(group) and self._steps_along_buffer(group))
        project = None if keeps else lambda buffer: buffer.copy_(tangent_part(BATCHED, X, buffer))
        return BASES[group["base"]](G, group, bucket, project)

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor | Update:
        """One step on the batch ``X (B, p, n)``; ``X' X'^H`` is returned as state where it is carried."""
        if self._is_stable(group):
            return self._stable_update(X, D, scale, group, bucket)
        algebra = algebra_for(X)
        carries = self._carries(X, group)
        K = self._carried_gram(bucket, X) if carries else None
        eta = group["lr"] * scale
        packed = algebra.pack(X)
        Y, next_gram = pogo_step(
            algebra,
            packed,
            algebra.pack(D),
            algebra.pack_scale(eta),
            exact=group["gram_mode"] != "identity",
            normal_step=group["normal_step"] if is_due(group, "normal_every") else "none",
            max_step=self._max_step(group),
            K=None if K is None else algebra.pack(K),
            return_gram=carries,
            # New memory costs more than the arithmetic in it; a compiler plans the memory itself.
            out=packed if packed.is_contiguous() and not torch.compiler.is_compiling() else None,
        )
        return Update(algebra.unpack(Y), {} if next_gram is None else {"gram": algebra.unpack(next_gram)})

    def _stable_update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        algebra = algebra_for(X)
        packed = algebra.pack(X)
        p, n = X.shape[-2:]
        max_step = self._max_step(group)
        Y, s = stable_step(
            algebra,
            packed,
            algebra.pack(D),
            algebra.pack_scale(group["lr"] * scale),
            limit=None if max_step is None else limit_of(p, n, bucket.params[0].dtype, max_step),
            normal_step=group["normal_step"],
            exact=group["gram_mode"] == "exact",
            buffer=D if self._steps_along_buffer(group) else None,
            looks=bucket.may_be_read,
            out=packed if packed.is_contiguous() and not torch.compiler.is_compiling() else None,
        )
        name = self._buffer_name(group)
        if s is not None and name is not None:
            bucket.matrices(name).mul_(algebra.unpack(s))
        return algebra.unpack(Y)

    @staticmethod
    def _is_stable(group: dict[str, Any]) -> bool:
        """Whether the default step is taken, which relies on a normal step after every tangent step."""
        has_normal_step: bool = group["normal_every"] == 1 and group["normal_step"] != "none"
        return group["iteration"] == "stable" and has_normal_step

    @staticmethod
    def _buffer_name(group: dict[str, Any]) -> str | None:
        """The state that accumulates gradients."""
        if group["base"] == "vadam":
            return "exp_avg"
        return "momentum_buffer" if group["momentum"] != 0 else None

    @staticmethod
    def _steps_along_buffer(group: dict[str, Any]) -> bool:
        """Whether the direction is a buffer itself, so that the step can project it with its own products."""
        return group["base"] == "vadam" or (group["base"] == "sgd" and group["momentum"] != 0 and not group["nesterov"])

    @staticmethod
    def _max_step(group: dict[str, Any]) -> float | None:
        """The bound of the guard, lowered where one Newton-Schulz step is not what follows every step."""
        max_step = guard_of(group, MAX_STEP[group["normal_step"]] if group["iteration"] == "stable" else None)
        if max_step is None:
            return None
        if group["normal_step"] == "order2":
            max_step = min(max_step, ORDER2_STEP)
        # Between normal steps X X^H grows by (eta R)(eta R)^H, or in a square matrix by that factor, each time.
        return math.sqrt((1 + max_step * max_step) ** (1 / group["normal_every"]) - 1)

    @classmethod
    def _carries(cls, X: Tensor, group: dict[str, Any]) -> bool:
        # A compiled or captured step cannot check whether the weights were written from outside in the meantime. Where
        # the guard shortens a step, the carried matrix would keep its error, and steps along large normal parts
        # would multiply it.
        return (
            group["gram_mode"] != "identity"
            and cls._max_step(group) is None
            and X.shape[-1] >= CARRY_RATIO * X.shape[-2]
            and not group["capturable"]
            and not torch.compiler.is_compiling()
        )

    def _carried_gram(self, bucket: Bucket, X: Tensor) -> Tensor | None:
        """``X X^H`` from the last step, unless the weights were written from outside since then."""
        if not bucket.has("gram"):
            return None
        versions = [self._versions.get(id(param)) for param in bucket.params]
        if any(version not in (None, p._version) for version, p in zip(versions, bucket.params, strict=True)):
            return None
        p = bucket.layout.p
        K = bucket.state("gram", (*bucket.layout.batch, p, p), bucket.dtype).view(-1, p, p)
        if None not in versions:
            return K
        # After a checkpoint was loaded it is not known whether the weights are those of the checkpoint. If they are,
        # the two differ by rounding, and with the carried one training resumes bit for bit.
        computed = BATCHED.gram(X)
        is_near = BATCHED.norm(K - computed) <= 16 * X.shape[-1] * torch.finfo(X.dtype).eps
        return torch.where(is_near, K, computed)

    def after_update(self, state: dict[str, Tensor], bucket: Bucket) -> None:
        """Keep the Gram matrices, and note which version of the weights they belong to."""
        super().after_update(state, bucket)
        for param in bucket.params if "gram" in state else ():
            self._versions[id(param)] = param._version

    def _prepare_caches(self) -> None:
        super()._prepare_caches()
        self._versions: dict[int, int] = {}  # of the weights that the state "gram" belongs to
