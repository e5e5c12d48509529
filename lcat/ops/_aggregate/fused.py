"""The operators ``lcat::aggregate`` and ``lcat::aggregate_backward``: compiled on the CPU, Triton on GPUs.

They are opaque to torch.compile and torch.export, come with shapes for tracing, gradients of any order, and rules
for autocast.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._aggregate import naive
from lcat.ops._operators import EDGES_ARGUMENTS, contiguous, define, kernels
from lcat.ops._segment import scale_rows


def aggregate(
    x: Tensor,
    graph: Graph,
    edge_weight: Tensor | None,
    source_scale: Tensor | None,
    target_scale: Tensor | None,
) -> Tensor:
    """``y_i = t_i sum_{j -> i} w_ij s_j x_j`` without messages, forward and backward."""
    trailing = x.shape[1:]
    heads = 1 if edge_weight is None or edge_weight.dim() == 1 else edge_weight.shape[1]
    rows = x.reshape(x.shape[0], heads, trailing.numel() // max(heads, 1))
    edges = _fused.sorted_edges(graph, _fused.needs_gradient(x, edge_weight))
    dtype = _fused.result_type(x, edge_weight, source_scale, target_scale)
    out: Tensor = _FORWARD(rows.to(dtype), edge_weight, *edges, graph.num_targets, source_scale, target_scale)
    return out.view(graph.num_targets, *trailing)


def _run_forward(backend: Any, x: Tensor, weight: Tensor | None, *rest: Any) -> Tensor:
    csr, num_targets, scales = SortedEdges(*rest[:3]), rest[6], rest[7:]
    out: Tensor = backend.forward(*contiguous((x, weight)), csr, num_targets, *contiguous(scales))
    return out


def _run_backward(backend: Any, grad: Tensor, x: Tensor, weight: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    csr, csc, (source_scale, target_scale), needs = SortedEdges(*rest[:3]), SortedEdges(*rest[3:6]), rest[6:8], rest[8]
    grad, dx, d_weight = grad.contiguous(), _fused.absent(x), _fused.absent(x)
    if needs[0]:
        scales = contiguous((target_scale, source_scale))
        dx = backend.forward(*contiguous((grad, weight)), csc, x.shape[0], *scales)
    if needs[1] and weight is not None:
        grad = grad if target_scale is None else scale_rows(grad, target_scale)
        x = x if source_scale is None else scale_rows(x, source_scale)
        d_weight = backend.weight_grad(grad, x.contiguous(), csr, weight.dim() == 2).to(weight.dtype)
    return dx, d_weight


def _fake_forward(x: Tensor, weight: Tensor | None, *rest: Any) -> Tensor:
    return x.new_empty(rest[6], *x.shape[1:])


def _fake_backward(grad: Tensor, x: Tensor, weight: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    needs = rest[-1]
    dx = x.new_empty(x.shape) if needs[0] else _fused.absent(x)
    d_weight = weight.new_empty(weight.shape) if needs[1] and weight is not None else _fused.absent(x)
    return dx, d_weight


def _remember_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(*inputs[:8], *inputs[9:11])


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    needs = list(ctx.needs_input_grad[:2])
    gradients = _BACKWARD(grad, *ctx.saved_tensors, needs)
    return (*(g if need else None for g, need in zip(gradients, needs, strict=True)), *[None] * 9)


def _remember_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:6], *inputs[9:11])
    ctx.needs = inputs[11]


def _differentiate_again(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
    grad, x, weight, *csr, source_scale, target_scale = ctx.saved_tensors
    graph = _fused.graph_of(SortedEdges(*csr), x.shape[0])
    seconds = _fused.second_order(
        lambda x, weight: naive.aggregate(x, graph, weight, source_scale, target_scale),
        (x, weight),
        grad,
        [c if need else None for c, need in zip(cotangents, ctx.needs, strict=True)],
        ctx.needs_input_grad[:3],
    )
    return (*seconds, *[None] * 9)


_SCALES = "Tensor? source_scale, Tensor? target_scale"
_FORWARD = define(
    "aggregate",
    f"(Tensor x, Tensor? weight, {EDGES_ARGUMENTS}, SymInt num_targets, {_SCALES}) -> Tensor",
    kernels("aggregate", _run_forward),
    _fake_forward,
    _remember_forward,
    _differentiate,
)
_BACKWARD = define(
    "aggregate_backward",
    f"(Tensor grad, Tensor x, Tensor? weight, {EDGES_ARGUMENTS}, {_SCALES}, bool[] needs) -> (Tensor, Tensor)",
    kernels("aggregate", _run_backward),
    _fake_backward,
    _remember_backward,
    _differentiate_again,
)
