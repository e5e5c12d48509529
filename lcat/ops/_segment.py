"""Gather, scatter and softmax over edges in plain torch: the vocabulary of the naive implementations.

Everything here is differentiable any number of times, works under ``vmap``, forward-mode differentiation,
``torch.compile`` and ``torch.export``, and keeps the dtype of its input. Arrays of size O(E) are made freely.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lcat._tracing import is_traced
from lcat.graph import CacheKey, Graph

_OWN: CacheKey[tuple[Tensor, Tensor]] = CacheKey("indices in their own memory")


def _indices(graph: Graph) -> tuple[Tensor, Tensor]:
    """Sources and targets, not in the memory of the input: the backward pass is that of the edges of the forward pass.

    Fused kernels have their own sorted copy. Plain torch would read the input again, also after a write to it that
    torch does not count.
    """
    if is_traced() or not graph.source._is_view():
        return graph.source, graph.target
    return graph.cached(_OWN, lambda: (graph.source.clone(), graph.target.clone()))


def from_source(x: Tensor, graph: Graph) -> Tensor:
    """``x[j]`` for every edge ``j -> i``: [N_source, ...] -> [E, ...]."""
    return x.index_select(0, _indices(graph)[0])


def from_target(x: Tensor, graph: Graph) -> Tensor:
    """``x[i]`` for every edge ``j -> i``: [N_target, ...] -> [E, ...]; zeros at dead edges."""
    if graph.padded:
        x = torch.cat([x, x.new_zeros(1, *x.shape[1:])])
    return x.index_select(0, _indices(graph)[1])


def scale_rows(x: Tensor, scale: Tensor) -> Tensor:
    """``scale_i x_i`` for every node: [N, ...], [N] -> [N, ...]."""
    return x * scale.view(-1, *[1] * (x.dim() - 1))


def linear(x: Tensor, matrix: Tensor) -> Tensor:
    """``x matrix^T``, in the type that both are promoted to, as products of single numbers are."""
    dtype = torch.promote_types(x.dtype, matrix.dtype)
    return F.linear(x.to(dtype), matrix.to(dtype))


def sum_to_target(messages: Tensor, graph: Graph) -> Tensor:
    """``sum over in-edges``: [E, ...] -> [N_target, ...]."""
    rows = graph.num_targets + int(graph.padded)
    index = _indices(graph)[1].view(-1, *[1] * (messages.dim() - 1)).expand_as(messages)
    total = messages.new_zeros(rows, *messages.shape[1:]).scatter_add(0, index, messages)
    return total[: graph.num_targets] if graph.padded else total


def max_to_target(values: Tensor, graph: Graph) -> Tensor:
    """``max over in-edges``, minus infinity where there are none: [E, ...] -> [N_target, ...]."""
    rows = graph.num_targets + int(graph.padded)
    index = _indices(graph)[1].view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    start = values.new_full((rows, *values.shape[1:]), -torch.inf)
    best = start.scatter_reduce(0, index, values, "amax")  # ONNX has no include_self=False
    return best[: graph.num_targets] if graph.padded else best


def extreme_to_target(values: Tensor, graph: Graph, *, largest: bool, in_plain_steps: bool) -> Tensor:
    """``max over in-edges``, or the minimum, 0 where there are none: [E, ...] -> [N_target, ...].

    ONNX knows no reduction that leaves out what it starts from: ``in_plain_steps`` asks for one that does not need it.
    """
    rows = graph.num_targets + int(graph.padded)
    index = _indices(graph)[1].view(-1, *[1] * (values.dim() - 1)).expand_as(values)
    shape, reduce = (rows, *values.shape[1:]), "amax" if largest else "amin"
    if in_plain_steps:
        worst = -torch.inf if largest else torch.inf
        best = values.new_full(shape, worst).scatter_reduce(0, index, values, reduce)[: graph.num_targets]
        return best.masked_fill((graph.in_degree == 0).view(-1, *[1] * (values.dim() - 1)), 0)
    best = values.new_zeros(shape).scatter_reduce(0, index, values, reduce, include_self=False)
    return best[: graph.num_targets] if graph.padded else best


def softmax_over_in_edges(score: Tensor, graph: Graph) -> Tensor:
    """``exp(score_e) / sum_{e' into the same target} exp(score_e')``: [E, H] -> [E, H].

    The maximum is subtracted first, as a constant: it cancels, so gradients need not pass through it.
    Dead edges get 0.
    """
    shifted = score - from_target(max_to_target(score.detach(), graph), graph)
    if graph.padded:  # before exp: its overflow at a dead edge would come back as NaN in the gradient
        shifted = shifted.masked_fill((graph.target == graph.num_targets).unsqueeze(-1), -torch.inf)
    weight = shifted.exp()
    # Every live target has a term exp(0) = 1 in its sum; the tiny number only keeps dead edges from 0 / 0.
    total = sum_to_target(weight, graph)
    return weight / (from_target(total, graph) + torch.finfo(score.dtype).tiny)
