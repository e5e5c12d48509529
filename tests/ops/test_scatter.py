"""The implementation on torch-scatter against the naive one.

Where torch-scatter is not installed, its two kernels are written in torch. ``nox -s scatter`` installs it.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lcat.ops import _scatter, aggregate, explain, use_implementation
from tests.ops.cases import (
    GRAPHS,
    aggregate_call,
    dot_attention_call,
    gat_attention_call,
    gatv2_attention_call,
    make_graph,
)

DTYPES = (torch.float32, torch.float64)


def gather_csr(x: Tensor, indptr: Tensor) -> Tensor:
    """Row ``i`` of ``x`` for every entry of segment ``i``."""
    return x.repeat_interleave(indptr.diff(), dim=0)


def segment_csr(x: Tensor, indptr: Tensor, reduce: str) -> Tensor:
    """Sum or maximum of the rows of every segment; zeros where it has none."""
    segment = torch.arange(len(indptr) - 1).repeat_interleave(indptr.diff())
    index = segment.reshape(-1, *[1] * (x.dim() - 1)).expand_as(x)
    zeros = x.new_zeros(len(indptr) - 1, *x.shape[1:])
    how = {"sum": "sum", "max": "amax"}[reduce]
    return zeros.scatter_reduce(0, index, x[: len(segment)], how, include_self=False)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch-scatter, or its two kernels in torch."""
    if find_spec("torch_scatter") is None:
        stand_in = SimpleNamespace(gather_csr=gather_csr, segment_csr=segment_csr)
        monkeypatch.setattr(_scatter, "_INSTALLED", True)
        monkeypatch.setattr(_scatter, "_torch_scatter", lambda: stand_in)


with_library = pytest.mark.usefixtures("library")


@with_library
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", GRAPHS)
class TestAgainstNaive:
    @pytest.mark.parametrize("weight", ["none", "edge", "head", "none scaled", "edge scaled", "head scaled"])
    def test_aggregate(self, kind: str, weight: str, dtype: torch.dtype) -> None:
        aggregate_call(make_graph(kind), 3, 7, dtype, weight).check("scatter")

    @pytest.mark.parametrize("options", ["", "target", "target score", "target score weight"])
    def test_gat_attention(self, kind: str, options: str, dtype: torch.dtype) -> None:
        gat_attention_call(make_graph(kind), 3, 7, dtype, options).check("scatter")

    @pytest.mark.parametrize("options", ["", "values", "attr", "values attr weight"])
    def test_gatv2_attention(self, kind: str, options: str, dtype: torch.dtype) -> None:
        gatv2_attention_call(make_graph(kind), 3, 7, dtype, options).check("scatter")

    @pytest.mark.parametrize("options", ["", "attr", "weight", "attr weight"])
    def test_dot_attention(self, kind: str, options: str, dtype: torch.dtype) -> None:
        dot_attention_call(make_graph(kind), 3, 7, dtype, options).check("scatter")


@with_library
@pytest.mark.parametrize("width", [1, 16, 40, 256])
@pytest.mark.parametrize("heads", [1, 8])
def test_shapes(heads: int, width: int) -> None:
    graph = make_graph("hub")
    aggregate_call(graph, heads, width, torch.float64, "head").check("scatter")
    gat_attention_call(graph, heads, width, torch.float64, "target weight").check("scatter")
    gatv2_attention_call(graph, heads, width, torch.float64, "values").check("scatter")
    dot_attention_call(graph, heads, width, torch.float64, "attr", scale=0.2).check("scatter")


@with_library
def test_same_bits_at_every_run() -> None:
    call = gatv2_attention_call(make_graph("hub", edges=2_000), 2, 8, torch.float32, "values")
    first = call.run("scatter")
    for _ in range(5):
        again = call.run("scatter")
        assert all(torch.equal(first[name], again[name]) for name in first)


@with_library
def test_dropout_keeps_the_mean() -> None:
    graph = make_graph("random", edges=4_000)
    call = gat_attention_call(graph, 2, 1, torch.float64, "target dropout")
    call.tensors["value"] = torch.ones_like(call.tensors["value"])
    mean = torch.stack([call.run("scatter")["out"] for _ in range(50)]).mean()
    assert abs(float(mean) - 1) < 0.05


@pytest.mark.skipif(find_spec("torch_scatter") is not None, reason="torch-scatter is installed")
def test_missing_package_is_explained() -> None:
    for choice in explain("cpu"):
        if choice.primitive == "extremes":  # torch-scatter gives the gradient of a tie to one edge
            assert "scatter" not in choice.unavailable
            continue
        assert "pip install --no-build-isolation torch-scatter" in choice.unavailable["scatter"]
    graph = make_graph("random")
    with (
        use_implementation("scatter"),
        pytest.raises(RuntimeError, match="cannot run 'aggregate': torch-scatter is not installed"),
    ):
        aggregate(torch.randn(graph.num_sources, 2), graph)
