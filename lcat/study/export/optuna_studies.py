"""The searches of a study as studies of Optuna."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from sqlalchemy.exc import SQLAlchemyError

from lcat._measures import sign_of
from lcat.study._folder import OutputError
from lcat.study.export.errors import ExportError
from lcat.study.plan.plan import StudyPlan
from lcat.study.plan.settings import Range
from lcat.study.store.record import StudyRecord

__all__ = ["write_optuna"]


def write_optuna(record: StudyRecord, folder: Path) -> list[Path]:
    """Write ``optuna.db``, with a study of Optuna for every search, in place of those of its name.

    A trial's value is its mean validation metric. Its number is that of the search.

    Args:
        record: the study.
        folder: that exists.

    Returns:
        The file.

    Raises:
        ExportError: if the study has no search.
        OutputError: if the file cannot be written.
    """
    trials, plan = record.trials(), record.plan
    metrics = {result.cell.dataset: result.metric for result in record.cell_results() if result.metric}
    if trials.empty or plan.search is None:
        raise ExportError("the study has no search, and Optuna keeps searches alone; export it to parquet or mlflow")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / "optuna.db"
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
        names = set(optuna.study.get_all_study_names(storage))
        for unit, rows in trials.groupby("unit", sort=False):
            first = rows.iloc[0]
            name = f"{first['layer']} on {first['dataset']} ({str(unit)[:16]})"
            if name in names:
                optuna.delete_study(study_name=name, storage=storage)
            higher = sign_of(metrics.get(str(first["dataset"]), "")) > 0
            study = optuna.create_study(
                study_name=name, storage=storage, direction="maximize" if higher else "minimize"
            )
            for key in ("dataset", "layer", "test_set"):
                study.set_user_attr(key, first[key])
            space = _space(plan, first["layer"])
            study.add_trials([_trial(row, space) for row in rows.sort_values("number").to_dict("records")])
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        raise OutputError(f"cannot write {path}: {' '.join(str(error).split())[:300]}") from error
    return [path]


def _space(plan: StudyPlan, layer: str) -> dict[str, Any]:
    """What the search of one layer could choose from."""
    assert plan.search is not None
    space: dict[str, Any] = {}
    for name, values in plan.search.space.items():
        if not isinstance(values, Range):
            space[name] = optuna.distributions.CategoricalDistribution(values)
        elif plan.number_type(layer, name) is int:
            step = int(values.step or 1)
            space[name] = optuna.distributions.IntDistribution(int(values.low), int(values.high), values.log, step)
        else:
            space[name] = optuna.distributions.FloatDistribution(values.low, values.high, values.log, values.step)
    return space


def _trial(row: Mapping[Any, Any], space: Mapping[str, Any]) -> Any:
    params = {}
    for column, value in row.items():
        name = str(column).removeprefix("params.")
        if not str(column).startswith("params.") or name not in space:
            continue
        if not _is_missing(value):
            params[name] = _in_space(value, space[name])
        elif None in getattr(space[name], "choices", ()):
            params[name] = None
    value = row["validation"]
    done = value is not None and not math.isnan(value)
    state = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=state.COMPLETE if done else state.FAIL,
        params=params,
        distributions={name: space[name] for name in params},
        value=float(value) if done else None,
        user_attrs={"number": int(row["number"])},
    )


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _in_space(value: Any, distribution: Any) -> Any:
    """The value as the search had it: frames make whole numbers fractions where some trials lack them."""
    if isinstance(distribution, optuna.distributions.IntDistribution):
        return int(value)
    if isinstance(distribution, optuna.distributions.FloatDistribution):
        return float(value)
    choices = distribution.choices
    return next((choice for choice in choices if choice == value), json.loads(json.dumps(value)))
