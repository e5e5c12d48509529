"""The machinery that every optimizer of :mod:`lcat.optim` shares: groups, buckets, state, checks, resuming."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from lcat.optim import euclidean
from lcat.optim.base import BASES, gradient, tangent_part
from lcat.optim.bucket import Bucket
from lcat.optim.bucket_cache import BucketCache
from lcat.optim.checks import check_gradient, check_group, check_weights
from lcat.optim.layout import plain, resolve
from lcat.optim.measure import gram_error, largest, project_
from lcat.optim.options import COMMON, builtin, check_common
from lcat.optim.products import Scale, algebra_for

__all__ = ["OrthogonalOptimizer", "Update"]


class Update(NamedTuple):
    """What :meth:`OrthogonalOptimizer.update` returns where it makes more than weights.

    Attributes:
        weights: the new weights ``(B, p, n)``.
        state: state that belongs to exactly these weights, by name, ``(B, ...)`` each.

    >>> import torch
    >>> from lcat.optim import Update
    >>> weights = torch.eye(2, 3)[None]
    >>> Update(weights, {"gram": weights @ weights.mH}).state["gram"].shape
    torch.Size([1, 2, 2])
    """

    weights: Tensor
    state: dict[str, Tensor]


class OrthogonalOptimizer(Optimizer):
    """A torch optimizer whose orthogonal groups stay orthonormal; a method is one function, :meth:`update`.

    Subclasses pass their own options in ``defaults`` and override :meth:`update`. Everything else is done here:
    reading parameters as matrices, batching those of one shape, base updates, Euclidean groups, the contract
    of ``torch.optim``. All options are plain data, may differ from group to group, and are saved in
    ``state_dict``.

    Args:
        params: parameters, named parameters, or groups (dicts). A group with ``orthogonal=False`` is updated
            by torch's AdamW (or SGD, ``euclidean="sgd"``) with its own options; its ``lr`` is
            ``euclidean_lr`` where it gives none.
        defaults: options of the groups; those that all optimizers have may be left out.

    Example:
        >>> import torch
        >>> from lcat.optim import OrthogonalOptimizer
        >>> class ProjectedSGD(OrthogonalOptimizer):
        ...     def __init__(self, params, lr=1e-2):
        ...         super().__init__(params, {"lr": lr})
        ...
        ...     def update(self, X, D, scale, group, bucket):
        ...         U, _, Vh = torch.linalg.svd(X - group["lr"] * scale * D, full_matrices=False)
        ...         return U @ Vh
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = ProjectedSGD([weight], lr=0.1)
        >>> (weight * torch.ones(3, 5)).sum().backward()
        >>> optimizer.step()
        >>> optimizer.orthogonality_error() < 1e-5
        True
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._prepare_caches()
        super().__init__(params, {name: builtin(value) for name, value in {**COMMON, **defaults}.items()})

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor | Update:
        """One orthogonal step.

        Args:
            X: the weights ``(B, p, n)``, rows orthonormal. Only the result may be written into their memory.
            D: the direction of the base update, like ``X``. Not to be written.
            scale: what multiplies it besides ``group["lr"]``: a number or ``(B, 1, 1)``.
            group: options.
            bucket: state of these parameters.

        Returns:
            The new weights ``(B, p, n)``, or an :class:`Update` with state that belongs to them.
        """
        raise NotImplementedError

    def prepare(self, X: Tensor, G: Tensor, group: dict[str, Any], bucket: Bucket) -> Tensor:  # noqa: ARG002
        """The gradient that the base update sees: the Euclidean one, or with ``tangent`` its tangent part."""
        if not group["tangent"]:
            return G
        algebra = algebra_for(X)
        return algebra.unpack(tangent_part(algebra, algebra.pack(X), algebra.pack(G)))

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise a ValueError for options out of range; methods extend it with their own."""
        check_common(group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient.

        Args:
            closure: evaluates the model again and returns the loss (optional).

        Returns:
            What the closure returned, or None.

        Raises:
            RuntimeError: a gradient of an orthogonal group is sparse or sharded, or (``check="always"``) a
                matrix left the manifold.
        """
        if not torch.compiler.is_compiling():
            self._check_capture()
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # All gradients are checked before the first weight moves: a refused one leaves nothing half done.
        active = [self._active(group) for group in self.param_groups]
        for index, (group, params) in enumerate(zip(self.param_groups, active, strict=True)):
            if group["orthogonal"]:
                self._orthogonal_step(index, group, params)
            elif params:
                euclidean.step(group, params, [self.state[p] for p in params])
        return loss

    @staticmethod
    def _active(group: dict[str, Any]) -> list[Tensor]:
        """The parameters of a group that have a gradient, which is one that the group takes."""
        params = group["params"]
        grads = [p.grad for p in params]
        # Plain dense gradients, the usual case, are recognized without a Python statement for each.
        if {type(g) for g in grads} == {Tensor} and not any(g.layout != torch.strided for g in grads):
            return list(params)
        for i, grad in enumerate(grads):
            if grad is not None:
                (check_gradient if group["orthogonal"] else euclidean.check_euclidean_gradient)(grad, i, group)
        return [p for p, g in zip(params, grads, strict=True) if g is not None]

    def _check_capture(self) -> None:
        """Torch's own check that a step captured into a graph was made for it (renamed in torch 2.12)."""
        check = getattr(self, "_accelerator_graph_capture_health_check", None)
        (check or self._cuda_graph_capture_health_check)()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, checked as at construction; the dict itself is not changed."""
        if isinstance(param_group, dict):
            param_group = {name: builtin(value) for name, value in param_group.items()}
            if not param_group.get("orthogonal", self.defaults["orthogonal"]):
                param_group.setdefault("lr", param_group.get("euclidean_lr", self.defaults["euclidean_lr"]))
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            group["matrix"] = plain(group["matrix"])
            self.check_options(group)
            if group["orthogonal"]:
                check_group(group)
        except (ValueError, TypeError):
            self.param_groups.pop()
            raise
        self._bucket_cache.clear()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._prepare_caches()
        for group in self.param_groups:
            for name, default in {**COMMON, **self.defaults}.items():
                group.setdefault(name, default)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` returned; training resumes bit for bit.

        torch casts loaded state to the dtype of its parameter; state kept in a wider type (a half-precision
        parameter's, which is computed in float32) is restored as it was saved. Options that the checkpoint does not
        have (one of torch's AdamW, loaded into Euclidean groups) keep their present values.

        Raises:
            ValueError: the groups are not those of this optimizer, or an option in them is out of range; nothing is
                loaded then.
        """
        completed: dict[str, Any] = {}

        def complete(_: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
            groups = saved["param_groups"]
            if len(groups) == len(self.param_groups):  # torch says what is wrong otherwise
                groups = [{**present, **group} for present, group in zip(self.param_groups, groups, strict=True)]
                for present, group in zip(self.param_groups, groups, strict=True):
                    self.check_options({**group, "params": present["params"]})
            completed.update(saved, param_groups=groups)
            return dict(completed)

        before = self.register_load_state_dict_pre_hook(complete)
        after = self.register_load_state_dict_post_hook(lambda _: self._restore_dtypes(completed), prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            before.remove()
            after.remove()

    def _restore_dtypes(self, saved: dict[str, Any]) -> None:
        self._prepare_caches()
        ids = [i for group in saved["param_groups"] for i in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for i, param in zip(ids, params, strict=True):
            for name, value in saved["state"].get(i, {}).items():
                if isinstance(value, Tensor) and self.state[param][name].dtype != value.dtype:
                    self.state[param][name] = value.to(param.device)
        for group in self.param_groups:
            group["matrix"] = plain(group["matrix"])

    @torch.no_grad()
    def orthogonality_error(self) -> float:
        """The largest ``|| X X^H - I ||_F`` of all orthogonal matrices (reads from the device)."""
        return largest(
            gram_error(p[None], resolve(tuple(p.shape), group["matrix"], group["orientation"]))
            for group in self.param_groups
            if group["orthogonal"]
            for p in group["params"]
        )

    def project_(self) -> None:
        """Replace every orthogonal matrix by the nearest orthonormal one, e.g. after loading old weights."""
        for group in self.param_groups:
            if group["orthogonal"]:
                project_(group["params"], matrix=group["matrix"], orientation=group["orientation"])

    def _orthogonal_step(self, index: int, group: dict[str, Any], params: list[Tensor]) -> None:
        """One step of the parameters of a group that have a gradient."""
        if not params:
            return
        for bucket in self._bucket_cache.buckets(index, group, params, [self.state[p] for p in params]):
            bucket.step.add_(1)
            X = bucket.gather(bucket.params, "weights")
            G = bucket.gather([p.grad for p in bucket.params if p.grad is not None], "gradients")
            G = self.prepare(X, gradient(X, G, group), group, bucket)
            D, scale = BASES[group["base"]](G, group, bucket)
            result = self.update(X, D, scale, group, bucket)
            weights, state = result if isinstance(result, Update) else (result, {})
            bucket.scatter(weights)
            self.after_update(state, bucket)
            bucket.commit()
        if group["check"] == "always":
            check_weights(group)
        if "updates" in group:
            group["updates"] += 1

    def after_update(self, state: dict[str, Tensor], bucket: Bucket) -> None:
        """Called when the parameters of a bucket have been written: keeps the state that belongs to them.

        Args:
            state: that of the :class:`Update`, empty where :meth:`update` returned weights alone.
            bucket: the parameters, and their state.
        """
        for name, value in state.items():
            bucket.write(name, value)

    def _prepare_caches(self) -> None:
        """Forget what is derived from the state; it is rebuilt when needed."""
        self._bucket_cache = BucketCache()
