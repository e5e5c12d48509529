"""Attention whose scores are computed from the values, and those scores: one function for autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lcat.graph import Graph
from lcat.ops import gat_attention, gat_attention_of_values, gat_scores, native_status, use_implementation
from tests.ops.cases import make_graph
from tests.support.long import long

F64 = torch.float64
needs_native = pytest.mark.skipif(native_status().instruction_set is None, reason="no compiled kernels")
GRAPHS = ("random", "duplicates", "isolated", "hub", "no_edges", "padded")
OPTIONS = ("", "score", "weight", "score weight")


def one_set(kind: str, nodes: int = 7, edges: int = 24) -> Graph:
    return make_graph(kind, sources=nodes, targets=nodes, edges=edges)


def arguments(
    graph: Graph, options: str = "", heads: int = 2, width: int = 3, dtype: torch.dtype = F64, leading: bool = False
) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(3)

    def tensor(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw, dtype=F64).to(dtype).requires_grad_()

    att = (1, heads, width) if leading else (heads, width)
    tensors = {"value": tensor(graph.num_sources, heads, width), "att_source": tensor(*att), "att_target": tensor(*att)}
    if "score" in options:
        tensors["edge_score"] = tensor(graph.num_edges, heads)
    if "weight" in options:
        tensors["edge_weight"] = tensor(graph.num_edges)
    return tensors


def by_formula(graph: Graph, tensors: dict[str, Tensor], dropout: float = 0.0) -> Tensor:
    value, att_source, att_target = (tensors[name] for name in ("value", "att_source", "att_target"))
    return gat_attention(
        *((value * att_source).sum(-1), (value * att_target).sum(-1), value, graph),
        edge_score=tensors.get("edge_score"), edge_weight=tensors.get("edge_weight"), dropout=dropout,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
@pytest.mark.parametrize("leading", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", GRAPHS)
def test_output_and_gradients_are_those_of_the_formula(
    kind: str, options: str, leading: bool, dtype: torch.dtype
) -> None:
    graph = one_set(kind)
    exact = {name: t.detach().double().requires_grad_() for name, t in arguments(graph, options, dtype=dtype).items()}
    with use_implementation("naive"):
        expected = by_formula(graph, exact)
    cotangent = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5), dtype=F64)
    expected_gradients = torch.autograd.grad(expected, list(exact.values()), cotangent)
    tensors = arguments(graph, options, dtype=dtype, leading=leading)
    out = gat_attention_of_values(**tensors, graph=graph)
    gradients = torch.autograd.grad(out, list(tensors.values()), cotangent.to(dtype))
    limit = 1e-11 if dtype is F64 else 3e-5
    torch.testing.assert_close(out.double(), expected, rtol=limit, atol=limit)
    for (name, tensor), gradient, right in zip(tensors.items(), gradients, expected_gradients, strict=True):
        assert gradient.shape == tensor.shape, name
        torch.testing.assert_close(gradient.double(), right.view(gradient.shape), rtol=limit, atol=limit)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    ("kind", "dropout"), [("random", 0.0), ("padded", 0.4), long("random", 0.4), long("padded", 0.0)]
)
def test_gradcheck_and_gradgradcheck(kind: str, options: str, dropout: float) -> None:
    graph = one_set(kind)
    tensors = arguments(graph, options)

    def function(*values: Tensor) -> Tensor:
        torch.manual_seed(3)  # the seed of the mask is drawn at every call
        return gat_attention_of_values(**dict(zip(tensors, values, strict=True)), graph=graph, dropout=dropout)

    assert torch.autograd.gradcheck(function, tuple(tensors.values()))
    assert torch.autograd.gradgradcheck(function, tuple(tensors.values()))


@needs_native
def test_dropout_is_that_of_gat_attention() -> None:
    graph = one_set("random")
    tensors = arguments(graph)
    torch.manual_seed(7)
    out = gat_attention_of_values(**tensors, graph=graph, dropout=0.4)
    torch.manual_seed(7)
    with use_implementation("native"):
        expected = by_formula(graph, tensors, dropout=0.4)
    torch.testing.assert_close(out, expected)


@pytest.mark.parametrize("wanted", ["value", "att_source", "att_target", "edge_score", "edge_weight"])
def test_each_gradient_alone(wanted: str) -> None:
    graph = one_set("random")
    tensors = arguments(graph, "score weight")
    whole = torch.autograd.grad(gat_attention_of_values(**tensors, graph=graph).sum(), tensors[wanted])
    alone = {name: t.detach().requires_grad_(name == wanted) for name, t in tensors.items()}
    (gradient,) = torch.autograd.grad(gat_attention_of_values(**alone, graph=graph).sum(), alone[wanted])
    torch.testing.assert_close(gradient, whole[0])


def test_no_gradient_is_kept_where_none_is_needed() -> None:
    graph = one_set("random")
    tensors = arguments(graph, "score")
    with torch.no_grad():
        out = gat_attention_of_values(**tensors, graph=graph)
    assert out.grad_fn is None
    torch.testing.assert_close(out, gat_attention_of_values(**tensors, graph=graph).detach())


@pytest.mark.parametrize("form", ["transposed", "expanded", "negative"])
def test_values_in_other_memory(form: str) -> None:
    graph = one_set("random")
    tensors = arguments(graph)
    value = tensors["value"].detach()
    if form == "transposed":
        value = value.transpose(0, 2).contiguous().transpose(0, 2)
    elif form == "expanded":
        value = value[:1].expand_as(value)
    else:
        value = torch.complex(torch.zeros_like(value), value).conj().imag  # a view that negates
        assert value.is_neg()
    expected_value = value.clone().resolve_neg().contiguous().requires_grad_()
    value.requires_grad_()
    out = gat_attention_of_values(value, tensors["att_source"], tensors["att_target"], graph)
    expected = gat_attention_of_values(expected_value, tensors["att_source"], tensors["att_target"], graph)
    torch.testing.assert_close(out, expected)
    (gradient,), (right,) = (
        torch.autograd.grad(o.square().sum(), v) for o, v in ((out, value), (expected, expected_value))
    )
    torch.testing.assert_close(gradient, right)


def test_hooks_for_saved_tensors_may_return_other_memory() -> None:
    graph = one_set("random")
    tensors = arguments(graph, "score weight")
    expected = torch.autograd.grad(
        gat_attention_of_values(**tensors, graph=graph).square().sum(), list(tensors.values())
    )
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().clone(), lambda t: t):
        loss = gat_attention_of_values(**tensors, graph=graph).square().sum()
    torch.testing.assert_close(torch.autograd.grad(loss, list(tensors.values())), expected)


@needs_native
def test_memory_that_was_freed_is_refused() -> None:
    graph = one_set("random")
    tensors = arguments(graph)
    tensors["value"].untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match=r"'value' with .* bytes of memory"):
        gat_attention_of_values(**tensors, graph=graph)


def test_compiled_and_under_a_mode() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    graph = one_set("random")
    tensors = arguments(graph)
    expected = gat_attention_of_values(**tensors, graph=graph)
    with FlopCounterMode(display=False):
        torch.testing.assert_close(gat_attention_of_values(**tensors, graph=graph), expected)
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda v, s, t: gat_attention_of_values(v, s, t, Graph(graph.source, graph.target, 7, 7)), backend="aot_eager"
    )
    torch.testing.assert_close(compiled(*tensors.values()), expected)


def test_transforms() -> None:
    graph = one_set("random")
    value, att_source, att_target = (t.detach() for t in arguments(graph).values())
    sets = torch.stack([value, 2 * value])
    mapped = torch.func.vmap(lambda v: gat_attention_of_values(v, att_source, att_target, graph))(sets)
    torch.testing.assert_close(mapped[1], gat_attention_of_values(2 * value, att_source, att_target, graph))
    scores = torch.func.vmap(lambda v: gat_scores(v, att_source, att_target)[0])(sets)
    torch.testing.assert_close(scores[1], gat_scores(2 * value, att_source, att_target)[0])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"att_source": torch.zeros(2, 4, dtype=F64)}, ValueError, "'att_source' of shape"),
        ({"att_target": None}, TypeError, "'att_target' of type torch.Tensor"),
        ({"value": torch.zeros(7, 6, dtype=F64)}, ValueError, "'value' of shape"),
        ({"value": torch.zeros(7, 2, 3, dtype=torch.int64)}, ValueError, "floating point"),
        ({"dropout": 2.0}, ValueError, r"probability 'dropout' in \[0, 1\]"),
        ({"graph": None}, TypeError, "lcat.graph.Graph"),
    ],
)
def test_wrong_arguments(change: dict[str, object], error: type[Exception], match: str) -> None:
    graph = one_set("random")
    call: dict[str, object] = {**arguments(graph), "graph": graph, **change}
    with pytest.raises(error, match=match):
        gat_attention_of_values(**call)  # type: ignore[arg-type]


def test_two_sets_of_nodes_are_refused() -> None:
    graph = make_graph("random", sources=7, targets=5)
    with pytest.raises(ValueError, match="one set of nodes, got 7 sources and 5 targets"):
        gat_attention_of_values(**arguments(graph), graph=graph)


@pytest.mark.parametrize("present", ["both", "source", "target", "none"])
def test_scores_and_their_gradients_of_both_orders(present: str) -> None:
    value, att_source, att_target = arguments(one_set("random")).values()
    vectors = (
        att_source if present in ("both", "source") else None,
        att_target if present in ("both", "target") else None,
    )
    scores = gat_scores(value, *vectors)
    for score, att in zip(scores, vectors, strict=True):
        assert (score is None) == (att is None)
        if score is not None and att is not None:
            torch.testing.assert_close(score, (value * att).sum(-1))
    present_vectors = [att for att in vectors if att is not None]
    if present_vectors:

        def function(v: Tensor, *atts: Tensor) -> tuple[Tensor, ...]:
            rest = iter(atts)
            arguments_of_scores = [None if att is None else next(rest) for att in vectors]
            return tuple(score for score in gat_scores(v, *arguments_of_scores) if score is not None)

        assert torch.autograd.gradcheck(function, (value, *present_vectors))
        assert torch.autograd.gradgradcheck(function, (value, *present_vectors))


def test_one_of_two_scores_is_used() -> None:
    value, att_source, att_target = arguments(one_set("random")).values()
    _, score = gat_scores(value, att_source, att_target)
    gradients = torch.autograd.grad(score.sum(), (value, att_source, att_target), allow_unused=True)
    torch.testing.assert_close(gradients[0], att_target.expand_as(value))
    torch.testing.assert_close(gradients[2], value.sum(0))
    assert gradients[1] is None or not gradients[1].any()


@pytest.mark.parametrize(
    ("value", "att", "error", "match"),
    [
        (torch.ones(3, 2), torch.ones(2, 3), ValueError, r"'value' of shape \[N, H, F\]"),
        (torch.ones(4, 2, 3), torch.ones(3, 2), ValueError, r"'att_source' of shape \[H, F\], here \[2, 3\]"),
        (torch.ones(4, 2, 3), torch.ones(1), ValueError, "'att_source' of shape"),
        (torch.ones(4, 2, 3), [1.0], TypeError, "'att_source' of type torch.Tensor"),
        (None, torch.ones(2, 3), TypeError, "'value' of type torch.Tensor"),
        (torch.ones(4, 2, 3), torch.ones(2, 3, device="meta"), ValueError, "on the device of 'value'"),
    ],
)
def test_wrong_arguments_of_scores(value: object, att: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        gat_scores(value, att, None)  # type: ignore[arg-type]


def _scores_side_by_side(graph: Graph, value: Tensor, att_source: Tensor, att_target: Tensor) -> Tensor:
    del graph
    source, target = gat_scores(value, att_source, att_target)
    assert source is not None
    assert target is not None
    return torch.cat([source, target], dim=1)


def _attention(graph: Graph, value: Tensor, att_source: Tensor, att_target: Tensor) -> Tensor:
    return gat_attention_of_values(value, att_source, att_target, graph)


@pytest.mark.parametrize("leading", [False, True])
@pytest.mark.parametrize("function", [_scores_side_by_side, _attention])
def test_vectorized_jacobians(function, leading: bool) -> None:
    """torch differentiates a batch of gradients at once there, by vmap over the backward pass."""
    graph = one_set("random")
    inputs = tuple(t.detach() for t in arguments(graph, leading=leading).values())
    jacobians = [
        torch.autograd.functional.jacobian(lambda *tensors: function(graph, *tensors), inputs, vectorize=vectorize)
        for vectorize in (False, True)
    ]
    for expected, got in zip(*jacobians, strict=True):
        torch.testing.assert_close(got, expected)
        assert expected.any()


def test_one_vector_and_one_score_that_nothing_depends_on() -> None:
    value, att, other = (t.detach().requires_grad_() for t in arguments(one_set("random")).values())
    source, target = gat_scores(value, att, other)
    assert source is not None
    for create_graph in (False, True):
        d_value, d_att, d_other = torch.autograd.grad(
            source.sum(), (value, att, other), allow_unused=True, create_graph=create_graph, retain_graph=True
        )
        torch.testing.assert_close(d_value, att.detach().expand_as(value))
        torch.testing.assert_close(d_att, value.detach().sum(0))
        assert d_other is None
    assert target is not None


@needs_native
def test_nodes_of_autograd_have_the_names_of_the_functions() -> None:
    graph = one_set("random")
    value, att, other = arguments(graph).values()
    score = gat_scores(value, att, other)[0]
    assert score is not None
    results = {
        "gat_attention_of_values": gat_attention_of_values(value, att, other, graph),
        "gat_scores": score,
        "gat_attention": gat_attention(score.detach(), None, value, graph),
    }
    for name, result in results.items():
        assert result.grad_fn is not None
        assert result.grad_fn.name() == f"lcat::{name}Backward"
