"""From the options of ``lcat study run`` to a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcat.cli.stop import stop
from lcat.cli.study.options import PLAN_KEYS, explain_plan_error
from lcat.cli.study.values import read_grid, read_number, read_settings, read_space, read_weights, read_whole

if TYPE_CHECKING:
    from lcat.study import StudyPlan

__all__ = ["check_machine", "plan_of", "seen_from"]

_DEFAULT_SEEDS = 5
_DEMO_SEEDS = 3
#: How options are read whose values have a form of their own.
_WHOLE = ("epochs", "num_layers", "hidden_channels", "heads", "trials", "workers", "threads", "max_cells")
_NUMBERS = ("dropout", "lr", "weight_decay", "orthogonal_lr", "max_seconds", "margin")
_WITH_NAMES: dict[str, Callable[..., Any]] = {"setting": read_settings, "grid": read_grid, "search": read_space}
_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_WHOLE, read_whole),
    **dict.fromkeys(_NUMBERS, read_number),
    **dict.fromkeys(("noise_edges", "noise_features"), lambda levels: list(map(read_number, levels))),
    "objective": read_weights,
    "data": str,
}


def plan_of(file: Path | None, options: Mapping[str, Any]) -> StudyPlan:
    """The plan of a file with options on top, or of options alone; stops with one line if it cannot be run.

    Args:
        file: TOML, or the folder of a study; ``None`` for options alone.
        options: values of the command's parameters by name; ``None`` and empty lists were not set.
    """
    from lcat.study import PlanError, StoreError, load_plan, make_plan

    values = {name: value for name, value in options.items() if name in PLAN_KEYS and value not in (None, [], ())}
    names = [name for name in _WITH_NAMES if name in values]
    settings = _nested(values, _own_settings(file, values.get("layer")) if names else ())
    if "search" in settings and set(settings["search"]) == {"trials"} and (file is None or not _has_search(file)):
        stop("--trials is the length of a search, and there is none: add --search, as in --search lr=1e-4..0.1:log", 2)
    if file is not None and file.is_dir():
        try:
            plan = _plan_of_study(file, settings)
            check_machine(plan)
        except StoreError as error:
            stop(str(error), 2)
        except PlanError as error:
            stop(explain_plan_error(error, file, values), 2)
        return plan
    if file is not None:
        seen_from(file.parent, settings)
    try:
        plan = make_plan(**_with_defaults(settings)) if file is None else load_plan(file, settings)
        check_machine(plan)
    except PlanError as error:
        stop(explain_plan_error(error, file, values), 2)
    return plan


def _own_settings(file: Path | None, layers: Sequence[str] | None) -> list[str]:
    """Names of the settings that the own models of a plan have; what is wrong with the plan is said later."""
    from lcat.study import StoreError, Study
    from lcat.study.models.own_model import find_model, is_model_text
    from lcat.study.plan.plan_file import read_layers

    known, base = layers or (), Path()
    if not layers and file is not None and file.is_dir():
        with suppress(StoreError):
            plan = Study.load(file).plan
            known, base = plan.layers, Path(plan.run.base)
    elif not layers and file is not None:
        known, base = read_layers(file), file.parent
    names: list[str] = []
    for text in known:
        if is_model_text(text):
            with suppress(ValueError):
                names += find_model(text, base).settings
    return names


def _plan_of_study(folder: Path, settings: dict[str, Any]) -> StudyPlan:
    """The plan of the study in a folder, with options on top; a budget was that of an earlier call."""
    from lcat.study import Study, make_plan

    stored = Study.load(folder).plan
    seen_from(Path(stored.run.base), settings)
    values = stored.model_dump(mode="json", exclude={"budget"})
    for name, value in settings.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) and values.get(name) else value
    return make_plan(**values)


def _nested(values: Mapping[str, Any], own: Collection[str] = ()) -> dict[str, Any]:
    """The values of options under the keys of a plan.

    Args:
        values: by parameter of the command.
        own: names of the settings of own models.
    """
    settings: dict[str, Any] = {}
    for name, value in values.items():
        *parts, last = PLAN_KEYS[name]
        table = settings
        for part in parts:
            table = table.setdefault(part, {})
        if name in _WITH_NAMES:
            read = _WITH_NAMES[name](value, own=own)
        else:
            read = _READERS[name](value) if name in _READERS else value
        if isinstance(table.get(last), dict):  # --set beside options of their own
            twice = sorted(set(table[last]) & set(read))
            if twice:
                stop(f"--set: {twice[0]} is given twice; give it once", 2)
            read = {**table[last], **read}
        table[last] = read
    return settings


def _has_search(file: Path) -> bool:
    """The plan has a search; what else is wrong with it is said when it is loaded."""
    from lcat.study import PlanError, load_plan

    try:
        return load_plan(file).search is not None
    except PlanError:
        return True


def seen_from(folder: Path, settings: dict[str, Any]) -> None:
    """Paths of the command line start from the current folder, and those of a plan from the folder of the plan."""
    from lcat.study.plan.own_data import is_own_file

    def seen(path: str) -> str:
        try:
            return path if Path(path).is_absolute() else os.path.relpath(path, folder)
        except ValueError:  # on another drive
            return str(Path(path).absolute())

    if folder == Path():
        return
    if "datasets" in settings:
        settings["datasets"] = [seen(name) if is_own_file(name) else name for name in settings["datasets"]]
    if "layers" in settings:
        settings["layers"] = [_seen_model(text, seen) for text in settings["layers"]]
    if str(settings.get("split", "")).startswith("file:"):
        settings["split"] = "file:" + seen(settings["split"].removeprefix("file:"))
    if "data" in settings.get("run", {}):
        settings["run"]["data"] = seen(settings["run"]["data"])


def _seen_model(text: str, seen: Callable[[str], str]) -> str:
    """An own model of the command line, its file from elsewhere."""
    alias, equals, target = text.rpartition("=")
    file, colon, name = target.rpartition(":")
    return f"{alias}{equals}{seen(file)}{colon}{name}" if file.endswith(".py") else text


def _with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan needs and no option says: all layers on data sets that are named, else the demo."""
    from lcat.study.models.defaults import DEMO_DATASETS, DEMO_LAYERS
    from lcat.study.models.layers import DEFAULT_LAYERS

    if "datasets" in settings:
        return {"layers": DEFAULT_LAYERS, "seeds": _DEFAULT_SEEDS, **settings}
    return {"datasets": DEMO_DATASETS, "layers": DEMO_LAYERS, "seeds": _DEMO_SEEDS, **settings}


def check_machine(plan: StudyPlan) -> None:
    """Refuse a plan before anything is loaded if this machine lacks its folder of data sets or its device.

    Raises:
        PlanError: with the path of the key.
    """
    import torch

    from lcat.study import PlanError
    from lcat.study.plan.errors import PlanProblem

    data, device = plan.run.data, plan.run.device
    problems = []
    if data is not None and not Path(data).is_dir():
        message = f"{data} is a file; expected a folder" if Path(data).exists() else f"there is no folder {data}"
        problems.append(PlanProblem(path=("run", "data"), message=message, value=data))
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        message = f"{device} cannot be used here: {str(error).splitlines()[0]}"
        problems.append(PlanProblem(path=("run", "device"), message=message, value=device))
    if problems:
        raise PlanError(problems=problems)
