"""Pydantic's reports in one line: each key, what is wrong with it, what it got, and the key that was meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from lcat._text import hint
from lcat.study.models.messages import plain_message, without_consequences

__all__ = ["PlanError", "PlanProblem", "describe_errors", "find_problems"]


@dataclass(frozen=True)
class PlanProblem:
    """One thing that is wrong with a plan.

    Attributes:
        path: the keys that lead to it, such as ``("overrides", "lr")``; empty where several keys do not fit together.
        message: what is wrong, what it got, and what is accepted.
        value: what it got, as it was handed over.
    """

    path: tuple[str, ...]
    message: str
    value: Any = None

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.message}" if self.path else self.message


class PlanError(ValueError):
    """A plan that cannot be run; the message names the setting, its value and what is allowed.

    Args:
        message: one line; by default what ``problems`` say.
        problems: what is wrong with keys of the plan.

    Attributes:
        problems: the same; empty where no key is wrong, as for a plan file that does not exist.
    """

    def __init__(self, message: str = "", problems: Sequence[PlanProblem] = ()) -> None:
        super().__init__(message or " | ".join(map(str, problems)))
        self.problems = tuple(problems)


def describe_errors(error: ValidationError, model: type[BaseModel]) -> str:
    """The report in one line.

    Args:
        error: as pydantic raised it.
        model: that was to be made, for the names of its keys.
    """
    return " | ".join(map(str, find_problems(error, model)))


def find_problems(error: ValidationError, model: type[BaseModel], part: tuple[str, ...] = ()) -> list[PlanProblem]:
    """The report, one problem per key.

    Args:
        error: as pydantic raised it.
        model: that was to be made, for the names of its keys.
        part: the keys under which the model stands in a plan.
    """
    return [_problem(item, model, part) for item in without_consequences(error.errors())]


def _problem(item: Any, model: type[BaseModel], part: tuple[str, ...]) -> PlanProblem:
    # The names of the members of a union stand in pydantic's path too, and a word for names that are no text.
    members = ("Range", "tuple[any, ...]", "[key]")
    path = tuple(str(key) for key in item["loc"] if not isinstance(key, int) and key not in members)
    if path == ("overrides", "own"):  # where settings of own models are kept, not where they are written
        path = path[:1]
    message = " ".join(_message(item, path, model).split())
    return PlanProblem(path=(*part, *path), message=message, value=item["input"])


def _message(item: Any, path: tuple[str, ...], model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        known = _keys_beside(path, model)
        return f"not permitted, no such key{hint(path[-1], known)}; known are {', '.join(known)}; got {item['input']!r}"
    if item["type"] == "missing":
        return "missing, and the plan needs it"
    message = plain_message(item)
    # Our own messages say what they got; pydantic's do not.
    says_value = item["type"] == "value_error" and ("got" in message or "there is no" in message)
    return message if says_value or not path else f"{message}; got {item['input']!r}"


def _keys_beside(path: tuple[str, ...], model: type[BaseModel]) -> list[str]:
    """The names of the fields where the last part of ``path`` stands."""
    for part in path[:-1]:
        field = model.model_fields.get(part)
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        inner = _model_in(part)
        if inner is not None:
            return inner
    return None
