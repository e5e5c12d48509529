"""From the words of ``lcat study`` to a plan."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcat.cli.stop import stop

if TYPE_CHECKING:
    from lcat.study import StudyPlan

__all__ = ["make_plan_of", "split_lists", "split_spaces", "weights"]

_REAL_LAYERS = ("gcn", "gcn-mean", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2")
_DEFAULT_SEEDS = 5
_DEMO_SEEDS = 3


def make_plan_of(file: Path | None, changes: dict[str, Any], overrides: dict[str, Any]) -> StudyPlan:
    """The plan of a file with ``changes`` and ``overrides`` on top, or of these alone; stops at a plan that is wrong.

    Args:
        file: TOML, ``None`` for options alone.
        changes: attributes of the plan that were asked for; ``None`` and empty ones were not.
        overrides: settings that were asked for.
    """
    from lcat.study import PlanError, load_plan, make_plan
    from lcat.study.models.defaults import DEMO_DATASETS, DEMO_LAYERS

    seeds = changes.get("seeds")
    if seeds is not None and seeds < 1:
        stop(f"--seeds must be a whole number, at least 1; got {seeds}", 2)
    given = _without_none(changes)
    wanted = _without_none(overrides)
    try:
        if file is not None:
            return load_plan(file, {**given, "overrides": wanted} if wanted else given)
        named = "datasets" in given
        given.setdefault("datasets", DEMO_DATASETS)
        given.setdefault("layers", _REAL_LAYERS if named else DEMO_LAYERS)
        given.setdefault("seeds", _DEFAULT_SEEDS if named else _DEMO_SEEDS)
        return make_plan(**given, overrides=wanted)
    except PlanError as error:
        stop(_in_options(str(error), overrides) if file is None else str(error), 2)


def split_lists(words: Sequence[str] | None, option: str = "--grid") -> dict[str, list[Any]]:
    """``["lr=0.01,0.001"]`` as ``{"lr": [0.01, 0.001]}``."""
    result = {}
    for word in words or ():
        name, equals, values = word.partition("=")
        if not (name and equals and values):
            stop(f"{option}: write NAME=VALUE,VALUE,... as in lr=0.01,0.001; got {word!r}", 2)
        result[name.strip().replace("-", "_")] = [_value(part.strip()) for part in values.split(",")]
    return result


def split_spaces(words: Sequence[str] | None) -> dict[str, Any]:
    """``["lr=1e-4..0.1:log", "hidden_channels=16,64"]`` as the space of a search."""
    result: dict[str, Any] = {}
    for word in words or ():
        name, _, values = word.partition("=")
        low, dots, rest = values.partition("..")
        if not dots:
            result.update(split_lists([word], "--search"))
            continue
        high, _, way = rest.partition(":")
        space: dict[str, Any] = {"low": _value(low), "high": _value(high)}
        if way:
            space.update({"log": True} if way == "log" else {"step": _value(way)})
        result[name.strip().replace("-", "_")] = space
    return result


def weights(words: Sequence[str] | None) -> dict[str, Any]:
    """``["accuracy=1", "time"]`` as ``{"accuracy": 1, "time": 1}``."""
    pairs = [word.partition("=") for word in words or ()]
    return {name.strip(): _value(value.strip()) if equals else 1.0 for name, equals, value in pairs}


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    cleaned = {name: _without_none(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in cleaned.items() if value is not None and value != {} and value != []}


def _in_options(text: str, overrides: dict[str, Any]) -> str:
    """Keys of a plan as the options that stand for them."""
    for key in overrides:
        text = text.replace(f"overrides.{key}:", f"--{key.replace('_', '-')}:")
    names = {"layers:": "--layer:", "split:": "--split:", "grid:": "--grid:", "search.space:": "--search:"}
    names |= {"search.trials:": "--trials:", "noise.edges:": "--noise-edges:", "noise.features:": "--noise-features:"}
    names |= {"run.engine:": "--engine:", "run.workers:": "--workers:", "run.threads:": "--threads:"}
    names |= {"objectives:": "--objective:", "metric:": "--metric:", "budget.cells:": "--max-cells:"}
    names |= {"budget.seconds:": "--max-seconds:"}
    for key, option in names.items():
        if text.startswith(key):
            text = option + text[len(key) :]
        text = text.replace(f"| {key}", f"| {option}")
    # One entry of a table, as the weight of one objective.
    return re.sub(r"(^|\| )objectives\.(\w+):", r"\1--objective \2:", text)
