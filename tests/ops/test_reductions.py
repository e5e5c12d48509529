"""aggregate with reduce="mean", "min" and "max": the numbers of PyG's scatter, ties and NaN included."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.utils import scatter

from lcat.graph import Graph
from lcat.ops import aggregate, native_status, use_implementation
from tests.ops.cases import GRAPHS, make_graph

HAS_NATIVE = native_status().instruction_set is not None
IMPLEMENTATIONS = ["naive", *(["native"] if HAS_NATIVE else [])]
REDUCTIONS = ("mean", "min", "max")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.double) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double).to(dtype)


def by_scatter(x: Tensor, graph: Graph, weight: Tensor | None, reduce: str) -> Tensor:
    """What PyG's layers compute: messages, then its scatter; dead edges go to a row that is cut off."""
    messages = x.index_select(0, graph.source)
    if weight is not None:
        messages = weight.view(*weight.shape, *[1] * (messages.dim() - weight.dim())) * messages
    return scatter(messages, graph.target, 0, graph.num_targets + 1, reduce)[: graph.num_targets]


def outcome(function, *tensors: Tensor | None) -> list[Tensor]:
    """Result and gradients."""
    tensors = tuple(None if t is None else t.clone().requires_grad_() for t in tensors)
    out = function(*tensors)
    grad = draw(*out.shape, seed=9, dtype=out.dtype)
    inputs = [t for t in tensors if t is not None]
    return [out.detach(), *torch.autograd.grad(out, inputs, grad)]


def compare(x: Tensor, graph: Graph, weight: Tensor | None, reduce: str, implementation: str, **tolerance) -> None:
    with use_implementation(implementation):
        ours = outcome(lambda x, w: aggregate(x, graph, w, reduce=reduce), x, weight)
    theirs = outcome(lambda x, w: by_scatter(x, graph, w, reduce), x, weight)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True, **tolerance)


@pytest.mark.parametrize("weight", ["none", "edge", "head"])
@pytest.mark.parametrize("kind", GRAPHS)
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_pygs_numbers(implementation: str, reduce: str, kind: str, weight: str) -> None:
    graph = make_graph(kind)
    count = graph.num_edges
    weights = None if weight == "none" else draw(count, *([3] if weight == "head" else []), seed=1)
    for width in (1, 3, 16, 33):
        compare(draw(graph.num_sources, 3, width), graph, weights, reduce, implementation, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("width", [1, 5, 8, 16, 24, 32, 64, 70, 130])
@pytest.mark.parametrize("reduce", ["min", "max"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_ties_share_gradients_as_in_torch(implementation: str, reduce: str, width: int) -> None:
    """After a ReLU half of the numbers are 0, and torch counts the zero that it starts from."""
    graph = make_graph("hub", edges=300)
    for dtype in (torch.float32, torch.float64):
        x = draw(graph.num_sources, width, dtype=dtype)
        for values in (x.relu(), x.round(), -x.relu()):
            compare(values, graph, None, reduce, implementation, rtol=1e-5, atol=1e-4)
            weight = draw(graph.num_edges, seed=3, dtype=dtype).round()
            compare(values, graph, weight, reduce, implementation, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("reduce", ["min", "max"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_nan_and_infinities(implementation: str, reduce: str) -> None:
    graph = make_graph("random")
    x = draw(graph.num_sources, 37)
    x[3, 5], x[4, 6], x[4, 36], x[7, 8], x[8, 8] = torch.nan, torch.inf, -torch.inf, torch.nan, torch.inf
    compare(x, graph, None, reduce, implementation)
    compare(x, graph, draw(graph.num_edges, seed=1).abs(), reduce, implementation)


@pytest.mark.skipif(not HAS_NATIVE, reason="needs the compiled kernels")
@pytest.mark.parametrize("reduce", ["min", "max"])
def test_long_rows_are_cut_and_joined(reduce: str) -> None:
    """Nodes of many thousand edges, on both sides, for one thread and for two: the same bits."""
    source = torch.randint(500, (60_000,), generator=torch.Generator().manual_seed(0))
    target = torch.randint(400, (60_000,), generator=torch.Generator().manual_seed(1))
    target[:30_000], source[20_000:50_000] = 7, 11
    graph = Graph(source, target, 500, 400)
    x = draw(500, 40, dtype=torch.float32).round()
    x[13, 4] = torch.nan
    weight = draw(60_000, seed=2, dtype=torch.float32).round()
    compare(x, graph, None, reduce, "native", rtol=1e-4, atol=1e-3)
    compare(x, graph, weight, reduce, "native", rtol=1e-4, atol=1e-3)
    threads = torch.get_num_threads()
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        results.append(outcome(lambda x, w: aggregate(x, graph, w, reduce=reduce), x, weight))
    torch.set_num_threads(threads)
    for one, other in zip(*results, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_half_precision(implementation: str, reduce: str, dtype: torch.dtype) -> None:
    graph = make_graph("random")
    x, weight = draw(graph.num_sources, 20).to(dtype), draw(graph.num_edges, seed=1).to(dtype)
    with use_implementation(implementation):
        # Messages that are rounded may tie where their numbers differ.
        for w in (None,) if implementation == "naive" else (None, weight):
            ours = outcome(lambda x, w: aggregate(x, graph, w, reduce=reduce), x, w)
            exact = outcome(
                lambda x, w: aggregate(x, graph, w, reduce=reduce), x.double(), None if w is None else w.double()
            )
            assert all(one.dtype == dtype for one in ours)
            for one, other in zip(ours, exact, strict=True):
                assert (one.double() - other).abs().max() <= 0.03 * other.abs().max()


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_scales_and_gradients_of_gradients(implementation: str, reduce: str) -> None:
    graph = make_graph("random", sources=6, targets=5, edges=14)
    tensors = [t.requires_grad_() for t in (draw(6, 2, 3), draw(14, 2, seed=1), draw(6, seed=2), draw(5, seed=3))]
    with use_implementation(implementation):
        plain = aggregate(*tensors[:1], graph, tensors[1], reduce=reduce)
        scaled = aggregate(tensors[0], graph, tensors[1], None, tensors[3], reduce=reduce)
        torch.testing.assert_close(plain * tensors[3].view(-1, 1, 1), scaled)

        def function(x: Tensor, w: Tensor, s: Tensor, t: Tensor) -> Tensor:
            return aggregate(x, graph, w, s, t, reduce=reduce)

        assert torch.autograd.gradcheck(function, tensors)
        assert torch.autograd.gradgradcheck(function, tensors)


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_integers(reduce: str) -> None:
    graph = make_graph("isolated")
    x = torch.arange(graph.num_sources * 3).view(-1, 3)
    torch.testing.assert_close(
        aggregate(x, graph, reduce=reduce), by_scatter(x, graph, None, reduce), check_dtype=False
    )


def test_wrong_words() -> None:
    graph = make_graph("random")
    x = draw(graph.num_sources, 2)
    with pytest.raises(ValueError, match=r"expected 'reduce' as 'sum', 'mean', 'min', 'max', got 'maxx' .*max\?"):
        aggregate(x, graph, reduce="maxx")
    with pytest.raises(ValueError, match="complex numbers have no order"):
        aggregate(x.to(torch.complex128), graph, reduce="max")


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_compiled_and_transformed(reduce: str) -> None:
    graph = make_graph("random")
    x = draw(graph.num_sources, 4)
    expected = outcome(lambda x: aggregate(x, graph, reduce=reduce), x)
    compiled = torch.compile(lambda x: aggregate(x, graph, reduce=reduce), backend="aot_eager", fullgraph=True)
    for one, other in zip(outcome(compiled, x), expected, strict=True):
        torch.testing.assert_close(one, other)
    sets = torch.stack([x, 2 * x])
    out = torch.func.vmap(lambda x: aggregate(x, graph, reduce=reduce))(sets)
    torch.testing.assert_close(out[1], aggregate(2 * x, graph, reduce=reduce))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(aggregate(x, graph, reduce=reduce), expected[0])
