"""What somebody has changed in an optimizer since its last step, checked before anything moves.

``param_groups`` and ``p.data`` are open to everybody: schedules write learning rates, users correct an option, a layer
is made wider. The usual step compares identities and shapes only; what differs is checked as at construction.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lcat._numbers import as_plain
from lcat.optim.checks import MaxError, check_parameter, describe
from lcat.optim.layout import Layout, plain, resolve
from lcat.optim.loading import check_entry

__all__ = ["Changes", "Form", "form_of"]

#: options that say which matrices are constrained, and whether that is checked
_READING = ("orthogonal", "matrix", "orientation", "check")
#: those of them that decide the shape of the state
_OF_STATE = ("orthogonal", "matrix", "orientation")


#: shapes and dtypes of the parameters of a group, and the device of the first
Form = tuple[list[torch.Size], list[torch.dtype], torch.device | None]


class _Seen(NamedTuple):
    """What a group was when it was checked last."""

    options: dict[str, Any]
    form: Form


class Changes:
    """Remembers the options and the shapes of every group; a group that is not known is checked."""

    def __init__(self) -> None:
        self._seen: list[_Seen | None] = []
        self._forms: list[Form] = []

    def check(
        self,
        groups: list[dict[str, Any]],
        states: Any,
        *,
        required: Iterable[str],
        check_options: Callable[[dict[str, Any]], None],
        max_error: MaxError,
    ) -> None:
        """Check what differs from the last step.

        Args:
            groups: the groups of the optimizer.
            states: ``optimizer.state``.
            required: names of the options that every group needs.
            check_options: raises a ValueError for options out of range.
            max_error: what the method leaves, see :mod:`lcat.optim.checks`.

        Raises:
            ValueError: an option that is missing or out of range, parameters that cannot be constrained, or whose
                state was made for another shape.
        """
        seen = self._seen + [None] * (len(groups) - len(self._seen))
        self._forms = [form_of(group["params"]) for group in groups]
        for index, (group, before) in enumerate(zip(groups, seen, strict=False)):
            old = {} if before is None else before.options
            is_reread = False
            if len(group) != len(old) or not all(map(operator.is_, group.values(), old.values())):
                _check_changed_options(index, group, old, required, check_options, max_error)
                is_reread = any(group[name] != old.get(name) for name in _OF_STATE)
            if before is None:
                _check_states(group, states, None)
            elif is_reread or self._forms[index] != before.form:
                _check_states(group, states, max_error)

    def form(self, index: int, params: list[Tensor]) -> Form:
        """The form of those parameters of a group that have a gradient; usually all, whose form is known."""
        known = self._forms[index] if index < len(self._forms) else None
        return known if known is not None and len(known[0]) == len(params) else form_of(params)

    def note(self, groups: list[dict[str, Any]]) -> None:
        """Take the groups as they were checked, after a step that changed no shape, for known."""
        self._seen = [_Seen(dict(group), form) for group, form in zip(groups, self._forms, strict=True)]


def form_of(params: list[Tensor]) -> Form:
    """What the buckets and the state of some parameters depend on."""
    return [p.shape for p in params], [p.dtype for p in params], params[0].device if params else None


def _check_changed_options(
    index: int,
    group: dict[str, Any],
    old: dict[str, Any],
    required: Iterable[str],
    check_options: Callable[[dict[str, Any]], None],
    max_error: MaxError,
) -> None:
    """Check the options of a group; a change of how its parameters are read also checks these."""
    try:
        for name in required:
            if name not in group:
                raise ValueError(f"the option {name!r} is missing; set it, or make the optimizer anew")
        for name, value in group.items():
            group[name] = as_plain(value)  # schedules may write NumPy's numbers
        group["matrix"] = plain(group["matrix"])
        check_options(group)
        if old and group["orthogonal"] and any(group[name] != old.get(name) for name in _READING):
            for position, param in enumerate(group["params"]):
                check_parameter(param, position, group, max_error)
    except ValueError as error:
        raise ValueError(f"param_groups[{index}] cannot be used in a step: {error}") from None


def _check_states(group: dict[str, Any], states: Any, max_error: MaxError | None) -> None:
    """Check parameters of new shapes, dtypes or devices, and their state, which follows the last two.

    Args:
        group: the group.
        states: ``optimizer.state``.
        max_error: what the method leaves; None for weights that were checked at construction.
    """
    for position, param in enumerate(group["params"]):
        state = states.get(param, {})
        layout: Layout | None = None
        try:
            if group["orthogonal"] and max_error is not None:
                layout = check_parameter(param, position, group, max_error)
            elif group["orthogonal"]:
                layout = resolve(tuple(param.shape), group["matrix"], group["orientation"])
            for entry, value in state.items():
                if isinstance(value, Tensor):
                    check_entry(describe(position, group), param, layout, entry, value, "in optimizer.state")
        except ValueError as error:
            raise ValueError(
                f"the data or the reading of {describe(position, group)} was changed (p.data = ..., matrix=, "
                f"orthogonal=), and it cannot be used now: {error}. Make the optimizer anew with the new weights; if "
                f"only the state does not fit, optimizer.state.pop(p) forgets it"
            ) from None
        if not group["orthogonal"]:  # orthogonal groups compute in a dtype of their own and convert their state
            for entry, value in state.items():
                if isinstance(value, Tensor) and entry != "step":
                    state[entry] = value.to(param)
