"""How a public name leaves: it keeps working for two minor versions, and says what takes its place.

``docs/stability.md`` says which names are promised to whom. The helper marks functions, classes and arguments::

    @deprecated(since="0.3", removed_in="0.5", use="lcat.ops.gat_attention")
    def attend(...): ...

    @deprecated(since="0.3", removed_in="0.5", use="num_layers", argument="depth")
    def build(num_layers: int = 2, *, depth: int | None = None): ...
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["deprecated"]

_T = TypeVar("_T", bound=Callable[..., Any])


def deprecated(*, since: str, removed_in: str, use: str, argument: str | None = None) -> Callable[[_T], _T]:
    """Mark a function, a class or one argument: it works as before, and warns where it is used.

    A function warns when it is called, a class when it or a subclass is instantiated, an argument when it is passed by
    keyword; so make a deprecated argument keyword-only. The docstring gets Sphinx's note. Nothing changes for type
    checkers.

    Args:
        since: the version that deprecates, such as ``"0.3"``.
        removed_in: the version that removes, at least two minor versions later; the next major version will do too.
        use: what to use instead, as a user writes it.
        argument: the argument that is deprecated; ``None`` means the whole function or class.

    Returns:
        The decorator. A class is changed in place and stays the same object, so that it pickles.

    Raises:
        ValueError: if ``removed_in`` is too early, or there is no such keyword argument.

    Example:
        >>> import warnings
        >>> @deprecated(since="0.3", removed_in="0.5", use="total")
        ... def add(a, b):
        ...     return a + b
        >>> with warnings.catch_warnings(record=True) as seen:
        ...     warnings.simplefilter("always")
        ...     result = add(1, 2)
        >>> result, str(seen[0].message)
        (3, 'add is deprecated since lcat 0.3 and will be removed in 0.5; use total')
    """
    if not _late_enough(since, removed_in):
        raise ValueError(
            f"expected 'removed_in' to be at least two minor versions after since={since!r}, or the next major "
            f"version; got {removed_in!r}"
        )

    def mark(target: _T) -> _T:
        name = target.__qualname__
        if argument is not None:
            kind = getattr(inspect.signature(target).parameters.get(argument), "kind", None)
            if kind not in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
                raise ValueError(f"{name} has no keyword argument {argument!r} to deprecate")
            name = f"argument {argument!r} of {name}"
        message = f"{name} is deprecated since lcat {since} and will be removed in {removed_in}; use {use}"
        entry = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]

        @functools.wraps(entry)
        def warn(*args: Any, **kwargs: Any) -> Any:
            if argument is None or argument in kwargs:
                warnings.warn(message, FutureWarning, stacklevel=2)
            return entry(*args, **kwargs)

        subject = f"Argument ``{argument}``: use" if argument is not None else "Use"
        note = f"\n\n.. deprecated:: {since}\n   {subject} {use}. Will be removed in {removed_in}.\n"
        documented: Any = target if isinstance(target, type) else warn
        documented.__doc__ = inspect.cleandoc(target.__doc__ or "") + note
        if isinstance(target, type):
            target.__init__ = warn  # type: ignore[misc]
            return target
        return warn  # type: ignore[return-value]

    return mark


def _late_enough(since: str, removed_in: str) -> bool:
    (major, minor), (last_major, last_minor) = (tuple(map(int, v.split(".")[:2])) for v in (since, removed_in))
    return last_major > major or (last_major == major and last_minor >= minor + 2)
