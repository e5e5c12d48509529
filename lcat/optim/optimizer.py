"""The machinery that every optimizer of :mod:`lcat.optim` shares: groups, buckets, state, checks, resuming."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lcat._numbers import as_plain
from lcat._text import hint
from lcat.optim import euclidean
from lcat.optim.base import BASES, Direction, gradient, limited, tangent_part
from lcat.optim.bucket import Bucket
from lcat.optim.bucket_cache import BucketCache
from lcat.optim.changes import Changes
from lcat.optim.checks import (
    check_gradient,
    check_group,
    check_trainable,
    check_weights,
    check_written,
    orthogonalize_group,
)
from lcat.optim.layout import plain
from lcat.optim.loading import check_form, check_state_dict, completed_groups, misspelt_options
from lcat.optim.measure import largest, orthogonality_error, project_
from lcat.optim.options import COMMON, check_common
from lcat.optim.products import Scale, algebra_for

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["OrthogonalOptimizer", "Update"]


#: devices whose products may be in another dtype around a step
_AUTOCAST = ("cpu", "cuda", "xpu", "mps")


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
        ...         U, _, Vh = torch.linalg.svd(
        ...             X - group["lr"] * scale * D, full_matrices=False
        ...         )
        ...         return U @ Vh
        >>> weight = torch.nn.Parameter(torch.eye(3, 5))
        >>> optimizer = ProjectedSGD([weight], lr=0.1)
        >>> (weight * torch.ones(3, 5)).sum().backward()
        >>> optimizer.step()
        >>> optimizer.orthogonality_error() < 1e-5
        True
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ARG004 - __init__ takes what is accepted here
        """Name the option that was meant before Python refuses an unknown one."""
        accepted = inspect.signature(cls.__init__).parameters
        if kwargs and not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values()):
            for name in kwargs.keys() - accepted.keys():
                options = [option for option in accepted if option != "self"]
                meant = hint(name, options, show=repr)
                more = "" if meant else f"; its options are {', '.join(options)}"
                raise TypeError(f"{cls.__name__} has no option {name!r}{meant}{more}")
        return super().__new__(cls)

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._seen_versions: list[list[int]] = []
        self._changes = Changes()
        self._prepare_caches()
        if isinstance(params, nn.Module):
            raise TypeError(
                f"params must be parameters or groups of them, got a {type(params).__name__}; pass "
                f"lcat.optim.orthogonal_groups(model), which selects the weights to constrain"
            )
        if isinstance(params, (Mapping, str)) or not isinstance(params, Iterable):
            is_group = isinstance(params, Mapping) and "params" in params
            way_out = "[group], a list of groups" if is_group else "model.parameters(), or orthogonal_groups(model)"
            raise TypeError(f"params must be parameters or groups of them, got {type(params).__name__}: pass {way_out}")
        try:
            super().__init__(params, {name: as_plain(value) for name, value in {**COMMON, **defaults}.items()})
        except KeyError as error:
            if error.args != ("params",):
                raise
            raise TypeError("params has a group without 'params': write {'params': [...], 'lr': ...}") from None

    def __repr__(self) -> str:
        """One line per group: what is special about it, not all of its options."""
        lines = []
        for index, group in enumerate(self.param_groups):
            kind = "orthogonal" if group["orthogonal"] else f"Euclidean ({group['euclidean']})"
            count = len(group["params"])
            options = [f"lr={_shown(group['lr'])}"]
            hidden = {"params", "param_names", "lr", "orthogonal", "updates", "euclidean", "euclidean_lr"}
            if not group["orthogonal"]:
                hidden.add("base")
            options += [
                f"{name}={_shown(value)}"
                for name, value in group.items()
                if name not in hidden and (name not in self.defaults or not _equal(value, _usual(name, type(self))))
            ]
            plural = "s" if count != 1 else ""
            lines.append(f"    group {index}: {count} {kind} parameter{plural}, {', '.join(options)}")
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])

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

    def direction(self, X: Tensor, G: Tensor, group: dict[str, Any], bucket: Bucket) -> Direction:  # noqa: ARG002
        """The base update at the weights ``X``: the direction and what multiplies it besides ``group["lr"]``."""
        return BASES[group["base"]](G, group, bucket, None)

    def max_error(self, group: dict[str, Any], p: int) -> float:  # noqa: ARG002
        """Largest ``|| X X^H - I ||_F`` of ``p`` rows that a run leaves; 0 where it is rounding.

        Weights that far from orthonormal are accepted as a start.
        """
        return 0.0

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
            ValueError: an option in ``param_groups`` was changed to a value out of range; a parameter has another shape
                than its state; weights of an orthogonal group were written since the last step (initialized anew,
                loaded) and are not orthonormal (not with ``check="off"``). Nothing has moved then.
            RuntimeError: a gradient of an orthogonal group is sparse or sharded, or (``check="always"``) a
                matrix left the manifold.
        """
        if closure is not None and not callable(closure):
            raise TypeError(
                f"closure must be a function that evaluates the model again and returns the loss, or None; got "
                f"{type(closure).__name__}: call loss.backward(), then step()"
            )
        if not torch.compiler.is_compiling():
            self._check_capture()
            if torch.is_inference_mode_enabled():  # state that is made there could never be written outside of it
                with torch.inference_mode(False), torch.no_grad():
                    return self._step(closure)
        return self._step(closure)

    def _step(self, closure: Callable[[], Any] | None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        _without_autocast(self._update)
        return loss

    def _update(self) -> None:
        # All is checked before the first weight moves: what is refused leaves nothing half done.
        if not torch.compiler.is_compiling():
            self._check_changes()
        active = [self._active(group) for group in self.param_groups]
        if not torch.compiler.is_compiling():
            self._check_writes()
        for index, (group, params) in enumerate(zip(self.param_groups, active, strict=True)):
            if group["orthogonal"]:
                self._orthogonal_step(index, group, params)
            elif params:
                euclidean.step(group, params, [self.state[p] for p in params])
        if not torch.compiler.is_compiling():
            self._note_versions()
            self._changes.note(self.param_groups)

    def _check_changes(self) -> None:
        """Check the options and shapes that differ from those of the last step, as at construction."""
        self._changes.check(
            self.param_groups,
            self.state,
            required=self.defaults,
            check_options=self.check_options,
            max_error=self.max_error,
        )

    def _check_writes(self) -> None:
        """Check orthogonal weights that something else has written since the last step, as at construction.

        torch counts the writes of a tensor, so that the usual step compares only numbers.
        """
        for group, seen in zip(self.param_groups, self._seen_versions, strict=False):
            if group["orthogonal"] and group["check"] != "off" and [p._version for p in group["params"]] != seen:
                check_written(group, seen, self.max_error)

    def _note_versions(self) -> None:
        self._seen_versions = [[p._version for p in g["params"]] if g["orthogonal"] else [] for g in self.param_groups]

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
        orthogonalize = None
        if isinstance(param_group, dict):
            param_group = {name: as_plain(value) for name, value in param_group.items()}
            orthogonalize = param_group.pop("orthogonalize", None)
            for name, meant in misspelt_options(param_group, {"params", "param_names", *self.defaults}).items():
                raise ValueError(f"a group has an entry {name!r}, which is no option of {type(self).__name__}{meant}")
            self._check_named(param_group.get("params"))
            if not param_group.get("orthogonal", self.defaults["orthogonal"]):
                param_group.setdefault("lr", param_group.get("euclidean_lr", self.defaults["euclidean_lr"]))
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        try:
            group["matrix"] = plain(group["matrix"])
            self.check_options(group)
            check_trainable(group)
            if group["orthogonal"]:
                if orthogonalize is not None:
                    orthogonalize_group(group, orthogonalize, self.max_error)
                check_group(group, self.max_error)
        except (ValueError, TypeError):
            self.param_groups.pop()
            raise
        self._bucket_cache.clear()
        # Those of a copied optimizer come with its next step.
        if len(self._seen_versions) == len(self.param_groups) - 1:
            self._seen_versions.append([p._version for p in group["params"]] if group["orthogonal"] else [])

    def _check_named(self, params: Any) -> None:
        """Raise a ValueError for parameters without names beside others with names, and the other way round."""
        if not self.param_groups or not isinstance(params, (list, tuple)):
            return
        is_named = bool(params) and isinstance(params[0], tuple)
        if is_named != ("param_names" in self.param_groups[0]):
            have, lack = ("no names", "has") if is_named else ("names", "has none")
            way_out = (
                "leave the names out of this group"
                if is_named
                else "pass pairs [(name, parameter), ...], e.g. from model.named_parameters()"
            )
            raise ValueError(
                f"the parameters of the first groups have {have}, and this group {lack}: all groups of an optimizer "
                f"have names or none has; {way_out}"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_seen_versions" not in self.__dict__:  # unpickled or copied: its weights are other tensors
            self._seen_versions = []
        self._changes = Changes()
        self._prepare_caches()
        for group in self.param_groups:
            for name, default in {**COMMON, **self.defaults}.items():
                group.setdefault(name, default)

    def state_dict(self) -> dict[str, Any]:
        """The state and the options of all groups, as plain data; ``saved_by`` of orthogonal groups is the class."""
        saved = super().state_dict()
        for group in saved["param_groups"]:
            if group["orthogonal"]:
                group["saved_by"] = type(self).__name__
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what :meth:`state_dict` returned; training resumes bit for bit.

        torch casts loaded state to the dtype of its parameter; state kept in a wider type (a half-precision
        parameter's, which is computed in float32) is restored as it was saved. Options that the checkpoint does not
        have (one of torch's AdamW, loaded into Euclidean groups) keep their present values.

        Raises:
            ValueError: the groups are not those of this optimizer (number, kind and names of the parameters) or of its
                method, an option in them is unknown or out of range, or the state of a parameter is that of another
                shape; nothing is loaded then.
        """
        if not isinstance(state_dict, dict):
            check_form(state_dict)  # what hooks make of a dict is checked after them
        completed: dict[str, Any] = {}

        def complete(_: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
            groups = completed_groups(saved, self.param_groups, self.check_options, type(self))
            check_state_dict(saved, groups, self.param_groups)
            completed.update(saved, param_groups=groups)
            return dict(completed)

        before = self.register_load_state_dict_pre_hook(complete)
        after = self.register_load_state_dict_post_hook(lambda _: self._restore_dtypes(completed), prepend=True)
        try:
            # State that is made in inference mode could never be written outside of it.
            with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext():
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
                if isinstance(value, Tensor) and self.state[param][name].is_inference():  # of a file read there
                    self.state[param][name] = self.state[param][name].clone()
        for group in self.param_groups:
            group["matrix"] = plain(group["matrix"])

    @torch.no_grad()
    def orthogonality_error(self) -> float:
        """The largest ``|| X X^H - I ||_F`` of all orthogonal matrices (reads from the device)."""
        return largest(
            orthogonality_error(group["params"], matrix=group["matrix"], orientation=group["orientation"])
            for group in self.param_groups
            if group["orthogonal"]
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
        form = None if torch.compiler.is_compiling() else self._changes.form(index, params)
        for bucket in self._bucket_cache.buckets(index, group, params, [self.state[p] for p in params], form):
            bucket.step.add_(1)
            X = bucket.gather(bucket.params, "weights")
            G = bucket.gather([p.grad for p in bucket.params if p.grad is not None], "gradients")
            G = self.prepare(X, limited(gradient(X, G, group), looks=bucket.may_be_read), group, bucket)
            D, scale = self.direction(X, G, group, bucket)
            result = self.update(X, D, scale, group, bucket)
            weights, state = result if isinstance(result, Update) else (result, {})
            bucket.scatter(weights)
            self.after_update(state, bucket)
            bucket.commit()
        if group["check"] == "always":
            check_weights(group, self.max_error)
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


def _without_autocast(update: Callable[[], None]) -> None:
    """Run ``update`` with the products of its own dtype, as elementwise steps of torch's optimizers are anyway."""
    for device in _AUTOCAST:
        if torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return _without_autocast(update)
    return update()


def _usual(name: str, cls: type) -> Any:
    """The default of an option of a method, as its constructor states it."""
    accepted = inspect.signature(cls).parameters
    return accepted[name].default if name in accepted else COMMON.get(name, inspect.Parameter.empty)


def _equal(value: Any, usual: Any) -> bool:
    return value is usual or (not isinstance(value, Tensor) and bool(value == usual))


def _shown(value: Any) -> str:
    return f"{value.item():g}" if isinstance(value, Tensor) and value.device.type == "cpu" else repr(value)
