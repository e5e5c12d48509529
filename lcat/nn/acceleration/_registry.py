"""Which classes of PyG lcat can run faster, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


class Adapter(NamedTuple):
    """How the layers of one class of PyG run on lcat.

    Attributes:
        parts: the classes that stand before PyG's in the bases of the class that takes its place.
        why_not: the reason why a layer is left alone; ``None`` for one that is swapped.
        replaces_forward: whether the layer is faster only where its ``forward`` is that of ``parts``.
        added: the attributes that ``parts`` may put on a layer, and that are removed when it is restored.
    """

    parts: tuple[type, ...]
    why_not: Callable[[Any], str | None]
    replaces_forward: bool
    added: tuple[str, ...] = ()


_adapters: dict[type[nn.Module], Adapter] = {}


def register(
    cls: type[nn.Module],
    *parts: type,
    why_not: Callable[[Any], str | None],
    replaces_forward: bool = False,
    added: tuple[str, ...] = (),
) -> None:
    """Say how the layers of a class of PyG run faster; see :class:`Adapter`."""
    _adapters[cls] = Adapter(parts, why_not, replaces_forward, added)


def adapted_base(cls: type) -> type[nn.Module] | None:
    """The class in the bases of ``cls``, itself included, that has an adapter; the nearest one."""
    return next((base for base in cls.__mro__ if base in _adapters), None)


def adapter_of(cls: type[nn.Module]) -> Adapter:
    """The adapter of a class of PyG itself."""
    return _adapters[cls]


def adapted_classes() -> tuple[type[nn.Module], ...]:
    """All classes of PyG that lcat can run faster."""
    return tuple(_adapters)
