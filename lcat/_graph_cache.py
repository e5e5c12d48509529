"""Where views of graphs are remembered: beside the edge tensor, never on it, and never longer than it lives.

An entry is found by the identity of the edge tensor and is good only while its fingerprint (version
counter, address, shape, strides) is the one it was stored under, so any in-place operation of torch drops
it. What torch itself cannot see, a write through ``tensor.numpy()`` or ``tensor.data``, or to the tensors that a
torch.sparse matrix was made of (it shares their memory, but not their counter), cannot be seen here either;
:func:`clear` is for that.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

# One edge tensor serves few sizes (a relation used both ways, a few values of ``size=``): more than this
# means that something else varies, and keeping all of it would be a leak.
_MOST_VIEWS = 8

_views: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def lookup(key: Tensor, fingerprint: Any, place: Any) -> Any | None:
    """The view stored for this tensor under this fingerprint and place, or ``None``."""
    entry = _views.get(key)
    if entry is None or entry[0] != fingerprint:
        return None
    return entry[1].get(place)


def store(key: Tensor, fingerprint: Any, place: Any, view: Any) -> None:
    """Remember ``view`` until ``key`` changes or is freed."""
    entry = _views.get(key)
    if entry is None or entry[0] != fingerprint or len(entry[1]) >= _MOST_VIEWS:
        entry = (fingerprint, {})
        _views[key] = entry
    entry[1][place] = view


def clear() -> None:
    """Forget every view."""
    _views.clear()


def size() -> int:
    """Number of edge tensors with a remembered view."""
    return len(_views)
