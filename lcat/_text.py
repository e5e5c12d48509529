"""Words that messages and tables share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

__all__ = ["counted", "hint"]

# Names that are suggested at most: more of them are a list, which the message gives anyway.
_LIMIT = 3
# Letters from which on the beginning of a name says which one is meant.
_SHORTEST = 3


def hint(value: object, known: Iterable[str], *, show: Callable[[str], str] = str) -> str:
    """The names that were probably meant, to be put behind the wrong one.

    Letters are compared without regard to case. A name that begins with ``value`` is meant, too, however long it is:
    ``hidden`` stands for ``hidden_channels``.

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
    word = str(value).lower()
    close = difflib.get_close_matches(word, names, n=_LIMIT)
    if not close and len(word) >= _SHORTEST:
        close = [name for name in names if name.startswith(word)][:_LIMIT]
    close = [names[name] for name in close]
    return f" (did you mean {' or '.join(show(name) for name in close)}?)" if close else ""


def counted(count: int, what: str) -> str:
    """A number, with its thousands apart, and what it counts.

    Args:
        count: the number.
        what: one of them, such as ``"node"``; words behind it belong behind the result.

    Example:
        >>> from lcat._text import counted
        >>> (
        ...     counted(1, "data set"),
        ...     counted(3000, "data set"),
        ...     counted(2, "class"),
        ...     counted(0, "entry"),
        ... )
        ('1 data set', '3,000 data sets', '2 classes', '0 entries')
    """
    if count == 1:
        return f"1 {what}"
    if what.endswith(("s", "x", "ch", "sh")):
        return f"{count:,} {what}es"
    if what.endswith("y") and what[-2:-1] not in "aeiou":
        return f"{count:,} {what[:-1]}ies"
    return f"{count:,} {what}s"
