"""The machinery that every optimizer of :mod:`lcat.optim` shares: groups, buckets, state, checks, resuming."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lcat.optim import euclidean
from lcat.optim.base import BASES, Scale, gradient, tangent
from lcat.optim.bucket import COMPUTE, Bucket, plan
from lcat.optim.checks import CHECKS, check_gradient, check_orthonormal, check_parameter, describe
from lcat.optim.layout import plain, resolve
from lcat.optim.measure import gram_error, largest, project_
from lcat.optim.products import algebra_for

#: options that every optimizer of the package has, with their defaults
COMMON: dict[str, Any] = {
    "base": "sgd",
    "momentum": 0.0,
    "dampening": 0.0,
    "nesterov": False,
    "betas": (0.9, 0.999),
    "eps": 1e-8,
    "ns_steps": 5,
    "tangent": False,
    "weight_decay": 0.0,
    "matrix": None,
    "orient": "auto",
    "foreach": None,
    "capturable": False,
    "maximize": False,
    "check": "init",
    "orthogonal": True,
    "euclidean": "adamw",
    "euclidean_lr": 1e-3,
}


#: options that are numbers end here: products of two of them stay numbers in single precision
LARGEST = 1e30


class OrthogonalOptimizer(Optimizer):
    """A torch optimizer whose orthogonal groups stay orthonormal; every method is one function, :meth:`update`.

    Subclasses pass their own options in ``defaults`` and override :meth:`update`. Everything else is here:
    reading parameters as matrices, batching those of one shape, base updates, Euclidean groups, the contract
    of ``torch.optim``. All options are plain data, may differ from group to group, and travel in
    ``state_dict``.

    Args:
        params: parameters, named parameters, or groups (dicts). A group with ``orthogonal=False`` is updated
            by torch's AdamW (or SGD, ``euclidean="sgd"``) with its own options; its ``lr`` is
            ``euclidean_lr`` where it gives none.
        defaults: options of the groups; those of :data:`COMMON` need not be given.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._prepare_caches()
        super().__init__(params, {name: _builtin(value) for name, value in {**COMMON, **defaults}.items()})

    # -- what a method provides -------------------------------------------------------------------------

    def update(self, X: Tensor, D: Tensor, scale: Scale, group: dict[str, Any], bucket: Bucket) -> Tensor:
        """One orthogonal step.

        Args:
            X: the weights ``(B, p, n)``, rows orthonormal. Only the result may be written into their memory.
            D: the direction of the base update, like ``X``. Not to be written.
            scale: what multiplies it besides ``group["lr"]``: a number or ``(B, 1, 1)``.
            group: options.
            bucket: state of these parameters.

        Returns:
            The new weights ``(B, p, n)``.
        """
        raise NotImplementedError

    def prepare(self, X: Tensor, G: Tensor, group: dict[str, Any], bucket: Bucket) -> Tensor:
        """The gradient that the base update sees: the Euclidean one, or with ``tangent`` its tangent part."""
        if not group["tangent"]:
            return G
        algebra = algebra_for(X)
        return algebra.unpack(tangent(algebra, algebra.pack(X), algebra.pack(G)))

    def check_options(self, group: dict[str, Any]) -> None:
        """Raise a ValueError for options out of range; methods extend it with their own."""
        _check_common(group)

    # -- torch.optim's contract -------------------------------------------------------------------------

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
        # All gradients are looked at before the first weight moves: a refused one leaves nothing half done.
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
                (check_gradient if group["orthogonal"] else euclidean.check_gradient)(grad, i, group)
        return [p for p, g in zip(params, grads, strict=True) if g is not None]

    def _check_capture(self) -> None:
        """Torch's own check that a step captured into a graph was made for it (renamed in torch 2.12)."""
        check = getattr(self, "_accelerator_graph_capture_health_check", None)
        (check or self._cuda_graph_capture_health_check)()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, checked like those given at construction; the dict itself is not changed."""
        if isinstance(param_group, dict):
            param_group = {name: _builtin(value) for name, value in param_group.items()}
            if not param_group.get("orthogonal", self.defaults["orthogonal"]):
                param_group.setdefault("lr", param_group.get("euclidean_lr", self.defaults["euclidean_lr"]))
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            group["matrix"] = plain(group["matrix"])
            self.check_options(group)
            if group["orthogonal"]:
                self._check_group(group)
        except (ValueError, TypeError):
            self.param_groups.pop()
            raise
        self._plans.clear()

    def _check_group(self, group: dict[str, Any]) -> None:
        for i, param in enumerate(group["params"]):
            check_parameter(param, i, group)
        if group["weight_decay"] != 0:
            warnings.warn(
                "weight_decay in an orthogonal group cannot shrink the weights, whose singular values are one; it "
                "has no effect with base='sgd' and only rescales the step with base='vadam'. Set it in the groups "
                "with orthogonal=False",
                UserWarning,
                stacklevel=5,
            )
        half = {p.dtype for p in group["params"] if p.dtype in COMPUTE}
        if half:
            warnings.warn(
                f"orthogonal parameters stored in {', '.join(sorted(map(str, half)))} are computed in single "
                f"precision but rounded when stored: |X X^H - I| stays near sqrt(p) eps (2e-2 for a 64 x 64 "
                f"bfloat16 matrix). Keep float32 parameters and use autocast where that matters",
                UserWarning,
                stacklevel=5,
            )

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
            ValueError: the groups are others than those of this optimizer, or an option in them is out of range;
                nothing is loaded then.
        """
        seen: dict[str, Any] = {}

        def remember(_: Optimizer, final: dict[str, Any]) -> dict[str, Any]:
            groups = final["param_groups"]
            if len(groups) == len(self.param_groups):  # torch says what is wrong otherwise
                groups = [{**now, **saved} for now, saved in zip(self.param_groups, groups, strict=True)]
                for now, saved in zip(self.param_groups, groups, strict=True):
                    self.check_options({**saved, "params": now["params"]})
            seen.update(final, param_groups=groups)
            return dict(seen)

        handle = self.register_load_state_dict_pre_hook(remember)
        restore = self.register_load_state_dict_post_hook(lambda _: self._restore_dtypes(seen), prepend=True)
        try:
            super().load_state_dict(state_dict)
        finally:
            handle.remove()
            restore.remove()

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

    # -- diagnostics ------------------------------------------------------------------------------------

    @torch.no_grad()
    def orthogonality_error(self) -> float:
        """The largest ``|| X X^H - I ||_F`` of all orthogonal matrices (reads from the device)."""
        return largest(
            gram_error(p[None], resolve(tuple(p.shape), group["matrix"], group["orient"]))
            for group in self.param_groups
            if group["orthogonal"]
            for p in group["params"]
        )

    def project_(self) -> None:
        """Replace every orthogonal matrix by the nearest orthonormal one, e.g. after loading old weights."""
        for group in self.param_groups:
            if group["orthogonal"]:
                project_(group["params"], matrix=group["matrix"], orient=group["orient"])

    # -- the step of a group ----------------------------------------------------------------------------

    def _orthogonal_step(self, index: int, group: dict[str, Any], params: list[Tensor]) -> None:
        if not params:
            return
        for bucket in self._buckets(index, group, params):
            bucket.step.add_(1)
            X = bucket.gather(bucket.params, "weights")
            G = bucket.gather([p.grad for p in bucket.params if p.grad is not None], "gradients")
            G = self.prepare(X, gradient(X, G, group), group, bucket)
            D, scale = BASES[group["base"]](G, group, bucket)
            bucket.scatter(self.update(X, D, scale, group, bucket))
            self.after_update(group, bucket)
            bucket.commit()
        if group["check"] == "always":
            self._check_weights(group)
        if "updates" in group:
            group["updates"] += 1

    def after_update(self, group: dict[str, Any], bucket: Bucket) -> None:
        """Called when the parameters of a bucket have been written."""

    def _check_weights(self, group: dict[str, Any]) -> None:
        for i, param in enumerate(group["params"]):
            try:
                layout = resolve(tuple(param.shape), group["matrix"], group["orient"])
                check_orthonormal(param, layout, describe(i, group), group)
            except ValueError as error:
                raise RuntimeError(f"after a step (check='always'): {error}") from None

    def _buckets(self, index: int, group: dict[str, Any], active: list[Tensor]) -> list[Bucket]:
        """The buckets of the parameters that have gradients, kept from step to step while nothing changes."""
        states = [self.state[p] for p in active]
        layouts_of = (group["matrix"], group["orient"])
        if torch.compiler.is_compiling():
            # Dynamo traces through the cache with a warning, so it gets the function inside.
            layouts = [resolve.__wrapped__(tuple(p.shape), *layouts_of) for p in active]
            return plan(active, layouts, states, group["foreach"], shared=False)
        key = (group["foreach"], layouts_of, active[0].device, [p.shape for p in active], [p.dtype for p in active])
        known = self._plans.get(index)
        if (
            known is not None
            and known[0] == key
            and all(map(operator.is_, known[1], active))
            and all(map(operator.is_, known[2], states))
        ):
            return known[3]
        layouts = [resolve(tuple(p.shape), *layouts_of) for p in active]
        buckets = plan(active, layouts, states, group["foreach"])
        self._plans[index] = (key, list(active), states, buckets)
        return buckets

    def _prepare_caches(self) -> None:
        """Forget what is derived from the state; it is rebuilt when needed."""
        self._plans: dict[int, tuple[Any, list[Tensor], list[dict[str, Any]], list[Bucket]]] = {}


def options(arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The options of a constructor, from its ``locals()``."""
    hidden = ("self", "params", "__class__")
    return {**{name: value for name, value in arguments.items() if name not in hidden}, **more}


def due(group: dict[str, Any], every: str) -> bool:
    """Whether something done every ``group[every]`` updates is to be done in this one (0: never)."""
    period = group[every]
    return period == 1 or (period > 1 and (group["updates"] + 1) % period == 0)


def require_period(group: dict[str, Any], name: str, least: int) -> None:
    """Raise a ValueError unless the option is a whole number, and one that a captured graph can obey."""
    value = group[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if value > 1 and group["capturable"]:
        raise ValueError(
            f"{name}={value} counts on the host, which a captured graph does not run; use {name}={least} with "
            f"capturable=True"
        )


def require_max_step(group: dict[str, Any]) -> None:
    """Raise a ValueError unless ``max_step`` is None or positive."""
    if group["max_step"] is not None:
        require_number(group, "max_step", 0.0, strict=True)


def _builtin(value: Any) -> Any:
    """A number of NumPy as Python's: options are plain data, or a checkpoint does not load with ``weights_only``."""
    return value.item() if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () else value


def _check_common(group: dict[str, Any]) -> None:
    """Options that all optimizers share."""
    require_number(group, "lr", 0.0, tensor=True)
    require_number(group, "eps", 0.0)
    require_number(group, "weight_decay", 0.0)
    require_number(group, "momentum", 0.0)
    require_number(group, "dampening", 0.0)
    require_number(group, "euclidean_lr", 0.0, tensor=True)
    betas = group["betas"]
    pair = isinstance(betas, (tuple, list)) and len(betas) == 2
    if not pair or not all(isinstance(b, (int, float)) and 0 <= b < 1 for b in betas):
        raise ValueError(f"betas must be two numbers in [0, 1), got {betas!r}")
    for name in ("nesterov", "maximize", "capturable", "orthogonal", "tangent"):
        require_choice(group, name, (True, False))
    if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
        raise ValueError(
            f"nesterov needs momentum > 0 and dampening = 0, got momentum={group['momentum']} and "
            f"dampening={group['dampening']}"
        )
    require_choice(group, "base", tuple(BASES))
    require_choice(group, "check", CHECKS)
    require_choice(group, "euclidean", euclidean.EUCLIDEAN)
    require_choice(group, "foreach", (None, True, False))
    if not isinstance(group["ns_steps"], int) or group["ns_steps"] < 1:
        raise ValueError(f"ns_steps must be a whole number of at least 1, got {group['ns_steps']!r}")


def require_number(
    group: dict[str, Any], name: str, least: float, *, strict: bool = False, tensor: bool = False
) -> None:
    """Raise a ValueError unless the option is a number from ``least`` on."""
    value = group[name]
    if tensor and isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"a tensor {name} must hold one number, got shape {tuple(value.shape)}")
        if value.device.type != "cpu":
            return  # reading it would synchronize with its device
        value = value.item()
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not ok or not (value > least if strict else value >= least):
        relation = "greater than" if strict else "at least"
        raise ValueError(f"{name} must be a number {relation} {least:g}, got {value!r}")
    if value > LARGEST:
        raise ValueError(f"{name} must be a number of at most {LARGEST:g}, got {value!r}")


def require_choice(group: dict[str, Any], name: str, choices: tuple[Any, ...]) -> None:
    """Raise a ValueError unless the option is one of ``choices``."""
    if group[name] not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {group[name]!r}")
