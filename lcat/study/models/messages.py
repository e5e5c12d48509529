"""What pydantic finds wrong, in the words of lcat's own errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["plain_message"]

# By pydantic's type of error; what is not listed keeps pydantic's message.
_PLAIN_WORDS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a table of names and values",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "list_type": "must be a list",
    "literal_error": "must be one of {expected}",
    "string_type": "must be text",
    "too_short": "must have at least {min_length} entries",
    "tuple_type": "must be a list",
}


def plain_message(problem: Mapping[str, Any]) -> str:
    """What is wrong, without the value.

    Args:
        problem: an entry of ``ValidationError.errors()``.

    Example:
        >>> from lcat.study.models.messages import plain_message
        >>> plain_message({"type": "greater_than_equal", "ctx": {"ge": 1}})
        'must be at least 1'
    """
    words = _PLAIN_WORDS.get(problem["type"])
    if words is not None:
        return words.format(**problem.get("ctx", {}))
    return str(problem["msg"]).removeprefix("Value error, ")
