"""Values of options with a form of their own: lists of a grid, spaces of a search, weights of objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lcat.cli.stop import stop

__all__ = ["OTHER_NAMES", "read_grid", "read_space", "read_weights"]

#: Other names of options and settings that are accepted, without their dashes.
OTHER_NAMES = {"hidden": "hidden-channels", "depth": "num-layers"}


def read_grid(words: Sequence[str], option: str = "--grid") -> dict[str, list[Any]]:
    """Lists of values by setting; stops with one line if a word has another form.

    Example:
        >>> from lcat.cli.study.values import read_grid
        >>> read_grid(["lr=0.01,0.001", "norm=none,batch"])
        {'lr': [0.01, 0.001], 'norm': ['none', 'batch']}
    """
    grid = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not (name and equals and values):
            stop(f"{option}: write NAME=VALUE,VALUE,... as in lr=0.01,0.001; got {word!r}", 2)
        grid[_setting(name)] = [_number(value) for value in values.split(",")]
    return grid


def read_space(words: Sequence[str]) -> dict[str, Any]:
    """The space of a search: ranges ``LOW..HIGH``, ``LOW..HIGH:log`` and ``LOW..HIGH:STEP``, or lists as in a grid.

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
            space.update(read_grid([word], option="--search"))
            continue
        high, _, way = rest.partition(":")
        ends: dict[str, Any] = {"low": _number(low), "high": _number(high)}
        if way:
            ends.update({"log": True} if way == "log" else {"step": _number(way)})
        space[_setting(name)] = ends
    return space


def read_weights(words: Sequence[str]) -> dict[str, Any]:
    """Weights by objective; 1 where none is written.

    Example:
        >>> from lcat.cli.study.values import read_weights
        >>> read_weights(["accuracy=2", "time"])
        {'accuracy': 2, 'time': 1.0}
    """
    pairs = [word.partition("=") for word in words]
    return {name.strip(): _number(value) if equals else 1.0 for name, equals, value in pairs}


def _setting(name: str) -> str:
    """The name of a setting, which may be written as its option is."""
    word = name.strip().replace("_", "-")
    return OTHER_NAMES.get(word, word).replace("-", "_")


def _number(text: str) -> int | float | str:
    """The number that a text says, or the text itself."""
    for kind in (int, float):
        try:
            return kind(text.strip())
        except ValueError:
            continue
    return text.strip()
