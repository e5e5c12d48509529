"""A plan as the TOML file that a reader of the page can run."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from lcat.study.plan.plan import StudyPlan

__all__ = ["plan_toml"]

#: Settings of a machine: where its data are, and its cluster.
_OF_THE_MACHINE = ("data", "address")


def plan_toml(plan: StudyPlan) -> str:
    """The plan as a TOML file, without the keys that have their default, and without paths of the machine it ran on."""
    values = plan.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    run = values.get("run", {})
    run.pop("base", None)  # paths start from the folder of the plan's file, wherever it is
    notes = [
        f"# run.{name} was set: say where it is on your machine" for name in _OF_THE_MACHINE if run.pop(name, None)
    ]
    names = _without_folders(values["datasets"])
    if names:
        values["datasets"] = [names.get(name, name) for name in values["datasets"]]
        for entry in values.get("published", ()):
            entry["dataset"] = names.get(entry["dataset"], entry["dataset"])
        notes.append("# your own data sets are beside this file")
    models = {layer: layer.rpartition("=")[2].rpartition(":")[0] for layer in values["layers"]}
    files = _without_folders(list(models.values()))
    if files:
        values["layers"] = [layer.replace(models[layer], files.get(models[layer], models[layer])) for layer in models]
        notes.append("# the files of your own models are beside this file")
    rule, _, path = values.get("split", "").partition(":")
    if _is_absolute(path):
        values["split"] = f"{rule}:{_file_name(path)}"
        notes.append("# the files of the splits are beside this file")
    lines = [*notes, *(f"{name} = {_toml(value)}" for name, value in values.items() if not isinstance(value, dict))]
    for name, value in values.items():
        if isinstance(value, dict) and value:
            lines += _section(name, value)
    return "\n".join(lines) + "\n"


def _is_absolute(path: str) -> bool:
    # A page may be written from a store that another system made.
    return path.startswith("~") or PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def _file_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]


def _without_folders(names: Sequence[str]) -> dict[str, str]:
    """Short names for those of ``names`` that are absolute paths: with as few folders as tell all names apart."""
    parts = {name: [part for part in re.split(r"[/\\]", name) if part] for name in names if _is_absolute(name)}
    depths = dict.fromkeys(parts, 1)
    while True:
        short = {name: "/".join(parts[name][-depth:]) for name, depth in depths.items()}
        counts = Counter(short.get(name, name) for name in dict.fromkeys(names))
        longer = [name for name in parts if counts[short[name]] > 1 and depths[name] < len(parts[name])]
        if not longer:
            return short
        for name in longer:
            depths[name] += 1


def _section(name: str, values: dict[str, Any]) -> list[str]:
    lines = ["", f"[{name}]"]
    lines += [f"{_key(key)} = {_toml(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _section(f"{name}.{_key(key)}", value)
    return lines


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    if value is None:
        return '"none"'  # which stands for it in plans: TOML has no word
    # Strings, numbers and booleans are written alike in JSON and TOML, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
