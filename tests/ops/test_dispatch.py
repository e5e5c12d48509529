"""Which implementation serves a call, and what is said about it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lcat.ops import (
    Feature,
    _native,
    aggregate,
    dispatch,
    dot_attention,
    explain,
    gat_attention,
    gatv2_attention,
    use_implementation,
)
from lcat.ops._fused import native_objection
from lcat.ops.dispatch import Call
from tests.ops.cases import distance, gatv2_attention_call, make_graph

native = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")


def implementations(**options) -> dict[str, str]:
    return {choice.primitive: choice.implementation for choice in explain(**options)}


@native
def test_native_serves_the_cpu() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert set(implementations(device="cpu", dtype=dtype).values()) == {"native"}
    assert set(implementations(device="meta").values()) == {"naive"}


@native
@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (Feature.EDGE_KEY, "edge_attr and edge_matrix"),
        (Feature.WIDE_EDGE_ATTR, "at most 16"),
        (Feature.OTHER_VALUE_WIDTH, "one shape"),
        (Feature.LARGE_GRAPH, "31 bits"),
        (Feature.TRANSFORM, "naive path"),
    ],
)
def test_what_falls_back_is_said(feature: Feature, reason: str) -> None:
    for choice in explain(features=feature):
        assert choice.implementation != "native"
        assert reason in choice.unavailable["native"]


@native
def test_reasons_are_those_of_the_choice() -> None:
    for choice in explain():
        assert choice.reason.startswith("the first in order of speed")
        assert choice.unavailable["naive"] == "slower than the one that is used"
    with use_implementation("naive"):
        for choice in explain():
            assert choice.reason == "requested by name (naive)"
            assert choice.unavailable["native"] == "not used: requested by name (naive)"
    for name in ("naive", "native"):
        with use_implementation(name):
            for choice in explain(features=Feature.TRANSFORM):
                assert (choice.implementation, "plain torch" in choice.reason) == ("naive", True)


@native
def test_calls_that_fall_back_compute_the_same() -> None:
    graph = make_graph("random")
    k, q, att = torch.randn(graph.num_sources, 2, 3), torch.randn(graph.num_targets, 2, 3), torch.randn(2, 3)
    attr, matrix = torch.randn(graph.num_edges, 20), torch.randn(6, 20)
    calls = [
        lambda: gatv2_attention(k, q, k, att, graph, edge_attr=attr, edge_matrix=matrix),
        lambda: gatv2_attention(k, q, k, att, graph, edge_key=(attr @ matrix.T).view(-1, 2, 3)),
        lambda: gatv2_attention(k, q, torch.ones(graph.num_sources, 2, 5), att, graph),
        lambda: dot_attention(q, k, torch.ones(graph.num_sources, 2, 5), graph, scale=0.5),
        lambda: aggregate(torch.arange(graph.num_sources), graph),
    ]
    for call in calls:
        with use_implementation("naive"):
            expected = call()
        assert torch.equal(call(), expected)
    assert distance(calls[0](), calls[1]()) < 1e-5


def test_a_request_by_name_that_cannot_be_served_is_refused() -> None:
    graph = make_graph("random")
    with use_implementation("triton"), pytest.raises(RuntimeError, match=r"'triton' was requested.*it runs on GPUs"):
        aggregate(torch.randn(graph.num_sources, 2), graph)
    with (
        pytest.raises(ValueError, match=r"expected an implementation \(.*naive.*\), got 'fast'"),
        use_implementation("fast"),
    ):
        pass


def test_environment_switch() -> None:
    code = "import lcat.ops; print(*[c.implementation for c in lcat.ops.explain()])"
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, env={"LCAT_IMPLEMENTATION": "naive", "PATH": ""}, capture_output=True, text=True)
    assert process.stdout.split() == ["naive"] * len(explain()), process.stderr


def test_objections_of_types_and_devices() -> None:
    assert "not int64" in str(native_objection(Call(torch.device("cpu"), torch.int64))) or not _native.STATUS.path
    assert native_objection(Call(torch.device("cuda"), torch.float32)) == "it runs on the CPU"


def test_edge_attr_and_edge_matrix_come_together() -> None:
    graph = make_graph("random")
    call = gatv2_attention_call(graph, 2, 3, torch.float32, "attr")
    k, q, att, attr = (call.tensors[name] for name in ("key", "query", "att", "edge_attr"))
    with pytest.raises(ValueError, match="'edge_matrix' is missing"):
        gatv2_attention(k, q, k, att, graph, edge_attr=attr)
    with pytest.raises(ValueError, match=r"'edge_matrix' of shape \[H \* F, D\], here \[6, 3\]"):
        gatv2_attention(k, q, k, att, graph, edge_attr=attr, edge_matrix=torch.randn(5, 3))
    with pytest.raises(ValueError, match="expected 'edge_score' of shape"):
        gat_attention(torch.randn(graph.num_sources, 2), None, k, graph, edge_score=torch.randn(3, 2))


def test_blocks_of_threads_may_end_in_any_order():
    first, second = use_implementation("naive"), use_implementation("naive")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert dispatch._requested() == "naive"
    second.__exit__(None, None, None)
    assert dispatch._forced is None
