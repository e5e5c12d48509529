"""JSON that every reader takes: it has no word for nan and the infinities, which Python would write all the same."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["strict_json", "with_nan", "without_nan"]


def without_nan(values: Any) -> Any:
    """Nested plain values with ``None`` in place of every float that is no finite number.

    Example:
        >>> from lcat._json import without_nan
        >>> without_nan({"loss": [0.5, float("nan")], "epochs": 2})
        {'loss': [0.5, None], 'epochs': 2}
    """
    if isinstance(values, float):
        return values if math.isfinite(values) else None
    if isinstance(values, dict):
        return {key: without_nan(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [without_nan(value) for value in values]
    return values


def with_nan(values: Any) -> Any:
    """The way back: ``nan`` in place of every ``None``, for values that hold numbers and no other ``None``."""
    if values is None:
        return math.nan
    if isinstance(values, dict):
        return {key: with_nan(value) for key, value in values.items()}
    if isinstance(values, list):
        return [with_nan(value) for value in values]
    return values


def strict_json(values: Any, *, indent: int | None = None) -> str:
    """The values as JSON, ``null`` for what is no finite number.

    Example:
        >>> from lcat._json import strict_json
        >>> strict_json([1.5, float("nan"), float("inf")])
        '[1.5, null, null]'
    """
    return json.dumps(without_nan(values), indent=indent, allow_nan=False)
