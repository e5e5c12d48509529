"""The split of a table of nodes: one column of words, or the masks of PyG as columns."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from lcat.data.datasets.columns import Columns, is_missing
from lcat.data.datasets.items import DataError

__all__ = ["masks_of", "split_columns"]

_PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_MASK = re.compile(rf"({'|'.join(_PARTS)})_masks?(?:\.(\d+))?", re.IGNORECASE)
_BOOLEANS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def split_columns(nodes: Columns, drop: Sequence[str]) -> list[str]:
    """The columns that say which nodes train, validate and test; empty if there is none.

    Raises:
        DataError: if two columns say it.
    """
    columns = [column for column in nodes.values if column not in drop]
    words = [column for column in columns if column.lower() == "split"][:1]
    masks = [column for column in columns if _MASK.fullmatch(column)]
    if words and masks:
        raise DataError(
            f"{nodes.name}: expected the split once, got the columns {', '.join([*words, *masks])}: leave some out "
            f"(drop={masks!r})"
        )
    return words or masks


def masks_of(nodes: Columns, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """``train_mask``, ``val_mask`` and ``test_mask``, as far as ``columns`` say them; ``[N]``, or ``[N, S]``.

    Args:
        nodes: the table.
        columns: what :func:`split_columns` returned.

    Raises:
        DataError: names the first value that is none of a split.
    """
    if not columns:
        return {}
    if not _MASK.fullmatch(columns[0]):
        return _masks_of_words(nodes, columns[0])
    numbered: dict[str, dict[int, np.ndarray]] = {}
    for column in columns:
        match = _MASK.fullmatch(column)
        assert match is not None
        of_part = numbered.setdefault(f"{_PARTS[match[1].lower()]}_mask", {})
        if int(match[2] or 0) in of_part:
            raise DataError(f"{nodes.name}: expected each mask once, got {', '.join(columns)}: leave some out (drop=)")
        of_part[int(match[2] or 0)] = _booleans(nodes, column)
    # One mask may serve all splits; where several do, those of one number belong together.
    numbers = {frozenset(several) for several in numbered.values() if len(several) > 1}
    if len(numbers) > 1:
        raise DataError(
            f"{nodes.name}: expected masks of the same numbers for train, val and test, got {', '.join(columns)}: "
            "rename them, or leave some out (drop=)"
        )
    masks = {part: [several[number] for number in sorted(several)] for part, several in numbered.items()}
    return {part: np.stack(several, axis=1) if len(several) > 1 else several[0] for part, several in masks.items()}


def _masks_of_words(nodes: Columns, column: str) -> dict[str, np.ndarray]:
    parts = []
    for row, value in enumerate(nodes.values[column]):
        word = "" if is_missing(value) else str(value).strip().lower()
        if word and word not in _PARTS:
            raise nodes.problem(row, column, "train, val or test, or nothing for a node in none of them")
        parts.append(_PARTS.get(word, ""))
    array = np.array(parts)
    return {f"{part}_mask": array == part for part in ("train", "val", "test")}


def _booleans(nodes: Columns, column: str) -> np.ndarray:
    mask = np.zeros(nodes.size, dtype=bool)
    for row, value in enumerate(nodes.values[column]):
        word = "" if is_missing(value) else str(value).strip().lower()
        if word not in _BOOLEANS:
            raise nodes.problem(row, column, "0 or 1, or false or true, as in a mask of PyG")
        mask[row] = _BOOLEANS[word]
    return mask
