"""The settings of an own model: those of its signature, what values they take, and which a plan may name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from lcat._numbers import as_plain, is_bool
from lcat._text import hint

__all__ = ["KINDS", "OwnNames", "OwnSetting", "as_pairs", "names_of_plan", "plan_names", "settable"]

#: Types of settings that are checked, and how messages call them.
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True)
class OwnSetting:
    """One setting of an own model.

    Attributes:
        name: of the parameter.
        kind: ``bool``, ``int``, ``float`` or ``str`` by its default or annotation, ``None`` if neither says.
        choices: the values that its annotation ``Literal[...]`` allows; empty otherwise.
        default: ``inspect.Parameter.empty`` if it has none.
        may_be_none: ``None`` is its default, or its annotation allows it.
    """

    name: str
    kind: type | None = None
    choices: tuple[Any, ...] = ()
    default: Any = inspect.Parameter.empty
    may_be_none: bool = False

    @property
    def required(self) -> bool:
        """It has no default."""
        return self.default is inspect.Parameter.empty

    def checked(self, value: Any) -> Any:
        """The value itself, a whole number as a fraction where the setting is one; lists become tuples.

        Raises:
            ValueError: one line that names the value and what is allowed.
        """
        value = settable(value)
        if value is None or (value == "none" and self.may_be_none):
            if not self.may_be_none and self.kind is not None:
                raise ValueError(f"must be {KINDS[self.kind]}; got {value!r}")
            return None
        if self.choices:
            if value not in self.choices:
                known = [str(choice) for choice in self.choices]
                raise ValueError(f"must be one of {', '.join(known)}{hint(value, known)}; got {value!r}")
            return value
        if self.kind is float and isinstance(value, int) and not is_bool(value):
            return float(value)
        if self.kind is int and isinstance(value, float) and value == int(value):
            return int(value)
        if self.kind is not None and (not isinstance(value, self.kind) or (is_bool(value) and self.kind is not bool)):
            raise ValueError(f"must be {KINDS[self.kind]}; got {value!r}")
        return value


def settable(value: Any) -> Any:
    """A value that a plan and a store can hold: text, a number, true or false, ``None``, or a list of such.

    Raises:
        ValueError: for all others.
    """
    value = as_plain(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return tuple(settable(one) for one in value)
    raise ValueError(f"must be text, a number, true or false, or a list of these; got {type(value).__name__}")


def as_pairs(values: Any) -> tuple[tuple[str, Any], ...]:
    """Settings as sorted pairs of name and value.

    Args:
        values: a dictionary, or such pairs, as JSON has them.

    Raises:
        ValueError: if it is neither, or a value cannot be kept in a store.
    """
    if isinstance(values, Mapping):
        values = list(values.items())
    pairs: dict[str, Any] = {}
    for pair in values if isinstance(values, (list, tuple)) else [values]:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ValueError(f"must be a table of names and values; got {values!r}")
        try:
            pairs[pair[0]] = settable(pair[1])
        except ValueError as error:
            raise ValueError(f"{pair[0]}: {error}") from None
    return tuple(sorted(pairs.items()))


@dataclass(frozen=True)
class OwnNames:
    """The settings of own models that a plan may name.

    Attributes:
        settings: by name, one for each model that has it.
        takes_any: a model takes names that its signature does not list, or is not known yet.
        models: names of the models, for messages.
    """

    settings: Mapping[str, tuple[OwnSetting, ...]] = field(default_factory=dict)
    takes_any: bool = False
    models: tuple[str, ...] = ()

    def __contains__(self, name: object) -> bool:
        return name in self.settings or self.takes_any

    def __str__(self) -> str:
        """What a message adds to the settings of all layers."""
        return f", and of {', '.join(self.models)}: {', '.join(self.settings)}" if self.settings else ""

    def checked(self, name: str, value: Any) -> Any:
        """The value, if one of the models takes it.

        Raises:
            ValueError: if none does.
        """
        problem = None
        for setting in self.settings.get(name, ()):
            try:
                return setting.checked(value)
            except ValueError as error:
                problem = error
        if problem is not None:
            raise problem
        return settable(value)


_NAMES: ContextVar[OwnNames | None] = ContextVar("own_names", default=None)


def plan_names() -> OwnNames:
    """The names of the plan that is being checked; of none outside of one."""
    return _NAMES.get() or OwnNames()


@contextmanager
def names_of_plan(names: OwnNames) -> Iterator[None]:
    """Context in which the parts of a plan are checked, which know nothing of its layers."""
    token = _NAMES.set(names)
    try:
        yield
    finally:
        _NAMES.reset(token)
