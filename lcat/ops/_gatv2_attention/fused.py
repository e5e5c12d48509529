"""The operators ``lcat::gatv2_attention`` and ``lcat::gatv2_attention_backward``: compiled on the CPU, Triton on GPUs.

They are opaque to torch.compile and torch.export, come with shapes for tracing, gradients of any order, and rules
for autocast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from lcat.graph import Graph, SortedEdges
from lcat.ops import _fused
from lcat.ops._attention_dropout import dropout_factors
from lcat.ops._double_backward import double_backward, graph_of
from lcat.ops._dtypes import compute_dtype, result_dtype
from lcat.ops._eager import eager
from lcat.ops._gatv2_attention import naive, native
from lcat.ops._operands import check_edges, check_floats, check_needs, check_options, check_sums, sizes_of
from lcat.ops._operators import NO_EDGES, Operator, unpacker
from lcat.ops._sorted import sorted_edges

__all__ = ["Backward", "Forward", "Inputs", "Kept", "Options", "Results", "Saved", "gatv2_attention"]


class Inputs(NamedTuple):
    """The differentiable arguments; ``value`` is ``None`` where the keys are the values."""

    key: Tensor
    query: Tensor
    value: Tensor | None
    att: Tensor
    edge_attr: Tensor | None
    edge_matrix: Tensor | None
    edge_weight: Tensor | None


class Options(NamedTuple):
    """Numbers that both passes need."""

    slope: float
    dropout: float


class Forward(NamedTuple):
    """The arguments of ``lcat::gatv2_attention``; ``by_source`` is missing where no gradient is needed."""

    inputs: Inputs
    by_target: SortedEdges
    by_source: SortedEdges | None
    seed: Tensor | None
    options: Options

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return *self.inputs, *self.by_target, *(self.by_source or NO_EDGES), self.seed, *self.options


class Results(NamedTuple):
    """What the forward pass returns; :mod:`lcat.ops._fused` says when the last one is missing (empty)."""

    out: Tensor
    lse: Tensor
    unrounded: Tensor


class Kept(NamedTuple):
    """Of the results what the backward pass gets; ``out`` is not rounded."""

    out: Tensor
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
    """The arguments of ``lcat::gatv2_attention_backward``; ``needs`` is as in :mod:`lcat.ops._fused`."""

    grad: Tensor
    saved: Saved
    options: Options
    needs: Sequence[bool]

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, *self.saved.pack(), *self.options, list(self.needs)


class SavedAgain(NamedTuple):
    """The tensors that the double backward pass gets from the backward pass."""

    grad: Tensor
    inputs: Inputs
    by_target: SortedEdges
    seed: Tensor | None

    def pack(self) -> tuple[Any, ...]:
        """One after the other."""
        return self.grad, *self.inputs, *self.by_target, self.seed


_unpack_saved_again = unpacker(SavedAgain)
_NUM_INPUTS = len(Inputs._fields)


def gatv2_attention(
    key: Tensor,
    query: Tensor,
    value: Tensor,
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
    del edge_key  # a call with one is served by other implementations
    inputs = Inputs(
        key,
        query,
        value=None if value is key else value,
        att=att,
        edge_attr=edge_attr,
        edge_matrix=edge_matrix,
        edge_weight=edge_weight,
    )
    arguments = Forward(
        inputs,
        by_target=sorted_edges(graph, "by_target"),
        by_source=sorted_edges(graph, "by_source") if _fused.needs_gradient(*inputs) else None,
        seed=_fused.draw_seed(dropout, key.device),
        options=Options(negative_slope, dropout),
    )
    out: Tensor = _EAGER(arguments)
    return out


def _triton() -> Any:
    from lcat.ops._gatv2_attention import triton

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
    heads, width = saved.inputs.key.shape[1:]
    check_floats("grad", arguments.grad, num_targets, heads, width)
    check_floats("out", results.out, num_targets, heads, width)
    check_floats("lse", results.lse, num_targets, heads)
    check_sums(results.out, results.lse)
    check_edges("by_source", saved.by_source, num_sources, num_edges)


def _check(inputs: Inputs, by_target: SortedEdges, seed: Tensor | None, options: Options) -> int:
    """What both passes take; the number of sources."""
    num_targets, num_edges = by_target.indptr.numel() - 1, by_target.edge_ids.numel()
    num_sources, heads, width = sizes_of("key", inputs.key, 3)
    check_floats("key", inputs.key, num_sources, heads, width)
    check_floats("query", inputs.query, num_targets, heads, width)
    check_floats("value", inputs.value, num_sources, heads, width)
    check_floats("att", inputs.att, heads, width)
    check_floats("edge_weight", inputs.edge_weight, num_edges)
    if inputs.edge_attr is not None and inputs.edge_matrix is not None:
        _, features = sizes_of("edge_attr", inputs.edge_attr, 2)
        check_floats("edge_attr", inputs.edge_attr, num_edges, features)
        check_floats("edge_matrix", inputs.edge_matrix, heads * width, features)
    elif inputs.edge_attr is not inputs.edge_matrix:
        raise ValueError("expected 'edge_attr' and 'edge_matrix' together, got one of them")
    check_edges("by_target", by_target, num_targets, num_edges)
    check_options(options.dropout, seed)
    return num_sources


def _run_forward(backend: Any, arguments: Forward) -> tuple[Tensor | None, ...]:
    options = arguments.options
    results: tuple[Tensor | None, ...] = backend.forward(
        *arguments.inputs,
        arguments.by_target,
        slope=options.slope,
        dropout=options.dropout,
        seed=arguments.seed,
        keep_unrounded=arguments.by_source is not None,
    )
    return results


def _run_backward(backend: Any, arguments: Backward) -> tuple[Tensor | None, ...]:
    saved, options = arguments.saved, arguments.options
    gradients: tuple[Tensor | None, ...] = backend.backward(
        arguments.grad,
        *saved.inputs,
        out=saved.results.out,
        lse=saved.results.lse,
        by_target=saved.by_target,
        by_source=saved.by_source,
        slope=options.slope,
        dropout=options.dropout,
        seed=saved.seed,
        needs=arguments.needs,
    )
    return gradients


def _fake_forward(arguments: Forward) -> tuple[Tensor, ...]:
    key, dtype, out_dtype = arguments.inputs.key, compute_dtype(*arguments.inputs), result_dtype(*arguments.inputs)
    num_targets, (heads, width) = arguments.by_target.indptr.shape[0] - 1, key.shape[1:]
    keep_unrounded = arguments.by_source is not None and out_dtype is not dtype
    return (
        key.new_empty(num_targets, heads, width, dtype=out_dtype),
        key.new_empty(num_targets, heads, dtype=dtype),
        key.new_empty(num_targets, heads, width, dtype=dtype) if keep_unrounded else _fused.absent(key),
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
    saved = Saved(arguments.inputs, results, arguments.by_target, by_source=arguments.by_source, seed=arguments.seed)
    ctx.save_for_backward(*saved.pack())
    ctx.options = arguments.options


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return _FORWARD.gradients([])
    needs = list(ctx.needs_input_grad[:_NUM_INPUTS])
    gradients = _BACKWARD.overload(grad, *ctx.saved_tensors, *ctx.options, needs)  # Backward, packed
    return _FORWARD.gradients(g if need else None for g, need in zip(gradients, needs, strict=True))


def _setup_context_again(ctx: Any, arguments: Backward, output: Any) -> None:
    del output
    ctx.set_materialize_grads(False)
    saved = arguments.saved
    ctx.save_for_backward(*SavedAgain(arguments.grad, saved.inputs, saved.by_target, saved.seed).pack())
    ctx.options, ctx.needs = arguments.options, arguments.needs


def _double_backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
    saved: SavedAgain = _unpack_saved_again(ctx.saved_tensors)
    num_sources, heads, _ = saved.inputs.key.shape
    graph = graph_of(saved.by_target, num_sources)
    keep = None if saved.seed is None else dropout_factors(saved.seed, graph.num_edges, heads, ctx.options.dropout)

    def function(*variables: Any) -> Tensor:
        inputs = Inputs(*variables)
        return naive.gatv2_attention(
            inputs.key,
            inputs.query,
            inputs.key if inputs.value is None else inputs.value,
            inputs.att,
            graph,
            negative_slope=ctx.options.slope,
            edge_key=None,
            edge_weight=inputs.edge_weight,
            dropout=0.0,
            edge_attr=inputs.edge_attr,
            edge_matrix=inputs.edge_matrix,
            keep=keep,
        )

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
    "gatv2_attention",
    Forward,
    results=len(Results._fields),
    kernels={"cpu": lambda a: _run_forward(native, a), "cuda": lambda a: _run_forward(_triton(), a)},
    check=_check_forward,
    fake=_fake_forward,
    setup_context=_setup_context,
    backward=_backward,
)
_BACKWARD = Operator(
    "gatv2_attention_backward",
    Backward,
    results=_NUM_INPUTS,
    kernels={"cpu": lambda a: _run_backward(native, a), "cuda": lambda a: _run_backward(_triton(), a)},
    check=_check_backward,
    fake=_fake_backward,
    setup_context=_setup_context_again,
    backward=_double_backward,
)


def _to_backward(grad: Tensor, inputs: Inputs, results: Any, constants: Any, needs: Any) -> Backward:
    by_target, by_source, seed, options = constants
    return Backward(grad, Saved(inputs, Kept(*results), by_target, by_source, seed), options, needs)


_EAGER = eager(_FORWARD, _BACKWARD, Inputs, _to_backward, rows_apart=("key", "query"))
