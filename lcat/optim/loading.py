"""What a checkpoint must have in common with the optimizer that loads it, checked before anything is loaded."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor

from lcat._text import hint
from lcat.optim.checks import describe
from lcat.optim.layout import Layout, resolve

__all__ = ["check_entry", "check_form", "check_state_dict", "completed_groups", "misspelt_options"]

#: what wrappers of modules put before the names of parameters
PREFIXES = ("module.", "_orig_mod.")
#: how much alike an unknown entry of a group and an option are if one is meant for the other
ALIKE = 0.85
#: from here on the beginning of an option stands for it
SHORTEST = 4


def misspelt_options(group: Iterable[str], options: Iterable[str]) -> dict[str, str]:
    """Entries of a group that are no options but read like one, each with a hint at what was meant.

    Other entries are left alone: schedulers and users keep their own in groups.
    """
    known = list(options)
    wrong: dict[str, str] = {}
    for name in group:
        if not isinstance(name, str) or name in known:
            continue
        begins = len(name) >= SHORTEST and any(option.startswith(name) for option in known)
        if begins or difflib.get_close_matches(name, known, n=1, cutoff=ALIKE):
            wrong[name] = hint(name, known, show=repr)
    return wrong


def check_form(saved: Any) -> None:
    """Raise a ValueError for what no optimizer's ``state_dict`` returned."""
    if not isinstance(saved, dict) or not {"state", "param_groups"} <= set(saved):
        what = type(saved).__name__
        if isinstance(saved, dict):
            what = f"the keys {', '.join(map(repr, saved))}" if saved else "an empty dict"
        raise ValueError(
            f"expected what an optimizer's state_dict() returned, a dict with 'state' and 'param_groups'; got {what}"
        )


def completed_groups(
    saved: Any, present: list[dict[str, Any]], check_options: Callable[[dict[str, Any]], None], method: type
) -> list[dict[str, Any]]:
    """The groups of a checkpoint, with the present values of options that it does not have.

    Raises:
        ValueError: they are not those of the optimizer or of its method, or an option in them is unknown or out of
            range.
    """
    check_form(saved)
    groups = saved["param_groups"]
    if len(groups) != len(present):
        raise ValueError(
            f"the checkpoint has {len(groups)} parameter group{'' if len(groups) == 1 else 's'}, the optimizer "
            f"{len(present)}; build the optimizer with the groups that it was saved with"
        )
    completed = []
    for index, (ours, theirs) in enumerate(zip(present, groups, strict=True)):
        _check_members(index, ours, theirs)
        if ours["orthogonal"]:
            _check_method(index, theirs, method)
        elif theirs.get("amsgrad") and ours["euclidean"] == "adamw":
            raise ValueError(
                f"group {index} of the checkpoint was trained with amsgrad=True, which AdamW of groups with "
                f"orthogonal=False does not have: go on without it by amsgrad=False in the checkpoint's 'param_groups'"
            )
        for name, meant in misspelt_options(theirs, ours).items():
            raise ValueError(
                f"group {index} of the checkpoint has an entry {name!r}, which is no option{meant}; rename or remove "
                f"it in the checkpoint's 'param_groups'"
            )
        group = {**ours, **theirs}
        group.pop("saved_by", None)
        check_options({**group, "params": ours["params"]})
        completed.append(group)
    return completed


def check_state_dict(saved: dict[str, Any], groups: list[dict[str, Any]], present: list[dict[str, Any]]) -> None:
    """Raise a ValueError where the state of a parameter is that of another shape or kind."""
    state = saved["state"]
    for group, ours in zip(groups, present, strict=True):
        for position, (key, param) in enumerate(zip(group["params"], ours["params"], strict=True)):
            entries = state.get(key)
            if not entries:
                continue
            name = describe(position, ours)
            try:
                layout = None
                if group["orthogonal"]:
                    layout = resolve(tuple(param.shape), _plain(group["matrix"]), group["orientation"])
            except ValueError as error:
                raise ValueError(f"the checkpoint does not fit {name}: {error}") from None
            for entry, value in entries.items():
                if isinstance(value, Tensor):
                    check_entry(name, param, layout, entry, value, "in the checkpoint")


def _check_method(index: int, theirs: dict[str, Any], method: type) -> None:
    """Raise a ValueError for an orthogonal group of another method, whose state means something else.

    A subclass loads what a class that it is made from has saved.
    """
    if "orthogonal" not in theirs:
        raise ValueError(
            f"group {index} of the checkpoint is not of an optimizer of lcat.optim: it does not say that it is "
            f"orthogonal. State of other optimizers loads into groups with orthogonal=False; for this group, start "
            f"without state"
        )
    saved = theirs.get("saved_by")
    if saved is not None and saved not in (base.__name__ for base in method.__mro__):
        raise ValueError(
            f"group {index} of the checkpoint was saved by {saved}, and this optimizer is {method.__name__}: state and "
            f"options of one method mean something else in another. Build a {saved} to resume, or start "
            f"{method.__name__} from the weights without its state; if the class was renamed, rename 'saved_by' in the "
            f"checkpoint's 'param_groups'"
        )


def _check_members(index: int, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Raise a ValueError unless both groups have as many parameters, of the same kind and names."""
    if len(theirs["params"]) != len(ours["params"]):
        raise ValueError(
            f"group {index} of the checkpoint has {len(theirs['params'])} parameters, that of the optimizer "
            f"{len(ours['params'])}; build the optimizer with the groups that it was saved with"
        )
    if theirs.get("orthogonal", ours["orthogonal"]) != ours["orthogonal"]:
        kinds = {True: "orthogonal", False: "Euclidean"}
        raise ValueError(
            f"group {index} of the checkpoint is {kinds[bool(theirs['orthogonal'])]}, that of the optimizer "
            f"{kinds[ours['orthogonal']]}; pass the groups in the order in which they were saved"
        )
    their_names, our_names = theirs.get("param_names"), ours.get("param_names")
    if not their_names or not our_names:
        return
    for position, (saved, name) in enumerate(zip(their_names, our_names, strict=True)):
        if _unprefixed(saved) != _unprefixed(name):
            raise ValueError(
                f"parameter {position} of group {index} is {saved!r} in the checkpoint and {name!r} in the optimizer: "
                f"its state would become that of another parameter. Pass the parameters in the order in which they "
                f"were saved; if they were renamed, rename them in the checkpoint's 'param_names' or delete those"
            )


def check_entry(name: str, param: Tensor, layout: Layout | None, entry: str, value: Tensor, where: str) -> None:
    """Raise a ValueError unless one entry of the state fits its parameter.

    Args:
        name: of the parameter.
        param: the parameter.
        layout: how it is read, None in a Euclidean group.
        entry: name of the entry.
        value: its tensor.
        where: in which state it is, for the message.
    """
    shape = tuple(param.shape)
    expected: tuple[int, ...] | None = {"step": (), "momentum_buffer": shape, "exp_avg": shape}.get(entry)
    if entry == "exp_avg_sq":
        expected = shape if layout is None else layout.batch
    elif entry == "gram" and layout is not None:
        expected = (*layout.batch, layout.p, layout.p)
    if expected is not None and tuple(value.shape) != expected and not (entry == "step" and value.numel() == 1):
        raise ValueError(
            f"{entry!r} of {name} has shape {tuple(value.shape)} {where}, expected {expected} for a "
            f"parameter of shape {shape}: it is the state of another parameter or of another reading (matrix=)"
        )
    if value.is_complex() and not param.is_complex():
        raise ValueError(
            f"{entry!r} of {name} is {value.dtype} {where}, and the parameter is {param.dtype}: the "
            f"imaginary part would be lost"
        )


def _unprefixed(name: str) -> str:
    """A parameter's name without what DistributedDataParallel and torch.compile put before it."""
    while name.startswith(PREFIXES):
        name = name[name.index(".") + 1 :]
    return name


def _plain(matrix: Any) -> Any:
    return tuple(matrix) if isinstance(matrix, list) else matrix
