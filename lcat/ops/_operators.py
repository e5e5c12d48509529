"""How the fused primitives become ``torch.library`` operators.

An operator of torch takes tensors, numbers and ``None``, one after the other, and no objects. So the arguments of each
operator are stated once, as a NamedTuple: its fields are arguments, or NamedTuples of arguments (``SortedEdges`` is
one). The operator's schema, and the order in which arguments are packed and unpacked, follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from types import NoneType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, get_args, get_type_hints

import torch
from torch import Tensor

from lcat.graph import SortedEdges

__all__ = ["NO_EDGES", "Arguments", "Operator", "OptionalEdges", "contiguous", "unpacker"]

_SCHEMA_TYPES: dict[Any, str] = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    float: "float",
    int: "SymInt",
    bool: "bool",
    list[bool]: "bool[]",
}
_AUTOCAST = ("AutocastCPU", "AutocastCUDA")
_libraries: list[torch.library.Library] = []  # what is registered stays so for as long as these live


class OptionalEdges(NamedTuple):
    """What is packed in place of ``SortedEdges`` that may be missing."""

    indptr: Tensor | None
    indices: Tensor | None
    edge_ids: Tensor | None


NO_EDGES = OptionalEdges(None, None, None)


class Arguments(Protocol):
    """A NamedTuple that states the arguments of an operator."""

    def pack(self) -> tuple[Any, ...]:
        """All arguments, one after the other: groups are replaced by their fields."""


A = TypeVar("A", bound=Arguments)


class Operator(Generic[A]):
    """The operator ``lcat::<name>``, with everything that torch may ask of it.

    Args:
        name: its name.
        arguments: the NamedTuple of its arguments; those that have gradients come first.
        results: the number of tensors that it returns.
        kernels: for each kind of device, what computes the results from the arguments.
        fake: the shapes and types of the results, for tracing.
        setup_context: as in ``torch.library.register_autograd``, but it gets the arguments as a NamedTuple.
        backward: as there; :meth:`gradients` makes what it returns.
    """

    def __init__(
        self,
        name: str,
        arguments: type[A],
        results: int,
        *,
        kernels: dict[str, Callable[[A], Any]],
        fake: Callable[[A], Any],
        setup_context: Callable[[Any, A, Any], None],
        backward: Callable[..., tuple[Tensor | None, ...]],
    ) -> None:
        unpack = unpacker(arguments)
        self._size = _size(arguments)
        returns = "Tensor" if results == 1 else f"({', '.join(['Tensor'] * results)})"
        schema = f"({', '.join(_schema(arguments))}) -> {returns}"

        def taking_arguments(function: Callable[[A], Any]) -> Callable[..., Any]:
            return lambda *flat: function(unpack(flat))

        (device, kernel), *others = kernels.items()
        operator = torch.library.custom_op(
            f"lcat::{name}", taking_arguments(kernel), mutates_args=(), device_types=device, schema=schema
        )
        for device, kernel in others:
            operator.register_kernel(device, taking_arguments(kernel))
        operator.register_fake(taking_arguments(fake))
        operator.register_autograd(
            backward, setup_context=lambda ctx, inputs, output: setup_context(ctx, unpack(inputs), output)
        )
        _register_autocast(name)
        self.overload: Callable[..., Any] = getattr(torch.ops.lcat, name).default

    def __call__(self, arguments: A) -> Any:
        return self.overload(*arguments.pack())

    def gradients(self, gradients: Iterable[Tensor | None]) -> tuple[Tensor | None, ...]:
        """The gradients of the first arguments, and ``None`` for all others."""
        first = tuple(gradients)
        return first + (None,) * (self._size - len(first))


def unpacker(arguments: type[Any]) -> Callable[[Sequence[Any]], Any]:
    """The inverse of ``pack`` for a NamedTuple class: from a flat sequence back to fields and groups."""
    pieces: list[int | slice] = []
    makers: list[Callable[[Any], Any] | None] = []
    position = 0
    for hint in get_type_hints(arguments).values():
        group, optional = _group(hint)
        if group is None:
            pieces.append(position)
            makers.append(None)
            position += 1
        else:
            size = _size(group)
            pieces.append(slice(position, position + size))
            makers.append(_maybe(unpacker(group)) if optional else unpacker(group))
            position += size
    make: Callable[[Iterable[Any]], Any] = arguments._make
    if not any(makers):
        return make
    cut = itemgetter(*pieces)
    return lambda flat: make([x if m is None else m(x) for m, x in zip(makers, cut(flat), strict=True)])


def contiguous(tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
    """The same tensors, in memory as kernels read them; gradients often arrive expanded."""
    return [None if t is None else t.contiguous() for t in tensors]


def _group(hint: Any) -> tuple[type[Any] | None, bool]:
    """The NamedTuple class that a field's type names, if any, and whether it may be ``None``."""
    options = [option for option in get_args(hint) if option is not NoneType] or [hint]
    kind = options[0]
    if isinstance(kind, type) and issubclass(kind, tuple):
        return kind, NoneType in get_args(hint)
    return None, False


def _size(arguments: type[Any]) -> int:
    groups = (_group(hint)[0] for hint in get_type_hints(arguments).values())
    return sum(1 if group is None else _size(group) for group in groups)


def _schema(arguments: type[Any]) -> list[str]:
    """``"Tensor x"``, ``"float slope"``, ...: each argument as torch's schemas write it."""
    written = []
    for name, hint in get_type_hints(arguments).items():
        group, optional = _group(hint)
        if group is SortedEdges:  # there may be two of them: the names say which
            fields = _schema(OptionalEdges if optional else SortedEdges)
            written += [field.replace(" ", f" {name}_") for field in fields]
        elif group is not None:
            written += _schema(group)
        else:
            written.append(f"{_SCHEMA_TYPES[hint]} {name}")
    return written


def _maybe(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda piece: None if piece[0] is None else make(piece)


def _register_autocast(name: str) -> None:
    """Under autocast an operator takes its arguments as they come.

    Kernels accept any mixture of types and sum in float32 (as the plain operations that they replace promote), so
    nothing is gained by a cast before the call.
    """
    library = torch.library.Library("lcat", "FRAGMENT")
    _libraries.append(library)

    def without_autocast(*arguments: Any) -> Any:
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
        keys = keys | torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return getattr(torch.ops.lcat, name).default(*arguments)

    for key in _AUTOCAST:
        library.impl(name, without_autocast, key)
