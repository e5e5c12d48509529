"""The GPU kernels of GAT's scores against their formula, and attention with such scores on the way of a GPU."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import DEVICE, INTERPRETED, TOLERANCE, error, gradients, graph, guarded_memory, same
from tests.ops.triton_support import random_tensor as random

# isort: split
from lcat.graph import Graph
from lcat.ops import gat_attention_of_values, gat_scores, use_implementation
from lcat.ops._gat_attention import naive, of_values, triton_scores
from lcat.ops._gat_attention import triton as kernels

F16, BF16, F32, F64 = torch.float16, torch.bfloat16, torch.float32, torch.float64
SHAPES = [(1, 1), (1, 7), (2, 3), (3, 16), (4, 5), (5, 8), (6, 1), (7, 33), (8, 8), (9, 2), (9, 40), (2, 64), (1, 300)]
ROUNDING = {**TOLERANCE, BF16: 1e-2, F16: 2e-3}
VALUES = ("value", "att_source", "att_target", "edge_score", "edge_weight")


def by_formula(value: Tensor, *vectors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(None if att is None else (value * att).sum(-1) for att in vectors)


def check(
    rows: int,
    heads: int,
    features: int,
    dtype: torch.dtype = F32,
    *,
    vectors: str = "source target",
    vector_dtype: torch.dtype | None = None,
    added: bool = True,
) -> None:
    """Scores and all gradients of one shape, against float64."""
    vector_dtype = vector_dtype or dtype
    value = random(rows, heads, features, dtype=dtype)
    att_source, att_target = (
        random(heads, features, dtype=vector_dtype, seed=i) if name in vectors else None
        for i, name in enumerate(("source", "target"))
    )
    inputs = (value, att_source, att_target)
    before = random(rows, heads, features, dtype=dtype, seed=3)
    score_dtype = torch.promote_types(dtype, vector_dtype)
    grads = [random(rows, heads, dtype=score_dtype, seed=i) for i in (4, 5)]
    leaves = [None if x is None else x.double().requires_grad_() for x in inputs]
    expected = by_formula(*leaves)
    loss = sum((e * g.double()).sum() for e, g in zip(expected, grads, strict=True) if e is not None)
    present = [x for x in leaves if x is not None]
    right = dict(zip([id(x) for x in present], torch.autograd.grad(loss, present), strict=True))
    kernel_grads = [None if e is None else g for e, g in zip(expected, grads, strict=True)]
    with guarded_memory():
        scores = kernels.scores(*inputs)
        d_value = before.clone() if added else None
        got = kernels.scores_backward(*inputs, *kernel_grads, d_value, (True, True, True))
    assert d_value is None or got[0] is d_value
    for score, e in zip(scores, expected, strict=True):
        assert score is None or score.dtype is score_dtype
        same("score", score, None if e is None else e.detach(), ROUNDING[score_dtype])
    for x, leaf, gradient in zip(inputs, leaves, got, strict=True):
        assert gradient is None or (gradient.dtype is x.dtype and gradient.shape == x.shape)
        exact = None if leaf is None else right[id(leaf)]
        if x is value and added:
            exact = exact + before.double()
        same("gradient", gradient, exact, ROUNDING[dtype if x is value else vector_dtype])


@pytest.mark.parametrize(("heads", "features"), SHAPES)
def test_shapes(heads, features):
    check(11, heads, features, added=features % 2 == 0)


@pytest.mark.parametrize("rows", [0, 1, 2, 65])
def test_numbers_of_rows(rows):
    for dtype in (F32, F64):
        check(rows, 3, 5, dtype)
        check(rows, 3, 5, dtype, added=False)


@pytest.mark.parametrize("shape", [(5, 0, 3), (5, 3, 0), (0, 0, 0)])
def test_empty_shapes(shape):
    check(*shape)
    check(*shape, added=False)


@pytest.mark.parametrize("vectors", ["source", "target", ""])
def test_one_vector_or_none(vectors):
    if vectors:
        check(9, 2, 5, vectors=vectors)
    else:
        value = random(9, 2, 5)
        assert kernels.scores(value, None, None) == (None, None)
        d_value, *d_vectors = kernels.scores_backward(value, None, None, None, None, None, (True, True, True))
        assert not d_value.any()
        assert d_vectors == [None, None]


@pytest.mark.parametrize("types", [(BF16, BF16), (F16, F16), (BF16, F32), (F16, F32), (F32, F64), (F64, F32)], ids=str)
def test_types(types):
    check(9, 3, 8, types[0], vector_dtype=types[1])


def test_more_heads_and_features_than_a_program_holds():
    check(3, 3, 1500)
    check(3, 40, 33)


def test_programs_that_take_more_than_one_block(monkeypatch):
    monkeypatch.setattr(triton_scores, "_PROGRAMS", 3)
    monkeypatch.setattr(triton_scores, "_PARTS", 3)
    check(157, 4, 32)


def test_only_what_is_needed():
    value, att, score = random(9, 2, 5), random(2, 5), random(9, 2)
    everything = kernels.scores_backward(value, att, att, score, score, None, (True, True, True))
    for needs in itertools.product((False, True), repeat=3):
        got = kernels.scores_backward(value, att, att, score, score, None, needs)
        for gradient, right, need in zip(got, everything, needs, strict=True):
            assert torch.equal(gradient, right) if need else gradient is None


@pytest.mark.parametrize("form", ["side by side", "expanded", "transposed", "one contiguous"])
@pytest.mark.parametrize(("rows", "heads"), [(9, 2), (1, 3), (9, 1)])
def test_gradients_of_scores_in_other_memory(rows, heads, form):
    value, att = random(rows, heads, 5), random(heads, 5)
    grads = {
        "side by side": random(rows, 2 * heads).chunk(2, dim=1),
        "expanded": [random(1, 1, seed=i).expand(rows, heads) for i in (1, 2)],
        "transposed": [random(heads, rows, seed=i).t() for i in (1, 2)],
        "one contiguous": [random(rows, heads), random(rows, 2 * heads)[:, :heads]],
    }[form]
    got = kernels.scores_backward(value, att, att, *grads, None, (True, True, True))
    right = kernels.scores_backward(value, att, att, *(g.clone().contiguous() for g in grads), None, (True, True, True))
    for gradient, expected in zip(got, right, strict=True):
        assert torch.equal(gradient, expected)


def test_the_same_bits_in_every_run():
    count = 130 if INTERPRETED else 100_000
    value, att, score = random(count, 4, 7, dtype=F32), random(2, 4, 7, dtype=F32), random(2, count, 4, dtype=F32)

    def run() -> list[Tensor]:
        gradients = kernels.scores_backward(value, *att, *score, torch.ones_like(value), (True, True, True))
        return [*kernels.scores(value, *att), *gradients]

    first = run()
    for _ in range(2 if INTERPRETED else 50):
        assert all(torch.equal(a, b) for a, b in zip(first, run(), strict=True))


@pytest.fixture
def on_the_way_of_a_gpu(monkeypatch):
    """What GPU tensors get: without a GPU, the operators' kernels and the scores of CPU tensors are the GPU's."""
    if not INTERPRETED:
        return
    pytest.importorskip("lcat.ops._native")
    from lcat.ops import native_status
    from lcat.ops._gat_attention import fused, native

    if native_status().instruction_set is None:
        pytest.skip("operators serve CPU tensors only if the compiled kernels are available")
    for name in ("forward", "backward", "scores", "scores_backward"):
        monkeypatch.setattr(native, name, getattr(kernels, name))
    monkeypatch.setattr(of_values, "_NATIVE_TYPES", of_values._TRITON_TYPES)
    monkeypatch.setattr(of_values, "_is_served", lambda _, tensors: of_values.are_plain(VALUES, tensors))
    monkeypatch.setattr(fused, "has_few_edges", lambda graph, value: False)


def attention_inputs(
    edges: Graph, heads: int, features: int, dtype: torch.dtype, vector_dtype: torch.dtype, options: bool
) -> list[Tensor | None]:
    return [
        random(edges.num_sources, heads, features, dtype=dtype, seed=2),
        random(1, heads, features, dtype=vector_dtype, seed=0),
        random(1, heads, features, dtype=vector_dtype, seed=1),
        random(edges.num_edges, heads, dtype=vector_dtype, seed=3) if options else None,
        random(edges.num_edges, dtype=vector_dtype, seed=4) if options else None,
    ]


def exact_attention(edges: Graph, inputs: list[Tensor | None], grad: Tensor) -> tuple[Tensor, list[Tensor | None]]:
    def function(value, att_source, att_target, edge_score, edge_weight):
        scores = by_formula(value, att_source, att_target)
        return naive.gat_attention(*scores, value, edges, 0.2, edge_score, edge_weight, 0.0)

    return gradients(function, [None if x is None else x.double() for x in inputs], grad.double())


@pytest.mark.usefixtures("on_the_way_of_a_gpu")
@pytest.mark.parametrize("options", [False, True])
@pytest.mark.parametrize("types", [(F32, F32), (F64, F64), (BF16, F32), (BF16, BF16), (F16, F32)], ids=str)
def test_attention_in_one_function(types, options):
    dtype, vector_dtype = types
    edges = graph("loops")
    inputs = attention_inputs(edges, 3, 5, dtype, vector_dtype, options)
    result_dtype = torch.promote_types(dtype, vector_dtype)
    grad = random(edges.num_targets, 3, 5, dtype=result_dtype, seed=5)
    out, expected = exact_attention(edges, inputs, grad)
    leaves = [None if x is None else x.clone().requires_grad_() for x in inputs]
    result = gat_attention_of_values(*leaves[:3], edges, edge_score=leaves[3], edge_weight=leaves[4])
    assert result.dtype is result_dtype
    assert result.grad_fn.name() == "lcat::gat_attention_of_valuesBackward"
    assert error(result.detach(), out) <= ROUNDING[result_dtype]
    present = [x for x in leaves if x is not None]
    # A value in half precision gets its gradient in two roundings.
    for x, got, right in zip(
        present, torch.autograd.grad(result, present, grad), [e for e in expected if e is not None], strict=True
    ):
        assert got.dtype is x.dtype
        assert error(got, right) <= 2 * ROUNDING[dtype if x is leaves[0] else result_dtype]


@pytest.mark.usefixtures("on_the_way_of_a_gpu")
@pytest.mark.parametrize("kind", ["loops", "none", "one"])
def test_attention_of_few_nodes_and_second_gradients(kind):
    if kind == "loops":
        edges = graph("loops")
    else:
        ends = torch.zeros(0 if kind == "none" else 1, dtype=torch.int64, device=DEVICE)
        edges = Graph(ends, ends, len(ends), len(ends))
    inputs = attention_inputs(edges, 2, 3, F64, F64, True)
    leaves = tuple(x.clone().requires_grad_() for x in inputs)

    def function(*tensors: Tensor) -> Tensor:
        return gat_attention_of_values(*tensors[:3], edges, edge_score=tensors[3], edge_weight=tensors[4])

    grad = random(edges.num_targets, 2, 3, seed=5)
    out, expected = exact_attention(edges, inputs, grad)
    result = function(*leaves)
    same("out", result.detach(), out, 1e-11)
    for got, right in zip(torch.autograd.grad(result, leaves, grad), expected, strict=True):
        same("gradient", got, right, 1e-11)
    if kind == "loops":
        first = torch.autograd.grad(function(*leaves), leaves, grad, create_graph=True)
        second = torch.autograd.grad(sum(f.square().sum() for f in first), leaves)
        with use_implementation("naive"):
            first = torch.autograd.grad(function(*leaves), leaves, grad, create_graph=True)
            exact = torch.autograd.grad(sum(f.square().sum() for f in first), leaves)
        for got, right in zip(second, exact, strict=True):
            same("second gradient", got, right, 1e-10)


@pytest.mark.usefixtures("on_the_way_of_a_gpu")
def test_scores_by_autograd():
    value, att_source, att_target = (random(*size).clone().requires_grad_() for size in ((6, 2, 3), (2, 3), (1, 2, 3)))
    scores = gat_scores(value, att_source, att_target)
    assert scores[0].grad_fn.name() == "lcat::gat_scoresBackward"
    tensors = (value, att_source, att_target)
    assert torch.autograd.gradcheck(lambda *t: gat_scores(*t), tensors)
    assert torch.autograd.gradgradcheck(lambda *t: gat_scores(*t), tensors)
