"""The fused primitives in eager mode: one autograd function calls the kernels, without torch's dispatcher between.

A call through ``torch.library`` packs, checks and unpacks all arguments, forward and again backward: 15 to 30 us each
time, as much as the kernel needs on a small graph. Nothing of it is needed where tensors are plain and nobody watches.
The operators (:mod:`lcat.ops._operators`) serve everything else: ``torch.compile``, dispatch modes, tensor subclasses,
gradients of gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import Parameter

from lcat._memory import check_memory
from lcat.ops._fused import for_backward, needs_gradient
from lcat.ops._operators import Arguments, Operator, name_function

__all__ = ["ROWS_APART", "are_as_before", "are_plain", "dense", "eager", "is_plain", "places", "runs_eagerly"]

A = TypeVar("A", bound=Arguments)
Tensors = Sequence[Tensor | None]
# The arguments of the operator of the gradients, from the gradient of each output, the inputs of the forward pass, what
# is kept of its results, its other arguments (the fields after ``inputs``), and which gradients are needed.
ToBackward = Callable[..., Any]


# The devices whose kernels read rows that do not follow each other in memory; tests run these kernels on the CPU.
ROWS_APART = {"cuda"}
# What the forward passes save after their inputs.
_RESULTS = ("out", "lse", "positive", "positive_mass")

_dispatch_keys = torch._C._dispatch_keys
_num_modes = torch._C._len_torch_dispatch_stack


def _plain_keys() -> frozenset[int]:
    with torch.inference_mode():
        of_inference = torch.empty(0)
    return frozenset(_dispatch_keys(tensor).raw_repr() for tensor in (torch.empty(0), of_inference))


# What the dispatcher sees of ordinary CPU tensors: dense, no view that negates, no wrapper.
_PLAIN_CPU = _plain_keys()


def is_plain(tensor: Tensor) -> bool:
    """Whether the tensor is nothing but numbers in memory, on the CPU or a GPU."""
    kind = type(tensor)
    if kind is not Tensor and kind is not Parameter:
        return False
    if tensor.is_cuda:
        return not tensor.is_neg() and not tensor._is_zerotensor()
    return _dispatch_keys(tensor).raw_repr() in _PLAIN_CPU


def are_plain(names: Sequence[str], tensors: Tensors) -> bool:
    """Whether all are plain, of those that are present.

    Raises:
        RuntimeError: the memory of one is gone.
    """
    for tensor in tensors:
        if tensor is None:
            continue
        if not is_plain(tensor):
            return False
        # Most tensors are whole storages: fewer questions for them than check_memory asks.
        whole = tensor.is_contiguous() and tensor.storage_offset() == 0
        if not whole or tensor.untyped_storage().nbytes() < tensor.nbytes:
            position = next(i for i, other in enumerate(tensors) if other is tensor)
            check_memory(names[position], tensor)
    return True


def dense(tensors: tuple[Any, ...], apart: Sequence[int] = ()) -> tuple[Any, ...]:
    """The tensors as kernels take them, contiguous; the very tuple where all are.

    Args:
        tensors: those of one call, or ``None``.
        apart: the positions of those whose rows need not follow each other, on the devices in :data:`ROWS_APART`.
    """
    for tensor in tensors:
        if tensor is not None and not tensor.is_contiguous():
            readable = [i for i in apart if has_whole_rows(tensors[i])]
            return tuple(t if t is None or i in readable else t.contiguous() for i, t in enumerate(tensors))
    return tensors


def has_whole_rows(tensor: Tensor | None) -> bool:
    """Whether each row (of the first dimension) is in one piece that kernels read 16 bytes at a time."""
    if tensor is None or tensor.device.type not in ROWS_APART:
        return False
    strides, length = tensor.stride(), 1
    for size, stride in zip(reversed(tensor.shape[1:]), reversed(strides[1:]), strict=True):
        if size != 1 and stride != length:
            return False
        length *= size
    return strides[0] >= length and (tensor.data_ptr() | strides[0] * tensor.element_size()) % 16 == 0


def runs_eagerly() -> bool:
    """Whether nobody watches or records what runs: no compiler, no dispatch mode."""
    return not torch.compiler.is_compiling() and _num_modes() == 0


def eager(
    operator: Operator[A],
    gradients: Operator[Any],
    inputs_type: type[Any],
    to_backward: ToBackward,
    *,
    keeps: Callable[[Sequence[Any]], tuple[Any, ...]] | None = for_backward,
    outputs: int = 1,
    kept_names: Sequence[str] = _RESULTS,
    rows_apart: Sequence[str] = (),
) -> Callable[[A], Any]:
    """A function of the arguments of ``operator`` that returns its first result, differentiable any number of times.

    Args:
        operator: the first field of its arguments, ``inputs``, has the tensors that have gradients.
        gradients: the operator of its gradients; the first field of its arguments is the gradient of the results.
        inputs_type: the NamedTuple of ``inputs``.
        to_backward: the arguments of ``gradients``.
        keeps: what the backward pass needs of the results of the forward pass; ``None`` if only its inputs.
        outputs: the number of differentiable results, which come first. The function returns a tuple of them if there
            are several. In eager mode those that nobody asked for are ``None``.
        kept_names: what errors call that which ``keeps`` returns.
        rows_apart: the inputs that kernels for GPUs read also where their rows do not follow each other.
    """
    apart = [inputs_type._fields.index(name) for name in rows_apart]
    count, names, make_inputs = len(inputs_type._fields), inputs_type._fields, inputs_type._make

    def select(results: tuple[Any, ...]) -> Any:
        return results[0] if outputs == 1 else results[:outputs]

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, arguments: A, *inputs: Tensor | None) -> Any:
            results: tuple[Any, ...] = operator.compute(arguments)
            saved = inputs if keeps is None else inputs + keeps(results)
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(*saved)
            ctx.places = places(saved)
            ctx.constants = arguments[1:]  # type: ignore[index]
            return select(results)

        @staticmethod
        def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
            if grads[0] is None and all(grad is None for grad in grads):
                return (None,) * (1 + count)
            saved, needs = ctx.saved_tensors, ctx.needs_input_grad[1:]
            inputs, results = saved[:count], saved[count:]
            if (
                not torch.is_grad_enabled()
                and are_as_before(names, saved, ctx.places, kept_names)
                and are_plain(("grad",) * outputs, grads)
            ):
                inputs = make_inputs(dense(inputs, apart))
                return None, *gradients.compute(to_backward(*dense(grads), inputs, results, ctx.constants, needs))
            # An operator knows no missing result.
            results = [inputs[0].new_empty(0) if result is None else result for result in results]
            computed = gradients(to_backward(*grads, make_inputs(inputs), results, ctx.constants, needs))
            return None, *(g if need else None for g, need in zip(computed, needs, strict=True))

    name_function(Function, operator.name)

    def call(arguments: A) -> Any:
        inputs = arguments.inputs  # type: ignore[attr-defined]
        if not runs_eagerly() or not are_plain(names, inputs):
            results = operator(arguments)
            return select(results) if isinstance(results, tuple) else results
        readable = dense(inputs, apart)
        if readable is not inputs:
            arguments = arguments._replace(inputs=make_inputs(readable))  # type: ignore[attr-defined]
        if needs_gradient(*inputs):
            return Function.apply(arguments, *inputs)
        return select(operator.compute(arguments))

    return call


def are_as_before(
    names: Sequence[str], saved: Tensors, before: list[Any], kept_names: Sequence[str] = _RESULTS
) -> bool:
    """Whether kernels can read what a forward pass has saved: the same memory, or other tensors of the same kind.

    Activation checkpointing and offloading bring other memory. Results come after the inputs, which have ``names``;
    they have ``kept_names``.

    Raises:
        RuntimeError: the memory of one is gone.
    """
    now = places(saved)
    if now == before:
        return True
    pairs = zip(now, before, strict=True)
    same_kind = all(a is b or (a is not None and b is not None and a[1:] == b[1:]) for a, b in pairs)
    return same_kind and are_plain([*names, *kept_names][: len(saved)], saved)


def places(tensors: Tensors) -> list[tuple[int, torch.Size, torch.dtype, torch.device] | None]:
    """Where tensors lie and what they are, to see in the backward pass whether they are still the same.

    torch gives a storage that it resizes another address; hooks for saved tensors may return anything.
    """
    return [None if t is None else (t.data_ptr(), t.shape, t.dtype, t.device) for t in tensors]
