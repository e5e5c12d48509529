"""The GPU kernels of dot_attention against its formula: outputs and all gradients."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import (
    DEVICE,
    GRAPHS,
    INTERPRETED,
    SHAPES,
    TOLERANCE,
    error,
    factors,
    gradients,
    graph,
    guarded_memory,
    same,
    seed_tensor,
    tiles_of,
)
from tests.ops.triton_support import random_tensor as random

# isort: split
from lcat.graph import Graph
from lcat.ops._dot_attention import naive
from lcat.ops._dot_attention import triton as kernels
from lcat.ops._dot_attention.fused import for_backward

NAMES = ("query", "key", "value", "edge_attr", "query_edge", "edge_weight")


class Options(NamedTuple):
    """What a call asks for."""

    components: int = 0
    weight: bool = False
    dropout: float = 0.0
    scale: float = 0.6


ALL = Options(components=3, weight=True, dropout=0.4)
COMBINATIONS = [
    Options(),
    Options(components=1),
    Options(components=20),
    Options(weight=True),
    Options(dropout=0.4),
    ALL,
    Options(scale=-1.5, dropout=1.0),
]


def make_inputs(edges: Graph, heads: int, features: int, options: Options, dtype: torch.dtype) -> list[Tensor | None]:
    d = options.components
    return [
        random(edges.num_targets, heads, features, dtype=dtype, seed=1),
        random(edges.num_sources, heads, features, dtype=dtype),
        random(edges.num_sources, heads, features, dtype=dtype, seed=2),
        random(edges.num_edges, d, dtype=dtype, seed=4) if d else None,
        random(edges.num_targets, heads, d, dtype=dtype, seed=5) if d else None,
        random(edges.num_edges, dtype=dtype, seed=6) if options.weight else None,
    ]


def by_kernels(
    edges: Graph, inputs: list[Tensor | None], options: Options, grad: Tensor, needs: tuple[bool, ...] = (True,) * 6
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """Both results side by side, and the gradients; ``grad`` is that of both."""
    settings = (options.scale, options.dropout, seed_tensor(options.dropout))
    by_target, by_source = edges.by_target, edges.by_source
    results = kernels.forward(*inputs, by_target, *settings, True)
    width = inputs[0].shape[2]
    grads = (grad[..., :width].contiguous(), grad[..., width:].contiguous() if options.components else None)
    input_gradients = kernels.backward(*grads, *inputs, *for_backward(results), by_target, by_source, *settings, needs)
    return torch.cat([x for x in results[:2] if x is not None], dim=-1), input_gradients


def by_formula(
    edges: Graph, inputs: list[Tensor | None], options: Options, grad: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    keep = factors(edges, inputs[0].shape[1], options.dropout)

    def call(q, k, v, attr, u, weight):
        result = naive.dot_attention(q, k, v, edges, options.scale, attr, u, weight, 0.0, keep)
        return result if isinstance(result, Tensor) else torch.cat(result, dim=-1)

    return gradients(call, inputs, grad)


def grad_of(edges: Graph, heads: int, features: int, options: Options, dtype: torch.dtype) -> Tensor:
    return random(edges.num_targets, heads, features + options.components, dtype=dtype, seed=7)


def check(
    kind: str, heads: int, features: int, options: Options, dtype: torch.dtype = torch.float64, tile: int = 4
) -> None:
    edges = graph(kind)
    inputs = make_inputs(edges, heads, features, options, dtype)
    grad = grad_of(edges, heads, features, options, dtype)
    out, expected = by_formula(edges, [None if x is None else x.double() for x in inputs], options, grad.double())
    with tiles_of(tile), guarded_memory():
        kernel_out, kernel_gradients = by_kernels(edges, inputs, options, grad)
    same("out", kernel_out, out, TOLERANCE[dtype])
    for name, value, reference in zip(NAMES, kernel_gradients, expected, strict=True):
        same(name, value, reference, TOLERANCE[dtype])


@pytest.mark.parametrize("options", COMBINATIONS)
def test_options(options):
    check("mixed", 3, 5, options)


@pytest.mark.parametrize(("heads", "features"), SHAPES)
def test_shapes(heads, features):
    check("mixed", heads, features, Options(), torch.float32)


def test_dropout_where_a_program_holds_fewer_heads_than_four():
    check("mixed", 4, 300, Options(dropout=0.4), torch.float32)


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs(kind):
    check(kind, 2, 4, ALL)


def test_more_heads_than_a_program_holds():
    check("loops", 40, 33, ALL, torch.float32)  # two blocks of heads: per-edge gradients are sums over blocks


@pytest.mark.parametrize("tile", [1, 3, 1000])
def test_where_rows_are_cut_does_not_matter(tile):
    check("mixed", 2, 4, ALL, tile=tile)


def test_only_what_is_needed():
    edges = graph()
    inputs = make_inputs(edges, 2, 4, ALL, torch.float64)
    grad = grad_of(edges, 2, 4, ALL, torch.float64)
    _, expected = by_formula(edges, inputs, ALL, grad)
    for wanted in range(6):
        needs = tuple(i == wanted for i in range(6))
        _, input_gradients = by_kernels(edges, inputs, ALL, grad, needs)
        for name, value, reference, need in zip(NAMES, input_gradients, expected, needs, strict=True):
            same(name, value, reference if need else None, 1e-11)


def test_a_gradient_of_one_result_alone():
    edges = graph()
    inputs = make_inputs(edges, 2, 4, ALL, torch.float64)
    settings = (ALL.scale, ALL.dropout, seed_tensor(ALL.dropout))
    results = kernels.forward(*inputs, edges.by_target, *settings, True)
    grad = random(edges.num_targets, 2, 4)
    both = torch.cat([grad, torch.zeros_like(results[1])], dim=-1)
    rest = (*inputs, *for_backward(results), edges.by_target, edges.by_source, *settings, (True,) * 6)
    ours, (_, expected) = kernels.backward(grad, None, *rest), by_formula(edges, inputs, ALL, both)
    for name, value, reference in zip(NAMES, ours, expected, strict=True):
        same(name, value, reference, 1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_errs_no_more_than_twice_naive(dtype):
    edges, options = graph(), Options(components=2, weight=True)
    inputs = make_inputs(edges, 2, 8, options, dtype)
    grad = grad_of(edges, 2, 8, options, dtype)
    out, expected = by_formula(edges, [None if x is None else x.double() for x in inputs], options, grad.double())
    naive_out, naive_gradients = by_formula(edges, inputs, options, grad)
    with tiles_of(4), guarded_memory():
        kernel_out, kernel_gradients = by_kernels(edges, inputs, options, grad)
    assert kernel_out.dtype == dtype
    assert error(kernel_out, out) <= 2 * error(naive_out, out)
    for name, value, other, reference in zip(NAMES, kernel_gradients, naive_gradients, expected, strict=True):
        assert value.dtype == dtype
        cut = torch.finfo(dtype).eps if INTERPRETED and dtype == torch.bfloat16 else 0.0  # digits, not rounded
        assert error(value, reference) <= 2 * error(other, reference) + cut, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_output_that_is_not_rounded_is_written_once(dtype):
    edges = graph()
    out, attended, lse, *unrounded = kernels.forward(
        *make_inputs(edges, 2, 4, ALL, dtype), edges.by_target, 0.2, 0.0, None, keep_unrounded=True
    )
    assert (out.dtype, attended.dtype, lse.dtype) == (dtype,) * 3
    assert unrounded == [None, None]


def test_rows_without_edges_give_zero():
    edges = graph("edgeless")
    out, input_gradients = by_kernels(
        edges, make_inputs(edges, 2, 3, ALL, torch.float32), ALL, grad_of(edges, 2, 3, ALL, torch.float32)
    )
    assert not out.any()
    assert all(x is None or not x.any() for x in input_gradients)


# The interpreter computes with NumPy, which warns where a GPU returns inf or nan.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("tile", [1, 4, 1000])
def test_scores_of_minus_infinity_are_as_in_naive(tile):
    """Parts of cut rows without a finite score, and whole rows, which are NaN."""
    edges, options = graph(), Options(components=2)
    inputs = make_inputs(edges, 2, 4, options, torch.float64)
    inputs[1][[1, 2, 4]], inputs[0] = -1e308, torch.full_like(inputs[0], 10.0)
    grad = grad_of(edges, 2, 4, options, torch.float64)
    out, expected = by_formula(edges, inputs, options, grad)
    assert out.isnan().any()
    assert out.isfinite().any()
    with tiles_of(tile):
        kernel_out, kernel_gradients = by_kernels(edges, inputs, options, grad)
    torch.testing.assert_close(kernel_out, out, equal_nan=True)
    torch.testing.assert_close(kernel_gradients[2], expected[2], equal_nan=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, where all numbers of a maximum are NaN
def test_nan_stays_in_its_neighborhood():
    edges = graph()
    inputs = make_inputs(edges, 2, 4, Options(), torch.float32)
    inputs[1][2] = float("nan")
    reached = torch.zeros(edges.num_targets, dtype=torch.bool, device=DEVICE)
    reached[edges.target[edges.source == 2]] = True
    with tiles_of(4):
        out = kernels.forward(*inputs, edges.by_target, 0.2, 0.0, None, False)[0]
    assert bool(out[reached].isnan().all())
    assert not bool(out[~reached].isnan().any())


def test_repeats_bit_for_bit():
    edges = graph()
    inputs = make_inputs(edges, 3, 7, ALL, torch.float32)
    grad = grad_of(edges, 3, 7, ALL, torch.float32)
    with tiles_of(4):
        (out, first), (again, second) = (by_kernels(edges, inputs, ALL, grad) for _ in range(2))
    assert torch.equal(out, again)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.long
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("options", COMBINATIONS)
@pytest.mark.parametrize(("heads", "features"), SHAPES)
def test_everything_with_everything(kind, options, heads, features):
    check(kind, heads, features, options)
    check(kind, heads, features, options, torch.float32, tile=3)
