"""gat_attention with the scores that GAT computes from its values: one autograd function for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lcat._tracing import is_traced
from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._check import Arguments, check_dense, check_number, check_probability
from lcat.ops._double_backward import gradients_of
from lcat.ops._dtypes import FLOAT_DTYPES
from lcat.ops._eager import are_as_before, are_plain, dense, places, runs_eagerly
from lcat.ops._gat_attention import fused, gat_attention, implementation_for, native
from lcat.ops._operators import name_function
from lcat.ops._sorted import sorted_edges

__all__ = ["gat_attention_of_values", "gat_scores"]

_TRITON_TYPES = set(FLOAT_DTYPES)
_NATIVE_TYPES = {torch.float32, torch.float64}


def gat_attention_of_values(
    value: Tensor,
    att_source: Tensor,
    att_target: Tensor,
    graph: Graph,
    *,
    negative_slope: float = 0.2,
    edge_score: Tensor | None = None,
    edge_weight: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    r"""Attention as in GAT, whose scores are computed from the values.

    .. math:: y_i = \sum_{j \to i} w_{ij} \, \mathrm{softmax}_j\!\left(
        \mathrm{LeakyReLU}(\langle a_s, v_j \rangle + \langle a_t, v_i \rangle + e_{ij})\right) v_j .

    The result is that of :func:`gat_attention` with the scores of :func:`gat_scores`. Sources and targets are the same
    nodes. All of it is one function for autograd, which small graphs need: each step costs as much time there as the
    edges do.

    Args:
        value: :math:`v`, ``[N, H, F]``.
        att_source: :math:`a_s`, ``[H, F]`` or ``[1, H, F]``.
        att_target: :math:`a_t`, of the same shape.
        graph: the edges, between N sources and N targets.
        negative_slope: LeakyReLU's slope below zero.
        edge_score: :math:`e`, ``[E, H]``, added inside the LeakyReLU; ``None`` means 0.
        edge_weight: :math:`w`, ``[E]``, multiplies after the softmax; ``None`` means 1.
        dropout: probability of dropping an attention coefficient, in [0, 1]; 0 outside training.

    Returns:
        ``[N, H, F]``; zeros where there is no in-edge.

    Raises:
        TypeError: an argument is no tensor, ``graph`` no Graph, or an option no number.
        ValueError: a tensor does not have its shape, is on another device than the graph, not dense or not of floating
            point; ``dropout`` is outside [0, 1], ``negative_slope`` not finite; the graph has two sets of nodes.
        IndexError: an edge leaves the graph.
        RuntimeError: the memory of a tensor was freed.

    Complexity:
        O(E H F) time. O(N H F) memory; the naive implementation O(E H F).

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> from lcat.ops import gat_attention_of_values
        >>> graph, _ = graph_view(torch.tensor([[0, 1], [2, 2]]), 3, 3)
        >>> value, att = torch.tensor([1.0, 3.0, 9.0]).view(3, 1, 1), torch.zeros(1, 1)
        >>> # equal scores: the mean of the in-neighbors
        >>> gat_attention_of_values(value, att, att, graph).flatten()
        tensor([0., 0., 2.])
    """
    arguments = Arguments(graph)
    arguments.check("value", value, "N_source", "H", "F")
    one = ("1",) if isinstance(att_source, Tensor) and att_source.dim() == 3 else ()
    arguments.check("att_source", att_source, *one, "H", "F")
    arguments.check("att_target", att_target, *one, "H", "F")
    arguments.check_optional("edge_score", edge_score, "E", "H")
    arguments.check_optional("edge_weight", edge_weight, "E")
    if graph.num_sources != graph.num_targets:
        raise ValueError(
            f"expected a graph of one set of nodes, got {graph.num_sources} sources and {graph.num_targets} targets: "
            f"compute the scores of both, and pass them to gat_attention"
        )
    dropout = check_probability("dropout", dropout)
    negative_slope = check_number("negative_slope", negative_slope)
    inputs = Inputs(value, att_source, att_target, edge_score, edge_weight)
    if runs_eagerly() and _is_served(implementation_for(*inputs, graph=graph).name, inputs):
        return _fused_call(inputs, graph, slope=negative_slope, dropout=dropout)
    source_score, target_score = gat_scores(value, att_source, att_target)
    assert source_score is not None
    return gat_attention(
        source_score,
        target_score,
        value,
        graph,
        negative_slope=negative_slope,
        edge_score=edge_score,
        edge_weight=edge_weight,
        dropout=dropout,
    )


class Inputs(NamedTuple):
    """The differentiable arguments."""

    value: Tensor
    att_source: Tensor
    att_target: Tensor
    edge_score: Tensor | None
    edge_weight: Tensor | None


class Constants(NamedTuple):
    """The other arguments of one call."""

    by_target: SortedEdges
    by_source: SortedEdges | None
    seed: Tensor | None
    options: fused.Options


def _fused_call(inputs: Inputs, graph: Graph, *, slope: float, dropout: float) -> Tensor:
    backward = _fused.needs_gradient(*inputs)
    keep_positive = backward and not fused.has_few_edges(graph, inputs.value)
    constants = Constants(
        sorted_edges(graph, "by_target"),
        sorted_edges(graph, "by_source") if backward else None,
        _fused.draw_seed(dropout, inputs.value.device),
        fused.Options(slope, dropout, keep_positive),
    )
    result: Tensor = _Attention.apply(constants, *inputs) if backward else _forward(inputs, constants)[1][0]
    return result


def _kernels(value: Tensor) -> Any:
    """The module whose functions compute scores on the device of ``value``."""
    if not value.is_cuda:
        return native
    from lcat.ops._gat_attention import triton

    return triton


def _forward(inputs: Inputs, constants: Constants) -> tuple[tuple[Any, Any], tuple[Any, ...]]:
    """The scores, and the results of the kernel."""
    value, att_source, att_target, edge_score, edge_weight = dense(inputs)
    scores = source_score, target_score = _kernels(value).scores(value, att_source, att_target)
    inputs_of_attention = fused.Inputs(source_score, target_score, value, edge_score, edge_weight)
    return scores, fused.compute(fused.Forward(inputs_of_attention, *constants))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, constants: Constants, *inputs: Any) -> Tensor:
        scores, results = _forward(Inputs(*inputs), constants)
        saved = (*inputs, *scores, *_fused.for_backward(results))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*saved)
        ctx.places = places(saved)
        ctx.constants = constants
        out: Tensor = results[0]
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
        needs = list(ctx.needs_input_grad[1:])
        if grad is None:
            return (None,) * (1 + len(needs))
        saved, constants = ctx.saved_tensors, ctx.constants
        inputs = Inputs(*saved[:5])
        as_before = are_as_before((*Inputs._fields, "source_score", "target_score"), saved, ctx.places)
        if torch.is_grad_enabled() or not as_before or not are_plain(("grad",), (grad,)):
            return None, *_gradients_by_steps(grad, inputs, constants, needs)
        value, att_source, att_target, edge_score, edge_weight = dense(inputs)
        source_score, target_score, *results = saved[5:]
        need_value, need_att_source, need_att_target, *need_edges = needs
        need_scores = need_value or need_att_source, need_value or need_att_target
        d_source_score, d_target_score, d_value, *d_edges = fused.compute_gradients(
            grad.contiguous(),
            fused.Inputs(source_score, target_score, value, edge_score, edge_weight),
            results,
            constants,
            (*need_scores, need_value, *need_edges),
        )
        d_vectors: tuple[Tensor | None, ...] = (None, None)
        if any(need_scores):
            d_value, *d_vectors = _kernels(value).scores_backward(
                *(value, att_source, att_target, d_source_score, d_target_score, d_value),
                needs=(need_value, need_att_source, need_att_target),
            )
        return None, d_value, *d_vectors, *d_edges


name_function(_Attention, "gat_attention_of_values")


def _gradients_by_steps(
    grad: Tensor, inputs: Inputs, constants: Constants, needs: list[bool]
) -> tuple[Tensor | None, ...]:
    """The gradients by the single steps, each of which has gradients of any order."""

    def function(value: Any, att_source: Any, att_target: Any, edge_score: Any, edge_weight: Any) -> Tensor:
        scores = _plain_scores(value, att_source, att_target)
        return fused.checked(fused.Forward(fused.Inputs(*scores, value, edge_score, edge_weight), *constants))

    return gradients_of(function, inputs, grad, needs)


def gat_scores(
    value: Tensor, att_source: Tensor | None, att_target: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    r"""The scores of GAT from its values: :math:`\langle a_s, v_i \rangle` and :math:`\langle a_t, v_i \rangle`.

    Args:
        value: :math:`v`, ``[N, H, F]``.
        att_source: :math:`a_s`, ``[H, F]`` or ``[1, H, F]``; ``None`` gives ``None``.
        att_target: :math:`a_t`, likewise.

    Raises:
        TypeError: an argument is no tensor.
        ValueError: a tensor does not have its shape, is not dense, or on another device.

    Returns:
        ``(source_score, target_score)``, each ``[N, H]`` or ``None``.

    Complexity:
        O(N H F) time; one pass over ``value`` forward and one backward.

    Example:
        >>> import torch
        >>> from lcat.ops import gat_scores
        >>> value = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
        >>> s, t = gat_scores(value, torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]))
        >>> s.flatten(), t.flatten()
        (tensor([1., 3.]), tensor([3., 7.]))
    """
    check_dense("value", value)
    if value.dim() != 3:
        raise ValueError(f"expected 'value' of shape [N, H, F], got {list(value.shape)}")
    shape = value.shape[1:]
    for name, att in (("att_source", att_source), ("att_target", att_target)):
        if att is not None:
            check_dense(name, att)
            if att.shape != shape and att.shape != (1, *shape):
                raise ValueError(f"expected '{name}' of shape [H, F], here {list(shape)}, got {list(att.shape)}")
            if att.device != value.device:
                raise ValueError(f"expected '{name}' on the device of 'value', {value.device}, got {att.device}")
    tensors = (value, att_source, att_target)
    # Also under activation checkpointing, which keeps some operators and runs all others as they are.
    if not is_traced() and _is_served(implementation_for(*tensors).name, tensors):
        scores: tuple[Tensor | None, Tensor | None] = _Scores.apply(*tensors)
        return scores
    return _plain_scores(*tensors)


def _plain_scores(value: Tensor, att_source: Any, att_target: Any) -> tuple[Any, Any]:
    """As the formula reads."""
    source_score, target_score = (
        None if att is None else (value * att).sum(dim=-1) for att in (att_source, att_target)
    )
    return source_score, target_score


def _is_served(implementation: str, tensors: Sequence[Tensor | None]) -> bool:
    """Whether the kernels compute scores of these tensors: plain ones, on CPUs of one type, float32 or float64."""
    if implementation not in ("native", "triton") or not are_plain(Inputs._fields, tensors):
        return False
    dtypes = {tensor.dtype for tensor in tensors if tensor is not None}
    if implementation == "triton":
        return dtypes <= _TRITON_TYPES
    return len(dtypes) == 1 and dtypes <= _NATIVE_TYPES


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)
        ctx.places = places(inputs)
        tensors = dense(inputs)
        scores: tuple[Tensor | None, ...] = _kernels(tensors[0]).scores(*tensors)
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs, needs = ctx.saved_tensors, ctx.needs_input_grad
        as_before = are_as_before(Inputs._fields[:3], inputs, ctx.places) and are_plain(("grad", "grad"), grads)
        if torch.is_grad_enabled() or not as_before:
            return _gradients_of_scores(grads, inputs, needs)
        gradients: tuple[Tensor | None, ...] = _kernels(inputs[0]).scores_backward(
            *dense(inputs), *grads, None, needs=needs
        )
        return gradients


name_function(_Scores, "gat_scores")


def _gradients_of_scores(
    grads: tuple[Tensor | None, ...], inputs: tuple[Tensor | None, ...], needs: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """In plain torch: with gradients of any order, and for batches of gradients, which vectorized Jacobians pass."""
    value, *vectors = inputs
    assert value is not None
    d_value = None
    d_vectors: list[Tensor | None] = []
    for att, grad, need in zip(vectors, grads, needs[1:], strict=True):
        if att is None or grad is None:
            d_vectors.append(None)
            continue
        grad = grad.unsqueeze(-1)
        d_vectors.append((grad * value).sum(dim=0).reshape(att.shape) if need else None)
        if needs[0]:
            d_value = grad * att if d_value is None else d_value + grad * att
    return d_value, *d_vectors
