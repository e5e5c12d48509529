"""The cache of views of graphs: beside the edge tensors, never on them, and never longer than they live.

An entry is found by the identity of the edge tensor. It is valid while the tensor's fingerprint (version counter,
address, shape, strides, and a checksum of the indices) is the one it was stored with. The bytes that are kept for the
tensors on one device have a limit: what was not used for the longest time is forgotten first.
"""

from __future__ import annotations

import itertools
import weakref
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lcat._environment import memory_bytes
from lcat._weak_entries import removal

# One edge tensor is used with few sizes (a relation in both directions, a few values of ``size=``): more variants
# than this mean that something else varies, and keeping all of them would be a leak.
_MAX_VARIANTS = 8
_DEFAULT_SHARE = 4  # of the memory of a device, one part in four
_MEMORY_UNKNOWN = 8 * 2**30


class Size:
    """The bytes of one view, with all that was computed from it so far."""

    __slots__ = ("bytes", "device")

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bytes = 0

    def add(self, number: int) -> None:
        """Count what was computed, and forget other views if the limit is passed."""
        self.bytes += number
        _grown(self.device, number)


class _Entry(NamedTuple):
    key: weakref.ref[Tensor]
    fingerprint: Any
    views: dict[Any, tuple[Any, Size]]
    last_use: list[int]


# By the identity of the tensor. One that is freed takes its entry with it. torch's WeakTensorKeyDictionary does the
# same and costs three microseconds a question.
_entries: dict[int, _Entry] = {}
_clock = itertools.count()
_limit: int | None = None
# Never below what is kept; counted anew when it passes the limit, since entries vanish with their tensors unseen.
_estimates: dict[torch.device, int] = {}


def lookup(key: Tensor, fingerprint: Any, variant: Any) -> Any | None:
    """The view stored for this tensor, fingerprint and variant (sizes and flow), or ``None``."""
    entry = _entry_of(key)
    if entry is None or entry.fingerprint != fingerprint:
        return None
    entry.last_use[0] = next(_clock)
    view, _ = entry.views.get(variant, (None, None))
    return view


def _entry_of(key: Tensor) -> _Entry | None:
    entry = _entries.get(id(key))
    return entry if entry is not None and entry.key() is key else None


def store(key: Tensor, fingerprint: Any, variant: Any, view: Any, size: Size) -> None:
    """Keep ``view`` until ``key`` changes or is freed, or the limit is passed and it was not used for longest."""
    entry = _entry_of(key)
    if entry is None or entry.fingerprint != fingerprint or len(entry.views) >= _MAX_VARIANTS:
        number = id(key)
        entry = _Entry(weakref.ref(key, removal(_entries, number)), fingerprint, {}, [0])
        _entries[number] = entry
    entry.last_use[0] = next(_clock)
    entry.views[variant] = (view, size)
    _grown(size.device, size.bytes)


class _Own(NamedTuple):
    key: weakref.ref[Tensor]
    state: tuple[Any, ...]
    variant: Any
    view: Any


# Views of edge tensors that lcat has made of its own graphs.
_own: dict[int, _Own] = {}


def own_view(key: Tensor, variant: Any) -> Any | None:
    """The view that this tensor was made of; ``None`` for the tensors of users, and where it was written to."""
    own = _own.get(id(key))
    if own is None or own.key() is not key or own.variant != variant or own.state != _state(key):
        return None
    return own.view


def store_own(key: Tensor, variant: Any, view: Any) -> None:
    """Keep the view that ``key`` was made of until ``key`` is freed, or written to by an operation of torch."""
    number = id(key)
    _own[number] = _Own(weakref.ref(key, removal(_own, number)), _state(key), variant, view)


def _state(key: Tensor) -> tuple[Any, ...]:
    address = key.data_ptr() if key.layout is torch.strided else key.col_indices().data_ptr()
    return key._version, address, key.shape


def has(key: Tensor) -> bool:
    """Whether a view is kept for this tensor."""
    return _entry_of(key) is not None


def num_views(key: Tensor) -> int:
    """The number of views (by sizes and flow) that are kept for this tensor."""
    entry = _entry_of(key)
    return 0 if entry is None else len(entry.views)


def forget(key: Tensor | None = None) -> None:
    """Forget the views of one tensor, or all."""
    if key is None:
        _entries.clear()
        _own.clear()
        _estimates.clear()
    else:
        _entries.pop(id(key), None)
        _own.pop(id(key), None)


def contents() -> list[tuple[torch.device, int]]:
    """Device and bytes of each edge tensor's views."""
    entries = [entry for _, entry in list(_entries.items())]
    return [(size.device, size.bytes) for entry in entries for _, size in list(entry.views.values())]


def num_tensors() -> int:
    """Number of edge tensors with a cached view."""
    return len(_entries)


def limit(device: torch.device) -> int:
    """The bytes that are kept for the tensors on one device, at most."""
    return _default_limit(device) if _limit is None else _limit


def set_limit(number: int | None) -> None:
    """Change the limit (``None``: the default), and forget what is above it."""
    global _limit
    _limit = number
    for device in {device for device, _ in contents()}:
        _shrink(device)


@cache
def _default_limit(device: torch.device) -> int:
    if device.type == "cuda":
        number = torch.cuda.current_device() if device.index is None and torch.cuda.is_available() else device.index
        if number is None or number >= torch.cuda.device_count():
            raise ValueError(f"expected 'device' as one of {torch.cuda.device_count()} GPUs, got '{device}'")
        return int(torch.cuda.get_device_properties(number).total_memory) // _DEFAULT_SHARE
    return (memory_bytes() or _MEMORY_UNKNOWN) // _DEFAULT_SHARE


def _grown(device: torch.device, number: int) -> None:
    _estimates[device] = _estimates.get(device, 0) + number
    if _estimates[device] > limit(device):
        _shrink(device)


def _shrink(device: torch.device) -> None:
    """Count what is kept on the device, and forget the oldest entries, all but the last one used, above the limit."""
    mine = []
    for key, entry in list(_entries.items()):
        sizes = [size for _, size in list(entry.views.values()) if size.device == device]
        if sizes:
            mine.append((entry.last_use[0], sum(size.bytes for size in sizes), key))
    total = sum(number for _, number, _ in mine)
    if total > limit(device):
        goal = limit(device) // 8 * 7  # some room, so that the next view does not count everything again
        mine.sort(key=lambda item: item[0])
        for _, number, key in mine[:-1]:
            if total <= goal:
                break
            _entries.pop(key, None)
            total -= number
    _estimates[device] = total
