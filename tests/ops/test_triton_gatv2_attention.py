"""The GPU kernels of gatv2_attention against its formula: outputs and all gradients."""

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
from lcat.ops._fused import for_backward
from lcat.ops._gatv2_attention import naive
from lcat.ops._gatv2_attention import triton as kernels

NAMES = ("key", "query", "value", "att", "edge_attr", "edge_matrix", "edge_weight")


class Options(NamedTuple):
    """What a call asks for."""

    values: bool = False
    components: int = 0
    weight: bool = False
    dropout: float = 0.0
    slope: float = 0.2


ALL = Options(values=True, components=3, weight=True, dropout=0.4)
COMBINATIONS = [
    Options(),
    Options(values=True),
    Options(components=1),
    Options(values=True, components=6),
    Options(weight=True),
    Options(dropout=0.4),
    ALL,
    ALL._replace(values=False, slope=0.0),
    Options(slope=1.5, dropout=1.0),
]


def make_inputs(edges: Graph, heads: int, features: int, options: Options, dtype: torch.dtype) -> list[Tensor | None]:
    d = options.components
    return [
        random(edges.num_sources, heads, features, dtype=dtype),
        random(edges.num_targets, heads, features, dtype=dtype, seed=1),
        random(edges.num_sources, heads, features, dtype=dtype, seed=2) if options.values else None,
        random(heads, features, dtype=dtype, seed=3),
        random(edges.num_edges, d, dtype=dtype, seed=4) if d else None,
        random(heads * features, d, dtype=dtype, seed=5) if d else None,
        random(edges.num_edges, dtype=dtype, seed=6) if options.weight else None,
    ]


def by_kernels(
    edges: Graph, inputs: list[Tensor | None], options: Options, grad: Tensor, needs: tuple[bool, ...] = (True,) * 7
) -> tuple[Tensor, Tensor, tuple[Tensor | None, ...]]:
    settings = (options.slope, options.dropout, seed_tensor(options.dropout))
    by_target, by_source = edges.by_target, edges.by_source
    forward_outputs = kernels.forward(*inputs, by_target, *settings, True)
    input_gradients = kernels.backward(
        grad, *inputs, *for_backward(forward_outputs), by_target, by_source, *settings, needs
    )
    return forward_outputs[0], forward_outputs[1], input_gradients


def by_formula(
    edges: Graph, inputs: list[Tensor | None], options: Options, grad: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    keep = factors(edges, inputs[0].shape[1], options.dropout)

    def call(k, q, v, att, attr, matrix, weight):
        values = k if v is None else v
        return naive.gatv2_attention(k, q, values, att, edges, options.slope, None, weight, 0.0, attr, matrix, keep)

    return gradients(call, inputs, grad)


def check(
    kind: str, heads: int, features: int, options: Options, dtype: torch.dtype = torch.float64, tile: int = 4
) -> None:
    edges = graph(kind)
    inputs = make_inputs(edges, heads, features, options, dtype)
    grad = random(edges.num_targets, heads, features, dtype=dtype, seed=7)
    out, expected = by_formula(edges, [None if x is None else x.double() for x in inputs], options, grad.double())
    with tiles_of(tile), guarded_memory():
        kernel_out, _, kernel_gradients = by_kernels(edges, inputs, options, grad)
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


def test_programs_that_take_several_groups_of_rows(monkeypatch):
    monkeypatch.setattr(kernels, "_PROGRAMS", 2)
    monkeypatch.setattr(kernels, "_MATRIX_PROGRAMS", 3)
    check("mixed", 2, 64, Options(components=2))


def test_only_what_is_needed():
    edges = graph()
    inputs = make_inputs(edges, 2, 4, ALL, torch.float64)
    grad = random(edges.num_targets, 2, 4)
    _, expected = by_formula(edges, inputs, ALL, grad)
    for wanted in range(7):
        needs = tuple(i == wanted for i in range(7))
        _, _, input_gradients = by_kernels(edges, inputs, ALL, grad, needs)
        for name, value, reference, need in zip(NAMES, input_gradients, expected, needs, strict=True):
            same(name, value, reference if need else None, 1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_errs_no_more_than_twice_naive(dtype):
    edges, options = graph(), Options(values=True, components=2, weight=True)
    inputs = make_inputs(edges, 2, 8, options, dtype)
    grad = random(edges.num_targets, 2, 8, dtype=dtype, seed=7)
    out, expected = by_formula(edges, [None if x is None else x.double() for x in inputs], options, grad.double())
    naive_out, naive_gradients = by_formula(edges, inputs, options, grad)
    with tiles_of(4), guarded_memory():
        kernel_out, _, kernel_gradients = by_kernels(edges, inputs, options, grad)
    assert kernel_out.dtype == dtype
    assert error(kernel_out, out) <= 2 * error(naive_out, out)
    for name, value, other, reference in zip(NAMES, kernel_gradients, naive_gradients, expected, strict=True):
        assert value.dtype == dtype
        assert error(value, reference) <= 2 * error(other, reference), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_as_exact_as_with_casts(dtype):
    """An output in float32 that is rounded afterwards, and a gradient that was made float32 before, give no more."""
    edges, settings = graph(), (0.2, 0.4, seed_tensor(0.4))
    inputs = make_inputs(edges, 2, 8, ALL, dtype)
    grad = random(edges.num_targets, 2, 8, dtype=dtype, seed=7)
    _, expected = by_formula(edges, [None if x is None else x.double() for x in inputs], ALL, grad.double())
    results = []
    with tiles_of(4), guarded_memory():
        out, _, unrounded = forward_outputs = kernels.forward(*inputs, edges.by_target, *settings, True)
        inference, _, nothing = kernels.forward(*inputs, edges.by_target, *settings, False)
        for out_grad in (grad, grad.float()):
            settled = (edges.by_target, edges.by_source, *settings, (True,) * 7)
            results.append(kernels.backward(out_grad, *inputs, *for_backward(forward_outputs), *settled))
    assert (out.dtype, unrounded.dtype, inference.dtype) == (dtype, torch.float32, dtype)
    if INTERPRETED and dtype == torch.bfloat16:  # the interpreter cuts digits off
        assert error(out, unrounded) <= torch.finfo(dtype).eps
    else:
        assert torch.equal(out, unrounded.to(dtype))
    assert nothing is None
    assert error(inference, out) <= torch.finfo(dtype).eps
    for name, value, cast, reference in zip(NAMES, *results, expected, strict=True):
        assert value.dtype == dtype
        assert error(value, reference) <= error(cast, reference) + TOLERANCE[torch.float32], name


@pytest.mark.parametrize("dtypes", [(torch.float32,) * 2, (torch.float64,) * 2, (torch.bfloat16, torch.float32)])
def test_an_output_that_is_not_rounded_is_written_once(dtypes):
    edges, (of_rows, of_att) = graph(), dtypes
    key, query, value, att, *others = make_inputs(edges, 2, 4, Options(), of_att)
    out, lse, unrounded = kernels.forward(
        key.to(of_rows), query.to(of_rows), value, att, *others, edges.by_target, 0.2, 0.0, None, keep_unrounded=True
    )
    assert (out.dtype, lse.dtype) == (of_att, of_att)
    assert unrounded is None


def test_equal_messages_give_no_gradient_to_the_scores():
    # The softmax does not matter then. A backward pass from a rounded output fails this in bfloat16.
    edges = graph()
    inputs = make_inputs(edges, 2, 16, Options(values=True), torch.bfloat16)
    inputs[2] = inputs[2][:1].expand(edges.num_sources, 2, 16).contiguous()
    grad = random(edges.num_targets, 2, 16, dtype=torch.bfloat16, seed=7)
    _, _, (dk, dq, _, datt, *_) = by_kernels(edges, inputs, Options(values=True), grad)
    assert float(dk.abs().max()) < 1e-5
    assert float(dq.abs().max()) < 1e-5
    assert float(datt.abs().max()) < 1e-4


def test_rows_without_edges_give_zero():
    edges = graph("edgeless")
    out, lse, input_gradients = by_kernels(
        edges, make_inputs(edges, 2, 3, Options(), torch.float32), Options(), random(4, 2, 3, dtype=torch.float32)
    )
    assert not out.any()
    assert not lse.any()
    assert all(x is None or not x.any() for x in input_gradients)


def test_very_large_scores_stay_finite():
    edges = graph()
    inputs = make_inputs(edges, 2, 4, Options(), torch.float32)
    inputs[3] = inputs[3] * 1e4
    grad = random(edges.num_targets, 2, 4, dtype=torch.float32)
    out, _ = by_formula(edges, [None if x is None else x.double() for x in inputs], Options(), grad.double())
    with tiles_of(4):
        kernel_out, _, kernel_gradients = by_kernels(edges, inputs, Options(), grad)
    same("out", kernel_out, out, 2e-3)  # float32 knows a score of 1e4 to 1e-3 only
    for x in kernel_gradients:
        assert x is None or bool(torch.isfinite(x).all())


# The interpreter computes with NumPy, which warns where a GPU returns inf or nan.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("tile", [1, 4, 1000])
def test_scores_of_minus_infinity_are_as_in_naive(tile):
    """Parts of cut rows without a finite score, and whole rows, which are NaN."""
    edges = graph()
    inputs = make_inputs(edges, 2, 4, Options(values=True), torch.float64)
    inputs[0][[1, 2, 4]], inputs[3] = -1e308, torch.full_like(inputs[3], 10.0)
    grad = random(edges.num_targets, 2, 4, dtype=torch.float64)
    out, expected = by_formula(edges, inputs, Options(values=True), grad)
    assert out.isnan().any()
    assert out.isfinite().any()
    with tiles_of(tile):
        kernel_out, _, gradients_ = by_kernels(edges, inputs, Options(values=True), grad)
    torch.testing.assert_close(kernel_out, out, equal_nan=True)
    torch.testing.assert_close(gradients_[2], expected[2], equal_nan=True)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, where all numbers of a maximum are NaN
def test_nan_stays_in_its_neighborhood():
    edges = graph()
    inputs = make_inputs(edges, 2, 4, Options(), torch.float32)
    inputs[0][2] = float("nan")
    reached = torch.zeros(edges.num_targets, dtype=torch.bool, device=DEVICE)
    reached[edges.target[edges.source == 2]] = True
    with tiles_of(4):
        out = kernels.forward(*inputs, edges.by_target, 0.2, 0.0, None, False)[0]
    assert bool(out[reached].isnan().all())
    assert not bool(out[~reached].isnan().any())


@pytest.mark.parametrize("kind", ["mixed", "one edge", "dead edges"])
@pytest.mark.parametrize("options", [Options(), Options(components=3), ALL])
def test_keys_and_queries_may_be_halves_of_wider_rows(kind, options):
    """The same bits, and nothing is read of the other half."""
    edges = graph(kind)
    inputs = make_inputs(edges, 3, 8, options, torch.float32)
    grad = random(edges.num_targets, 3, 8, dtype=torch.float32, seed=7)
    apart = list(inputs)
    for position, half in ((0, slice(3)), (1, slice(3, None))):
        wide = torch.full((len(inputs[position]), 6, 8), float("nan"), device=DEVICE)
        wide[:, half] = inputs[position]
        apart[position] = wide[:, half]
    assert len(inputs[1]) == 1 or not apart[1].is_contiguous()
    with tiles_of(4), guarded_memory():
        (out, _, expected), (other, _, results) = (by_kernels(edges, x, options, grad) for x in (inputs, apart))
    assert torch.equal(out, other)
    for name, a, b in zip(NAMES, expected, results, strict=True):
        assert (a is None) == (b is None), name
        assert a is None or (torch.equal(a, b) and b.is_contiguous()), name


def test_repeats_bit_for_bit():
    edges = graph()
    inputs = make_inputs(edges, 3, 7, ALL, torch.float32)
    grad = random(edges.num_targets, 3, 7, dtype=torch.float32)
    with tiles_of(4):
        (out, _, first), (again, _, second) = (by_kernels(edges, inputs, ALL, grad) for _ in range(2))
    assert torch.equal(out, again)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.long
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("options", COMBINATIONS)
@pytest.mark.parametrize(("heads", "features"), SHAPES)
def test_everything_with_everything(kind, options, heads, features):
    check(kind, heads, features, options)
    check(kind, heads, features, options, torch.float32, tile=3)
