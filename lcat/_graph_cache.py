"""The cache of views of graphs: beside the edge tensors, never on them, and never longer than they live.

An entry is found by the identity of the edge tensor. It is valid while the tensor's fingerprint (version
counter, address, shape, strides) is the one it was stored with, so every in-place operation of torch drops
it. What torch itself cannot see, a write through ``tensor.numpy()`` or ``tensor.data``, or to the tensors that a
torch.sparse matrix was made of (it shares their memory, but not their counter), cannot be seen here either;
call :func:`clear` after such a write.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

# One edge tensor is used with few sizes (a relation in both directions, a few values of ``size=``): more variants
# than this mean that something else varies, and keeping all of them would be a leak.
_MAX_VARIANTS = 8

_views: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def lookup(key: Tensor, fingerprint: Any, variant: Any) -> Any | None:
    """The view stored for this tensor, fingerprint and variant (sizes and flow), or ``None``."""
    entry = _views.get(key)
    if entry is None or entry[0] != fingerprint:
        return None
    return entry[1].get(variant)


def store(key: Tensor, fingerprint: Any, variant: Any, view: Any) -> None:
    """Keep ``view`` until ``key`` changes or is freed."""
    entry = _views.get(key)
    if entry is None or entry[0] != fingerprint or len(entry[1]) >= _MAX_VARIANTS:
        entry = (fingerprint, {})
        _views[key] = entry
    entry[1][variant] = view


def clear() -> None:
    """Forget every view."""
    _views.clear()


def size() -> int:
    """Number of edge tensors with a cached view."""
    return len(_views)
