"""Which values the settings of a training accept, stated once for all of its configurations."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lcat._numbers import as_float, as_int, as_plain

__all__ = [
    "NOT_NEGATIVE",
    "POSITIVE",
    "PROPER_SHARE",
    "TRAINING_RANGES",
    "YES_OR_NO",
    "Range",
    "check_ranges",
    "optional",
    "use_plain_numbers",
    "whole",
]


@dataclass(frozen=True)
class Range:
    """The values that one setting accepts.

    Args:
        accepts: true for these values.
        words: the same in words, behind "must be".
    """

    accepts: Callable[[Any], bool]
    words: str


def whole(low: int) -> Range:
    """Whole numbers from ``low`` on."""
    return Range(
        lambda value: (number := as_int(value)) is not None and number >= low, f"a whole number, at least {low}"
    )


def optional(inner: Range) -> Range:
    """The values of another range, and ``None``."""
    return Range(lambda value: value is None or inner.accepts(value), f"{inner.words}, or None")


def _number(value: Any) -> float:
    number = as_float(value)
    return math.nan if number is None else number


POSITIVE = Range(lambda value: _number(value) > 0, "positive")
NOT_NEGATIVE = Range(lambda value: _number(value) >= 0, "0 or more")
PROPER_SHARE = Range(lambda value: 0 <= _number(value) < 1, "in [0, 1)")
_NO_OPTIONS = {"name", "model", "lr", "weight_decay"}  # arguments of build_optimizer itself
YES_OR_NO = Range(lambda value: isinstance(value, bool), "True or False")


def _can_compile(value: Any) -> bool:
    if not isinstance(value, str):
        return isinstance(value, bool)
    # Listing them imports the compiler, which takes a second.
    return value == "inductor" or value in torch.compiler.list_backends(exclude_tags=())


def _are_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value) and not _NO_OPTIONS & set(value)


#: By the names that :class:`lcat.train.FitConfig`, :class:`lcat.train.MinibatchConfig` and
#: :class:`lcat.ogb.Settings` share.
TRAINING_RANGES: dict[str, Range] = {
    "epochs": whole(1),
    "patience": Range(optional(whole(1)).accepts, "a whole number, at least 1, or None to train all epochs"),
    "lr": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "scalar_lr": POSITIVE,
    "warmup": whole(0),
    "clip_norm": optional(POSITIVE),
    "accumulate": whole(1),
    "eval_every": whole(1),
    "autocast": YES_OR_NO,
    "compile": Range(_can_compile, "True, False or the name of a backend of torch.compile"),
    "optimizer_options": Range(
        _are_options, "a dictionary of further arguments of the optimizer, without lr and weight_decay"
    ),
}


def check_ranges(
    values: Mapping[str, Any],
    ranges: Mapping[str, Range] = TRAINING_RANGES,
    error: Callable[[str, str], Exception] | None = None,
) -> None:
    """Refuse the first value that is out of its range.

    Args:
        values: settings by name; those without a range are not checked.
        ranges: by the names of settings.
        error: makes what is raised from the name and the message; ``ValueError`` by default.

    Raises:
        ValueError: names the setting, what it accepts, and the value.

    Example:
        >>> from lcat.train.ranges import check_ranges
        >>> check_ranges({"epochs": 200, "lr": 0.01})
        >>> check_ranges({"epochs": 200, "lr": -1})
        Traceback (most recent call last):
        ValueError: lr must be positive; got -1
    """
    for name, value in values.items():
        if name in ranges and not ranges[name].accepts(value):
            message = f"must be {ranges[name].words}; got {value!r}"
            raise ValueError(f"{name} {message}") if error is None else error(name, message)


def use_plain_numbers(settings: object) -> None:
    """Replace NumPy's numbers among the attributes of ``settings`` by Python's, as files keep no others."""
    for name, value in list(vars(settings).items()):
        object.__setattr__(settings, name, as_plain(value))
