"""The naive primitives against numbers worked out by hand, and the properties that define them."""

from __future__ import annotations

import math

import pytest
import torch

from lcat import ops
from lcat.graph import Graph, graph_view
from tests.ops.cases import dot_attention_as_one
from tests.support.compare import assert_same
from tests.support.graphs import KINDS, random_edges, size_of


@pytest.fixture(autouse=True)
def _naive():
    with ops.use_implementation("naive"):
        yield


def _graph(edges, sources, targets):
    return graph_view(torch.tensor(edges), sources, targets)[0]


def test_aggregate_by_hand():
    graph = _graph([[0, 1, 2, 2], [1, 1, 0, 0]], 3, 3)  # 2 -> 0 twice
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert ops.aggregate(x, graph).tolist() == [[10.0, 12.0], [4.0, 6.0], [0.0, 0.0]]
    weight = torch.tensor([1.0, -1.0, 0.5, 2.0])
    assert ops.aggregate(x, graph, weight).tolist() == [[12.5, 15.0], [-2.0, -2.0], [0.0, 0.0]]
    scales = {"source_scale": torch.tensor([1.0, 2.0, -1.0]), "target_scale": torch.tensor([10.0, 1.0, 1.0])}
    assert ops.aggregate(x, graph, weight, **scales).tolist() == [[-125.0, -150.0], [-5.0, -6.0], [0.0, 0.0]]
    per_head = torch.stack([weight, torch.zeros(4)], dim=1)
    heads = ops.aggregate(x.view(3, 2, 1), graph, per_head)
    assert heads.squeeze(-1).tolist() == [[12.5, 0.0], [-2.0, 0.0], [0.0, 0.0]]


def test_gat_attention_by_hand():
    graph = _graph([[0, 1], [2, 2]], 3, 3)
    s, t = torch.tensor([[1.0], [-2.0], [0.0]]), torch.tensor([[9.0], [9.0], [0.5]])
    v = torch.tensor([1.0, 10.0, 100.0]).view(3, 1, 1)
    a, b = math.exp(1.5), math.exp(-1.5 * 0.2)
    out = ops.gat_attention(s, t, v, graph)
    assert out.flatten().tolist() == pytest.approx([0.0, 0.0, (a + 10 * b) / (a + b)])
    a, b = math.exp(1.5 - 1.0), math.exp(2.0 - 1.5)
    out = ops.gat_attention(
        s, t, v, graph, edge_score=torch.tensor([[-1.0], [2.0]]), edge_weight=torch.tensor([3.0, 0.5])
    )
    assert float(out[2]) == pytest.approx((3 * a + 5 * b) / (a + b))


def test_dot_attention_by_hand():
    graph = _graph([[0, 1], [0, 0]], 2, 1)
    q, k = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[1.0, -1.0]], [[0.0, 2.0]]])
    v = torch.tensor([3.0, 5.0]).view(2, 1, 1).expand(2, 1, 2)
    a, b = math.exp(0.5 * (1.0 - 2.0)), math.exp(0.5 * 4.0)
    out = ops.dot_attention(q, k, v, graph, scale=0.5)
    assert out.flatten().tolist() == pytest.approx([(3 * a + 5 * b) / (a + b)] * 2)
    attr, u = torch.tensor([[2.0, 0.0], [1.0, 1.0]]), torch.tensor([[[3.0, -1.0]]])
    a, b = 2.0 * math.exp(0.5 * (-1.0 + 6.0)), 0.5 * math.exp(0.5 * (4.0 + 2.0))
    weights = torch.tensor([2.0, 0.5])
    out, attended = ops.dot_attention(q, k, v, graph, scale=0.5, edge_attr=attr, query_edge=u, edge_weight=weights)
    total = a / 2.0 + b / 0.5
    assert out.flatten().tolist() == pytest.approx([(3 * a + 5 * b) / total] * 2)
    assert attended.flatten().tolist() == pytest.approx([(2 * a + b) / total, b / total])


def test_gatv2_attention_by_hand():
    graph = _graph([[0, 1], [0, 0]], 2, 1)
    k = torch.tensor([[[1.0, -1.0]], [[0.0, 2.0]]])
    q, att = torch.tensor([[[0.0, -1.0]]]), torch.tensor([[1.0, 2.0]])
    first, second = 1.0 + 2.0 * (-2.0 * 0.1), 0.0 + 2.0 * 1.0
    a, b = math.exp(first), math.exp(second)
    out = ops.gatv2_attention(k, q, k, att, graph, negative_slope=0.1)
    assert out.flatten().tolist() == pytest.approx([a / (a + b), (-a + 2 * b) / (a + b)])


@pytest.mark.parametrize("kind", KINDS)
def test_dead_edges_do_nothing(kind):
    """A graph whose loops are dead in place computes what the graph without them computes."""
    nodes, count = size_of(kind, 0)
    edges = random_edges(kind, nodes, nodes, count, torch.Generator().manual_seed(0))
    plain = Graph(edges[0], edges[1], nodes, nodes).without_self_loops()
    target = edges[1].masked_fill(edges[0] == edges[1], nodes)
    padded = Graph(edges[0], target, nodes, nodes, padded=True)
    x = torch.randn(nodes, 2, 3, dtype=torch.double, requires_grad=True)
    s, att = x.sum(-1), torch.randn(2, 3, dtype=torch.double)
    weight = torch.rand(edges.shape[1], dtype=torch.double)
    calls = {
        "aggregate": lambda g, w: ops.aggregate(x, g, w),
        "gat_attention": lambda g, w: ops.gat_attention(s, s, x, g, edge_weight=w),
        "gatv2_attention": lambda g, w: ops.gatv2_attention(x, x, x, att, g, edge_weight=w),
    }
    for name, call in calls.items():
        expected, actual = call(plain, plain.select(weight)), call(padded, weight)
        assert_same(actual, expected, name)
        if nodes:
            assert_same(
                torch.autograd.grad(actual.sum(), x, retain_graph=True)[0],
                torch.autograd.grad(expected.sum(), x, retain_graph=True)[0],
                f"gradient of {name}",
            )
    assert torch.equal(padded.by_target.indptr, plain.by_target.indptr)
    assert torch.equal(padded.by_target.indices[: plain.num_edges], plain.by_target.indices)
    assert torch.equal(padded.by_source.indptr, plain.by_source.indptr)
    assert torch.equal(padded.in_degree, plain.in_degree)


def test_softmax_does_not_overflow():
    graph = _graph([[0, 1], [0, 0]], 2, 2)
    s = torch.tensor([[3e38], [-3e38]])
    out = ops.gat_attention(s, None, torch.ones(2, 1, 1), graph)
    assert out.flatten().tolist() == [1.0, 0.0]


def test_dropout_scales_and_is_seeded():
    graph = _graph([[0] * 1000, [0] * 1000], 1, 1)
    s, v = torch.zeros(1, 1), torch.ones(1, 1, 1)
    torch.manual_seed(0)
    first = ops.gat_attention(s, None, v, graph, dropout=0.25)
    torch.manual_seed(0)
    assert torch.equal(ops.gat_attention(s, None, v, graph, dropout=0.25), first)
    assert float(first) == pytest.approx(1.0, abs=0.06)
    assert float(first) != 1.0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda g: ops.aggregate(torch.randn(4, 2), g), r"'x' of shape \[3, .*3 source nodes, got \[4, 2\]"),
        (lambda g: ops.aggregate(torch.tensor(1.0), g), r"'x'.*got \[\]"),
        (lambda g: ops.aggregate(torch.randn(3, 2), g, torch.ones(5)), r"'edge_weight'.*\[5\].*2 edges"),
        (lambda g: ops.aggregate(torch.randn(3, 2), g, source_scale=torch.ones(2)), r"'source_scale'.*\[3\].*\[2\]"),
        (lambda g: ops.aggregate(torch.randn(3, 2), g, target_scale=torch.ones(2, 1)), r"'target_scale'.*2, 1"),
        (lambda g: ops.gat_attention(torch.ones(2, 1), None, torch.ones(3, 1, 1), g), r"'source_score'.*\[2, 1"),
        (lambda g: ops.gat_attention(*[torch.ones(3, 1)] * 2, torch.ones(3, 1, 1), g), "'target_score'.*2 target"),
        (lambda g: ops.gatv2_attention(*[torch.ones(3, 1, 1)] * 3, torch.ones(1, 1), g), r"'query' of.*2 target"),
        (
            lambda g: ops.gatv2_attention(
                torch.randn(3, 1, 1), torch.randn(2, 1, 1), torch.randn(3, 1, 1), torch.ones(1, 1), g,
                edge_key=torch.ones(1, 1, 1),
            ),
            r"'edge_key'.*got \[1, 1, 1\].*2 edges",
        ),
    ],
)  # fmt: skip
def test_wrong_shapes_are_named(call, match):
    with pytest.raises(ValueError, match=match):
        call(_graph([[0, 1], [1, 0]], 3, 2))


# Three sources, two targets, five edges, two heads of four features.
RIGHT = {
    "aggregate": {"x": (3, 2, 4), "edge_weight": (5, 2)},
    "gat_attention": {
        "source_score": (3, 2), "target_score": (2, 2), "value": (3, 2, 4), "edge_score": (5, 2), "edge_weight": (5,),
    },
    "gatv2_attention": {
        "key": (3, 2, 4), "query": (2, 2, 4), "value": (3, 2, 7), "att": (2, 4), "edge_key": (5, 2, 4),
        "edge_weight": (5,), "edge_attr": (5, 6), "edge_matrix": (8, 6),
    },
    "dot_attention": {
        "query": (2, 2, 4), "key": (3, 2, 4), "value": (3, 2, 7), "edge_attr": (5, 6), "query_edge": (2, 2, 6),
        "edge_weight": (5,),
    },
}  # fmt: skip
ALSO_RIGHT = {("aggregate", "edge_weight"): [(5,)]}


def _wrong_shapes():
    """Each argument with a dimension less, with one more, and with one of another size; `x` and widths are free."""
    for primitive, shapes in RIGHT.items():
        for name, shape in shapes.items():
            others = [shape[:-1], (*shape, 1), *((*shape[:i], 1, *shape[i + 1 :]) for i in range(len(shape)))]
            free = {"x": len(others), "value": 1}.get(name, 0)  # the last dimension of values is nobody else's
            for other in others[: len(others) - free]:
                if other not in ALSO_RIGHT.get((primitive, name), []):
                    yield primitive, name, other


@pytest.mark.parametrize(("primitive", "name", "shape"), list(_wrong_shapes()))
def test_every_dimension_is_checked(primitive, name, shape):
    """Compiled kernels would read out of bounds."""
    graph = _graph([[0, 1, 2, 0, 1], [1, 0, 1, 1, 0]], 3, 2)
    tensors = {argument: torch.ones(size) for argument, size in RIGHT[primitive].items()}
    call = dot_attention_as_one if primitive == "dot_attention" else getattr(ops, primitive)
    assert call(graph=graph, **tensors).shape[:2] == (2, 2)
    with pytest.raises(ValueError, match=r"expected '\w+' of shape \["):
        call(graph=graph, **{**tensors, name: torch.ones(shape)})
