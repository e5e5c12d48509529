"""Seeds: every random purpose draws from a seed of its own."""

from __future__ import annotations

import hashlib
import operator
from typing import Literal

__all__ = ["Purpose", "derive_seed"]

#: What random numbers are drawn for. A new purpose is a new name here, so that no two can share their draws.
Purpose = Literal[
    # graphs
    "labels of csbm",
    "features of csbm",
    "edges of csbm",
    "noise on edges",
    "noise on features",
    "noise on edge features",
    "communities of a stand-in",
    "rest of a stand-in",
    # splits
    "split",
    "folds",
    "inner folds",
    # batches
    "order",
    "draws",
    "walks",
    "parts",
    "no links",
    "epoch",
    # training
    "weights",
    "training",
    "labels",
    # studies
    "search",
]


def derive_seed(seed: int, purpose: Purpose, *numbers: int | str) -> int:
    """The seed of one purpose: two purposes, and two lists of numbers, share no random numbers.

    One seed is handed to many functions. Generators that start from the same number draw the same sequence: the noise
    would be a copy of the features, and the split would follow the labels. So no function starts a generator from the
    seed that it is given.

    Args:
        seed: what the caller was given, any whole number.
        purpose: what is drawn.
        numbers: which of several draws for one purpose, such as an epoch and a batch.

    Returns:
        A number in ``0 .. 2^63 - 1``.

    Raises:
        TypeError: the seed is no whole number.

    Complexity:
        About two microseconds.

    Example:
        >>> from lcat._seeds import derive_seed
        >>> derive_seed(0, "noise on features") == derive_seed(0, "noise on edges")
        False
    """
    try:
        whole = operator.index(seed)
    except TypeError:
        raise TypeError(f"expected a whole number as seed, got {seed!r}") from None
    digest = hashlib.blake2b("/".join(map(str, (whole, purpose, *numbers))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
