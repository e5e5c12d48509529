"""Options of ``lcat study run`` and the keys of a plan that they set."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lcat.study import PlanError

__all__ = ["PLAN_KEYS", "explain_plan_error", "option_of"]

_OVERRIDES = (
    "epochs",
    "patience",
    "num_layers",
    "hidden_channels",
    "heads",
    "dropout",
    "norm",
    "optimizer",
    "orthogonal_lr",
    "orthogonal_include",
    "lr",
    "weight_decay",
    "schedule",
)

#: Options that are not called as their parameter is.
_LONG = {"setting": "--set"}
#: Parameter of the command, which names the option too -> key of the plan.
PLAN_KEYS: dict[str, tuple[str, ...]] = {
    "dataset": ("datasets",),
    "layer": ("layers",),
    "recipe": ("recipe",),
    "seeds": ("seeds",),
    "split": ("split",),
    "noise_edges": ("noise", "edges"),
    "noise_features": ("noise", "features"),
    "metric": ("metric",),
    "task": ("task",),
    "batching": ("batching",),
    "data": ("run", "data"),
    **{name: ("overrides", name) for name in _OVERRIDES},
    "setting": ("overrides",),
    "grid": ("grid",),
    "search": ("search", "space"),
    "trials": ("search", "trials"),
    "objective": ("objectives",),
    "margin": ("margin",),
    "engine": ("run", "engine"),
    "workers": ("run", "workers"),
    "threads": ("run", "threads"),
    "device": ("run", "device"),
    "address": ("run", "address"),
    "keep": ("run", "keep"),
    "max_cells": ("budget", "cells"),
    "max_seconds": ("budget", "seconds"),
}


def option_of(path: tuple[str, ...]) -> str | None:
    """The option that sets a key of a plan, ``None`` if there is none.

    What follows the key of the option is one entry of a table, as the weight of one objective.

    Example:
        >>> from lcat.cli.study.options import option_of
        >>> (
        ...     option_of(("overrides", "lr")),
        ...     option_of(("objectives", "time")),
        ...     option_of(("split_seed",)),
        ... )
        ('--lr', '--objective time', None)
    """
    for name, key in PLAN_KEYS.items():
        if path[: len(key)] == key:
            return " ".join([_LONG.get(name, f"--{name.replace('_', '-')}"), *path[len(key) :]])
    return None


def explain_plan_error(error: PlanError, file: Path | None, options: Collection[str]) -> str:
    """One line that names options where options are wrong, and else the file and its keys.

    Args:
        error: of a plan made of a file and options.
        file: that was read, ``None`` for options alone.
        options: parameters of the command that were set, see :data:`PLAN_KEYS`.
    """
    if not error.problems:
        return str(error)
    set_keys = {PLAN_KEYS[name] for name in options if name in PLAN_KEYS}
    lines = []
    for problem in error.problems:
        by_option = any(problem.path[: len(key)] == key for key in set_keys)
        option = option_of(problem.path) if by_option or file is None else None
        if option is not None:
            lines.append(f"{option}: {problem.message}")
        else:
            lines.append(str(problem) if file is None else f"{file}: {problem}")
    return " | ".join(lines)
