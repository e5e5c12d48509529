"""Infinite, huge and tiny numbers: the compiled kernels are not a number where the formula is not, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lcat.graph import Graph
from lcat.ops import aggregate, native_status, use_implementation
from tests.ops.cases import Call, dot_attention_call, gat_attention_call, gatv2_attention_call, make_graph

pytestmark = pytest.mark.skipif(native_status().instruction_set is None, reason="no compiled kernels")

INF = torch.inf
SLOPED = {"gat": (gat_attention_call, "target"), "gatv2": (gatv2_attention_call, "values")}
MAKERS = {**SLOPED, "dot": (dot_attention_call, "attr")}


def both(call: Call) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return call.run("native"), call.run("naive")


def finite_where_naive_is(call: Call) -> None:
    ours, theirs = both(call)
    for name, expected in theirs.items():
        lost = expected.isfinite() & ~ours[name].isfinite()
        assert not bool(lost.any()), f"{name}: {int(lost.sum())} numbers that naive has"


def same_output(call: Call) -> None:
    ours, theirs = both(call)
    assert torch.equal(ours["out"].isnan(), theirs["out"].isnan())
    torch.testing.assert_close(ours["out"], theirs["out"], equal_nan=True, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [INF, -INF])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("name", SLOPED)
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("width", [3, 8, 16, 33])
def test_infinite_scores_for_every_slope(name: str, slope: float, value: float, heads: int, width: int) -> None:
    """0 * infinity is NaN, so that with slope 0 a score of minus infinity masks no edge."""
    make, options = SLOPED[name]
    for dtype in (torch.float32, torch.float64):
        call = make(make_graph("random"), heads, width, dtype, options, slope=slope)
        call.tensors["source_score" if name == "gat" else "key"][4, 0] = value
        same_output(call)


@pytest.mark.parametrize("value", [INF, -INF, torch.nan])
@pytest.mark.parametrize("options", ["target", "target score weight"])
@pytest.mark.parametrize(("heads", "width"), [(1, 3), (1, 16), (8, 8), (3, 33)])
def test_scores_of_rows_with_one_edge(value: float, options: str, heads: int, width: int) -> None:
    for dtype in (torch.float32, torch.float64):
        call = gat_attention_call(make_graph("alone"), heads, width, dtype, options)
        call.tensors["source_score"][4, 0] = value
        call.tensors["value"][6, 0] = value
        same_output(call)
        finite_where_naive_is(call)


@pytest.mark.parametrize("heads", [1, 3, 8])
@pytest.mark.parametrize("dropout", [False, True])
def test_coefficients_of_rows_with_one_edge(heads: int, dropout: bool) -> None:
    call = gat_attention_call(make_graph("alone"), heads, 8, torch.float32, "target dropout" if dropout else "target")
    call.tensors["value"] = torch.ones(23, heads, 8)
    out = call.run("native")["out"]
    single = torch.cat([out[:2], out[3:-3]])  # row 2 has six edges, the last three rows none
    assert set(single.unique().tolist()) == ({0.0, torch.tensor(1 / 0.6).item()} if dropout else {1.0})


@pytest.mark.parametrize("value", [INF, -INF])
@pytest.mark.parametrize("scale", [0.0, 0.7, -0.5])
@pytest.mark.parametrize("tensor", ["query", "key", "value", "edge_attr", "query_edge"])
@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("width", [3, 8, 16, 33])
def test_infinite_rows_of_dot_attention(tensor: str, scale: float, value: float, heads: int, width: int) -> None:
    for dtype in (torch.float32, torch.float64):
        for options in ("attr", "attr weight", *([] if "edge" in tensor else ["", "weight"])):
            call = dot_attention_call(make_graph("random"), heads, width, dtype, options, scale=scale)
            call.tensors[tensor][4, 0] = value
            same_output(call)


@pytest.mark.parametrize("value", [INF, -INF, torch.nan])
@pytest.mark.parametrize("options", ["", "values", "attr", "weight dropout"])
def test_rows_without_edges_do_not_count(options: str, value: float) -> None:
    graph = make_graph("isolated")  # the upper half of both sides has no edge
    call = gatv2_attention_call(graph, 2, 5, torch.float32, options)
    for name, rows in (("key", 11), ("query", 9), ("value", 11)):
        if name in call.tensors:
            call.tensors[name][rows:] = value
    gradients = call.run("native")
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
    if "dropout" not in options:
        theirs = call.run("naive")
        torch.testing.assert_close(gradients["att"], theirs["att"], rtol=1e-4, atol=1e-5)
    call = gat_attention_call(graph, 2, 5, torch.float32, "target score")
    for name, rows in (("source_score", 11), ("value", 11), ("target_score", 9)):
        call.tensors[name][rows:] = value
    assert all(bool(gradient.isfinite().all()) for gradient in call.run("native").values())
    if "values" not in options:
        call = dot_attention_call(graph, 2, 5, torch.float32, options)
        for name, rows in (("key", 11), ("query", 9), ("value", 11), ("query_edge", 9)):
            if name in call.tensors:
                call.tensors[name][rows:] = value
        assert all(bool(gradient.isfinite().all()) for gradient in call.run("native").values())


@pytest.mark.parametrize("few", [0, 80])
def test_gradients_that_are_infinite_where_there_is_no_edge(few: int) -> None:
    graph = make_graph("isolated", edges=90 - few)
    for make, options in MAKERS.values():
        call = make(graph, 2, 5, torch.float32, options)
        inputs = {name: t.requires_grad_() for name, t in call.tensors.items()}
        with use_implementation("native"):
            out = call.function(**inputs)
        cotangent = torch.ones_like(out)
        cotangent[9:] = INF
        for gradient in torch.autograd.grad(out, list(inputs.values()), cotangent):
            assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("size", [1e12, 1e20, 1e37])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("options", ["values", "values weight"])
def test_keys_and_queries_that_cancel(options: str, dtype: torch.dtype, size: float) -> None:
    """Sums over nodes, size * S - size * S', would overflow or lose all digits."""
    graph = make_graph("random")
    call = gatv2_attention_call(graph, 2, 5, dtype, options)
    call.tensors["key"][:, 0, 1] = size
    call.tensors["query"][:, 0, 1] = -size
    ours, theirs = both(call)
    exact = call.run("naive", torch.float64)
    assert bool(ours["att"].isfinite().all())
    error = (ours["att"].double() - exact["att"]).abs().max()
    limit = (theirs["att"].double() - exact["att"]).abs().max()
    assert float(error) <= 2 * float(limit) + 1e-5


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("name", MAKERS)
def test_random_special_values(name: str, seed: int) -> None:
    make, options = MAKERS[name]
    draw = torch.Generator().manual_seed(seed)
    call = make(make_graph("random", seed=seed), 2, 5, torch.float32, options, seed=seed)
    special = torch.tensor([INF, -INF, 1e38, -1e38, 0.0, -0.0, 1e-30, -1e-30, 1e-42])
    for tensor in call.tensors.values():
        for _ in range(2):
            position = int(torch.randint(tensor.numel(), (), generator=draw))
            tensor.view(-1)[position] = special[int(torch.randint(len(special), (), generator=draw))]
    finite_where_naive_is(call)


@pytest.mark.parametrize("seed", range(10))
def test_tiny_values_are_as_exact_as_the_naive_path(seed: int) -> None:
    for name, (make, options) in MAKERS.items():
        call = make(make_graph("random", seed=seed), 2, 7, torch.float32, options, seed=seed)
        for key in ("key", "query", "value", "att", "source_score", "target_score", "edge_attr", "query_edge"):
            if key in call.tensors:
                call.tensors[key] *= 1e-30
        ours, theirs = both(call)
        exact = call.run("naive", torch.float64)
        for key in exact:
            error = float((ours[key].double() - exact[key]).abs().max())
            limit = float((theirs[key].double() - exact[key]).abs().max())
            rounding = 1e-6 * float(exact[key].abs().max())
            assert error <= 2 * limit + rounding + 1e-44, f"{name} {key}: {error:.3g}, naive {limit:.3g}"


def test_a_scale_that_is_infinite_at_a_node_without_edges() -> None:
    graph = Graph(torch.tensor([0, 1]), torch.tensor([0, 0]), 2, 3)
    scale = torch.tensor([2.0, INF, 1.0])
    for heads in (None, 2):
        x = torch.ones(2, 40) if heads is None else torch.ones(2, heads, 4)
        weight = None if heads is None else torch.ones(2, heads)
        out = aggregate(x, graph, weight, target_scale=scale)
        with use_implementation("naive"):
            torch.testing.assert_close(out, aggregate(x, graph, weight, target_scale=scale), equal_nan=True)
