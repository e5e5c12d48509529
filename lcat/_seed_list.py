"""Seeds in words, the same in all commands and in plans."""

from __future__ import annotations

__all__ = ["parse_seeds"]

_LIMIT = 2**32
#: More seeds than this are a slip of the keyboard.
_MAX_SEEDS = 1_000_000


def parse_seeds(text: str) -> list[int]:
    """Seeds of a text: ``"3"`` stands for the first three, 0, 1 and 2; ``"0,3,5"``, ``"0-9"`` and mixes for themselves.

    One seed alone is written as a list: ``"3,"`` or ``"3-3"``, seed 0 as ``"0,"``.

    Raises:
        ValueError: if the text is none of these, stands for 0 seeds, or names a seed twice or one outside of
            ``0 .. 2^32 - 1``.

    Example:
        >>> from lcat._seed_list import parse_seeds
        >>> parse_seeds("3"), parse_seeds("0-2,7"), parse_seeds("3,")
        ([0, 1, 2], [0, 1, 2, 7], [3])
    """
    usage = "3 (seeds 0, 1, 2), 0,3,5 or 0-9"
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > 1 and not parts[-1]:
        parts.pop()  # "3,"
    is_count = len(parts) == 1 and "," not in text and parts[0].isdecimal()
    if is_count and int(parts[0]) == 0:
        raise ValueError(f"the number of seeds must be at least 1, got {text!r}; seed 0 alone is '0,' or '0-0'")
    seeds: list[int] = []
    for part in parts:
        low, dash, high = (piece.strip() for piece in (f"0-{int(part) - 1}" if is_count else part).partition("-"))
        if not (low.isdecimal() and (high.isdecimal() if dash else True)):
            raise ValueError(f"expected seeds such as {usage}, got {text!r}")
        first, last = int(low), int(high) if dash else int(low)
        if last - first >= _MAX_SEEDS or last >= _LIMIT or last < first:
            raise ValueError(
                f"expected at most {_MAX_SEEDS:,} seeds in 0 .. 2^32 - 1, smaller ones first, such as {usage}; "
                f"got {text!r}"
            )
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"expected each seed once, got {text!r}")
    return seeds
