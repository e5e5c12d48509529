"""Random graphs, shapes, types and options through the GPU kernels, and a hub of ten thousand edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import DEVICE, TOLERANCE, factors, gradients, random_tensor, same, seed_tensor, tiles_of

# isort: split
from lcat.graph import Graph
from lcat.ops._aggregate import naive as naive_aggregate
from lcat.ops._aggregate import triton as aggregate
from lcat.ops._dot_attention import naive as dot_naive
from lcat.ops._dot_attention import triton as dot_attention
from lcat.ops._dot_attention.fused import for_backward as dot_for_backward
from lcat.ops._extremes import naive as extremes_naive
from lcat.ops._extremes import triton as extremes
from lcat.ops._fused import for_backward
from lcat.ops._gat_attention import naive as gat_naive
from lcat.ops._gat_attention import triton as gat_attention
from lcat.ops._gatv2_attention import naive as gatv2_naive
from lcat.ops._gatv2_attention import triton as gatv2_attention


def check_aggregate(edges: Graph, heads: int, features: int, dtype: torch.dtype, per_edge: bool) -> None:
    x = random_tensor(edges.num_sources, heads, features, dtype=dtype)
    w = random_tensor(edges.num_edges, heads, dtype=dtype, seed=1) if per_edge else None
    grad = random_tensor(edges.num_targets, heads, features, dtype=dtype, seed=2)
    wide = [None if a is None else a.double() for a in (x, w)]
    out, expected = gradients(lambda x, w: naive_aggregate.aggregate(x, edges, w), wide, grad.double())
    same("out", aggregate.forward(x, w, edges.by_target, edges.num_targets), out, TOLERANCE[dtype])
    same("x", aggregate.forward(grad, w, edges.by_source, edges.num_sources), expected[0], TOLERANCE[dtype])
    if w is not None:
        same("weight", aggregate.weight_grad(grad, x, edges.by_target, True), expected[1], TOLERANCE[dtype])


def check_extremes(
    edges: Graph, heads: int, features: int, dtype: torch.dtype, per_edge: bool, largest: bool, ties: bool
) -> None:
    x = random_tensor(edges.num_sources, heads, features, dtype=dtype)
    w = random_tensor(edges.num_edges, heads, dtype=dtype, seed=1) if per_edge else None
    if ties:
        x, w = x.round(), None if w is None else w.round()
    grad = random_tensor(edges.num_targets, heads, features, dtype=dtype, seed=2)
    # In the type of the input: numbers that are the same after rounding are ties.
    out, expected = gradients(lambda x, w: extremes_naive.extremes(x, edges, w, largest), [x, w], grad)
    results = extremes.forward(x, w, edges.by_target, largest=largest, for_gradients=True)
    same("out", results[0], out, TOLERANCE[dtype])
    exact, count = for_backward(results)
    computed = extremes.backward(grad, x, w, out=exact, ties=count, by_source=edges.by_source, needs=(True, True))
    for name, value, reference in zip(("x", "weight"), computed, expected, strict=True):
        same(name, value, reference, TOLERANCE[dtype])


def check_v1(
    edges: Graph, heads: int, features: int, dtype: torch.dtype, per_edge: bool, other: bool, dropout: float
) -> None:
    inputs = [
        random_tensor(edges.num_sources, heads, dtype=dtype),
        random_tensor(edges.num_targets, heads, dtype=dtype, seed=1) if other else None,
        random_tensor(edges.num_sources, heads, features, dtype=dtype, seed=2),
        random_tensor(edges.num_edges, heads, dtype=dtype, seed=3) if per_edge else None,
        random_tensor(edges.num_edges, dtype=dtype, seed=4) if per_edge else None,
    ]
    grad, keep = random_tensor(edges.num_targets, heads, features, dtype=dtype, seed=5), factors(edges, heads, dropout)
    out, expected = gradients(
        lambda s, t, v, score, weight: gat_naive.gat_attention(s, t, v, edges, 0.2, score, weight, 0.0, keep),
        [None if x is None else x.double() for x in inputs],
        grad.double(),
    )
    by_target, by_source, settled = edges.by_target, edges.by_source, (0.2, dropout, seed_tensor(dropout))
    forward_outputs = gat_attention.forward(*inputs, by_target, *settled, other, True)
    same("out", forward_outputs[0], out, TOLERANCE[dtype])
    input_gradients = gat_attention.backward(
        grad, *inputs, *for_backward(forward_outputs), by_target, by_source, *settled, (True,) * 5
    )
    for index, (value, reference) in enumerate(zip(input_gradients, expected, strict=True)):
        same(str(index), value, reference, TOLERANCE[dtype])


def check_v2(
    edges: Graph, heads: int, features: int, dtype: torch.dtype, per_edge: bool, other: bool, dropout: float
) -> None:
    inputs = [
        random_tensor(edges.num_sources, heads, features, dtype=dtype),
        random_tensor(edges.num_targets, heads, features, dtype=dtype, seed=1),
        random_tensor(edges.num_sources, heads, features, dtype=dtype, seed=2) if other else None,
        random_tensor(heads, features, dtype=dtype, seed=3),
        random_tensor(edges.num_edges, 3, dtype=dtype, seed=4) if per_edge else None,
        random_tensor(heads * features, 3, dtype=dtype, seed=5) if per_edge else None,
        random_tensor(edges.num_edges, dtype=dtype, seed=6) if per_edge else None,
    ]
    grad, keep = random_tensor(edges.num_targets, heads, features, dtype=dtype, seed=7), factors(edges, heads, dropout)

    def call(k, q, v, att, attr, matrix, weight):
        values = k if v is None else v
        return gatv2_naive.gatv2_attention(k, q, values, att, edges, 0.2, None, weight, 0.0, attr, matrix, keep)

    out, expected = gradients(call, [None if x is None else x.double() for x in inputs], grad.double())
    by_target, by_source, settled = edges.by_target, edges.by_source, (0.2, dropout, seed_tensor(dropout))
    forward_outputs = gatv2_attention.forward(*inputs, by_target, *settled, True)
    same("out", forward_outputs[0], out, TOLERANCE[dtype])
    input_gradients = gatv2_attention.backward(
        grad, *inputs, *for_backward(forward_outputs), by_target, by_source, *settled, (True,) * 7
    )
    for index, (value, reference) in enumerate(zip(input_gradients, expected, strict=True)):
        same(str(index), value, reference, TOLERANCE[dtype])


def check_dot(edges: Graph, heads: int, features: int, dtype: torch.dtype, per_edge: bool, dropout: float) -> None:
    inputs = [
        random_tensor(edges.num_targets, heads, features, dtype=dtype),
        random_tensor(edges.num_sources, heads, features, dtype=dtype, seed=1),
        random_tensor(edges.num_sources, heads, features, dtype=dtype, seed=2),
        random_tensor(edges.num_edges, 3, dtype=dtype, seed=4) if per_edge else None,
        random_tensor(edges.num_targets, heads, 3, dtype=dtype, seed=5) if per_edge else None,
        random_tensor(edges.num_edges, dtype=dtype, seed=6) if per_edge else None,
    ]
    grad, keep = random_tensor(edges.num_targets, heads, features, dtype=dtype, seed=7), factors(edges, heads, dropout)
    grad_attended = random_tensor(edges.num_targets, heads, 3, dtype=dtype, seed=8) if per_edge else None
    both = grad if grad_attended is None else torch.cat([grad, grad_attended], dim=-1)

    def call(q, k, v, attr, u, weight):
        result = dot_naive.dot_attention(q, k, v, edges, 0.3, attr, u, weight, 0.0, keep)
        return torch.cat(result, dim=-1) if per_edge else result

    out, expected = gradients(call, [None if x is None else x.double() for x in inputs], both.double())
    by_target, by_source, settled = edges.by_target, edges.by_source, (0.3, dropout, seed_tensor(dropout))
    results = dot_attention.forward(*inputs, by_target, *settled, True)
    same("out", torch.cat([x for x in results[:2] if x is not None], dim=-1), out, TOLERANCE[dtype])
    saved = dot_for_backward(results)
    computed = dot_attention.backward(grad, grad_attended, *inputs, *saved, by_target, by_source, *settled, (True,) * 6)
    for index, (value, reference) in enumerate(zip(computed, expected, strict=True)):
        same(str(index), value, reference, TOLERANCE[dtype])


# Shapes, types and options are constants of a kernel: on a GPU each combination is compiled. So graphs vary there, and
# shapes do in the interpreter, where a program of one edge takes milliseconds.
if DEVICE == "cpu":
    NODES, EDGES, EXAMPLES = 12, 40, 300
    SHAPES, TILES = st.tuples(st.integers(1, 5), st.integers(1, 20)), st.integers(1, 12)
else:
    NODES, EDGES, EXAMPLES = 20_000, 1_000_000, 200
    SHAPES, TILES = st.sampled_from([(3, 7), (8, 8), (4, 32)]), st.integers(16, 1024)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """0 to ``NODES`` nodes on either side, 0 to ``EDGES`` edges anywhere between them; perhaps half go to one node."""
    sources, targets = draw(st.integers(0, NODES)), draw(st.integers(0, NODES))
    count = draw(st.integers(0, EDGES)) if sources and targets else 0
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    hub = draw(st.booleans())
    source, target = (torch.randint(max(n, 1), (count,), generator=generator) for n in (sources, targets))
    if hub:
        target[count // 2 :] = 0
    return Graph(source.to(DEVICE), target.to(DEVICE), sources, targets)


def fuzz(examples: int):
    """The decorator of a test over random cases."""

    def decorate(test):
        strategy = given(
            graphs(),
            SHAPES,
            st.sampled_from([torch.float32, torch.float64]),
            TILES,
            st.booleans(),
            st.booleans(),
            st.sampled_from([0.0, 0.5]),
        )
        return settings(max_examples=examples, deadline=None, derandomize=True)(strategy(test))

    return decorate


def run(edges, shape, dtype, tile, per_edge, other, dropout):
    heads, features = shape
    with tiles_of(tile):
        check_aggregate(edges, heads, features, dtype, per_edge)
        check_extremes(edges, heads, features, dtype, per_edge, largest=other, ties=dropout > 0)
        check_v1(edges, heads, features, dtype, per_edge, other, dropout)
        check_v2(edges, heads, features, dtype, per_edge, other, dropout)
        check_dot(edges, heads, features, dtype, per_edge, dropout)


@fuzz(4)
def test_random_cases(edges, shape, dtype, tile, per_edge, other, dropout):
    run(edges, shape, dtype, tile, per_edge, other, dropout)


@pytest.mark.long
@fuzz(EXAMPLES)
def test_many_random_cases(edges, shape, dtype, tile, per_edge, other, dropout):
    run(edges, shape, dtype, tile, per_edge, other, dropout)


@pytest.mark.long
def test_hub_of_ten_thousand():
    generator = torch.Generator().manual_seed(3)
    source = torch.randint(30, (10_000,), generator=generator)
    target = torch.where(torch.arange(10_000) < 9_950, 2, source % 5)
    edges = Graph(source.to(DEVICE), target.to(DEVICE), 30, 5)
    check_aggregate(edges, 2, 5, torch.float64, True)
    check_extremes(edges, 2, 5, torch.float64, True, largest=True, ties=True)
    check_v1(edges, 2, 5, torch.float64, True, True, 0.3)
    check_v2(edges, 2, 5, torch.float64, True, True, 0.3)
