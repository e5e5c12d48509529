"""Words that messages and tables share."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable

__all__ = ["counted", "error_line", "hint"]

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
    if what.endswith(("s", "x", "sh", "tch", "nch", "rch")):
        return f"{count:,} {what}es"
    if what.endswith("y") and what[-2:-1] not in "aeiou":
        return f"{count:,} {what[:-1]}ies"
    return f"{count:,} {what}s"


def error_line(traceback: str) -> str:
    r"""The line of a traceback that names the error: its type, and the first line of its message.

    What follows in a message of several lines is advice more often than not. Of a text that is no traceback it is the
    last line.

    Example:
        >>> from lcat._text import error_line
        >>> frames = "Traceback (most recent call last):\n  File 'a.py', line 1, in run\n    f()\n"
        >>> error_line(
        ...     frames
        ...     + "RuntimeError: CUDA error: out of luck\nCompile with TORCH_USE_CUDA_DSA.\n"
        ... )
        'RuntimeError: CUDA error: out of luck'
        >>> error_line("the worker was killed")
        'the worker was killed'
    """
    *_, last = f"\n{traceback}".rpartition("\nTraceback (most recent call last):\n")
    lines = last.strip("\n").splitlines()
    if last == f"\n{traceback}" or not lines:
        return lines[-1].strip() if lines else ""
    # Frames are indented by two spaces or more; the error follows.
    start = next((number for number, line in enumerate(lines) if not line.startswith("  ")), len(lines) - 1)
    named = lines[start].strip()
    if named.endswith(":") and start + 1 < len(lines):  # a message that begins with a line break
        named += f" {next((line.strip() for line in lines[start + 1 :] if line.strip()), '')}"
    return named
