"""Compiled models sort a graph once: the operators that group edges, and what compiled layers make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import torch
import torch._functorch.config
import torch._inductor.config
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint
from torch_geometric import EdgeIndex

import lcat.nn
from lcat import _edge_formats
from lcat.graph import Graph, cache_info, forget, graph_view
from lcat.ops import _grouped, _native, _sorted, aggregate
from lcat.ops._triton import schedule as _schedule
from tests.support.long import long, quick_or_long

pytestmark = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")

LAYERS = ["GCNConv", "GATConv", "GATv2Conv", "LCATConv"]
# The least and the most that layers do; the two between them are long.
ENDS = quick_or_long(LAYERS, ["GCNConv", "LCATConv"])
NODES = 40


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    forget()
    # What another version of lcat has recorded must not come back from torch's caches on disk.
    without_graphs = torch._inductor.config.patch(fx_graph_cache=False)
    with torch._functorch.config.patch(enable_autograd_cache=False), without_graphs:
        yield
    torch._dynamo.reset()


@pytest.fixture
def sorts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was grouped for real."""
    sides: list[str] = []
    real = _grouped._sort

    def sort(graph: Graph, side: Any) -> Any:
        sides.append(side)
        return real(graph, side)

    monkeypatch.setattr(_grouped, "_sort", sort)
    return sides


def edges(seed: int = 0, *, nodes: int = NODES, count: int = 200, loops: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randint(nodes, (2, count), generator=generator)
    if not loops:
        made[1] = torch.where(made[0] == made[1], (made[0] + 1) % nodes, made[1])
    return made


def features(nodes: int = NODES, width: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(nodes)
    return torch.randn(nodes, width, generator=generator, dtype=torch.float64, requires_grad=True)


def make(name: str, **options: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return getattr(lcat.nn, name)(8, 4, **options).double()  # type: ignore[no-any-return]


def step(function: Callable[..., Tensor], parameters: Any, x: Any, *arguments: Any, **options: Any) -> list[Tensor]:
    """The output and all gradients."""
    out = function(x, *arguments, **options)
    leaves = [t for t in (*(x if isinstance(x, tuple) else (x,)), *parameters) if t.requires_grad]
    return [out, *torch.autograd.grad(out.square().sum(), leaves)]


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def compare(layer: Any, compiled: Any, x: Any, *arguments: Any, **options: Any) -> None:
    parameters = list(layer.parameters())
    computed = step(compiled, parameters, x, *arguments, **options)
    with lcat.ops.use_implementation("naive"):
        assert_same(computed, step(layer, parameters, x, *arguments, **options))


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize(
    ("name", "backend"),
    [*((name, "aot_eager") for name in LAYERS), ("LCATConv", "inductor"), long("GCNConv", "inductor")],
)
def test_a_later_step_sorts_nothing(name: str, backend: str, loops: bool, sorts: list[str]) -> None:
    layer, x, edge_index = make(name), features(), edges(loops=loops)
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    compare(layer, compiled, x, edge_index)
    assert set(sorts) == {"by_target", "by_source"}
    for _ in range(2):
        sorts.clear()
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
            step(compiled, layer.parameters(), x, edge_index)
        assert not sorts
        assert not [row.key for row in profiler.key_averages() if "sort" in row.key and "lcat" not in row.key]
    compare(layer, compiled, x, edge_index)


@pytest.mark.parametrize("name", ENDS)
def test_one_view_for_eager_and_compiled_calls(name: str, sorts: list[str]) -> None:
    layer, x, edge_index = make(name), features(), edges(loops=False)
    eager = step(layer, layer.parameters(), x, edge_index)
    sorts.clear()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert_same(step(compiled, layer.parameters(), x, edge_index), eager)
    assert not sorts


def test_layers_of_a_model_share_one_call() -> None:
    model = lcat.nn.models.GAT(8, 8, num_layers=3, out_channels=4, heads=2).double()
    x, edge_index = features(), edges()
    calls: list[Any] = []
    real = _sorted.graph_view

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(options)
        return real(*arguments, **options)

    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    step(compiled, model.parameters(), x, edge_index)
    with mock.patch.object(_sorted, "graph_view", counted):
        step(compiled, model.parameters(), x, edge_index)
    assert len(calls) == 2  # by target, by source


@pytest.mark.parametrize("backend", ["aot_eager", long("inductor")])
def test_edges_that_change_between_steps(backend: str) -> None:
    layer, x, edge_index = make("GATConv"), features(), edges()
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    compare(layer, compiled, x, edge_index)
    edge_index.copy_(edges(1))
    compare(layer, compiled, x, edge_index)
    edge_index[:, :50] = edges(2)[:, :50]
    compare(layer, compiled, x, edge_index)
    edge_index.numpy()[:] = edges(3).numpy()  # seen by the checksum
    compare(layer, compiled, x, edge_index)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_edges_that_compiled_code_makes(backend: str, sorts: list[str]) -> None:
    """It may write them into memory that held others, in one tensor object, and on GPUs no checksum shows that."""
    layer, x = make("GATConv"), features()

    def model(x: Tensor, edge_index: Tensor, order: Tensor) -> Tensor:
        out = layer(x, edge_index.flip(0))
        out = out.tanh() @ torch.ones(4, 8, dtype=out.dtype)
        out = layer(out, order[edge_index])
        out = out.tanh() @ torch.ones(4, 8, dtype=out.dtype)
        return layer(out, (edge_index + 1) % x.shape[0])

    compiled = torch.compile(model, backend=backend, fullgraph=True)
    with mock.patch.object(_edge_formats, "checksum", return_value=None):
        for seed in range(3):
            order = torch.randperm(NODES, generator=torch.Generator().manual_seed(seed))
            ours = step(compiled, layer.parameters(), x, edges(seed), order)
            assert len(sorts) >= 6
            assert cache_info().tensors == 0
            with lcat.ops.use_implementation("naive"):
                assert_same(ours, step(model, layer.parameters(), x, edges(seed), order))
            sorts.clear()
            forget()


@pytest.mark.parametrize("backend", ["aot_eager", long("inductor")])
def test_edges_that_compiled_code_changes(backend: str) -> None:
    layer, x = make("GCNConv"), features()

    def model(x: Tensor, edge_index: Tensor) -> Tensor:
        first = layer(x, edge_index)
        edge_index.add_(1).remainder_(x.shape[0])
        return torch.cat([first, layer(x, edge_index)])

    compiled = torch.compile(model, backend=backend, fullgraph=True)
    ours, theirs = edges(), edges()
    with mock.patch.object(_edge_formats, "checksum", return_value=None):
        for _ in range(3):
            computed = step(compiled, layer.parameters(), x, ours)
            assert_same(computed, step(model, layer.parameters(), x, theirs))
            assert torch.equal(ours, theirs)


def test_a_branch_that_gets_edges_from_outside(sorts: list[str]) -> None:
    """The inputs of an inner graph need not be those of the compiled function."""
    layer, x, edge_index = make("GCNConv"), features().detach(), edges()

    def model(x: Tensor, edge_index: Tensor) -> Tensor:
        turned = edge_index.flip(0)
        return torch.cond(x.sum() > 1e9, lambda x, e: layer(x, e) * 2, lambda x, e: layer(x, e), (x, turned))

    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for _ in range(2):
            sorts.clear()
            torch.testing.assert_close(compiled(x, edge_index), layer(x, edge_index.flip(0)))
            assert cache_info().tensors <= 1  # that of the eager call
            forget()


@pytest.mark.parametrize("name", ENDS)
def test_graphs_of_other_sizes(name: str) -> None:
    layer = make(name)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for nodes, count in ((40, 200), (30, 90), (51, 333), (30, 90)):
        x, edge_index = features(nodes), edges(nodes=nodes, count=count)
        torch._dynamo.mark_dynamic(x, 0)
        torch._dynamo.mark_dynamic(edge_index, 1)
        for _ in range(2):
            compare(layer, compiled, x, edge_index)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("kind", ["EdgeIndex", "int32", "strided", "no edges", "one node"])
def test_forms_of_edges(name: str, kind: str) -> None:
    layer, x, edge_index = make(name), features(), edges()
    if kind == "EdgeIndex":
        edge_index = EdgeIndex(edge_index, sparse_size=(NODES, NODES)).sort_by("col").values
        edge_index.fill_cache_()
    elif kind == "int32":
        edge_index = edge_index.int()
    elif kind == "strided":
        edge_index = edge_index.t().contiguous().t()
    elif kind == "no edges":
        edge_index = edge_index[:, :0]
    else:
        x, edge_index = features(1), torch.zeros(2, 3, dtype=torch.long)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        compare(layer, compiled, x, edge_index)


@pytest.mark.parametrize("name", ENDS)
def test_options_of_layers(name: str) -> None:
    x, edge_index = features(), edges()
    weight = torch.rand(200, dtype=torch.float64)
    for options in ({"flow": "target_to_source"}, {"add_self_loops": False}):
        layer = make(name, **options)
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        for _ in range(2):
            compare(layer, compiled, x, edge_index)
            compare(layer, compiled, x, edge_index, edge_weight=weight)
    if name != "GCNConv":
        layer = make(name, edge_dim=3)
        attributes = torch.randn(200, 3, dtype=torch.float64)
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
        for _ in range(2):
            compare(layer, compiled, x, edge_index, attributes)


def test_bipartite_graphs_and_sets_of_features() -> None:
    torch.manual_seed(0)
    layer = lcat.nn.GATv2Conv((8, 8), 4, add_self_loops=False).double()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    pair = (features(40), features(12))
    pairs = torch.stack([edges()[0], edges()[1] % 12])
    for _ in range(2):
        compare(layer, compiled, pair, pairs)
    layer = make("GATConv")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    several = torch.randn(3, NODES, 8, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        compare(layer, compiled, several, edges())


def test_checkpointed_layers_and_modes_without_gradients() -> None:
    layer, x, edge_index = make("LCATConv"), features(), edges()

    def model(x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = checkpoint(layer, x, edge_index, use_reentrant=False)
        return out

    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for _ in range(2):
        compare(layer, compiled, x, edge_index)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for mode in (torch.inference_mode, torch.no_grad, torch.inference_mode):
        with mode():
            torch.testing.assert_close(compiled(x, edge_index), layer(x, edge_index))
    compare(layer, compiled, x, edge_index)
    with torch.inference_mode():
        of_inference = edge_index.clone()
        torch.testing.assert_close(compiled(x, of_inference), layer(x, of_inference))


@pytest.mark.parametrize("inside", [False, True])
def test_wrong_indices(inside: bool) -> None:
    layer, x = make("GATConv"), features()

    def model(x: Tensor, edge_index: Tensor) -> Tensor:
        out: Tensor = layer(x, edge_index.clone() if inside else edge_index)
        return out

    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    for wrong in (-1, NODES, NODES + 7):
        for row in (0, 1):
            edge_index = edges()
            edge_index[row, 17] = wrong
            with pytest.raises(IndexError, match="negative" if wrong < 0 else f"larger than {NODES - 1}"):
                compiled(x, edge_index)


@pytest.mark.parametrize("loops", [True, False])
def test_nothing_is_kept_for_cuda_graphs(loops: bool, sorts: list[str]) -> None:
    layer, x, edge_index = make("GATConv"), features(), edges(loops=loops)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with mock.patch.object(_sorted, "allocates_for_cuda_graph", return_value=True):
        for _ in range(2):
            sorts.clear()
            computed = step(compiled, layer.parameters(), x, edge_index)
            assert len(sorts) == 2 + 1  # by source is made from by target
            assert cache_info().tensors == 0
    assert_same(computed, step(layer, layer.parameters(), x, edge_index))


def test_graphs_made_inside_and_outside_of_compiled_code() -> None:
    source, target = edges()
    graph = Graph(source, target, NODES, NODES)

    def inside(x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        return aggregate(x, Graph(source, target, NODES, NODES))

    x = features()
    expected = step(aggregate, [], x, graph)
    for function, arguments in ((inside, (source, target)), (aggregate, (graph,))):
        compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
        for _ in range(2):
            assert_same(step(compiled, [], x, *arguments), expected)


@pytest.mark.parametrize("side", ["by_target", "by_source"])
@pytest.mark.parametrize("is_input", [True, False])
@pytest.mark.parametrize("num_loops", [None, 0, 11, NODES])
@pytest.mark.parametrize("loops", [True, False])
def test_operator(side: str, is_input: bool, num_loops: int | None, loops: bool) -> None:
    for flow in ("source_to_target", "target_to_source"):
        edge_index = edges(loops=loops)
        arguments = (edge_index, NODES, NODES, num_loops, flow, side, is_input)
        torch.library.opcheck(torch.ops.lcat.group_edges.default, arguments)
        results = torch.ops.lcat.group_edges(*arguments)
        source, target = edge_index if flow == "source_to_target" else edge_index.flip(0)
        if num_loops is not None:  # own loops become dead, and new ones follow
            target = torch.where(source == target, NODES, target)
            source, target = (torch.cat([part, torch.arange(num_loops)]) for part in (source, target))
        graph = Graph(source, target, NODES, NODES, padded=num_loops is not None)
        expected = getattr(graph, side)
        live = int(expected.indptr[-1])
        assert torch.equal(results[0], expected.indptr)
        for ours, theirs in zip(results[1:], expected[1:], strict=True):
            assert ours.dtype == torch.int32
            assert ours.shape == theirs.shape
            assert torch.equal(ours[:live].long(), theirs[:live])
        again = torch.ops.lcat.group_edges(*arguments)
        assert not {t.data_ptr() for t in results} & {t.data_ptr() for t in again}
        arguments = (source, target, NODES, NODES, num_loops is not None, side)
        torch.library.opcheck(torch.ops.lcat.sort_edges.default, arguments)
        for ours, theirs in zip(torch.ops.lcat.sort_edges(*arguments), results, strict=True):
            assert torch.equal(ours[:live], theirs[:live])


def test_too_many_nodes_for_31_bits() -> None:
    arguments = (torch.zeros(2, 0, dtype=torch.long), 2**31, 3, None, "source_to_target", "by_target", True)
    with pytest.raises(ValueError, match=r"fewer than 2\*\*31 nodes and edges"):
        torch.ops.lcat.group_edges(*arguments)


def test_copies_share_the_schedules_of_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    builds: list[int] = []
    real = _schedule.build_schedule
    monkeypatch.setattr(_schedule, "build_schedule", lambda e, tile: builds.append(tile) or real(e, tile))
    monkeypatch.setattr(_sorted, "SCHEDULED", {"cpu"})
    edge_index = edges()
    arguments = (edge_index, NODES, NODES, None, "source_to_target", "by_target", True)
    first, second = (_schedule.SortedEdges(*torch.ops.lcat.group_edges(*arguments)) for _ in range(2))
    schedule = _schedule.schedule_of(first)
    assert _schedule.schedule_of(second) is schedule
    del first, second
    third = _schedule.SortedEdges(*torch.ops.lcat.group_edges(*arguments))
    assert _schedule.schedule_of(third) is schedule
    graph, _ = graph_view(edge_index, NODES, NODES)
    assert _schedule.schedule_of(_sorted.sorted_edges(graph, "by_target")) is schedule
    assert len(builds) == 1
    third.indptr.add_(0)  # a write that torch counts
    assert _schedule.schedule_of(third) is not schedule
    assert _schedule.schedule_of(_sorted.sorted_edges(graph, "by_target")) is schedule
