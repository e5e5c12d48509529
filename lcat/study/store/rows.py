"""From a row of the store to what it stands for, or a reason why it stands for nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from lcat._json import with_nan
from lcat._measures import TASK_NAMES, find_measure
from lcat._text import hint
from lcat.study.models.layers import LAYERS
from lcat.study.models.messages import plain_message
from lcat.study.models.own_model import is_model_text, model_name
from lcat.study.plan.cell import Cell
from lcat.study.plan.plan import StudyPlan
from lcat.study.store.codec import unpack_history
from lcat.study.store.result import CellResult
from lcat.train import FitResult, History

__all__ = [
    "RESULT_COLUMNS",
    "RowError",
    "own_layers",
    "read_cell",
    "read_facts",
    "read_json",
    "read_plan",
    "read_result",
]

#: The columns of a result, in the order in which they are written and read.
RESULT_COLUMNS = (
    "key",
    "status",
    "error",
    "metric",
    "train",
    "val",
    "test",
    "best_epoch",
    "epochs",
    "stopped",
    "fit_seconds",
    "lambdas",
    "seconds",
    "peak_memory",
    "parameters",
    "split_rule",
    "train_nodes",
    "val_nodes",
    "test_nodes",
    "split_hash",
    "test_set",
    "started",
    "finished",
    "worker",
    "device",
    "versions",
    "graph",
    "task",
    "figures",
)
# SQLite keeps any type in any column. What must be a number in every row, and what in rows of finished cells.
_NUMBERS = ("seconds",)
_WHOLE_NUMBERS = ("parameters", "train_nodes", "val_nodes", "test_nodes", "versions")
_FIT_NUMBERS = ("train", "val", "test", "fit_seconds")
_FIT_WHOLE_NUMBERS = ("best_epoch", "epochs")
# What stands for bytes that are no UTF-8, see Store.
_NO_UTF8 = "�"


class RowError(ValueError):
    """A row that cannot be read; the message is the reason, in a few words."""


def read_json(text: Any, kind: type[dict[Any, Any]] | type[list[Any]] | None = None) -> Any:
    """The value of a text of JSON.

    Args:
        text: as it is stored.
        kind: ``dict`` or ``list`` if it must be one.

    Raises:
        RowError: if it is no JSON, or of another kind.
    """
    if not isinstance(text, str) or _NO_UTF8 in text:
        raise RowError("its JSON is no UTF-8 text")
    try:
        value = json.loads(text)
    except ValueError:
        raise RowError("its JSON is cut or changed") from None
    if kind is not None and not isinstance(value, kind):
        raise RowError(f"its JSON must be a {kind.__name__}; got {type(value).__name__}")
    return value


def read_plan(value: Any, models: Collection[str] = ()) -> StudyPlan:
    """The plan of a study.

    Args:
        value: as JSON has it.
        models: what the plan calls own models.

    Raises:
        RowError: if it is none.
    """
    try:
        # Your own files may be gone when a study is read.
        return StudyPlan.model_validate(value, context={"files": False, "models": models})
    except ValidationError as error:
        raise RowError(_first_problem(error)) from None


def own_layers(plan: Any, models: Collection[str]) -> frozenset[str]:
    """Names that cells have for the own models of a plan, of which nothing else is read.

    Args:
        plan: as it is stored.
        models: what plans call the own models whose sources are kept.
    """
    try:
        layers = read_json(plan, dict).get("layers")
    except RowError:
        layers = []
    texts = layers if isinstance(layers, list) else []
    known = [text for text in texts if isinstance(text, str) and (text in models or is_model_text(text))]
    return frozenset(model_name(text) for text in (*known, *models))


def read_cell(text: Any, own: Collection[str] = ()) -> Cell:
    """The cell of a text of JSON.

    Args:
        text: as it is stored.
        own: names of own models.

    Raises:
        RowError: if it is none, or its layer does not exist here.
    """
    try:
        cell = Cell.model_validate_json(text)
    except (ValidationError, TypeError, ValueError) as error:
        if isinstance(error, ValidationError) and error.errors()[0]["type"] != "json_invalid":
            raise RowError(_first_problem(error)) from None
        raise RowError("its JSON is cut or changed") from None
    if cell.layer not in LAYERS and cell.layer not in own:
        raise RowError(f"there is no layer {cell.layer!r}{hint(cell.layer, LAYERS)}")
    return cell


def read_facts(text: Any) -> dict[str, Any]:
    """Facts by name, such as versions.

    Raises:
        RowError: if it is no JSON, or no table of names.
    """
    facts: dict[str, Any] = read_json(text, dict)
    return facts


def read_result(
    cell: Cell, row: Mapping[str, Any], packed: bytes | None, *, history: bool, facts: tuple[dict[str, Any], ...]
) -> CellResult:
    """The result in a row.

    Args:
        cell: that was run.
        row: the values of :data:`RESULT_COLUMNS`.
        packed: the curves; ``None`` where they are missing or not asked for.
        history: whether they were asked for.
        facts: versions and machine, and the graph.

    Raises:
        RowError: if a part cannot be read.
    """
    done = row["status"] == "done"
    for name in (*_NUMBERS, *(_FIT_NUMBERS if done else ())):
        # SQLite keeps nan as NULL.
        if not isinstance(row[name], float) and not (row[name] is None and name != "seconds"):
            raise RowError(f"its {name} is no number")
    for name in (*_WHOLE_NUMBERS, *(_FIT_WHOLE_NUMBERS if done else ())):
        if not isinstance(row[name], int):
            raise RowError(f"its {name} is no whole number")
    if row["metric"] != "":
        try:
            find_measure(str(row["metric"]))
        except ValueError:
            raise RowError(f"its metric is {row['metric']!r}") from None
    if row["task"] not in TASK_NAMES:
        raise RowError(f"its task is {row['task']!r}")
    fit = _fit(row, packed, history) if done else None
    others = (
        "error parameters metric split_rule seconds peak_memory split_hash test_set started finished worker device task"
    )
    rest = {name: row[name] for name in others.split()}
    sizes = (row["train_nodes"], row["val_nodes"], row["test_nodes"])
    versions, graph = facts
    rest["figures"] = read_json(row["figures"], dict)
    return CellResult(cell=cell, fit=fit, split_sizes=sizes, versions=versions, graph=graph, **rest)


def _fit(row: Mapping[str, Any], packed: bytes | None, history: bool) -> FitResult:
    curves = History()
    if history:
        if not isinstance(packed, bytes):
            raise RowError("its curves are missing")
        try:
            curves = unpack_history(packed)
        except ValueError as error:
            raise RowError(str(error)) from None
    names = ("metric", "train", "val", "test", "best_epoch", "epochs", "stopped")
    # SQLite keeps nan as NULL, and JSON as null.
    figures = with_nan({**{name: row[name] for name in names}, "lambdas": read_json(row["lambdas"], dict)})
    for pair in figures["lambdas"].values():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, (int, float)) for one in pair)):
            raise RowError("its lambdas are no pairs of numbers")
    return FitResult(**figures, seconds=row["fit_seconds"], history=curves)


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    path = ".".join(map(str, problem["loc"]))
    message = plain_message(problem)
    return f"{path}: {message}" if path else message
