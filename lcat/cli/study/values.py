"""Values of options with a form of their own: lists of a grid, spaces of a search, weights of objectives."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from lcat.cli.stop import stop

__all__ = ["OTHER_NAMES", "read_grid", "read_number", "read_settings", "read_space", "read_weights", "read_whole"]

#: Other names of options and settings that are accepted, without their dashes.
OTHER_NAMES = {"hidden": "hidden-channels", "depth": "num-layers"}


def read_grid(words: Sequence[str], option: str = "--grid", *, own: Collection[str] = ()) -> dict[str, list[Any]]:
    """Lists of values by setting; stops with one line if a word has another form.

    Args:
        words: as they were typed.
        option: for messages.
        own: settings of own models, which are never other names of lcat's.

    Example:
        >>> from lcat.cli.study.values import read_grid
        >>> read_grid(["lr=0.01,0.001", "norm=none,batch"])
        {'lr': [0.01, 0.001], 'norm': ['none', 'batch']}
    """
    grid: dict[str, list[Any]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not (name and equals and values):
            stop(f"{option}: write NAME=VALUE,VALUE,... as in lr=0.01,0.001; got {word!r}", 2)
        _add(grid, _setting(name, own), [_number(value) for value in values.split(",")], option)
    return grid


def read_settings(words: Sequence[str], *, own: Collection[str] = ()) -> dict[str, Any]:
    """Values by setting; stops with one line if a word has another form.

    Args:
        words: as they were typed.
        own: settings of own models, which are never other names of lcat's.

    Example:
        >>> from lcat.cli.study.values import read_settings
        >>> read_settings(["lr=0.01", "norm=batch", "cached=true"])
        {'lr': 0.01, 'norm': 'batch', 'cached': True}
    """
    settings: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            stop(f"--set: write NAME=VALUE as in lr=0.01; got {word!r}", 2)
        _add(settings, _setting(name, own), _number(value), "--set")
    return settings


def read_space(words: Sequence[str], *, own: Collection[str] = ()) -> dict[str, Any]:
    """The space of a search: ranges ``LOW..HIGH``, ``LOW..HIGH:log`` and ``LOW..HIGH:STEP``, or lists as in a grid.

    Args:
        words: as they were typed.
        own: settings of own models, which are never other names of lcat's.

    Example:
        >>> from lcat.cli.study.values import read_space
        >>> read_space(["lr=1e-4..0.1:log", "hidden_channels=16,64"])
        {'lr': {'low': 0.0001, 'high': 0.1, 'log': True}, 'hidden_channels': [16, 64]}
    """
    space: dict[str, Any] = {}
    for word in words:
        name, _, values = word.partition("=")
        low, dots, rest = values.partition("..")
        if not dots:
            _add(space, *next(iter(read_grid([word], option="--search", own=own).items())), "--search")
            continue
        high, _, way = rest.partition(":")
        ends: dict[str, Any] = {"low": _number(low), "high": _number(high)}
        if way:
            ends.update({"log": True} if way == "log" else {"step": _number(way)})
        _add(space, _setting(name, own), ends, "--search")
    return space


def read_weights(words: Sequence[str]) -> dict[str, Any]:
    """Weights by objective; 1 where none is written.

    Example:
        >>> from lcat.cli.study.values import read_weights
        >>> read_weights(["accuracy=2", "time"])
        {'accuracy': 2, 'time': 1.0}
    """
    weights: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        _add(weights, name.strip(), _number(value) if equals else 1.0, "--objective")
    return weights


def _add(values: dict[str, Any], name: str, value: Any, option: str) -> None:
    """Keep a value by its name; stops with one line if the name has one, which would be lost."""
    if name in values:
        stop(f"{option}: {name} is given twice; give it once", 2)
    values[name] = value


def _setting(name: str, own: Collection[str]) -> str:
    """The name of a setting, which may be written as its option is."""
    plain = name.strip().replace("-", "_")
    if plain in own:
        return plain
    word = name.strip().replace("_", "-")
    return OTHER_NAMES.get(word, word).replace("-", "_")


def read_whole(text: str) -> int | str:
    """The whole number that a text says; other text as it is, for the plan to refuse it."""
    try:
        return int(text)
    except ValueError:
        return text


def read_number(text: str) -> float | str:
    """The number that a text says; other text as it is, for the plan to refuse it."""
    try:
        return float(text)
    except ValueError:
        return text


def _number(text: str) -> bool | int | float | str:
    """True or false, or the number that a text says, whole if it can be, or the text itself."""
    if text.strip() in ("true", "false"):
        return text.strip() == "true"
    value = read_whole(text.strip())
    return read_number(value) if isinstance(value, str) else value
