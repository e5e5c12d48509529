"""The operators ``lcat::extremes`` and ``lcat::extremes_backward``: compiled on the CPU, Triton on GPUs.

They are opaque to torch.compile and torch.export, come with shapes for tracing, gradients of any order, and rules
for autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._double_backward import double_backward, graph_of
from lcat.ops._dtypes import compute_dtype, result_dtype
from lcat.ops._eager import eager
from lcat.ops._extremes import naive, native
from lcat.ops._operands import check_edges, check_floats, check_needs, check_sums
from lcat.ops._operators import NO_EDGES, Operator, unpacker
from lcat.ops._sorted import sorted_edges

__all__ = ["Backward", "Forward", "Inputs", "Kept", "Results", "Saved", "extremes"]


class Inputs(NamedTuple):
    """The differentiable arguments."""

    x: Tensor
    weight: Tensor | None


class Forward(NamedTuple):
    """The arguments of ``lcat::extremes``; ``by_source`` is missing where no gradient is needed."""

    inputs: Inputs
    by_target: SortedEdges
    by_source: SortedEdges | None
    num_targets: int
    largest: bool

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return *self.inputs, *self.by_target, *(self.by_source or NO_EDGES), self.num_targets, self.largest


class Results(NamedTuple):
    """What the forward pass returns; the last two are missing (empty) where nobody needs them."""

    out: Tensor
    ties: Tensor
    unrounded: Tensor


class Kept(NamedTuple):
    """Of the results what the backward pass gets; ``out`` is not rounded."""

    out: Tensor
    ties: Tensor


class Saved(NamedTuple):
    """The tensors that the backward pass gets from the forward pass."""

    inputs: Inputs
    results: Kept
    by_source: SortedEdges | None

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return *self.inputs, *self.results, *(self.by_source or NO_EDGES)


class Backward(NamedTuple):
    """The arguments of ``lcat::extremes_backward``; ``needs`` says which of the inputs' gradients are needed."""

    grad: Tensor
    saved: Saved
    largest: bool
    needs: Sequence[bool]

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, *self.saved.pack(), self.largest, list(self.needs)


class SavedAgain(NamedTuple):
    """The tensors that the double backward pass gets from the backward pass."""

    grad: Tensor
    inputs: Inputs
    by_source: SortedEdges

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, *self.inputs, *self.by_source


_unpack_saved_again = unpacker(SavedAgain)
_NUM_INPUTS = len(Inputs._fields)


def extremes(x: Tensor, graph: Graph, edge_weight: Tensor | None, largest: bool) -> Tensor:
    """``max over j -> i of w_ij x_j``, or the minimum, without messages, forward and backward."""
    arguments = Forward(
        Inputs(x, edge_weight),
        by_target=sorted_edges(graph, "by_target"),
        by_source=sorted_edges(graph, "by_source") if _fused.needs_gradient(x, edge_weight) else None,
        num_targets=graph.num_targets,
        largest=largest,
    )
    out: Tensor = _EAGER(arguments)
    return out


def _triton() -> Any:
    from lcat.ops._extremes import triton

    return triton


def _check_forward(arguments: Forward) -> None:
    by_target, num_edges = arguments.by_target, arguments.by_target.edge_ids.numel()
    check_edges("by_target", by_target, arguments.num_targets, num_edges)
    num_sources = _check(arguments.inputs, num_edges)
    check_edges("by_source", arguments.by_source, num_sources, num_edges)


def _check_backward(arguments: Backward) -> None:
    saved, results = arguments.saved, arguments.saved.results
    check_needs(arguments.needs, _NUM_INPUTS, saved.by_source)
    if saved.by_source is None:  # and no gradient is needed
        return
    num_edges = saved.by_source.edge_ids.numel()
    num_sources = _check(saved.inputs, num_edges)
    shape = (arguments.grad.shape[:1].numel(), *saved.inputs.x.shape[1:])
    check_floats("grad", arguments.grad, *shape)
    check_floats("out", results.out, *shape)
    check_floats("ties", results.ties, *shape)
    check_sums(results.out, results.ties)
    check_edges("by_source", saved.by_source, num_sources, num_edges)


def _check(inputs: Inputs, num_edges: int) -> int:
    """What both passes take; the number of sources."""
    x, weight = inputs
    if x.dim() == 0:
        raise ValueError("expected 'x' with one row per source, got a number")
    check_floats("x", x, *x.shape)
    if weight is not None:
        check_floats("weight", weight, num_edges, *([] if weight.dim() == 1 else x.shape[1:2]))
    return x.shape[0]


def _run_forward(backend: Any, arguments: Forward) -> tuple[Tensor | None, ...]:
    results: tuple[Tensor | None, ...] = backend.forward(
        *arguments.inputs,
        arguments.by_target,
        largest=arguments.largest,
        for_gradients=arguments.by_source is not None,
    )
    return results


def _run_backward(backend: Any, arguments: Backward) -> tuple[Tensor | None, ...]:
    saved = arguments.saved
    if saved.by_source is None:
        return None, None
    gradients: tuple[Tensor | None, ...] = backend.backward(
        arguments.grad,
        *saved.inputs,
        out=saved.results.out,
        ties=saved.results.ties,
        by_source=saved.by_source,
        needs=arguments.needs,
    )
    return gradients


def _fake_forward(arguments: Forward) -> tuple[Tensor, ...]:
    x, dtype, out_dtype = arguments.inputs.x, compute_dtype(*arguments.inputs), result_dtype(*arguments.inputs)
    shape = (arguments.num_targets, *x.shape[1:])
    absent, for_gradients = _fused.absent(x), arguments.by_source is not None
    return (
        x.new_empty(shape, dtype=out_dtype),
        x.new_empty(shape, dtype=dtype) if for_gradients else absent,
        x.new_empty(shape, dtype=dtype) if for_gradients and out_dtype is not dtype else _fused.absent(x),
    )


def _fake_backward(arguments: Backward) -> tuple[Tensor, ...]:
    return tuple(
        _fused.absent(arguments.grad) if x is None or not need else x.new_empty(x.shape)
        for x, need in zip(arguments.saved.inputs, arguments.needs, strict=True)
    )


def _setup_context(ctx: Any, arguments: Forward, output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    results = Kept(*_fused.for_backward(output))
    ctx.save_for_backward(*arguments.inputs, *results, *(arguments.by_source or NO_EDGES))  # Saved, packed
    ctx.largest = arguments.largest


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return _FORWARD.gradients([])
    needs = list(ctx.needs_input_grad[:_NUM_INPUTS])
    gradients = _BACKWARD.overload(grad, *ctx.saved_tensors, ctx.largest, needs)  # Backward, packed
    return _FORWARD.gradients(g if need else None for g, need in zip(gradients, needs, strict=True))


def _setup_context_again(ctx: Any, arguments: Backward, output: Any) -> None:
    del output
    ctx.set_materialize_grads(False)
    saved = arguments.saved
    # A backward pass that nobody needed has no edges, and no backward pass of its own.
    by_source = saved.by_source or NO_EDGES
    ctx.save_for_backward(arguments.grad, *saved.inputs, *by_source)  # SavedAgain, packed
    ctx.largest, ctx.needs = arguments.largest, arguments.needs


def _double_backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
    saved: SavedAgain = _unpack_saved_again(ctx.saved_tensors)
    graph = _turned(graph_of(saved.by_source, saved.grad.shape[0]))

    def function(x: Tensor, weight: Tensor | None) -> Tensor:
        return naive.extremes(x, graph, weight, ctx.largest)

    return _BACKWARD.gradients(
        double_backward(
            function,
            saved.inputs,
            saved.grad,
            cotangents=[c if need else None for c, need in zip(cotangents, ctx.needs, strict=True)],
            needs=ctx.needs_input_grad[: 1 + _NUM_INPUTS],
        )
    )


def _turned(graph: Graph) -> Graph:
    """The graph with all edges turned round; dead ones, which have no source then, get any."""
    num_sources, num_targets = graph.num_targets, graph.num_sources
    source = graph.target.clamp(max=max(num_sources - 1, 0))
    return Graph(source, graph.source, num_sources, num_targets, padded=True)


_FORWARD = Operator(
    "extremes",
    Forward,
    results=len(Results._fields),
    kernels={"cpu": lambda a: _run_forward(native, a), "cuda": lambda a: _run_forward(_triton(), a)},
    check=_check_forward,
    fake=_fake_forward,
    setup_context=_setup_context,
    backward=_backward,
)
_BACKWARD = Operator(
    "extremes_backward",
    Backward,
    results=_NUM_INPUTS,
    kernels={"cpu": lambda a: _run_backward(native, a), "cuda": lambda a: _run_backward(_triton(), a)},
    check=_check_backward,
    fake=_fake_backward,
    setup_context=_setup_context_again,
    backward=_double_backward,
)


def _to_backward(grad: Tensor, inputs: Inputs, results: Any, constants: Any, needs: Any) -> Backward:
    _, by_source, _, largest = constants
    return Backward(grad, Saved(inputs, Kept(*results), by_source), largest, needs)


_EAGER = eager(_FORWARD, _BACKWARD, Inputs, _to_backward)
