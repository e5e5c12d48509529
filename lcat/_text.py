"""Words that error messages share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

__all__ = ["hint"]

# Names that are suggested at most: more of them are a list, which the message gives anyway.
_LIMIT = 3


def hint(value: object, known: Iterable[str], *, show: Callable[[str], str] = str) -> str:
    """The names that were probably meant, to be put behind the wrong one.

    Letters are compared without regard to case.

    Args:
        value: what was given.
        known: the names that are accepted.
        show: how a name is written in the hint.

    Returns:
        ``" (did you mean A or B?)"``, closest first, or an empty string if nothing is close.

    Complexity:
        O(number of names times the square of their length).

    Example:
        >>> from lcat._text import hint
        >>> f"there is no layer 'gta'{hint('gta', ['gcn', 'gat', 'lcat'])}; layers are gcn, gat, lcat"
        "there is no layer 'gta' (did you mean gat?); layers are gcn, gat, lcat"
    """
    names = {name.lower(): name for name in known}
    close = [names[name] for name in difflib.get_close_matches(str(value).lower(), names, n=_LIMIT)]
    return f" (did you mean {' or '.join(show(name) for name in close)}?)" if close else ""
