"""The options of a parameter group: their types, their defaults, their ranges.

Every default that more than one optimizer has is stated here and nowhere else: the constructors take theirs from
:data:`DEFAULTS`, and groups that lack an option (a subclass that passes few, an old checkpoint) get that of
:data:`COMMON`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from torch import Tensor

from lcat._text import hint

__all__ = [
    "COMMON",
    "DEFAULTS",
    "LARGEST",
    "Base",
    "Check",
    "Defaults",
    "Euclidean",
    "GramMode",
    "Iteration",
    "Matrix",
    "MaxStep",
    "NormalStep",
    "Orientation",
    "OrthogonalizeMethod",
    "Regularizer",
    "Retraction",
    "Sampling",
    "check_common",
    "constructor_options",
    "guard_of",
    "is_due",
    "require_choice",
    "require_max_step",
    "require_number",
    "require_period",
    "require_safe",
]

Base: TypeAlias = Literal["sgd", "vadam", "muon"]
Check: TypeAlias = Literal["init", "always", "off"]
Euclidean: TypeAlias = Literal["adamw", "sgd"]
GramMode: TypeAlias = Literal["auto", "exact", "identity"]
Iteration: TypeAlias = Literal["stable", "published"]
Matrix: TypeAlias = Literal["conv"] | tuple[int, ...] | None
MaxStep: TypeAlias = float | Literal["auto"] | None
NormalStep: TypeAlias = Literal["half", "order2", "best", "none"]
Orientation: TypeAlias = Literal["auto", "rows", "cols"]
OrthogonalizeMethod: TypeAlias = Literal["qr", "nearest"]
Regularizer: TypeAlias = Literal["l1", "l21"]
Retraction: TypeAlias = Literal["qr", "polar", "cayley"]
Sampling: TypeAlias = Literal["permutation", "orthogonal"]

#: options that are numbers end here: products of two of them stay numbers in single precision
LARGEST = 1e30


@dataclass(frozen=True)
class Defaults:
    """Defaults of the options that several optimizers have; :class:`lcat.optim.POGO` says what they mean."""

    lr: float | Tensor = 1e-2
    max_step: MaxStep = "auto"
    safe: float = 0.5
    retraction: Retraction = "qr"
    stabilize: int = 100
    base: Base = "sgd"
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    ns_steps: int = 5
    tangent: bool = False
    weight_decay: float = 0.0
    matrix: Matrix = None
    orientation: Orientation = "auto"
    foreach: bool | None = None
    capturable: bool = False
    maximize: bool = False
    check: Check = "init"
    orthogonal: bool = True
    euclidean: Euclidean = "adamw"
    euclidean_lr: float | Tensor = 1e-3


DEFAULTS = Defaults()

_OF_SOME_METHODS = ("lr", "max_step", "safe", "retraction", "stabilize")

#: the options that the groups of every optimizer have, with their defaults
COMMON: dict[str, Any] = {
    field.name: getattr(DEFAULTS, field.name) for field in fields(Defaults) if field.name not in _OF_SOME_METHODS
}


def constructor_options(arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The options of a constructor, from its ``locals()``, and ``more`` that it has no argument for."""
    hidden = ("self", "params", "__class__")
    return {**{name: value for name, value in arguments.items() if name not in hidden}, **more}


def is_due(group: dict[str, Any], period_name: str) -> bool:
    """Whether something done every ``group[period_name]`` updates is to be done in this one (0: never)."""
    period: int = group[period_name]
    return period == 1 or (period > 1 and (group["updates"] + 1) % period == 0)


def check_common(group: dict[str, Any]) -> None:
    """Raise a ValueError for an option that all optimizers share and that is out of range."""
    require_number(group, "lr", 0.0, tensor=True)
    for name in ("eps", "weight_decay", "momentum", "dampening"):
        require_number(group, name, 0.0)
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
    require_choice(group, "base", get_args(Base))
    require_choice(group, "check", get_args(Check))
    require_choice(group, "orientation", get_args(Orientation))
    require_choice(group, "euclidean", get_args(Euclidean))
    require_choice(group, "foreach", (None, True, False))
    if not isinstance(group["ns_steps"], int) or group["ns_steps"] < 1:
        raise ValueError(f"ns_steps must be a whole number of at least 1, got {group['ns_steps']!r}")


def require_number(
    group: dict[str, Any], name: str, minimum: float, *, strict: bool = False, tensor: bool = False
) -> None:
    """Raise a ValueError unless the option is a number of at least ``minimum`` (``strict``: greater than it)."""
    value = group[name]
    if tensor and isinstance(value, Tensor):
        if value.numel() != 1:
            raise ValueError(f"a tensor {name} must hold one number, got shape {tuple(value.shape)}")
        if value.device.type != "cpu":
            return  # reading it would synchronize with its device
        value = value.item()
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (value > minimum if strict else value >= minimum):
        relation = "greater than" if strict else "at least"
        raise ValueError(f"{name} must be a number {relation} {minimum:g}, got {value!r}")
    if value > LARGEST:
        raise ValueError(f"{name} must be a number of at most {LARGEST:g}, got {value!r}")


def require_choice(group: dict[str, Any], name: str, choices: tuple[Any, ...]) -> None:
    """Raise a ValueError unless the option is one of ``choices``."""
    value = group[name]
    if not isinstance(value, (str, bool, int, float, type(None))) or value not in choices:
        meant = hint(value, [c for c in choices if isinstance(c, str)], show=repr) if isinstance(value, str) else ""
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}{meant}")


def require_period(group: dict[str, Any], name: str, minimum: int) -> None:
    """Raise a ValueError unless the option is a whole number, and one that a captured graph can obey."""
    value = group[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    if value > 1 and group["capturable"]:
        raise ValueError(
            f"{name}={value} counts on the host, which a captured graph does not run; use {name}={minimum} with "
            f"capturable=True"
        )


def require_max_step(group: dict[str, Any]) -> None:
    """Raise a ValueError unless ``max_step`` is "auto", None or positive."""
    value = group["max_step"]
    if isinstance(value, str) and value != "auto":
        raise ValueError(
            f"max_step must be 'auto', None or a number greater than 0, got {value!r}{hint(value, ['auto'], show=repr)}"
        )
    if value is not None and not isinstance(value, str):
        require_number(group, "max_step", 0.0, strict=True)


def guard_of(group: dict[str, Any], auto: float | None = 1.0) -> float | None:
    """The bound of the guard in a group: a number, or None for no guard; ``auto`` where it is the method's own."""
    max_step: MaxStep = group["max_step"]
    return auto if isinstance(max_step, str) else max_step


def require_safe(group: dict[str, Any]) -> None:
    """Raise a ValueError unless ``safe`` lies in (0, 1)."""
    require_number(group, "safe", 0.0, strict=True)
    if group["safe"] >= 1:
        raise ValueError(f"safe must lie between 0 and 1, got {group['safe']!r}; the usual value is 0.5")
