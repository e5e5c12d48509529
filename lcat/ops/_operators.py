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
from torch._compile import _disable_dynamo

from lcat.graph import SortedEdges
from lcat.ops._operands import check_devices, in_memory

__all__ = ["NO_EDGES", "Arguments", "Operator", "OptionalEdges", "name_function", "unpacker"]

_SCHEMA_TYPES: dict[Any, str] = {
    Tensor: "Tensor",
    Tensor | None: "Tensor?",
    float: "float",
    int: "SymInt",
    bool: "bool",
    Sequence[bool]: "bool[]",
}
_AUTOCAST = ("AutocastCPU", "AutocastCUDA")
_EDGES = ("by_target", "by_source")
_library = torch.library.Library("lcat", "FRAGMENT")  # what is registered stays so for as long as this lives
_below_autograd = torch._C._AutoDispatchBelowAutograd
_AFTER_AUTOGRAD = torch._C._after_autograd_keyset


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
        kernels: for each kind of device, what computes the results from the arguments, whose tensors are contiguous.
            A result that nobody asked for is ``None``; the operator returns an empty tensor for it.
        check: raises for arguments whose shapes and types do not fit each other. It is not called for fakes, whose
            sizes may be symbols. Devices and memory are checked for all operators alike (:mod:`lcat.ops._operands`).
        fake: the shapes and types of the results, for tracing.
        setup_context: as in ``torch.library.register_autograd``, but it gets the arguments as a NamedTuple.
        backward: as there; :meth:`gradients` makes what it returns.

    ``torch.library.custom_op`` with ``register_autograd`` would do the same in six layers of Python, which small graphs
    wait for. Here a call from a compiled model, where autograd has nothing to do, is one function.
    """

    def __init__(
        self,
        name: str,
        arguments: type[A],
        results: int,
        *,
        kernels: dict[str, Callable[[A], tuple[Tensor | None, ...]]],
        check: Callable[[A], None],
        fake: Callable[[A], Any],
        setup_context: Callable[[Any, A, Any], None],
        backward: Callable[..., tuple[Tensor | None, ...]],
    ) -> None:
        self.name = name
        self._kernels = kernels
        unpack = unpacker(arguments)
        self._size = _size(arguments)
        returns = "Tensor" if results == 1 else f"({', '.join(['Tensor'] * results)})"
        stated = _schema(arguments)
        schema = f"({', '.join(stated)}) -> {returns}"
        tensors = [(i, text.split()[1]) for i, text in enumerate(stated) if text.startswith("Tensor")]

        def checked(kernel: Callable[[A], tuple[Tensor | None, ...]], device: str) -> Callable[..., Any]:
            def run(*flat: Any) -> Any:
                packed = unpack(in_memory(flat, tensors, device))
                check(packed)
                computed = kernel(packed)
                if results == 1:
                    return computed[0]
                return tuple([flat[0].new_empty(0) if result is None else result for result in computed])

            return _disable_dynamo(run)

        def of_one_device(*flat: Any) -> Any:
            check_devices(flat, tensors)
            return fake(unpack(flat))

        _library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
        self.overload: Callable[..., Any] = getattr(torch.ops.lcat, name).default
        runs = {device.upper(): checked(kernel, device) for device, kernel in kernels.items()}
        for key, run in runs.items():
            _library.impl(name, run, key)
        torch.library.register_fake(f"lcat::{name}", of_one_device, lib=_library)
        autograd = _autograd(
            self.overload,
            runs,
            name=name,
            setup_context=lambda ctx, flat, output: setup_context(ctx, unpack(flat), output),
            backward=backward,
        )
        _library.impl(name, autograd, "Autograd", with_keyset=True)
        _register_autocast(name)

    def __call__(self, arguments: A) -> Any:
        """Call the operator through torch's dispatcher, with all checks."""
        return self.overload(*arguments.pack())

    def compute(self, arguments: A) -> tuple[Tensor | None, ...]:
        """The results of the kernel alone.

        Args:
            arguments: whose tensors are plain, contiguous, checked and on one device. The first one says where.
        """
        first: Any = arguments
        while not isinstance(first, Tensor):
            first = first[0]
        return self._kernels["cuda" if first.is_cuda else "cpu"](arguments)

    def gradients(self, gradients: Iterable[Tensor | None]) -> tuple[Tensor | None, ...]:
        """The gradients of the first arguments, and ``None`` for all others: what a backward pass returns."""
        first = tuple(gradients)
        return first + (None,) * (self._size + 1 - len(first))  # one more: the dispatch keys, see _autograd


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


def name_function(function: Any, name: str) -> None:
    """What profilers call an autograd function, and errors of anomaly mode its backward pass."""
    function.__name__ = function.__qualname__ = f"lcat::{name}"
    function._backward_cls.__name__ = f"lcat::{name}Backward"


def _autograd(
    overload: Any,
    runs: dict[str, Callable[..., Any]],
    *,
    name: str,
    setup_context: Callable[[Any, Sequence[Any], Any], None],
    backward: Callable[..., tuple[Tensor | None, ...]],
) -> Callable[..., Any]:
    """What the dispatcher calls for the key of autograd, with the set of all keys of the call.

    Where nothing is left to do after autograd (no mode, no transform, no lazy conjugate), it calls the function of the
    device itself; torch's dispatcher would pack and unpack all arguments once more.
    """
    known: dict[int, Callable[..., Any] | None] = {}

    def function_of(keys: Any) -> Callable[..., Any] | None:
        """What the dispatcher would call after autograd, if that is the function of a device."""
        run = runs.get((keys & _AFTER_AUTOGRAD).highestPriorityTypeId().name)
        known[keys.raw_repr()] = run
        return run

    def below(keys: Any, flat: Sequence[Any]) -> Any:
        raw = keys.raw_repr()
        run = known[raw] if raw in known else function_of(keys)
        with _below_autograd():
            if run is not None:
                return run(*flat)
            return overload.redispatch(keys & _AFTER_AUTOGRAD, *flat)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *arguments: Any) -> Any:
            *flat, keys = arguments
            output = below(keys, flat)
            with _below_autograd():
                setup_context(ctx, flat, output)
            return output

    Function.backward = staticmethod(backward)  # type: ignore[method-assign]
    name_function(Function, name)
    Function.__name__ = f"lcat::{name} (autograd)"  # in a profile, the operator is the call around it

    def call(keys: Any, *flat: Any) -> Any:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*flat):
            return Function.apply(*flat, keys)
        return below(keys, flat)

    return call


def _register_autocast(name: str) -> None:
    """Under autocast an operator takes its arguments as they come.

    Kernels accept any mixture of types and sum in float32 (as the plain operations that they replace promote), so
    nothing is gained by a cast before the call.
    """

    def without_autocast(*arguments: Any) -> Any:
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
        keys = keys | torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return getattr(torch.ops.lcat, name).default(*arguments)

    for key in _AUTOCAST:
        _library.impl(name, without_autocast, key)
