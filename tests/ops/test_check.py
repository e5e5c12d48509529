"""Arguments of the primitives that no kernel may see: what is no tensor, no graph, no number, or elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcat.graph import graph_view
from lcat.ops import (
    aggregate,
    dot_attention,
    dropout,
    gat_attention,
    gatv2_attention,
    native_status,
    use_implementation,
)
from tests.ops.cases import dot_attention_as_one

EDGE_INDEX = torch.tensor([[0, 1, 2], [2, 2, 0]])
GRAPH, _ = graph_view(EDGE_INDEX, 3, 3)

ARGUMENTS: dict[Any, dict[str, Any]] = {
    aggregate: {"x": torch.ones(3, 2)},
    gat_attention: {
        "source_score": torch.ones(3, 2),
        "target_score": torch.ones(3, 2),
        "value": torch.ones(3, 2, 4),
    },
    gatv2_attention: {
        "key": torch.ones(3, 2, 4),
        "query": torch.ones(3, 2, 4),
        "value": torch.ones(3, 2, 4),
        "att": torch.ones(2, 4),
    },
    dot_attention_as_one: {
        "query": torch.ones(3, 2, 4),
        "key": torch.ones(3, 2, 4),
        "value": torch.ones(3, 2, 4),
    },
}

REQUIRED = [
    (aggregate, "x"),
    (gat_attention, "source_score"),
    (gat_attention, "value"),
    *((gatv2_attention, name) for name in ARGUMENTS[gatv2_attention]),
    *((dot_attention_as_one, name) for name in ARGUMENTS[dot_attention_as_one]),
]


@pytest.mark.parametrize(("primitive", "name"), REQUIRED)
def test_a_required_tensor_cannot_be_none(primitive: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^expected '{name}' of type torch\.Tensor, got None$"):
        primitive(**{**ARGUMENTS[primitive], name: None}, graph=GRAPH)


@pytest.mark.parametrize("primitive", ARGUMENTS)
def test_edge_weight_is_a_tensor_or_none(primitive: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected 'edge_weight' of type torch\.Tensor, got list$"):
        primitive(**ARGUMENTS[primitive], graph=GRAPH, edge_weight=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("primitive", ARGUMENTS)
def test_a_tensor_of_edges_is_no_graph(primitive: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected 'graph' of type lcat\.graph\.Graph, got Tensor: .*graph_view"):
        primitive(**ARGUMENTS[primitive], graph=EDGE_INDEX)


@pytest.mark.parametrize("primitive", [gat_attention, gatv2_attention, dot_attention_as_one])
@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan"), 2, -1, float("inf")])
def test_dropout_is_a_probability(primitive: Any, probability: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a probability 'dropout' in \[0, 1\], got "):
        primitive(**ARGUMENTS[primitive], graph=GRAPH, dropout=probability)
    with pytest.raises(ValueError, match=r"^expected a probability 'p' in \[0, 1\], got "):
        dropout(torch.ones(3), probability)


@pytest.mark.parametrize("primitive", [gat_attention, gatv2_attention])
@pytest.mark.parametrize("slope", [float("nan"), float("inf"), -float("inf")])
def test_negative_slope_is_finite(primitive: Any, slope: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a finite number 'negative_slope', got "):
        primitive(**ARGUMENTS[primitive], graph=GRAPH, negative_slope=slope)


@pytest.mark.parametrize("primitive", [gat_attention, gatv2_attention])
@pytest.mark.parametrize("value", ["0.5", None, True, torch.tensor(0.5), 1j])
def test_options_are_numbers(primitive: Any, value: Any) -> None:
    for name in ("dropout", "negative_slope"):
        with pytest.raises(TypeError, match=rf"^expected a (probability|number) '{name}', got .* of type"):
            primitive(**ARGUMENTS[primitive], graph=GRAPH, **{name: value})


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -float("inf")])
def test_scale_is_finite(scale: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a finite number 'scale', got "):
        dot_attention(**ARGUMENTS[dot_attention_as_one], graph=GRAPH, scale=scale)
    with pytest.raises(TypeError, match=r"^expected a number 'scale', got '0.5' of type str"):
        dot_attention(**ARGUMENTS[dot_attention_as_one], graph=GRAPH, scale="0.5")


@pytest.mark.parametrize(("name", "other"), [("edge_attr", "query_edge"), ("query_edge", "edge_attr")])
def test_edge_features_come_with_queries_for_them(name: str, other: str) -> None:
    features = {name: FULL[dot_attention_as_one][name]}
    with pytest.raises(ValueError, match=f"^'{other}' is missing: dot_attention takes 'edge_attr' and 'query_edge'"):
        dot_attention(**ARGUMENTS[dot_attention_as_one], graph=GRAPH, scale=1.0, **features)


def test_options_may_be_numbers_of_numpy() -> None:
    np = pytest.importorskip("numpy")
    arguments = ARGUMENTS[gat_attention]
    ours = gat_attention(**arguments, graph=GRAPH, negative_slope=np.float32(0.5), dropout=np.float64(0.0))
    assert torch.equal(ours, gat_attention(**arguments, graph=GRAPH, negative_slope=0.5, dropout=0))


FULL: dict[Any, dict[str, Any]] = {
    aggregate: {
        "x": torch.ones(3, 2),
        "edge_weight": torch.ones(3),
        "source_scale": torch.ones(3),
        "target_scale": torch.ones(3),
    },
    gat_attention: {**ARGUMENTS[gat_attention], "edge_score": torch.ones(3, 2), "edge_weight": torch.ones(3)},
    gatv2_attention: {
        **ARGUMENTS[gatv2_attention],
        "edge_attr": torch.ones(3, 2),
        "edge_matrix": torch.ones(8, 2),
        "edge_weight": torch.ones(3),
    },
    dot_attention_as_one: {
        **ARGUMENTS[dot_attention_as_one],
        "edge_attr": torch.ones(3, 2),
        "query_edge": torch.ones(3, 2, 2),
        "edge_weight": torch.ones(3),
    },
}
ALL = [(primitive, name) for primitive, arguments in FULL.items() for name in arguments]
IMPLEMENTATIONS = ["naive"] if native_status().instruction_set is None else ["native", "naive"]


@pytest.mark.filterwarnings("ignore")  # torch's, about types that it supports in part
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("primitive", "name"), ALL)
class TestEveryTensor:
    """Whichever implementation would serve the call."""

    def refused(self, primitive: Any, name: str, change: Any, implementation: str, match: str) -> None:
        arguments = FULL[primitive]
        with use_implementation(implementation), pytest.raises(ValueError, match=match):
            primitive(**{**arguments, name: change(arguments[name])}, graph=GRAPH)

    def test_is_on_the_device_of_the_graph(self, primitive: Any, name: str, implementation: str) -> None:
        match = f"^expected '{name}' on the device of the graph, cpu, got meta"
        self.refused(primitive, name, lambda t: t.to("meta"), implementation, match)

    @pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch._mkldnn])
    def test_is_dense(self, primitive: Any, name: str, implementation: str, layout: Any) -> None:
        def change(t: torch.Tensor) -> torch.Tensor:
            if layout is torch._mkldnn:
                return t.to_mkldnn()
            return t.view(t.shape[0], -1).to_sparse(layout=layout)

        self.refused(primitive, name, change, implementation, f"^expected '{name}' as a dense tensor, got layout")

    @pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.uint16, torch.quint8, torch.complex32], ids=str)
    def test_is_of_numbers(self, primitive: Any, name: str, implementation: str, dtype: torch.dtype) -> None:
        def change(t: torch.Tensor) -> torch.Tensor:
            return torch.quantize_per_tensor(t, 0.1, 0, dtype) if dtype is torch.quint8 else t.to(dtype)

        self.refused(primitive, name, change, implementation, f"^expected '{name}' of a floating point.* got {dtype}")


@pytest.mark.parametrize(
    ("primitive", "name", "dtype"),
    [
        (aggregate, "x", torch.bool),
        *((gat_attention, name, torch.int64) for name in ("source_score", "target_score", "edge_score")),
        *((gatv2_attention, name, torch.bool) for name in ("key", "query", "att", "edge_attr", "edge_matrix")),
        *((dot_attention_as_one, name, torch.int64) for name in ("query", "key", "edge_attr", "query_edge")),
    ],
)
def test_what_only_floating_point_can_be(primitive: Any, name: str, dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=rf"^expected '{name}' of a floating point.* type, got {dtype}: .*\.float\(\)"):
        primitive(**{**FULL[primitive], name: FULL[primitive][name].to(dtype)}, graph=GRAPH)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8, torch.complex64, torch.bool, torch.float64], ids=str)
@pytest.mark.parametrize("primitive", FULL)
def test_weights_of_another_type_count_as_plain_torch_counts_them(primitive: Any, dtype: torch.dtype) -> None:
    weight = torch.tensor([0, 1, 1]).to(dtype)
    weight = weight * 1j if dtype.is_complex else weight
    arguments = {**FULL[primitive], "edge_weight": weight}
    ours = primitive(**arguments, graph=GRAPH)
    with use_implementation("naive"):
        theirs = primitive(**arguments, graph=GRAPH)
    torch.testing.assert_close(ours, theirs)
    assert ours.is_complex() == dtype.is_complex
    assert bool(ours.abs().sum() > 0)


def test_integers_are_summed_exactly() -> None:
    x = torch.tensor([2**53 + 1, 5, 7])
    assert aggregate(x, GRAPH).tolist() == [7, 0, 2**53 + 6]


@pytest.mark.parametrize("primitive", FULL)
def test_everything_on_meta_gives_meta(primitive: Any) -> None:
    graph, _ = graph_view(EDGE_INDEX.to("meta"), 3, 3)
    out = primitive(**{name: t.to("meta") for name, t in FULL[primitive].items()}, graph=graph)
    assert out.is_meta
    assert out.shape == primitive(**FULL[primitive], graph=GRAPH).shape


@pytest.mark.parametrize("x", [torch.ones(3).long(), torch.ones(3).to_mkldnn(), [1.0], None], ids=str)
def test_dropout_of_what_it_cannot_drop(x: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^expected 'x' "):
        dropout(x)


def test_both_results_of_graph_view_are_no_graph():
    view = graph_view(torch.tensor([[0, 1], [1, 0]]), 2, 2)
    with pytest.raises(TypeError, match=r"got tuple: graph_view returns the graph and the edge weights, so pass the"):
        aggregate(torch.ones(2, 3), view)
