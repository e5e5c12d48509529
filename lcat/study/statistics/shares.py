"""Numbers strictly between 0 and 1, as levels of intervals and of tests are."""

from __future__ import annotations

from lcat._numbers import as_float

__all__ = ["check_share"]


def check_share(name: str, value: float) -> None:
    """Refuse what does not lie strictly between 0 and 1.

    Args:
        name: of the argument, for the message.
        value: a number.

    Raises:
        ValueError: it is none, or lies elsewhere.

    Example:
        >>> from lcat.study.statistics.shares import check_share
        >>> check_share("level", 0.95)
    """
    number = as_float(value)
    if number is None or not 0 < number < 1:
        raise ValueError(f"{name} must lie between 0 and 1; got {value!r}")
