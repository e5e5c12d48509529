"""The operators ``lcat::dot_attention`` and ``lcat::dot_attention_backward``: compiled on the CPU, Triton on GPUs.

They are opaque to torch.compile and torch.export, come with shapes for tracing, gradients of any order, and rules
for autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._attention_dropout import dropout_factors
from lcat.ops._dot_attention import naive, native
from lcat.ops._double_backward import double_backward, graph_of
from lcat.ops._dtypes import compute_dtype, result_dtype
from lcat.ops._eager import eager
from lcat.ops._operands import check_edges, check_floats, check_needs, check_options, check_sums, sizes_of
from lcat.ops._operators import NO_EDGES, Operator, unpacker
from lcat.ops._sorted import sorted_edges

__all__ = ["Backward", "Forward", "Inputs", "Kept", "Options", "Results", "Saved", "dot_attention", "for_backward"]


class Inputs(NamedTuple):
    """The differentiable arguments."""

    query: Tensor
    key: Tensor
    value: Tensor
    edge_attr: Tensor | None
    query_edge: Tensor | None
    edge_weight: Tensor | None


class Options(NamedTuple):
    """Numbers that both passes need."""

    scale: float
    dropout: float


class Forward(NamedTuple):
    """The arguments of ``lcat::dot_attention``; ``by_source`` is missing where no gradient is needed."""

    inputs: Inputs
    by_target: SortedEdges
    by_source: SortedEdges | None
    seed: Tensor | None
    options: Options

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return *self.inputs, *self.by_target, *(self.by_source or NO_EDGES), self.seed, *self.options


class Results(NamedTuple):
    """What the forward pass returns; :mod:`lcat.ops._fused` says which of them are missing (empty), and when."""

    out: Tensor
    attended: Tensor
    lse: Tensor
    unrounded: Tensor
    unrounded_attended: Tensor


class Kept(NamedTuple):
    """Of the results what the backward pass gets; ``out`` and ``attended`` are not rounded."""

    out: Tensor
    attended: Tensor | None
    lse: Tensor


class Saved(NamedTuple):
    """The tensors that the backward pass gets from the forward pass."""

    inputs: Inputs
    results: Kept
    by_target: SortedEdges
    by_source: SortedEdges | None
    seed: Tensor | None

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return *self.inputs, *self.results, *self.by_target, *(self.by_source or NO_EDGES), self.seed


class Backward(NamedTuple):
    """The arguments of ``lcat::dot_attention_backward``; ``needs`` is as in :mod:`lcat.ops._fused`."""

    grad: Tensor
    grad_attended: Tensor | None
    saved: Saved
    options: Options
    needs: Sequence[bool]

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, self.grad_attended, *self.saved.pack(), *self.options, list(self.needs)


class SavedAgain(NamedTuple):
    """The tensors that the double backward pass gets from the backward pass."""

    grad: Tensor
    grad_attended: Tensor | None
    inputs: Inputs
    by_target: SortedEdges
    seed: Tensor | None

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, self.grad_attended, *self.inputs, *self.by_target, self.seed


_unpack_saved_again = unpacker(SavedAgain)
_NUM_INPUTS = len(Inputs._fields)


def dot_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    graph: Graph,
    scale: float,
    edge_attr: Tensor | None,
    query_edge: Tensor | None,
    edge_weight: Tensor | None,
    dropout: float,
) -> Tensor | tuple[Tensor, Tensor]:
    """The attention of the Transformer without messages, forward and backward."""
    inputs = Inputs(query, key, value, edge_attr=edge_attr, query_edge=query_edge, edge_weight=edge_weight)
    arguments = Forward(
        inputs,
        by_target=sorted_edges(graph, "by_target"),
        by_source=sorted_edges(graph, "by_source") if _fused.needs_gradient(*inputs) else None,
        seed=_fused.draw_seed(dropout, query.device),
        options=Options(scale, dropout),
    )
    out, attended = _EAGER(arguments)
    return out if edge_attr is None else (out, attended)


def for_backward(results: Sequence[Any]) -> tuple[Any, ...]:
    """What a backward pass needs of the results of the forward pass: :class:`Kept`."""
    out, attended, lse, unrounded, unrounded_attended = results
    return (out, attended, lse) if out.dtype is lse.dtype else (unrounded, unrounded_attended, lse)


def _triton() -> Any:
    from lcat.ops._dot_attention import triton

    return triton


def _check_forward(arguments: Forward) -> None:
    num_edges = arguments.by_target.edge_ids.numel()
    num_sources = _check(arguments.inputs, arguments.by_target, arguments.seed, arguments.options)
    check_edges("by_source", arguments.by_source, num_sources, num_edges)


def _check_backward(arguments: Backward) -> None:
    saved, results = arguments.saved, arguments.saved.results
    num_targets, num_edges = saved.by_target.indptr.numel() - 1, saved.by_target.edge_ids.numel()
    num_sources = _check(saved.inputs, saved.by_target, saved.seed, arguments.options)
    check_needs(arguments.needs, _NUM_INPUTS, saved.by_source)
    heads, width = saved.inputs.query.shape[1:]
    check_floats("grad", arguments.grad, num_targets, heads, width)
    check_floats("out", results.out, num_targets, heads, width)
    check_floats("lse", results.lse, num_targets, heads)
    check_sums(results.out, results.lse)
    if saved.inputs.edge_attr is not None:
        features = saved.inputs.edge_attr.shape[1]
        check_floats("grad_attended", arguments.grad_attended, num_targets, heads, features)
        if results.attended is None:
            raise ValueError("expected 'attended' for a backward pass with 'edge_attr', got None")
        check_floats("attended", results.attended, num_targets, heads, features)
        check_sums(results.attended, results.lse)
    check_edges("by_source", saved.by_source, num_sources, num_edges)


def _check(inputs: Inputs, by_target: SortedEdges, seed: Tensor | None, options: Options) -> int:
    """What both passes take; the number of sources."""
    num_targets, num_edges = by_target.indptr.numel() - 1, by_target.edge_ids.numel()
    num_sources, heads, width = sizes_of("key", inputs.key, 3)
    check_floats("query", inputs.query, num_targets, heads, width)
    check_floats("key", inputs.key, num_sources, heads, width)
    check_floats("value", inputs.value, num_sources, heads, width)
    check_floats("edge_weight", inputs.edge_weight, num_edges)
    if inputs.edge_attr is not None and inputs.query_edge is not None:
        _, features = sizes_of("edge_attr", inputs.edge_attr, 2)
        check_floats("edge_attr", inputs.edge_attr, num_edges, features)
        check_floats("query_edge", inputs.query_edge, num_targets, heads, features)
    elif inputs.edge_attr is not inputs.query_edge:
        raise ValueError("expected 'edge_attr' and 'query_edge' together, got one of them")
    check_edges("by_target", by_target, num_targets, num_edges)
    check_options(options.dropout, seed)
    return num_sources


def _run_forward(backend: Any, arguments: Forward) -> tuple[Tensor | None, ...]:
    options = arguments.options
    results: tuple[Tensor | None, ...] = backend.forward(
        *arguments.inputs,
        arguments.by_target,
        scale=options.scale,
        dropout=options.dropout,
        seed=arguments.seed,
        keep_unrounded=arguments.by_source is not None,
    )
    return results


def _run_backward(backend: Any, arguments: Backward) -> tuple[Tensor | None, ...]:
    saved, options = arguments.saved, arguments.options
    gradients: tuple[Tensor | None, ...] = backend.backward(
        arguments.grad,
        arguments.grad_attended,
        *saved.inputs,
        **saved.results._asdict(),
        by_target=saved.by_target,
        by_source=saved.by_source,
        scale=options.scale,
        dropout=options.dropout,
        seed=saved.seed,
        needs=arguments.needs,
    )
    return gradients


def _fake_forward(arguments: Forward) -> tuple[Tensor, ...]:
    inputs = arguments.inputs
    dtype, out_dtype = compute_dtype(*inputs), result_dtype(*inputs)
    query, query_edge = inputs.query, inputs.query_edge
    keep = arguments.by_source is not None and out_dtype is not dtype
    return (
        query.new_empty(query.shape, dtype=out_dtype),
        _fused.absent(query) if query_edge is None else query.new_empty(query_edge.shape, dtype=out_dtype),
        query.new_empty(query.shape[:2], dtype=dtype),
        query.new_empty(query.shape, dtype=dtype) if keep else _fused.absent(query),
        _fused.absent(query) if query_edge is None or not keep else query.new_empty(query_edge.shape, dtype=dtype),
    )


def _fake_backward(arguments: Backward) -> tuple[Tensor, ...]:
    return tuple(
        _fused.absent(arguments.grad) if x is None or not need else x.new_empty(x.shape)
        for x, need in zip(arguments.saved.inputs, arguments.needs, strict=True)
    )


def _setup_context(ctx: Any, arguments: Forward, output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(*output[1 if arguments.inputs.edge_attr is None else 2 :])
    ctx.set_materialize_grads(False)
    results = Kept(*for_backward(output))
    saved = Saved(arguments.inputs, results, arguments.by_target, by_source=arguments.by_source, seed=arguments.seed)
    ctx.save_for_backward(*saved.pack())
    ctx.options = arguments.options


def _backward(ctx: Any, grad: Tensor | None, grad_attended: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None and grad_attended is None:
        return _FORWARD.gradients([])
    needs = list(ctx.needs_input_grad[:_NUM_INPUTS])
    out = ctx.saved_tensors[_NUM_INPUTS]
    grad = torch.zeros_like(out) if grad is None else grad
    # Backward, packed
    gradients = _BACKWARD.overload(grad, grad_attended, *ctx.saved_tensors, *ctx.options, needs)
    return _FORWARD.gradients(g if need else None for g, need in zip(gradients, needs, strict=True))


def _setup_context_again(ctx: Any, arguments: Backward, output: Any) -> None:
    del output
    ctx.set_materialize_grads(False)
    saved = arguments.saved
    again = SavedAgain(
        arguments.grad, arguments.grad_attended, inputs=saved.inputs, by_target=saved.by_target, seed=saved.seed
    )
    ctx.save_for_backward(*again.pack())
    ctx.options, ctx.needs = arguments.options, arguments.needs


def _double_backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
    saved: SavedAgain = _unpack_saved_again(ctx.saved_tensors)
    num_sources, heads, width = saved.inputs.key.shape
    graph = graph_of(saved.by_target, num_sources)
    keep = None if saved.seed is None else dropout_factors(saved.seed, graph.num_edges, heads, ctx.options.dropout)

    def function(*variables: Any) -> Tensor:
        """Both results side by side."""
        query, key, value, edge_attr, query_edge, edge_weight = variables
        results = naive.dot_attention(
            *(query, key, value, graph),
            scale=ctx.options.scale,
            edge_attr=edge_attr,
            query_edge=query_edge,
            edge_weight=edge_weight,
            dropout=0.0,
            keep=keep,
        )
        return results if isinstance(results, Tensor) else torch.cat(results, dim=-1)

    both = saved.grad
    if saved.inputs.query_edge is not None:
        other = saved.grad_attended
        both = torch.cat([both, torch.zeros_like(saved.inputs.query_edge) if other is None else other], dim=-1)
    need_grad, need_attended, *need_inputs = ctx.needs_input_grad[: 2 + _NUM_INPUTS]
    d_both, *gradients = double_backward(
        function,
        saved.inputs,
        both,
        cotangents=[c if need else None for c, need in zip(cotangents, ctx.needs, strict=True)],
        needs=(need_grad or need_attended, *need_inputs),
    )
    d_grad = d_both[..., :width] if d_both is not None and need_grad else None
    d_attended = d_both[..., width:] if d_both is not None and need_attended else None
    return _BACKWARD.gradients([d_grad, d_attended, *gradients])


_FORWARD = Operator(
    "dot_attention",
    Forward,
    results=len(Results._fields),
    kernels={"cpu": lambda a: _run_forward(native, a), "cuda": lambda a: _run_forward(_triton(), a)},
    check=_check_forward,
    fake=_fake_forward,
    setup_context=_setup_context,
    backward=_backward,
)
_BACKWARD = Operator(
    "dot_attention_backward",
    Backward,
    results=_NUM_INPUTS,
    kernels={"cpu": lambda a: _run_backward(native, a), "cuda": lambda a: _run_backward(_triton(), a)},
    check=_check_backward,
    fake=_fake_backward,
    setup_context=_setup_context_again,
    backward=_double_backward,
)


def _to_backward(
    grad: Tensor | None, grad_attended: Tensor | None, inputs: Inputs, results: Any, constants: Any, needs: Any
) -> Backward:
    by_target, by_source, seed, options = constants
    results_saved = Kept(*results)
    grad = torch.zeros_like(results_saved.out) if grad is None else grad
    saved = Saved(inputs, results_saved, by_target, by_source=by_source, seed=seed)
    return Backward(grad, grad_attended, saved, options=options, needs=needs)


_EAGER = eager(_FORWARD, _BACKWARD, Inputs, _to_backward, keeps=for_backward, outputs=2, kept_names=Kept._fields)
