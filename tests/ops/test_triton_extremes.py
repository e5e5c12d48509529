"""The GPU kernels of minima and maxima against their formula: results, ties, NaN, and all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import (
    GRAPHS,
    SHAPES,
    TOLERANCE,
    error,
    gradients,
    graph,
    guarded_memory,
    same,
    tiles_of,
)
from tests.ops.triton_support import random_tensor as random

# isort: split
from lcat.graph import Graph
from lcat.ops._extremes import naive
from lcat.ops._extremes import triton as kernels
from lcat.ops._fused import for_backward

SIDES = pytest.mark.parametrize("largest", [False, True], ids=["min", "max"])


def by_kernels(
    edges: Graph, x: Tensor, w: Tensor | None, grad: Tensor, largest: bool, needs: tuple[bool, bool] = (True, True)
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    results = kernels.forward(x, w, edges.by_target, largest=largest, for_gradients=True)
    out, ties = for_backward(results)
    assert ties.dtype == out.dtype
    computed = kernels.backward(grad, x, w, out=out, ties=ties, by_source=edges.by_source, needs=needs)
    return results[0], computed


def make_weight(edges: Graph, heads: int, weight: str, dtype: torch.dtype) -> Tensor | None:
    shape = {"none": None, "edge": (edges.num_edges,), "head": (edges.num_edges, heads)}[weight]
    return None if shape is None else random(*shape, dtype=dtype, seed=1)


def check(
    kind: str,
    heads: int,
    features: int,
    weight: str,
    dtype: torch.dtype,
    *,
    tile: int = 4,
    largest: bool = True,
    rounded: bool = False,
) -> None:
    edges = graph(kind)
    x, w = random(edges.num_sources, heads, features, dtype=dtype), make_weight(edges, heads, weight, dtype)
    if rounded:  # to few numbers, 0 among them: many ties
        x, w = x.round(), None if w is None else w.round()
    grad = random(edges.num_targets, heads, features, dtype=dtype, seed=2)
    out, expected = gradients(
        lambda x, w: naive.extremes(x, edges, w, largest), [None if a is None else a.double() for a in (x, w)], grad
    )
    with tiles_of(tile), guarded_memory():
        kernel_out, computed = by_kernels(edges, x, w, grad, largest)
    assert kernel_out.dtype == computed[0].dtype == dtype
    same("out", kernel_out, out, TOLERANCE[dtype])
    for name, value, reference in zip(("x", "weight"), computed, expected, strict=True):
        same(name, value, reference, TOLERANCE[dtype])


@SIDES
@pytest.mark.parametrize("weight", ["none", "edge", "head"])
@pytest.mark.parametrize(("heads", "features"), SHAPES[:6])
def test_shapes_and_weights(heads, features, weight, largest):
    check("mixed", heads, features, weight, torch.float64, largest=largest)


@SIDES
@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs(kind, largest):
    check(kind, 3, 5, "head", torch.float64, largest=largest)
    check(kind, 1, 6, "none", torch.float32, largest=largest)
    check(kind, 2, 6, "edge", torch.float32, largest=largest)


@SIDES
@pytest.mark.parametrize("tile", [1, 3, 1000])
@pytest.mark.parametrize("weight", ["none", "head"])
def test_ties_share_gradients_wherever_rows_are_cut(weight, tile, largest):
    for dtype in (torch.float32, torch.float64):
        check("mixed", 2, 4, weight, dtype, tile=tile, largest=largest, rounded=True)


def test_rows_wider_than_a_program():
    check("loops", 2, 700, "edge", torch.float32, tile=2)
    check("loops", 1, 1030, "head", torch.float32, rounded=True)
    check("loops", 40, 33, "head", torch.float32)


@SIDES
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the interpreter: 0 * infinity
@pytest.mark.parametrize("tile", [2, 1000])
@pytest.mark.parametrize("weight", ["none", "edge"])
def test_nan_and_infinities(weight, tile, largest):
    edges = graph()
    x, w = random(edges.num_sources, 1, 9), make_weight(edges, 1, weight, torch.float64)
    x[2, 0, 3], x[3, 0, 3], x[2, 0, 4], x[1, 0, 4] = torch.nan, torch.inf, torch.inf, -torch.inf
    x[:, 0, 5], x[:, 0, 6], x[4, 0, 7] = torch.inf, -torch.inf, torch.nan
    grad = random(edges.num_targets, 1, 9, seed=2)
    out, expected = gradients(lambda x, w: naive.extremes(x, edges, w, largest), [x, w], grad)
    with tiles_of(tile):
        kernel_out, computed = by_kernels(edges, x, w, grad, largest)
    for value, reference in zip((kernel_out, *computed), (out, *expected), strict=True):
        if reference is not None:
            torch.testing.assert_close(value, reference, equal_nan=True, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_before_it_is_rounded(dtype):
    edges = graph()
    x, w = random(edges.num_sources, 2, 8, dtype=dtype), random(edges.num_edges, dtype=dtype, seed=1)
    grad = random(edges.num_targets, 2, 8, dtype=dtype, seed=2)
    exact, expected = gradients(lambda x, w: naive.extremes(x, edges, w, True), [x.double(), w.double()], grad.double())
    with tiles_of(4), guarded_memory():
        out, computed = by_kernels(edges, x, w, grad, True)
    for value, reference in zip((out, *computed), (exact, *expected), strict=True):
        assert value.dtype == dtype
        assert error(value, reference) <= torch.finfo(dtype).eps


def test_only_what_is_needed():
    edges = graph()
    x, w, grad = random(7, 2, 3), random(30, 2, seed=1), random(9, 2, 3, seed=2)
    out, ties, unrounded = kernels.forward(x, w, edges.by_target, largest=True, for_gradients=False)
    assert ties is None
    assert unrounded is None
    same("out", out, naive.extremes(x, edges, w, True), 1e-12)
    with tiles_of(2):
        same("cut", kernels.forward(x, w, edges.by_target, largest=True, for_gradients=False)[0], out, 0)
    _, (d_x, d_weight) = by_kernels(edges, x, w, grad, True)
    _, (alone, nothing) = by_kernels(edges, x, w, grad, True, needs=(True, False))
    assert nothing is None
    assert torch.equal(alone, d_x)
    _, (nothing, alone) = by_kernels(edges, x, w, grad, True, needs=(False, True))
    assert nothing is None
    assert torch.equal(alone, d_weight)


def test_repeats_bit_for_bit():
    edges = graph()
    x, w = random(edges.num_sources, 3, 7, dtype=torch.float32), random(edges.num_edges, 3, dtype=torch.float32)
    grad = random(edges.num_targets, 3, 7, dtype=torch.float32, seed=2)
    with tiles_of(2):
        first, second = (by_kernels(edges, x, w, grad, True) for _ in range(2))
    for one, other in zip((first[0], *first[1]), (second[0], *second[1]), strict=True):
        assert torch.equal(one, other)


@pytest.mark.long
@SIDES
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("weight", ["none", "edge", "head"])
@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("heads", "features"), SHAPES)
def test_everything_with_everything(kind, heads, features, weight, rounded, largest):
    check(kind, heads, features, weight, torch.float32, largest=largest, rounded=rounded)
