"""What pydantic finds wrong, in the words of lcat's own errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from lcat._text import hint

__all__ = ["plain_message", "without_consequences"]

_NO_TABLE = "must be a table of names and values"
_NO_LIST = "must be a list"
_NO_NUMBER = "must be a number"
_NO_WHOLE = "must be a whole number"
_NO_TEXT = "must be text"
_NO_BOOL = "must be true or false"
# By pydantic's type of error; what is not listed keeps pydantic's message.
_PLAIN_WORDS = {
    "bool_parsing": _NO_BOOL,
    "bool_type": _NO_BOOL,
    "dict_type": _NO_TABLE,
    "finite_number": "must be a finite number",
    "float_parsing": _NO_NUMBER,
    "float_type": _NO_NUMBER,
    "frozen_set_type": _NO_LIST,
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": _NO_WHOLE,
    "int_parsing": _NO_WHOLE,
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_type": _NO_WHOLE,
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": _NO_LIST,
    "literal_error": "must be one of {expected}",
    "mapping_type": _NO_TABLE,
    "model_attributes_type": _NO_TABLE,
    "model_type": _NO_TABLE,
    "none_required": "must be left out",
    "recursion_loop": "must not hold itself",
    "set_type": _NO_LIST,
    "string_sub_type": _NO_TEXT,
    "string_too_short": "must not be empty",
    "string_type": _NO_TEXT,
    "string_unicode": "must be text in UTF-8",
    "too_short": "must have at least 1 entry",
    "tuple_type": _NO_LIST,
}


def plain_message(problem: Mapping[str, Any]) -> str:
    """What is wrong, without the value.

    Args:
        problem: an entry of ``ValidationError.errors()``.

    Example:
        >>> from lcat.study.models.messages import plain_message
        >>> plain_message({"type": "greater_than_equal", "ctx": {"ge": 1}})
        'must be at least 1'
        >>> plain_message({"type": "int_type", "loc": ("seeds", 0)})
        'each entry must be a whole number'
    """
    path = problem.get("loc", ())
    last = path[-1] if path else ""
    if problem["type"] == "invalid_key" or last == "[key]":
        return "its names must be text"
    words = _PLAIN_WORDS.get(problem["type"])
    if words is None:
        return str(problem["msg"]).removeprefix("Value error, ")
    message = words.format(**{name: _shown(value) for name, value in problem.get("ctx", {}).items()})
    if problem["type"] == "literal_error" and isinstance(problem.get("input"), str):
        message += hint(problem["input"], re.findall("'([^']*)'", problem["ctx"]["expected"]))
    return f"each entry {message}" if isinstance(last, int) else message


def without_consequences(problems: Iterable[Any]) -> list[Any]:
    """The entries of ``ValidationError.errors()``, without those that another one explains.

    A list of one entry that is wrong is too short for pydantic, too.
    """
    problems = list(problems)
    parents = {problem["loc"][:-1] for problem in problems}
    return [problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in parents]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
