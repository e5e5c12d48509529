"""Dictionaries of what is known of tensors, by their ``id``, from which an entry goes with its tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["removal"]


def removal(entries: dict[int, Any], number: int) -> Callable[[weakref.ref[Any]], None]:
    """What a weak reference calls when its tensor is freed: removes the entry whose ``key`` the reference is.

    That may be while Python ends, after the names of modules are gone, so it needs none of them.

    Args:
        entries: the dictionary.
        number: the ``id`` of the tensor, which another one may have by then.

    Example:
        >>> import weakref
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from lcat._weak_entries import removal
        >>> entries, x = {}, torch.ones(2)
        >>> entries[id(x)] = SimpleNamespace(key=weakref.ref(x, removal(entries, id(x))))
        >>> del x
        >>> entries
        {}
    """

    def freed(reference: weakref.ref[Any]) -> None:
        entry = entries.get(number)
        if entry is not None and entry.key is reference:
            entries.pop(number, None)

    return freed
