"""Types of the fields of plans and settings: numbers, of which true and false are none, and yes or no."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool
from pydantic_core import PydanticCustomError

from lcat._numbers import as_plain, is_bool

__all__ = ["Finite", "Number", "Whole", "YesOrNo"]

_SURE = {int, float, str}


# Pydantic takes True for 1. The types of these errors are its own, whose words lcat.study.models.messages has.
def _no_bool_for_int(value: Any) -> Any:
    if type(value) in _SURE:
        return value
    if is_bool(value):
        raise PydanticCustomError("int_type", "a boolean is no number")
    return as_plain(value)


def _no_bool_for_float(value: Any) -> Any:
    if type(value) in _SURE:
        return value
    if is_bool(value):
        raise PydanticCustomError("float_type", "a boolean is no number")
    return as_plain(value)


#: A whole number.
Whole = Annotated[int, BeforeValidator(_no_bool_for_int)]
#: A number.
Number = Annotated[float, BeforeValidator(_no_bool_for_float)]
#: A number that is neither infinite nor nan.
Finite = Annotated[float, BeforeValidator(_no_bool_for_float), Field(allow_inf_nan=False)]
#: True or false; 1, 0 and words are neither.
YesOrNo = Annotated[StrictBool, BeforeValidator(as_plain)]
