"""The operators ``lcat::aggregate`` and ``lcat::aggregate_backward``: compiled on the CPU, Triton on GPUs.

They are opaque to torch.compile and torch.export, come with shapes for tracing, gradients of any order, and rules
for autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._aggregate import naive, native
from lcat.ops._double_backward import double_backward, graph_of
from lcat.ops._dtypes import as_type, result_dtype
from lcat.ops._eager import eager
from lcat.ops._operands import check_edges, check_floats, check_needs
from lcat.ops._operators import NO_EDGES, Operator, unpacker
from lcat.ops._segment import scale_rows
from lcat.ops._sorted import sorted_edges

__all__ = ["Backward", "Forward", "Inputs", "Saved", "aggregate"]


class Inputs(NamedTuple):
    """The arguments that are numbers; the scales, factors of the rows of both sides, are constants."""

    x: Tensor
    weight: Tensor | None
    source_scale: Tensor | None
    target_scale: Tensor | None


class Forward(NamedTuple):
    """The arguments of ``lcat::aggregate``; ``by_source`` is missing where no gradient is needed."""

    inputs: Inputs
    by_target: SortedEdges
    by_source: SortedEdges | None
    num_targets: int

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return *self.inputs, *self.by_target, *(self.by_source or NO_EDGES), self.num_targets


class Saved(NamedTuple):
    """The tensors that the backward pass gets from the forward pass."""

    inputs: Inputs
    by_target: SortedEdges
    by_source: SortedEdges | None

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return *self.inputs, *self.by_target, *(self.by_source or NO_EDGES)


class Backward(NamedTuple):
    """The arguments of ``lcat::aggregate_backward``; ``needs`` says which of the inputs' gradients are needed."""

    grad: Tensor
    saved: Saved
    needs: Sequence[bool]

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, *self.saved.pack(), list(self.needs)


class SavedAgain(NamedTuple):
    """The tensors that the double backward pass gets from the backward pass."""

    grad: Tensor
    inputs: Inputs
    by_target: SortedEdges

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, *self.inputs, *self.by_target


_unpack_saved_again = unpacker(SavedAgain)
_NUM_INPUTS = len(Inputs._fields)


def aggregate(
    x: Tensor,
    graph: Graph,
    edge_weight: Tensor | None,
    source_scale: Tensor | None,
    target_scale: Tensor | None,
) -> Tensor:
    """``y_i = t_i sum_{j -> i} w_ij s_j x_j`` without messages, forward and backward."""
    dtype = result_dtype(x, edge_weight, source_scale, target_scale)
    arguments = Forward(
        Inputs(as_type(x, dtype), edge_weight, source_scale, target_scale),
        by_target=sorted_edges(graph, "by_target"),
        by_source=sorted_edges(graph, "by_source") if _fused.needs_gradient(x, edge_weight) else None,
        num_targets=graph.num_targets,
    )
    out: Tensor = _EAGER(arguments)
    return out


def _triton() -> Any:
    from lcat.ops._aggregate import triton

    return triton


def _check_forward(arguments: Forward) -> None:
    _check(arguments.inputs, arguments.by_target, num_targets=arguments.num_targets)
    check_edges("by_source", arguments.by_source, arguments.inputs.x.shape[0], arguments.by_target.edge_ids.numel())


def _check_backward(arguments: Backward) -> None:
    saved = arguments.saved
    num_targets = saved.by_target.indptr.numel() - 1
    _check(saved.inputs, saved.by_target, num_targets=num_targets)
    x = saved.inputs.x
    check_floats("grad", arguments.grad, num_targets, *x.shape[1:])
    check_needs(arguments.needs, _NUM_INPUTS, saved.by_source)
    check_edges("by_source", saved.by_source, x.shape[0], saved.by_target.edge_ids.numel())


def _check(inputs: Inputs, by_target: SortedEdges, num_targets: int) -> None:
    """What both passes take."""
    x, weight, source_scale, target_scale = inputs
    num_edges = by_target.edge_ids.numel()
    if x.dim() == 0:
        raise ValueError("expected 'x' with one row per source, got a number")
    num_sources = x.shape[0]
    check_floats("x", x, *x.shape)
    if weight is not None:
        check_floats("weight", weight, num_edges, *([] if weight.dim() == 1 else x.shape[1:2]))
    check_edges("by_target", by_target, num_targets, num_edges)
    check_floats("source_scale", source_scale, num_sources)
    check_floats("target_scale", target_scale, num_targets)


def _run_forward(backend: Any, arguments: Forward) -> tuple[Tensor]:
    x, weight, source_scale, target_scale = arguments.inputs
    out: Tensor = backend.forward(
        x,
        weight,
        arguments.by_target,
        num_targets=arguments.num_targets,
        source_scale=source_scale,
        target_scale=target_scale,
    )
    return (out,)


def _run_backward(backend: Any, arguments: Backward) -> tuple[Tensor | None, ...]:
    grad, saved = arguments.grad, arguments.saved
    x, weight, source_scale, target_scale = saved.inputs
    need_x, need_weight, *_ = arguments.needs
    d_x = d_weight = None
    if need_x:
        d_x = backend.forward(
            grad,
            weight,
            saved.by_source,
            num_targets=x.shape[0],
            source_scale=target_scale,  # the edges are turned round
            target_scale=source_scale,
        )
    if need_weight and weight is not None:
        grad = grad if target_scale is None else scale_rows(grad, target_scale)
        x = x if source_scale is None else scale_rows(x, source_scale)
        d_weight = backend.weight_grad(grad, x, saved.by_target, heads_in_weight=weight.dim() == 2)
        d_weight = as_type(d_weight, weight.dtype)
    return d_x, d_weight, None, None


def _fake_forward(arguments: Forward) -> Tensor:
    x = arguments.inputs.x
    return x.new_empty(arguments.num_targets, *x.shape[1:])


def _fake_backward(arguments: Backward) -> tuple[Tensor, ...]:
    x, weight, *_ = arguments.saved.inputs
    need_x, need_weight, *_ = arguments.needs
    d_x = x.new_empty(x.shape) if need_x else _fused.absent(x)
    d_weight = weight.new_empty(weight.shape) if need_weight and weight is not None else _fused.absent(x)
    return d_x, d_weight, _fused.absent(x), _fused.absent(x)


def _setup_context(ctx: Any, arguments: Forward, output: Any) -> None:
    del output
    saved = Saved(arguments.inputs, arguments.by_target, arguments.by_source)
    ctx.save_for_backward(*saved.pack())


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:_NUM_INPUTS])
    gradients = _BACKWARD.overload(grad, *ctx.saved_tensors, needs)  # Backward, packed
    return _FORWARD.gradients(g if need else None for g, need in zip(gradients, needs, strict=True))


def _setup_context_again(ctx: Any, arguments: Backward, output: Any) -> None:
    del output
    ctx.set_materialize_grads(False)
    saved = arguments.saved
    ctx.save_for_backward(*SavedAgain(arguments.grad, saved.inputs, saved.by_target).pack())
    ctx.needs = arguments.needs


def _double_backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
    saved: SavedAgain = _unpack_saved_again(ctx.saved_tensors)
    graph = graph_of(saved.by_target, saved.inputs.x.shape[0])

    def function(x: Tensor, *others: Tensor | None) -> Tensor:
        return naive.aggregate(x, graph, *others)

    return _BACKWARD.gradients(
        double_backward(
            function,
            saved.inputs,
            saved.grad,
            cotangents=[c if need else None for c, need in zip(cotangents, ctx.needs, strict=True)],
            needs=ctx.needs_input_grad[: 1 + _NUM_INPUTS],
        )
    )


_FORWARD = Operator(
    "aggregate",
    Forward,
    results=1,
    kernels={"cpu": lambda a: _run_forward(native, a), "cuda": lambda a: _run_forward(_triton(), a)},
    check=_check_forward,
    fake=_fake_forward,
    setup_context=_setup_context,
    backward=_backward,
)
_BACKWARD = Operator(
    "aggregate_backward",
    Backward,
    results=_NUM_INPUTS,
    kernels={"cpu": lambda a: _run_backward(native, a), "cuda": lambda a: _run_backward(_triton(), a)},
    check=_check_backward,
    fake=_fake_backward,
    setup_context=_setup_context_again,
    backward=_double_backward,
)


def _to_backward(grad: Tensor, inputs: Inputs, _: Any, constants: Any, needs: Any) -> Backward:
    by_target, by_source, _ = constants
    return Backward(grad, Saved(inputs, by_target, by_source), needs)


_EAGER = eager(_FORWARD, _BACKWARD, Inputs, _to_backward, keeps=None)
