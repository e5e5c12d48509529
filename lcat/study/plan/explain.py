"""Pydantic's reports in one line: each key, what is wrong with it, what it got, and the key that was meant."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

__all__ = ["PlanError", "explain"]


class PlanError(ValueError):
    """A plan that cannot be run; the message names the setting, its value and what is allowed."""


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The report in one line.

    Args:
        error: as pydantic raised it.
        model: that was to be made, for the names of its keys.
    """
    return " | ".join(" ".join(_line(item, model).split()) for item in error.errors())


def _line(item: Any, model: type[BaseModel]) -> str:
    location = [part for part in item["loc"] if not isinstance(part, int) and part not in ("Range", "tuple[any, ...]")]
    where = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        known = _keys_beside(location, model)
        close = difflib.get_close_matches(str(location[-1]), known, n=2)
        hint = f" (did you mean {' or '.join(close)}?)" if close else ""
        return f"{where}: not permitted, no such key{hint}; known are {', '.join(known)}; got {item['input']!r}"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing":
        return f"{where}: missing, and the plan needs it"
    # Our own messages say what they got; pydantic's do not.
    got = "" if item["type"] == "value_error" and ("got" in message or "there is no" in message) else None
    if got is None:
        got = f"; got {item['input']!r}" if location else ""
    return f"{where}: {message}{got}" if where else f"{message}{got}"


def _keys_beside(location: list[Any], model: type[BaseModel]) -> list[str]:
    """The names of the fields where the last part of ``location`` stands."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        inner = None if field is None else _model_in(field.annotation)
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _model_in(part)
        if found is not None:
            return found
    return None
