"""POGO: a landing step followed by one Newton-Schulz step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lcat.optim.base import Scale
from lcat.optim.bucket import Bucket
from lcat.optim.normal import NORMAL_STEPS
from lcat.optim.optimizer import OrthogonalOptimizer, due, options, require_choice, require_max_step, require_period
from lcat.optim.pogo_step import pogo_step
from lcat.optim.products import BATCHED, algebra_for

GRAMS = ("exact", "identity")

#: largest step for "order2", whose polynomial overshoots: from here on less than 0.66, where steps that all push in
#: one direction would make a square matrix grow without end (0.73 for a wide one)
ORDER2_STEP = 0.65

#: ``X X^H`` is carried to the next step (two products of p x p x p) instead of computed anew from this n / p on
CARRY_RATIO = 3


class POGO(OrthogonalOptimizer):
    r"""Optimizes matrices with orthonormal rows or columns, and everything else beside them.

    With the direction :math:`D` of the base update (the gradient, its momentum, ...) one step is

    .. math::
        R &= \tfrac12 (X X^H D - X D^H X), \qquad M = X - \eta R, \\
        X' &= \tfrac12 (3 I - M M^H)\, M .

    The first line moves along the manifold and inflates the singular values only to second order,
    :math:`M M^H = X X^H + \eta^2 R R^H`; the second is one Newton-Schulz step of the polar decomposition. After
    a step from an orthonormal matrix :math:`\|X' X'^H - I\| \le \tfrac34 \|\eta R\|^4`, and errors do not
    accumulate: each step removes what the last one left. No inverse, no factorization, no synchronization.

    Reference: Javaloy and Vergari, "An Embarrassingly Simple Way to Optimize Orthogonal Matrices at Scale",
    ICML 2026. Written from the mathematics; the momentum buffer starts with the gradient, as in torch.optim.

    Args:
        params: parameters, named parameters or groups; :func:`lcat.optim.orthogonal_groups` makes the groups
            of a model. Groups with ``orthogonal=False`` are updated by AdamW (``euclidean="adamw"``) or SGD.
        lr: learning rate of the orthogonal groups, a number or a tensor.
        base: ``"sgd"``; ``"vadam"``, Adam with one second moment a matrix; or ``"muon"``, momentum with its
            singular values set to about one (then ``lr`` is an angle).
        momentum, dampening, nesterov: of ``base="sgd"`` and ``"muon"``, as in torch.optim.SGD.
        betas, eps: of ``base="vadam"``, and of AdamW in the Euclidean groups.
        tangent: feed the base update the tangent part of the gradient, :math:`G - \mathrm{sym}(G X^H) X`, instead
            of all of it (two products more); see the notes.
        normal: the normal step: ``"half"`` (above), ``"order2"`` (error of third order instead of second, one
            more small product), ``"best"`` (the weight that minimizes the error, never worse than half) or
            ``"none"``.
        normal_every: take the normal step only every so many updates of the group; between them the error
            grows as :math:`\eta^2 \|R\|^2` a step.
        max_step: the guard: :math:`\eta R` of every matrix is shortened to this length (Schatten-4 norm, at
            least its largest singular value). With 1, ``normal="half"`` and ``normal_every=1`` any learning rate
            leaves every singular value in :math:`[0.7, 1]`; up to :math:`\sqrt 2` makes sense. With
            ``gram="identity"`` it bounds the Frobenius norm, and singular values stay in :math:`[0, 1]`. The other
            normal steps may end above one (measured: up to 1.04), as does ``normal_every=k`` between normal steps
            (up to 1.3); they stay finite too, ``"order2"`` with at most 0.65 and ``normal_every=k`` with about
            :math:`1/\sqrt k` of it. ``normal="none"`` has no bound: each guarded step adds to the last. None removes
            the guard.
        gram: ``"exact"``, or ``"identity"`` to take :math:`X X^H` for the identity in :math:`R`: four products
            instead of six; see the notes.
        matrix: how a parameter is read: None (the last two dimensions, the others a batch), ``"conv"`` for a
            kernel as (out, rest), or a shape such as ``(heads, channels, -1)``.
        orient: ``"rows"`` or ``"cols"`` orthonormal, ``"auto"`` the smaller side.
        foreach: stack parameters of one shape into one call: None where that is faster, True, False.
        capturable: keep everything that CUDA graphs need on the device.
        maximize: go up instead of down.
        weight_decay: decoupled in AdamW groups; in orthogonal groups added to the gradient as published, where
            it cannot shrink anything (a warning says so).
        check: ``"init"`` refuses what is not orthonormal at construction, ``"always"`` looks after every step
            too (synchronizes), ``"off"`` never looks.
        euclidean, euclidean_lr: method and default learning rate of groups with ``orthogonal=False``.
        ns_steps: quintic steps of ``base="muon"``.

    Raises:
        ValueError: at construction, for a parameter that cannot be constrained (no matrix, lazy, integer,
            sharded, not orthonormal) or an option out of range.
        RuntimeError: at a step, for sparse or sharded gradients.

    Notes:
        ``gram="identity"`` differs from the exact step by :math:`\tfrac{\eta}{2} (X X^H - I) D` before the
        normal step: rounding where the matrices are orthonormal to rounding, more after large steps. It is
        the faster and the default the published iteration.

        The published method is ``tangent=False``. A step ignores what part of the gradient stands across the
        manifold, but the buffers of ``momentum`` and ``"vadam"`` keep it, and at a later point it is no longer
        across: it pulls back to where it came from. Where that part does not vanish at the optimum (a residual that
        cannot be fitted) it is a brake, and ``tangent=True`` releases it. Plain ``"sgd"`` steps are the
        same with both.

        Complexity: per matrix and step 6 products of ``p x p x n`` (``2 p^2 n`` flops each, a quarter less
        where ``X X^H`` is computed by blocks), 5 and two of ``p x p x p`` for ``n >= 3 p``, where ``X X^H`` is
        carried from step to step (a state ``gram`` of ``p x p``), 4 with ``gram="identity"``; 2 more with
        ``tangent=True``. State: ``step``, ``momentum_buffer`` or ``exp_avg`` like the parameter, ``exp_avg_sq`` one
        real number a matrix.

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
        lr: float | Tensor = 1e-2,
        *,
        base: str = "sgd",
        momentum: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        tangent: bool = False,
        normal: str = "half",
        normal_every: int = 1,
        max_step: float | None = 1.0,
        gram: str = "exact",
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
        super().__init__(params, options(locals(), updates=0))

    def check_options(self, group: dict[str, Any]) -> None:
        super().check_options(group)
        require_choice(group, "normal", tuple(NORMAL_STEPS))
        require_choice(group, "gram", GRAMS)
        require_max_step(group)
        require_period(group, "normal_every", 1)

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        algebra = algebra_for(X)
        carry = self._carries(X, group)
        K = self._carried_gram(bucket, X) if carry else None
        eta = group["lr"] * scale
        packed = algebra.pack(X)
        Y, after = pogo_step(
            algebra,
            packed,
            algebra.pack(D),
            algebra.pack_scale(eta),
            exact=group["gram"] == "exact",
            normal=group["normal"] if due(group, "normal_every") else "none",
            max_step=self._longest(group),
            K=None if K is None else algebra.pack(K),
            next_gram=carry,
            # Fresh memory costs more than the arithmetic in it; a compiler plans memory by itself.
            out=packed if packed.is_contiguous() and not torch.compiler.is_compiling() else None,
        )
        self._carried = after is not None
        if after is not None:
            after = algebra.unpack(after)
            bucket.write("gram", after.reshape(len(bucket.params), *bucket.layout.batch, *after.shape[1:]), after.dtype)
        return algebra.unpack(Y)

    @staticmethod
    def _longest(group: dict[str, Any]) -> float | None:
        """The bound of the guard, lowered where one Newton-Schulz step is not what follows every step."""
        most = group["max_step"]
        if most is None:
            return None
        if group["normal"] == "order2":
            most = min(most, ORDER2_STEP)
        # Between normal steps X X^H grows by (eta R)(eta R)^H, or in a square matrix by that factor, each time.
        return math.sqrt((1 + most * most) ** (1 / group["normal_every"]) - 1)

    @staticmethod
    def _carries(X: Tensor, group: dict[str, Any]) -> bool:
        # A compiled or captured step cannot ask whether somebody else wrote the weights in the meantime.
        return (
            group["gram"] == "exact"
            and X.shape[-1] >= CARRY_RATIO * X.shape[-2]
            and not group["capturable"]
            and not torch.compiler.is_compiling()
        )

    def _carried_gram(self, bucket: Bucket, X: Tensor) -> Tensor | None:
        """``X X^H`` from the last step, unless the weights were written by somebody else since then."""
        if not bucket.has("gram"):
            return None
        versions = [self._versions.get(id(param)) for param in bucket.params]
        if any(known not in (None, param._version) for known, param in zip(versions, bucket.params, strict=True)):
            return None
        p = bucket.layout.p
        K = bucket.state("gram", (*bucket.layout.batch, p, p), bucket.dtype).view(-1, p, p)
        if None not in versions:
            return K
        # After a checkpoint was loaded nobody knows whether the weights are those of the checkpoint: if they are, the
        # two differ by rounding, and the carried one lets training resume bit for bit.
        fresh = BATCHED.gram(X)
        near = BATCHED.norm(K - fresh) <= 16 * X.shape[-1] * torch.finfo(X.dtype).eps
        return torch.where(near, K, fresh)

    def after_update(self, group: dict[str, Any], bucket: Bucket) -> None:
        for param in bucket.params if self._carried else ():
            self._versions[id(param)] = param._version

    def _prepare_caches(self) -> None:
        super()._prepare_caches()
        self._versions: dict[int, int] = {}  # of the weights that the state "gram" belongs to
        self._carried = False  # whether the last update of a bucket left its Gram matrix
