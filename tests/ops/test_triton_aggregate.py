"""The GPU kernels of aggregate against its formula."""

from __future__ import annotations

import pytest
import torch

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
from lcat.ops._aggregate import naive
from lcat.ops._aggregate import triton as kernels


def check(kind: str, heads: int, features: int, weight: str, dtype: torch.dtype, tile: int = 4) -> None:
    edges = graph(kind)
    x = random(edges.num_sources, heads, features, dtype=dtype)
    scaled = "scaled" in weight
    weight = weight.removesuffix(" scaled")
    shape = {"none": None, "edge": (edges.num_edges,), "head": (edges.num_edges, heads)}[weight]
    w = None if shape is None else random(*shape, dtype=dtype, seed=1)
    grad = random(edges.num_targets, heads, features, dtype=dtype, seed=2)
    sides = (edges.num_sources, edges.num_targets)
    scales = [random(count, dtype=dtype, seed=3) for count in sides] if scaled else [None, None]
    wide = [None if a is None else a.double() for a in (x, w)]
    wide_scales = [None if a is None else a.double() for a in scales]
    out, (dx, dw) = gradients(lambda x, w: naive.aggregate(x, edges, w, *wide_scales), wide, grad.double())
    with tiles_of(tile), guarded_memory():
        kernel_out = kernels.forward(x, w, edges.by_target, edges.num_targets, *scales)
        kernel_dx = kernels.forward(grad, w, edges.by_source, edges.num_sources, *scales[::-1])
        kernel_dw = None if w is None or scaled else kernels.weight_grad(grad, x, edges.by_target, weight == "head")
    assert kernel_out.dtype == kernel_dx.dtype == dtype
    for name, value, reference in (("out", kernel_out, out), ("x", kernel_dx, dx), ("weight", kernel_dw, dw)):
        if value is not None:
            same(name, value, reference, TOLERANCE[dtype])


@pytest.mark.parametrize("weight", ["none", "edge", "head", "none scaled", "head scaled"])
@pytest.mark.parametrize(("heads", "features"), SHAPES[:6])
def test_shapes_and_weights(heads, features, weight):
    check("mixed", heads, features, weight, torch.float64)


@pytest.mark.parametrize("kind", GRAPHS)
def test_graphs(kind):
    check(kind, 3, 5, "head", torch.float64)
    check(kind, 1, 6, "none", torch.float32)
    check(kind, 2, 6, "edge scaled", torch.float32)


def test_rows_wider_than_a_program():
    check("loops", 2, 700, "edge", torch.float32, tile=2)
    check("loops", 1, 1030, "head", torch.float32)
    check("loops", 40, 33, "head", torch.float32)


@pytest.mark.parametrize("tile", [1, 3, 1000])
def test_where_rows_are_cut_does_not_matter(tile):
    check("mixed", 2, 4, "edge", torch.float64, tile)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_errs_no_more_than_twice_naive(dtype):
    edges = graph()
    x, w = random(edges.num_sources, 2, 8, dtype=dtype), random(edges.num_edges, dtype=dtype, seed=1)
    out = naive.aggregate(x.double(), edges, w.double())
    with tiles_of(4), guarded_memory():
        kernel_out = kernels.forward(x, w, edges.by_target, edges.num_targets)
    assert kernel_out.dtype == dtype
    assert error(kernel_out, out) <= 2 * error(naive.aggregate(x, edges, w), out)


def test_int32_indices_give_the_same_bits():
    edges = graph()
    x = random(edges.num_sources, 2, 5, dtype=torch.float32)
    wide = kernels.forward(x, None, edges.by_target, edges.num_targets)
    by_target = type(edges.by_target)(
        edges.by_target.indptr, edges.by_target.indices.int(), edges.by_target.edge_ids.int()
    )
    assert torch.equal(kernels.forward(x, None, by_target, edges.num_targets), wide)


def test_repeats_bit_for_bit():
    edges = graph()
    x, w = random(edges.num_sources, 3, 7, dtype=torch.float32), random(edges.num_edges, 3, dtype=torch.float32)
    with tiles_of(2):
        first, second = (kernels.forward(x, w, edges.by_target, edges.num_targets) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.long
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("weight", ["none", "edge", "head"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("heads", "features"), SHAPES)
def test_everything_with_everything(kind, heads, features, weight, dtype):
    check(kind, heads, features, weight, dtype)
