"""Plans as TOML files, with settings of the command line on top."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lcat._files import as_path
from lcat.study.models.layers import DEFAULT_LAYERS
from lcat.study.plan.own_data import is_own_file
from lcat.study.plan.plan import PlanError, StudyPlan, make_plan
from lcat.study.plan.settings import one_or_several

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["load_plan", "read_layers"]


def load_plan(path: str | Path, changes: Mapping[str, Any] | None = None) -> StudyPlan:
    """The plan in a TOML file, whose keys are the attributes of :class:`lcat.study.StudyPlan`.

    Relative paths in the file start from its own folder, wherever it is read. By default, ``layers`` are all, and
    ``seeds`` the first five.

    Args:
        path: of the file.
        changes: replace what the file says; tables are merged key by key. Relative paths in them start from the folder
            of the file, too.

    Raises:
        PlanError: one line that names the file and the key.

    Example:
        >>> import pathlib, tempfile
        >>> from lcat.study import load_plan
        >>> text = '''
        ... datasets = ["cora"]
        ... layers = ["gcn", "lcat"]
        ... seeds = 5
        ... split = "stratified:5"
        ... [grid]
        ... hidden_channels = [16, 64]
        ... '''
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "plan.toml")
        ...     _ = file.write_text(text)
        ...     len(load_plan(file, {"seeds": 2}).cells())
        40
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"expected the path of a plan file, got {type(path).__name__}; make_plan takes keywords")
    path = as_path("path", path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PlanError(f"there is no plan file {path}{_hint_of_data(path)}") from None
    except OSError as error:
        raise PlanError(f"the plan file {path} cannot be read: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PlanError(f"the plan file {path} is no TOML: {error}{_hint_of_data(path)}") from error
    values.setdefault("seeds", 5)
    values.setdefault("layers", DEFAULT_LAYERS)
    values = _merged(values, changes or {})
    _start_from(Path(path).parent, values)
    try:
        return make_plan(**values)
    except PlanError as error:
        raise PlanError(f"{path}: {error}", error.problems) from None


def _hint_of_data(path: Path) -> str:
    """What to write if the file is a data set and no plan."""
    name = str(path)
    return (
        f"; a data set is named with -d, as in lcat study -d {name}"
        if is_own_file(name) or name.startswith(("csbm:", "tu:"))
        else ""
    )


def read_layers(path: Path) -> list[str]:
    """The layers that a plan file names; none if it is wrong, which :func:`load_plan` says."""
    try:
        layers = one_or_several(tomllib.loads(path.read_text(encoding="utf-8-sig")).get("layers", ()))
    except (OSError, ValueError, RecursionError):
        return []
    return [layer for layer in layers if isinstance(layer, str)] if isinstance(layers, (list, tuple)) else []


def _start_from(folder: Path, values: dict[str, Any]) -> None:
    """Let the relative paths of a plan, if it has any, start from its folder."""
    run = values.setdefault("run", {})
    if folder == Path() or not isinstance(run, dict):
        return
    if isinstance(run.get("data"), str) and run["data"]:
        run["data"] = str(folder / run["data"])
    datasets = one_or_several(values.get("datasets", ()))
    names = datasets if isinstance(datasets, (list, tuple)) else ()
    has_files = any(isinstance(name, str) and is_own_file(name) for name in names)
    layers = one_or_several(values.get("layers", ()))
    texts = layers if isinstance(layers, (list, tuple)) else ()
    has_files = has_files or any(isinstance(text, str) and ":" in text for text in texts)
    if has_files or str(values.get("split", "")).startswith("file:"):
        run["base"] = str(folder / str(run.get("base", "")))


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for name, change in changes.items():
        if isinstance(change, Mapping):
            # What stands in place of a table stays, for the plan to refuse it.
            old = result.get(name, {})
            result[name] = _merged(old, change) if isinstance(old, dict) else old
        else:
            result[name] = change
    return result
