"""Numbers as users pass them: Python's, NumPy's, or arrays and tensors that hold one."""

from __future__ import annotations

import numbers
import operator
from typing import Any

__all__ = ["as_bool", "as_float", "as_int", "as_plain", "is_bool", "read_bool", "refuse_bytes"]


def as_int(value: Any) -> int | None:
    """``value`` as an int if it is a whole number.

    Args:
        value: anything. An int, a NumPy integer and an array or tensor that holds one integer are whole numbers. A bool
            is none, nor is 3.0.

    Returns:
        the int, or ``None``.

    Example:
        >>> import numpy as np
        >>> from lcat._numbers import as_int
        >>> as_int(np.array([4, 2]).max() + 1), as_int(True), as_int(3.0)
        (5, None, None)
    """
    if type(value) is int:
        return value
    if is_bool(value):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_float(value: Any) -> float | None:
    """``value`` as a float if it is a real number.

    Args:
        value: anything. An int, a float, a NumPy number and an array or tensor of shape ``()`` are real numbers, nan
            and infinity among them. A bool is none.

    Returns:
        the float, or ``None``.

    Example:
        >>> import numpy as np
        >>> from lcat._numbers import as_float
        >>> as_float(np.float32(0.5)), as_float(1), as_float(True), as_float("0.5")
        (0.5, 1.0, None, None)
    """
    if isinstance(value, numbers.Real):
        return None if isinstance(value, bool) else float(value)
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        number = value.item()
        return as_float(number) if isinstance(number, numbers.Real) else None
    return None


def is_bool(value: Any) -> bool:
    """Whether ``value`` is true or false: Python's, NumPy's, or arrays and tensors of them, which are no numbers here.

    Example:
        >>> import numpy as np
        >>> from lcat._numbers import is_bool
        >>> is_bool(True), is_bool(np.bool_(False)), is_bool(1)
        (True, True, False)
    """
    return isinstance(value, bool) or str(getattr(value, "dtype", "")).endswith("bool")


def as_bool(value: Any) -> bool | None:
    """``value`` as a bool if it says true or false.

    Args:
        value: anything. A bool, NumPy's bool, an array or tensor of shape ``()`` of them, and the integers 0 and 1, as
            command lines parse them, say it. Texts do not, nor do arrays of several values.

    Returns:
        the bool, or ``None``.

    Example:
        >>> import numpy as np
        >>> from lcat._numbers import as_bool
        >>> (
        ...     as_bool(np.bool_(True)),
        ...     as_bool(0),
        ...     as_bool("no"),
        ...     as_bool(2),
        ...     as_bool(np.array([True, False])),
        ... )
        (True, False, None, None, None)
    """
    if isinstance(value, bool):
        return value
    if is_bool(value):
        return bool(value) if getattr(value, "shape", None) == () else None
    number = as_int(value)
    return bool(number) if number in (0, 1) else None


def as_plain(value: Any) -> Any:
    """``value``, with NumPy's numbers as Python's, also in a tuple or list; everything else as it is.

    Checkpoints and JSON keep plain values, and torch reads no others with ``weights_only``.

    Example:
        >>> import numpy as np
        >>> from lcat._numbers import as_plain
        >>> as_plain(np.int64(3)), as_plain((np.float64(0.5), 1)), as_plain("3")
        (3, (0.5, 1), '3')
    """
    if type(value) in (tuple, list) and any(_is_numpy_number(item) for item in value):
        return type(value)(as_plain(item) for item in value)
    return value.item() if _is_numpy_number(value) else value


def read_bool(name: str, value: Any) -> bool:
    """``value`` as a bool, see :func:`as_bool`.

    Args:
        name: of the option, for the message.
        value: anything.

    Raises:
        ValueError: it is neither true nor false, as a text or a tensor of several values.

    Example:
        >>> from lcat._numbers import read_bool
        >>> read_bool("shuffle", "no")
        Traceback (most recent call last):
        ValueError: shuffle must be True or False; got 'no'
    """
    flag = as_bool(value)
    if flag is None:
        raise ValueError(f"{name} must be True or False; got {value!r}")
    return flag


def refuse_bytes(what: str, index: Any) -> None:
    """Refuse a vector of uint8 as an index: it may be an old kind of mask, or numbers.

    Args:
        what: what the index is, for the message.
        index: an array or a tensor.

    Raises:
        TypeError: it is a vector of uint8.

    Example:
        >>> import numpy as np
        >>> from lcat._numbers import refuse_bytes
        >>> refuse_bytes("rows", np.array([0, 1], dtype=np.uint8))
        Traceback (most recent call last):
        TypeError: rows of type uint8 may be a mask or numbers: pass .bool() for a mask, .long() for numbers
    """
    if str(index.dtype).endswith("uint8") and len(index.shape) > 0:
        raise TypeError(f"{what} of type uint8 may be a mask or numbers: pass .bool() for a mask, .long() for numbers")


def _is_numpy_number(value: Any) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
