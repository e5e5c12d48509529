"""The compiled CPU kernels against the naive implementations: outputs and every gradient."""

from __future__ import annotations

import ctypes
import itertools
from pathlib import Path

import pytest
import torch

from lcat.graph import Graph
from lcat.ops import _native
from lcat.ops._gat_attention import fused as gat_fused
from tests.ops.cases import (
    GRAPHS,
    WIDTHS,
    Call,
    aggregate_call,
    dot_attention_call,
    gat_attention_call,
    gatv2_attention_call,
    guarded_memory,
    make_graph,
)

pytestmark = pytest.mark.skipif(
    _native.STATUS.instruction_set is None, reason=f"no compiled kernels: {_native.STATUS.problem}"
)

HEADS = (1, 2, 3, 8)
FLOATS = (torch.float32, torch.float64)
GAT_OPTIONS = ("", "target", "target score", "target weight", "score weight", "target score weight")
DOT_OPTIONS = ("", "attr", "weight", "attr weight")
GATV2_OPTIONS = ("", "values", "attr", "weight", "values weight", "values attr weight")


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("heads", HEADS)
class TestShapes:
    def test_aggregate(self, heads: int, width: int, dtype: torch.dtype) -> None:
        for weight in ("none", "edge", "head", "none scaled", "head scaled"):
            aggregate_call(make_graph("random"), heads, width, dtype, weight).check()

    def test_gat_attention(self, heads: int, width: int, dtype: torch.dtype) -> None:
        for options in ("target", "target score weight"):
            gat_attention_call(make_graph("random"), heads, width, dtype, options).check()

    def test_gatv2_attention(self, heads: int, width: int, dtype: torch.dtype) -> None:
        for options in ("", "values attr weight"):
            gatv2_attention_call(make_graph("random"), heads, width, dtype, options).check()

    def test_dot_attention(self, heads: int, width: int, dtype: torch.dtype) -> None:
        dot_attention_call(make_graph("random"), heads, width, dtype).check()
        for edge_width in (1, 4, 8, 16, 24, 32):
            call = dot_attention_call(make_graph("random"), heads, width, dtype, "attr weight", edge_width=edge_width)
            call.check()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("kind", GRAPHS)
class TestGraphs:
    @pytest.mark.parametrize("weight", ["none", "edge", "head", "none scaled", "edge scaled", "head scaled"])
    def test_aggregate(self, kind: str, weight: str, dtype: torch.dtype) -> None:
        aggregate_call(make_graph(kind), 3, 7, dtype, weight).check()

    @pytest.mark.parametrize("options", GAT_OPTIONS)
    def test_gat_attention(self, kind: str, options: str, dtype: torch.dtype) -> None:
        gat_attention_call(make_graph(kind), 3, 7, dtype, options).check()

    @pytest.mark.parametrize("options", GATV2_OPTIONS)
    def test_gatv2_attention(self, kind: str, options: str, dtype: torch.dtype) -> None:
        gatv2_attention_call(make_graph(kind), 3, 7, dtype, options).check()

    @pytest.mark.parametrize("options", DOT_OPTIONS)
    def test_dot_attention(self, kind: str, options: str, dtype: torch.dtype) -> None:
        dot_attention_call(make_graph(kind), 3, 7, dtype, options).check()


@pytest.mark.parametrize("few", [False, True])
@pytest.mark.parametrize("kind", GRAPHS)
def test_both_ways_to_the_gradient_of_targets(kind: str, few: bool, monkeypatch) -> None:
    """From what the forward pass keeps, and from a sum over the edges of the backward pass."""
    monkeypatch.setattr(gat_fused, "has_few_edges", lambda graph, value: few)
    for options in GAT_OPTIONS:
        if "target" in options:
            gat_attention_call(make_graph(kind), 3, 7, torch.float64, options).check()


def test_gradient_of_targets_from_edges_that_were_dropped(monkeypatch) -> None:
    monkeypatch.setattr(gat_fused, "has_few_edges", lambda graph, value: True)
    graph = make_graph("padded", sources=6, targets=5, edges=14)
    call = gat_attention_call(graph, 2, 3, torch.float64, "target score weight dropout")

    def function(*tensors: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)  # the seed of the mask is drawn at every call
        return call.function(**dict(zip(call.tensors, tensors, strict=True)))

    assert torch.autograd.gradcheck(function, tuple(t.requires_grad_() for t in call.tensors.values()))


def test_graphs_with_few_edges_keep_no_second_row_per_node() -> None:
    def rows_kept(edges: int) -> int:
        call = gat_attention_call(make_graph("random", edges=edges), 2, 40, torch.float32, "target")
        saved_shapes: list[tuple[int, ...]] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved_shapes.append(tuple(t.shape)) or t, lambda t: t):
            call.function(**{name: t.requires_grad_() for name, t in call.tensors.items()})
        return saved_shapes.count((19, 2, 40))

    assert rows_kept(90) == 1
    assert rows_kept(500) == 2


@pytest.mark.parametrize("slope", [0.0, 1.0, -0.5, 2.5])
def test_any_slope(slope: float) -> None:
    gat_attention_call(make_graph("random"), 2, 5, torch.float64, "target", slope=slope).check()
    gatv2_attention_call(make_graph("random"), 2, 5, torch.float64, "", slope=slope).check()


@pytest.mark.parametrize("heads", [1, 4])
def test_hub_with_ten_thousand_in_edges(heads: int) -> None:
    graph = make_graph("hub", sources=400, targets=300, edges=17_000)
    assert int(graph.in_degree.max()) > 10_000
    # Sums over so many edges lose digits; the naive path is off by up to 7e-4 here.
    for call in (
        aggregate_call(graph, heads, 16, torch.float32, "edge"),
        gat_attention_call(graph, heads, 16, torch.float32, "target score weight"),
        gatv2_attention_call(graph, heads, 16, torch.float32, "values"),
        gatv2_attention_call(graph, heads, 16, torch.float32, "attr"),
        dot_attention_call(graph, heads, 16, torch.float32, "attr weight"),
    ):
        call.check(tolerance=1e-4)


@pytest.mark.parametrize("in_edges", [1023, 1024, 1087, 1088, 5000])
@pytest.mark.parametrize(("heads", "width"), [(1, 16), (8, 8), (3, 7), (4, 48)])
def test_rows_that_are_cut_into_parts(heads: int, width: int, in_edges: int) -> None:
    """Two rows with most of the edges, one of them the last row, among rows with few edges and none."""
    draw = torch.Generator().manual_seed(in_edges)
    target = torch.cat(
        [torch.full((in_edges,), 3), torch.full((in_edges,), 49), torch.randint(0, 40, (300,), generator=draw)]
    )
    source = torch.randint(0, 60, target.shape, generator=draw)
    source[: in_edges // 2] = 7
    graph = Graph(source, target, 60, 50)
    for call in (
        aggregate_call(graph, heads, width, torch.float64, "none scaled"),
        aggregate_call(graph, heads, width, torch.float64, "head"),
        gatv2_attention_call(graph, heads, width, torch.float64, ""),
        gatv2_attention_call(graph, heads, width, torch.float64, "values attr weight"),
        dot_attention_call(graph, heads, width, torch.float64, ""),
        dot_attention_call(graph, heads, width, torch.float64, "attr weight"),
    ):
        call.check(tolerance=1e-10)


@pytest.mark.parametrize("heads", [1, 2, 4, 8])
@pytest.mark.parametrize("gap", [5.0, 60.0, 1e4])
def test_rows_whose_scores_are_far_below_those_of_their_neighbors(heads: int, gap: float) -> None:
    """Rows with few edges share the maximum of a block."""
    graph = make_graph("random", sources=60, targets=50, edges=200)
    call = gatv2_attention_call(graph, heads, 8, torch.float64, "values")
    call.tensors["att"] = torch.ones(heads, 8, dtype=torch.float64)
    call.tensors["query"] -= gap * (torch.arange(50) % 5).view(50, 1, 1)
    call.check(tolerance=1e-9)
    call = dot_attention_call(graph, heads, 8, torch.float64, "attr", scale=1.0)
    call.tensors["edge_attr"] = torch.ones(200, 3, dtype=torch.float64)
    call.tensors["query_edge"] -= gap * (torch.arange(50) % 5).view(50, 1, 1)
    call.check(tolerance=1e-9)


def test_scores_that_grow_along_a_hub_rescale_earlier_blocks() -> None:
    graph = make_graph("hub", sources=400, targets=30, edges=2_000)
    call = gat_attention_call(graph, 2, 8, torch.float64, "target")
    # Slots are ordered by source, so scores rise along the row and every block brings a new maximum.
    call.tensors["source_score"] = torch.linspace(-300, 300, 400, dtype=torch.float64).unsqueeze(1).repeat(1, 2)
    call.check(tolerance=1e-9)


def test_extreme_scores_stay_finite() -> None:
    graph = make_graph("random")
    for call, scale in ((gat_attention_call(graph, 2, 8, torch.float32, "target"), 1e4),):
        call.tensors = {name: t * (scale if name.endswith("score") else 1) for name, t in call.tensors.items()}
        assert all(bool(torch.isfinite(t).all()) for t in call.run("native").values())
    call = gatv2_attention_call(graph, 2, 8, torch.float32, "values")
    call.tensors["key"] = call.tensors["key"] * 1e4
    assert all(bool(torch.isfinite(t).all()) for t in call.run("native").values())
    call = dot_attention_call(graph, 2, 8, torch.float32, "attr", scale=1e4)
    assert all(bool(torch.isfinite(t).all()) for t in call.run("native").values())


@pytest.mark.parametrize("masked", [200, 390, 400])
@pytest.mark.parametrize("make", [gat_attention_call, gatv2_attention_call, dot_attention_call])
def test_edges_masked_by_scores_of_minus_infinity(make, masked: int) -> None:
    """Whole blocks of a row, all edges but one, or all: NaN then, as no coefficients sum to 1."""
    graph = make_graph("random", sources=400, targets=2, edges=900)
    if make is gat_attention_call:
        call = gat_attention_call(graph, 2, 3, torch.float64, "target score weight")
        call.tensors["edge_score"][graph.source < masked] = -torch.inf
    elif make is dot_attention_call:
        call = dot_attention_call(graph, 2, 3, torch.float64, "weight")
        call.tensors["key"][:masked], call.tensors["query"][:] = -1e308, 10.0
    else:
        call = gatv2_attention_call(graph, 2, 3, torch.float64, "values weight")
        call.tensors["key"][:masked], call.tensors["att"] = -1e308, torch.full((2, 3), 10.0, dtype=torch.float64)
    ours, theirs = call.run("native"), call.run("naive")
    assert bool(theirs["out"].isnan().any()) == (masked == 400)
    for name in ("out", "value") if masked == 400 else theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("make", [gat_attention_call, gatv2_attention_call, dot_attention_call])
def test_nan_stays_in_its_neighborhood(make) -> None:
    graph = make_graph("random", edges=40)
    call: Call = make(graph, 2, 7, torch.float32, "values")
    name = "value" if "value" in call.tensors else "key"
    call.tensors[name][4] = float("nan")
    out = call.run("native")["out"]
    reached = torch.zeros(graph.num_targets, dtype=torch.bool)
    reached[graph.target[graph.source == 4]] = True
    assert torch.equal(out.isnan().any(dim=(1, 2)), reached)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (gat_attention_call, "target weight"),
        (gatv2_attention_call, "values weight"),
        (dot_attention_call, "attr weight"),
        (aggregate_call, "head scaled"),
    ],
)
def test_strided_and_expanded_tensors(make, options) -> None:
    graph = make_graph("random")
    call: Call = make(graph, 3, 8, torch.float64, options)
    plain = call.run("native")
    strided = {name: torch.stack([t, -t], dim=-1)[..., 0] for name, t in call.tensors.items()}
    assert not any(t.is_contiguous() for t in strided.values())
    call.tensors = strided
    again = call.run("native")
    assert all(torch.equal(plain[name], again[name]) for name in plain)

    leaf = {name: t.detach().requires_grad_() for name, t in strided.items()}
    call.function(**leaf).sum().backward()  # the gradient of a sum is one number, expanded
    expected = {name: t.detach().clone().requires_grad_() for name, t in strided.items()}
    out = call.function(**expected)
    out.backward(torch.ones_like(out))
    assert all(torch.equal(leaf[name].grad, expected[name].grad) for name in leaf)


def test_aggregate_takes_any_trailing_dimensions() -> None:
    graph = make_graph("random")
    for shape in ((), (5,), (2, 3, 4), (0,)):
        x = torch.randn(graph.num_sources, *shape, dtype=torch.float64)
        expected = torch.zeros(graph.num_targets, *shape, dtype=torch.float64)
        expected.index_add_(0, graph.target, x[graph.source])
        from lcat.ops import aggregate

        torch.testing.assert_close(aggregate(x, graph), expected)


@pytest.mark.parametrize("kind", ["random", "hub", "padded", "isolated"])
def test_every_cell_is_written_and_none_outside(kind: str) -> None:
    graph = make_graph(kind)
    for heads, width in ((1, 1), (3, 7), (2, 16), (5, 40)):
        calls = [
            aggregate_call(graph, heads, width, torch.float32, "head"),
            gat_attention_call(graph, heads, width, torch.float32, "target score weight"),
            gatv2_attention_call(graph, heads, width, torch.float32, "values attr weight"),
            gatv2_attention_call(graph, heads, width, torch.float32, ""),
            dot_attention_call(graph, heads, width, torch.float32, ""),
            dot_attention_call(graph, heads, width, torch.float32, "attr weight"),
        ]
        for call in calls:
            with guarded_memory() as frames:
                call.check()
            assert len(frames) > 1  # the guard was in place


@pytest.mark.parametrize("instruction_set", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_that_runs_here(instruction_set: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    path = _native._find(f"_native_{instruction_set}")
    if instruction_set not in _native._RUNNABLE.get(capability, ("baseline",)) or path is None:
        pytest.skip(f"not built, or {capability} does not run it")
    library = ctypes.CDLL(str(path))
    _native._declare(library)
    monkeypatch.setattr(_native, "_LIBRARY", library)
    for heads, width, dtype in itertools.product((1, 3, 4), (1, 7, 8, 16, 33, 64), FLOATS):
        aggregate_call(make_graph("random"), heads, width, dtype, "head").check()
        gat_attention_call(make_graph("random"), heads, width, dtype, "target score weight").check()
        gatv2_attention_call(make_graph("random"), heads, width, dtype, "values attr").check()
        dot_attention_call(make_graph("random"), heads, width, dtype, "attr weight", edge_width=width).check()


def test_missing_library_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "_native.py"))
    library, status = _native._load()
    assert library is None
    assert status.instruction_set is None
    assert "compiler" in str(status.problem)
    monkeypatch.setattr(_native, "STATUS", status)
    from lcat.ops import explain

    for choice in explain("cpu"):
        assert choice.implementation != "native"
        assert "missing" in choice.unavailable["native"]


def test_library_that_does_not_load_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "_native.py"))
    (tmp_path / "_native_baseline.abi3.so").write_bytes(b"not a library")
    library, status = _native._load()
    assert library is None
    assert "does not load" in str(status.problem)


@pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")
def test_library_of_another_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = _native._INTERFACE
    monkeypatch.setattr(_native, "_INTERFACE", 1)
    library, status = _native._load()
    assert library is None
    assert f"built from another version of the sources (interface {ours}, not 1)" in str(status.problem)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(40))
def test_fuzz(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=draw))

    for case in range(25):
        kind = GRAPHS[number(0, len(GRAPHS))]
        graph = make_graph(kind, number(4, 60), number(4, 60), number(1, 800), seed=seed * 1000 + case)
        heads, width, dtype = number(1, 10), number(1, 80), FLOATS[number(0, 2)]
        limit = 2e-4 if dtype == torch.float32 else 1e-9
        aggregate_call(
            graph, heads, width, dtype, ("none", "edge", "head", "none scaled", "head scaled")[number(0, 5)]
        ).check(tolerance=limit)
        gat_attention_call(graph, heads, width, dtype, GAT_OPTIONS[number(0, 6)]).check(tolerance=limit)
        gatv2_attention_call(graph, heads, width, dtype, GATV2_OPTIONS[number(0, 6)]).check(tolerance=limit)
        options, edge_width = DOT_OPTIONS[number(0, 4)], number(1, 20)
        dot_attention_call(graph, heads, width, dtype, options, scale=0.2, edge_width=edge_width).check(tolerance=limit)
