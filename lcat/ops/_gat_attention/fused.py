"""The operators ``lcat::gat_attention`` and ``lcat::gat_attention_backward``: compiled on the CPU, Triton on GPUs.

They are opaque to torch.compile and torch.export, come with shapes for tracing, gradients of any order, and rules
for autocast.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._attention_dropout import dropout_factors
from lcat.ops._gat_attention import naive
from lcat.ops._operators import EDGES_ARGUMENTS, contiguous, define, kernels

_TENSORS = 5  # s, t, v, edge_score, edge_weight: the differentiable arguments


def gat_attention(
    s: Tensor,
    t: Tensor | None,
    v: Tensor,
    graph: Graph,
    negative_slope: float,
    edge_score: Tensor | None,
    edge_weight: Tensor | None,
    dropout: float,
) -> Tensor:
    """GAT's attention without messages, forward and backward."""
    backward = _fused.needs_gradient(s, t, v, edge_score, edge_weight)
    keep_positive = backward and _fused.needs_gradient(t) and not _few_edges(graph, v)
    edges = _fused.sorted_edges(graph, backward)
    seed = _fused.draw_seed(dropout, v.device)
    out, *_ = _FORWARD(s, t, v, edge_score, edge_weight, *edges, negative_slope, dropout, seed, keep_positive)
    result: Tensor = out.to(_fused.result_type(s, t, v, edge_score, edge_weight))
    return result


def _few_edges(graph: Graph, v: Tensor) -> bool:
    """Whether the gradient of ``t`` is cheaper from a number an edge and head than from a row of ``v`` a node.

    Measured: a sum over edges costs about four times what an entry of such a row does. On CPUs alone, whose kernels can
    do both; not where sizes may be symbols.
    """
    if torch.compiler.is_compiling() or v.device.type != "cpu":
        return False
    return 4 * graph.num_edges < graph.num_targets * v.shape[2]


def _run_forward(backend: Any, *arguments: Any) -> tuple[Tensor, ...]:
    tensors, csr, (slope, dropout, seed, keep_positive) = arguments[:5], arguments[5:8], arguments[11:]
    v = tensors[2]
    out, lse, positive, mass = backend.forward(
        *contiguous(tensors), SortedEdges(*csr), slope, dropout, seed, keep_positive
    )
    return out, lse, _fused.absent(v) if positive is None else positive, _fused.absent(v) if mass is None else mass


def _run_backward(backend: Any, *arguments: Any) -> tuple[Tensor, ...]:
    grad, tensors = arguments[0].contiguous(), contiguous(arguments[1:6])
    out, lse, positive, mass = arguments[6:10]
    csr, csc, (slope, dropout, seed, keep_positive, needs) = arguments[10:13], arguments[13:16], arguments[16:]
    saved = (out, lse, positive if keep_positive else None, mass if keep_positive else None)
    gradients = backend.backward(
        grad, *tensors, *saved, SortedEdges(*csr), SortedEdges(*csc), slope, dropout, seed, needs
    )
    return tuple(_fused.absent(grad) if g is None else g for g in gradients)


def _fake_forward(*arguments: Any) -> tuple[Tensor, ...]:
    v, pointer, keep_positive = arguments[2], arguments[5], arguments[14]
    dtype = _fused.compute_type(*arguments[:_TENSORS])
    rows, (heads, width) = pointer.shape[0] - 1, v.shape[1:]
    out, lse = v.new_empty(rows, heads, width, dtype=dtype), v.new_empty(rows, heads, dtype=dtype)
    if not keep_positive:
        return out, lse, _fused.absent(v), _fused.absent(v)
    return out, lse, torch.empty_like(out), torch.empty_like(lse)


def _fake_backward(*arguments: Any) -> tuple[Tensor, ...]:
    grad, tensors, needs = arguments[0], arguments[1:6], arguments[20]
    return tuple(
        _fused.absent(grad) if x is None or not need else x.new_empty(x.shape)
        for x, need in zip(tensors, needs, strict=True)
    )


def _remember_forward(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:5], *output, *inputs[5:11], inputs[13])
    ctx.slope, ctx.dropout, ctx.keep_positive = inputs[11], inputs[12], inputs[14]


def _differentiate(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Any, ...]:
    if grad is None:
        return (None,) * 15
    *tensors, seed = ctx.saved_tensors
    needs = list(ctx.needs_input_grad[:_TENSORS])
    gradients = _BACKWARD(grad, *tensors, ctx.slope, ctx.dropout, seed, ctx.keep_positive, needs)
    return (*(g if need else None for g, need in zip(gradients, needs, strict=True)), *[None] * 10)


def _remember_backward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:6], *inputs[10:13], inputs[18])
    ctx.slope, ctx.dropout, ctx.needs = inputs[16], inputs[17], inputs[20]


def _differentiate_again(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
    grad, s, t, v, edge_score, edge_weight, *csr, seed = ctx.saved_tensors
    graph = _fused.graph_of(SortedEdges(*csr), v.shape[0])
    keep = None if seed is None else dropout_factors(seed, graph.num_edges, v.shape[1], ctx.dropout)

    def function(*variables: Tensor | None) -> Tensor:
        s, t, v, edge_score, edge_weight = variables
        assert s is not None
        assert v is not None
        return naive.gat_attention(s, t, v, graph, ctx.slope, edge_score, edge_weight, 0.0, keep)

    seconds = _fused.second_order(
        function,
        (s, t, v, edge_score, edge_weight),
        grad,
        [c if need else None for c, need in zip(cotangents, ctx.needs, strict=True)],
        ctx.needs_input_grad[: _TENSORS + 1],
    )
    return (*seconds, *[None] * 15)


_TENSOR_ARGUMENTS = "Tensor s, Tensor? t, Tensor v, Tensor? edge_score, Tensor? edge_weight"
_FORWARD = define(
    "gat_attention",
    f"({_TENSOR_ARGUMENTS}, {EDGES_ARGUMENTS}, float slope, float dropout, Tensor? seed, bool keep_positive)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
    kernels("gat_attention", _run_forward),
    _fake_forward,
    _remember_forward,
    _differentiate,
)
_BACKWARD = define(
    "gat_attention_backward",
    f"(Tensor grad, {_TENSOR_ARGUMENTS}, Tensor out, Tensor lse, Tensor positive, Tensor positive_mass, "
    f"{EDGES_ARGUMENTS}, float slope, float dropout, Tensor? seed, bool keep_positive, bool[] needs)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernels("gat_attention", _run_backward),
    _fake_backward,
    _remember_backward,
    _differentiate_again,
)
