"""Which implementation serves a call of a primitive, and why.

Every primitive keeps an ordered table of implementations, best first; ``naive`` closes each table and takes
anything. A call uses the first one that has no objection. ``LCAT_IMPLEMENTATION=name`` in the environment,
or ``with lcat.ops.use_implementation(name):``, restricts the choice to one name. Without that, a program that is
recorded by ``torch.export`` is ``naive``: it and its files then need no lcat.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, Literal, NamedTuple

import torch

from lcat._device import read_device
from lcat._text import hint
from lcat._tracing import is_exporting

__all__ = [
    "PLAIN",
    "Call",
    "Choice",
    "Feature",
    "Implementation",
    "Primitive",
    "explain",
    "must_be_plain",
    "use_implementation",
]

Name = Literal["triton", "native", "scatter", "naive"]

PLAIN: tuple[Name, ...] = ("scatter", "naive")  # those made of operations that do not check what they read

_ENVIRONMENT = "LCAT_IMPLEMENTATION"
# A plain global, because torch.compile cannot trace a context variable.
_forced: Name | None = None
_requests: list[Name] = []  # of the blocks that are open
_primitives: dict[str, Primitive] = {}


class Feature(Flag):
    """What a call may need that not every implementation can do. Members are combined with ``|``.

    Attributes:
        NONE: nothing special.
        EDGE_KEY: ``edge_key`` of :func:`~lcat.ops.gatv2_attention`.
        WIDE_EDGE_ATTR: an ``edge_attr`` with more than 16 features.
        OTHER_VALUE_WIDTH: values of another shape than the keys.
        LARGE_GRAPH: at least 2**31 nodes or edges.
        TRANSFORM: a functorch transform, forward-mode differentiation or ``torch.jit.trace``
            (:func:`~lcat.ops.is_transformed`).

    Example:
        >>> from lcat.ops import Feature, explain
        >>> [
        ...     choice.implementation
        ...     for choice in explain(features=Feature.TRANSFORM | Feature.EDGE_KEY)
        ... ]
        ['naive', 'naive', 'naive', 'naive', 'naive']
    """

    NONE = 0
    EDGE_KEY = auto()
    WIDE_EDGE_ATTR = auto()
    OTHER_VALUE_WIDTH = auto()
    LARGE_GRAPH = auto()
    TRANSFORM = auto()


class Call(NamedTuple):
    """What an implementation may object to: where the data is, its type, and what the call needs."""

    device: torch.device
    dtype: torch.dtype
    features: Feature = Feature.NONE


def _no_objection(call: Call) -> str | None:
    del call
    return None


@dataclass(frozen=True)
class Implementation:
    """One way to compute a primitive.

    Args:
        name: short name, the same for every primitive.
        function: takes the primitive's arguments.
        objection: given a call, ``None`` if the implementation can serve it, or the reason why not.
    """

    name: Name
    function: Callable[..., Any]
    objection: Callable[[Call], str | None] = _no_objection


@dataclass(frozen=True)
class Choice:
    """A row of :func:`explain`.

    Args:
        primitive: "aggregate", "dot_attention", "gat_attention", "gatv2_attention", or "extremes" (``aggregate`` with
            ``reduce="min"`` or ``"max"``).
        device: the kind of device ("cpu", "cuda").
        implementation: the name of the implementation that serves a plain float32 call there.
        reason: why this one.
        unavailable: implementation name -> why it is not used.
    """

    primitive: str
    device: str
    implementation: str
    reason: str
    unavailable: dict[str, str]


class Primitive:
    """A primitive's table of implementations, best first."""

    def __init__(self, name: str, implementations: list[Implementation]) -> None:
        self.name = name
        self.implementations = implementations
        _primitives[name] = self

    def choose(self, call: Call) -> Implementation:
        """The implementation that serves this call.

        Raises:
            ValueError: an implementation was requested by a name that does not exist.
            RuntimeError: the one requested by name cannot serve this call.
        """
        # (torch.compile of torch 2.9 cannot trace `in` of a Flag, so numbers are compared.)
        if call.features is not Feature.NONE and call.features.value & Feature.TRANSFORM.value:
            return self._named("naive")
        forced = _requested()
        if forced is not None:
            implementation = self._named(forced)
            objection = implementation.objection(call)
            if objection is not None:
                raise RuntimeError(
                    f"implementation '{forced}' was requested, but cannot run '{self.name}': {objection}; unset "
                    f"{_ENVIRONMENT} (or leave use_implementation) to let lcat choose"
                )
            return implementation
        if is_exporting():
            return self._named("naive")
        for implementation in self.implementations:
            if implementation.objection(call) is None:
                return implementation
        raise AssertionError(f"naive objects to a call of '{self.name}'")

    def _reason(self, call: Call) -> str:
        """Why :meth:`choose` answers what it does; the same questions in the same order."""
        if Feature.TRANSFORM in call.features:
            return "transforms such as vmap and jvp work on plain torch alone, whatever was requested"
        forced = _requested()
        if forced is not None:
            return f"requested by name ({forced})"
        if is_exporting():
            return "a program is exported that shall run, and a file that shall load, without lcat"
        if len(self.implementations) == 1:
            return "the only implementation"
        return "the first in order of speed that can serve the call"

    def _named(self, name: str) -> Implementation:
        for implementation in self.implementations:
            if implementation.name == name:
                return implementation
        known = ", ".join(i.name for i in self.implementations)
        raise ValueError(f"expected an implementation of '{self.name}' ({known}), got '{name}'")

    def explain(self, call: Call) -> Choice:
        """What :meth:`choose` would answer, with the objections of the others."""
        choice, reason = self.choose(call), self._reason(call)
        others = {i.name: i.objection(call) for i in self.implementations if i is not choice}
        # Slower ones come later; one that comes earlier and has no objection is left out for the reason of the choice.
        earlier = {i.name for i in self.implementations[: self.implementations.index(choice)]}
        return Choice(
            self.name,
            call.device.type,
            choice.name,
            reason,
            {
                name: why or (f"not used: {reason}" if name in earlier else "slower than the one that is used")
                for name, why in others.items()
            },
        )


def _requested() -> Name | None:
    """The implementation that was requested by name."""
    # Whether the name exists is checked where it is looked up.
    return _forced or os.environ.get(_ENVIRONMENT) or None  # type: ignore[return-value]


def must_be_plain() -> bool:
    """Whether a program is being exported that shall run without lcat: nobody has requested an implementation."""
    return is_exporting() and _requested() is None


@contextmanager
def use_implementation(name: Name) -> Iterator[None]:
    """Use one implementation by name for every primitive called inside the block (in the whole process).

    Raises:
        ValueError: no primitive has an implementation of this name.

    Example:
        >>> import lcat.ops
        >>> with lcat.ops.use_implementation("naive"):
        ...     [choice.implementation for choice in lcat.ops.explain()]
        ['naive', 'naive', 'naive', 'naive', 'naive']
    """
    known = sorted({i.name for p in _primitives.values() for i in p.implementations})
    if name not in known:
        raise ValueError(f"expected an implementation ({', '.join(known)}), got {name!r}{hint(name, known)}")
    global _forced
    _requests.append(name)
    _forced = name
    try:
        yield
    finally:
        # Blocks of several threads need not end in the reverse order of their beginnings.
        del _requests[len(_requests) - 1 - _requests[::-1].index(name)]
        _forced = _requests[-1] if _requests else None


def explain(
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, features: Feature = Feature.NONE
) -> list[Choice]:
    """Which implementation each primitive would use for a call on ``device`` in ``dtype``, and why.

    Args:
        device: where the tensors are.
        dtype: their floating point type.
        features: what else the call needs, such as ``Feature.EDGE_KEY``.

    Raises:
        TypeError, ValueError: an argument is of another kind, or no device has this name.

    Example:
        >>> import lcat.ops
        >>> [choice.primitive for choice in lcat.ops.explain()]
        ['aggregate', 'dot_attention', 'extremes', 'gat_attention', 'gatv2_attention']
    """
    named = isinstance(device, str) and bool(hint(device, _primitives))
    device = read_device(device, otherwise=": explain answers for all primitives, leave the name out" if named else "")
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"expected 'dtype' as a torch.dtype such as torch.float32, got {dtype!r}")
    if not isinstance(features, Feature):
        raise TypeError(f"expected 'features' as lcat.ops.Feature, combined with |, got {features!r}")
    call = Call(device, dtype, features)
    return [_primitives[name].explain(call) for name in sorted(_primitives)]
