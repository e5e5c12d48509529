"""The operators ``lcat::gatv2_attention`` and ``lcat::gatv2_attention_backward``: compiled on the CPU, Triton on GPUs.

They are opaque to torch.compile and torch.export, come with shapes for tracing, gradients of any order, and rules
for autocast.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._attention_dropout import dropout_factors
from lcat.ops._gatv2_attention import naive
from lcat.ops._operators import EDGES_ARGUMENTS, contiguous, define, kernels

_TENSORS = 7  # k, q, v, att, edge_attr, edge_matrix, edge_weight: the differentiable arguments


def gatv2_attention(
    k: Tensor,
    q: Tensor,
    v: Tensor,
    att: Tensor,
    graph: Graph,
    negative_slope: float,
    edge_key: None,
    edge_weight: Tensor | None,
    dropout: float,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
) -> Tensor:
    """GATv2's attention without messages, forward and backward."""
    values = None if v is k else v
    tensors = (k, q, values, att, edge_attr, edge_matrix, edge_weight)
    edges = _fused.sorted_edges(graph, _fused.needs_gradient(*tensors))
    seed = _fused.draw_seed(dropout, k.device)
    out, _ = _FORWARD(*tensors, *edges, negative_slope, dropout, seed)
    result: Tensor = out.to(_fused.result_type(*tensors))
    return result


def _run_forward(backend: Any, *arguments: Any) -> tuple[Tensor, Tensor]:
    tensors, csr, (slope, dropout, seed) = arguments[:7], arguments[7:10], arguments[13:]
    out, lse = backend.forward(*contiguous(tensors), SortedEdges(*csr), slope, dropout, seed)
    return out, lse


def _run_backward(backend: Any, *arguments: Any) -> tuple[Tensor, ...]:
    grad, tensors = arguments[0].contiguous(), contiguous(arguments[1:8])
    out, lse = arguments[8:10]
    csr, csc, (slope, dropout, seed, needs) = arguments[10:13], arguments[13:16], arguments[16:]
    gradients = backend.backward(
        grad, *tensors, out, lse, SortedEdges(*csr), SortedEdges(*csc), slope, dropout, seed, needs
    )
    return tuple(_fused.absent(grad) if g is None else g for g in gradients)


def _fake_forward(*arguments: Any) -> tuple[Tensor, Tensor]:
    k, pointer = arguments[0], arguments[7]
    dtype = _fused.compute_type(*arguments[:_TENSORS])
    rows, (heads, width) = pointer.shape[0] - 1, k.shape[1:]
    return k.new_empty(rows, heads, width, dtype=dtype), k.new_empty(rows, heads, dtype=dtype)


def _fake_backward(*arguments: Any) -> tuple[Tensor, ...]:
    grad, tensors, needs = arguments[0], arguments[1:8], arguments[19]
    return tuple(
        _fused.absent(grad) if x is None or not need else x.new_empty(x.shape)
        for x, need in zip(tensors, needs, strict=True)
    )


def _remember_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:7], *output, *inputs[7:13], inputs[15])
    ctx.slope, ctx.dropout = inputs[13], inputs[14]


def _differentiate(ctx: Any, grad: Tensor | None, _: Any) -> tuple[Any, ...]:
    if grad is None:
        return (None,) * 16
    *tensors, seed = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[:_TENSORS])
    gradients = _BACKWARD(grad, *tensors, ctx.slope, ctx.dropout, seed, needs)
    return (*(g if need else None for g, need in zip(gradients, needs, strict=True)), *[None] * 9)


def _remember_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:8], *inputs[10:13], inputs[18])
    ctx.slope, ctx.dropout, ctx.needs = inputs[16], inputs[17], inputs[19]


def _differentiate_again(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
    grad, *tensors = ctx.saved_tensors[:8]
    *csr, seed = ctx.saved_tensors[8:]
    sources, heads = tensors[0].shape[:2]
    graph = _fused.graph_of(SortedEdges(*csr), sources)
    keep = None if seed is None else dropout_factors(seed, graph.num_edges, heads, ctx.dropout)

    def function(*variables: Tensor | None) -> Tensor:
        k, q, v, att, edge_attr, edge_matrix, edge_weight = variables
        assert k is not None
        assert q is not None
        assert att is not None
        values = k if v is None else v
        return naive.gatv2_attention(
            k, q, values, att, graph, ctx.slope, None, edge_weight, 0.0, edge_attr, edge_matrix, keep
        )

    seconds = _fused.second_order(
        function,
        tensors,
        grad,
        [c if need else None for c, need in zip(cotangents, ctx.needs, strict=True)],
        ctx.needs_input_grad[: _TENSORS + 1],
    )
    return (*seconds, *[None] * 12)


_TENSOR_ARGUMENTS = (
    "Tensor k, Tensor q, Tensor? v, Tensor att, Tensor? edge_attr, Tensor? edge_matrix, Tensor? edge_weight"
)
_FORWARD = define(
    "gatv2_attention",
    f"({_TENSOR_ARGUMENTS}, {EDGES_ARGUMENTS}, float slope, float dropout, Tensor? seed) -> (Tensor, Tensor)",
    kernels("gatv2_attention", _run_forward),
    _fake_forward,
    _remember_forward,
    _differentiate,
)
_BACKWARD = define(
    "gatv2_attention_backward",
    f"(Tensor grad, {_TENSOR_ARGUMENTS}, Tensor out, Tensor lse, {EDGES_ARGUMENTS}, float slope, float dropout, "
    "Tensor? seed, bool[] needs) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernels("gatv2_attention", _run_backward),
    _fake_backward,
    _remember_backward,
    _differentiate_again,
)
