"""The compiled sort of edges gives the graph's own order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex

from lcat import _device
from lcat.graph import Graph, graph_view
from lcat.ops import _grouped, _native, aggregate, use_implementation
from lcat.ops._sorted import sorted_edges
from tests.ops.cases import GRAPHS, make_graph

pytestmark = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")


@pytest.mark.parametrize("kind", GRAPHS)
def test_same_order_as_the_graph(kind: str) -> None:
    for edges in (1, 90, 3_000):
        graph = make_graph(kind, edges=edges)
        for side in ("by_target", "by_source"):
            ours, theirs = sorted_edges(graph, side), getattr(graph, side)
            assert torch.equal(ours.indptr, theirs.indptr)
            live = int(theirs.indptr[-1])
            assert torch.equal(ours.indices[:live].long(), theirs.indices[:live])
            assert torch.equal(ours.edge_ids[:live].long(), theirs.edge_ids[:live])
            assert torch.equal(ours.edge_ids.long().sort().values, torch.arange(graph.num_edges))
            assert ours.indices.dtype == ours.edge_ids.dtype == torch.int32


def test_sorted_once() -> None:
    graph = make_graph("random")
    assert sorted_edges(graph, "by_target") is sorted_edges(graph, "by_target")


def test_strided_indices() -> None:
    graph = make_graph("random")
    pairs = torch.stack([graph.source, graph.target], dim=1)
    strided = type(graph)(pairs[:, 0], pairs[:, 1], graph.num_sources, graph.num_targets)
    assert not strided.source.is_contiguous()
    assert torch.equal(sorted_edges(strided, "by_source").edge_ids, sorted_edges(graph, "by_source").edge_ids)


@pytest.mark.parametrize("order", ["by_target", "by_source", "by_target alone", "none"])
def test_input_that_is_sorted_already(order: str) -> None:
    graph = make_graph("hub", edges=700)
    keys = {"by_target": (graph.source, graph.target), "by_source": (graph.target, graph.source)}.get(order)
    if order == "by_target alone":
        keys = (graph.target,)
    permutation = torch.arange(700)
    for key in keys or ():
        permutation = permutation[torch.argsort(key[permutation], stable=True)]
    again = type(graph)(graph.source[permutation], graph.target[permutation], graph.num_sources, graph.num_targets)
    for side in ("by_target", "by_source"):
        ours, theirs = sorted_edges(again, side), getattr(again, side)
        for name in ("indptr", "indices", "edge_ids"):
            assert torch.equal(getattr(ours, name).long(), getattr(theirs, name))


@pytest.mark.parametrize("kind", ["edge_index", "EdgeIndex"])
@pytest.mark.parametrize(("row", "index"), [(0, 9), (0, -1), (1, -1), (1, 10**9)])
def test_an_index_changed_unseen_is_an_error_and_no_wild_read(row: int, index: int, kind: str) -> None:
    plain = torch.randint(9, (2, 40))
    edge_index = plain
    if kind == "EdgeIndex":
        plain = plain[:, plain[1 - row].argsort()].contiguous()
        edge_index = EdgeIndex(plain, sparse_size=(9, 9), sort_order=("row", "col")[1 - row]).fill_cache_(
            no_transpose=True
        )
    graph, _ = graph_view(edge_index, 9, 9)
    plain.numpy()[row, 7] = index
    with pytest.raises(IndexError, match=r"9 source and 9 target nodes.*numpy.*edge_index\.clone\(\)"):
        sorted_edges(graph, "by_source" if graph.input_groups("by_source") is not None else "by_target")


@pytest.mark.parametrize("loops", [0, 4, 19])
@pytest.mark.parametrize("kind", ["random", "hub", "no_edges", "isolated"])
def test_self_loops_are_put_into_the_groups(kind: str, loops: int) -> None:
    graph = make_graph(kind, edges=300)
    with_loops = graph.with_self_loops(loops)
    for side in ("by_source", "by_target"):
        ours, theirs = sorted_edges(with_loops, side), getattr(with_loops, side)
        for name in ("indptr", "indices", "edge_ids"):
            assert torch.equal(getattr(ours, name).long(), getattr(theirs, name))


@pytest.mark.parametrize("loops", [0, 4, 19])
@pytest.mark.parametrize("kind", ["random", "hub", "no_edges", "isolated"])
def test_other_devices_put_self_loops_into_groups_as_the_compiled_kernels_do(kind: str, loops: int) -> None:
    graph = make_graph(kind, edges=300)
    for side in ("by_source", "by_target"):
        groups = sorted_edges(graph.without_self_loops(), side)
        others = graph.num_sources if side == "by_target" else graph.num_targets
        for ours, theirs in zip(
            _grouped._insert_loops(groups, loops), _native.insert_loops(groups, loops, others), strict=True
        ):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)


@pytest.fixture(params=["compiled", "torch", "GPU"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How edges are grouped: by the compiled kernels, by operations of torch, and as on a GPU, where the host waits."""
    if request.param != "compiled":
        monkeypatch.setattr(_grouped, "_is_compiled", lambda graph: False)
    if request.param == "GPU":
        monkeypatch.setattr(_device, "host_waits_for", lambda tensor: True)
    name: str = request.param
    return name


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of tensors since the start of the test that a GPU would have to finish its work for."""
    names: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: names.append(name) or real(*arguments)

    for name in ("tolist", "item", "nonzero", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(Tensor, name, noted(name, getattr(Tensor, name)))
    return names


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("kind", ["plain", "row", "col"])
def test_a_new_graph_waits_once(
    kind: str, loops: bool, reads: list[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """On a GPU, for its bounds, its self-loops and the groups that it brings, all together."""
    plain = torch.randint(9, (2, 40))
    if not loops:
        plain = plain[:, plain[0] != plain[1]]
    edge_index = plain if kind == "plain" else EdgeIndex(plain, sparse_size=(9, 9)).sort_by(kind)[0].fill_cache_()
    monkeypatch.setattr(_grouped, "_is_compiled", lambda graph: False)
    monkeypatch.setattr(_device, "host_waits_for", lambda tensor: True)
    reads.clear()
    graph, _ = graph_view(edge_index, 9, 9)
    for view in (graph, graph.without_self_loops(), graph.with_self_loops(9)):
        for side in ("by_target", "by_source"):
            sorted_edges(view, side)
    assert reads == ["tolist"]


def test_without_gradients_the_groups_by_source_are_not_read(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are checked when somebody needs them after all."""
    edge_index = EdgeIndex(torch.randint(9, (2, 40)), sparse_size=(9, 9)).sort_by("col")[0].fill_cache_()
    monkeypatch.setattr(_grouped, "_is_compiled", lambda graph: False)
    monkeypatch.setattr(_device, "host_waits_for", lambda tensor: True)
    reads.clear()
    with torch.no_grad():
        graph, _ = graph_view(edge_index, 9, 9)
    sorted_edges(graph, "by_target")
    assert reads == ["tolist"]
    sorted_edges(graph, "by_source")
    assert reads == ["tolist", "__bool__"]


@pytest.mark.parametrize("kind", GRAPHS)
def test_by_source_is_made_of_by_target_on_other_devices(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one sort of 32 bits, and in the graph's own order."""
    monkeypatch.setattr(_grouped, "_is_compiled", lambda graph: False)
    sort, sorted_types = torch.sort, []

    def noted(x: Tensor, **options: Any) -> Any:
        sorted_types.append(x.dtype)
        return sort(x, **options)

    for edges in (0, 1, 90, 3_000):
        graph = make_graph(kind, edges=edges)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "sort", noted)
            sorted_types.clear()
            sorted_edges(graph, "by_target")
            ours = sorted_edges(graph, "by_source")
        assert sorted_types == [torch.int64, torch.int32]
        theirs = graph.by_source
        live = int(theirs.indptr[-1])
        assert torch.equal(ours.indptr, theirs.indptr)
        assert torch.equal(ours.indices[:live].long(), theirs.indices[:live])
        assert torch.equal(ours.edge_ids[:live].long(), theirs.edge_ids[:live])
        assert torch.equal(ours.edge_ids.long().sort().values, torch.arange(graph.num_edges))
        assert ours.indices.dtype == ours.edge_ids.dtype == torch.int32


@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
@pytest.mark.parametrize("sort_order", ["row", "col"])
def test_groups_that_an_edge_index_brings(
    sort_order: str, flow: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    plain = torch.randint(9, (2, 40))
    plain = plain[:, plain[0] != plain[1]]
    edge_index, _ = EdgeIndex(plain, sparse_size=(9, 9)).sort_by(sort_order)
    edge_index.fill_cache_()

    def sorts(*arguments: object) -> None:
        raise AssertionError("it sorts")

    for name in ("group_edges", "transpose_groups"):
        monkeypatch.setattr(_native, name, sorts)
    graph, _ = graph_view(edge_index, 9, 9, flow=flow)
    for view in (graph, graph.with_self_loops(9)):
        for side in ("by_target", "by_source"):
            theirs = getattr(view, side)
            with monkeypatch.context() as patch:
                patch.setattr(Graph, "grouped", sorts)
                ours = sorted_edges(view, side)
            assert torch.equal(ours.indptr, theirs.indptr)
            row = torch.repeat_interleave(torch.arange(9), ours.indptr.diff())
            ends = (ours.indices.long(), row) if side == "by_target" else (row, ours.indices.long())
            edges = ours.edge_ids.long()
            assert torch.equal(view.source[edges], ends[0])
            assert torch.equal(view.target[edges], ends[1])
            assert torch.equal(edges.sort().values, torch.arange(view.num_edges))


def _damage_edges(edge_index: EdgeIndex) -> None:
    edge_index.as_tensor().set_(torch.randint(9, (2, 40)))


def _damage_length(edge_index: EdgeIndex) -> None:
    edge_index.as_tensor().resize_(2, 10)


def _damage_permutation(edge_index: EdgeIndex) -> None:
    edge_index._T_perm.fill_(10**9)


def _damage_permutation_in_range(edge_index: EdgeIndex) -> None:
    edge_index._T_perm.zero_()


def _damage_pointer(edge_index: EdgeIndex) -> None:
    edge_index._indptr[4] = 10**9


def _damage_transposed_pointer(edge_index: EdgeIndex) -> None:
    edge_index._T_indptr.fill_(-3)


def _damage_memory(edge_index: EdgeIndex) -> None:
    for tensor in (edge_index._indptr, edge_index._T_perm, edge_index._T_indptr):
        tensor.untyped_storage().resize_(0)


def _damage_nothing(edge_index: EdgeIndex) -> None:
    del edge_index


DAMAGES = [
    _damage_edges,
    _damage_length,
    _damage_permutation,
    _damage_permutation_in_range,
    _damage_pointer,
    _damage_transposed_pointer,
    _damage_memory,
    _damage_nothing,
]


def _numbers(graph: Graph) -> list[Tensor]:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(9, 5, generator=draw, dtype=torch.float64).requires_grad_()
    weight = torch.randn(graph.num_edges, generator=draw, dtype=torch.float64).requires_grad_()
    out = aggregate(x, graph, weight)
    return [out, *torch.autograd.grad(out.square().sum(), (x, weight))]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("sort_order", ["row", "col"])
def test_groups_that_are_not_of_these_edges_are_not_used(sort_order: str, damage, later: bool, way: str) -> None:
    """What an EdgeIndex has cached may be older than its edges: the edges count."""
    edge_index = EdgeIndex(torch.randint(9, (2, 40)), sparse_size=(9, 9)).sort_by(sort_order)[0].fill_cache_()
    if later and damage not in (_damage_edges, _damage_length):
        graph, _ = graph_view(edge_index, 9, 9)
        damage(edge_index)
    else:
        damage(edge_index)
        graph, _ = graph_view(edge_index, 9, 9)
    ours = _numbers(graph)
    with use_implementation("naive"):
        theirs = _numbers(graph)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_edges_that_claim_an_order_which_they_do_not_have(way: str) -> None:
    edge_index = EdgeIndex(torch.randint(9, (2, 40)), sparse_size=(9, 9), sort_order="row").fill_cache_()
    graph, _ = graph_view(edge_index, 9, 9)
    ours = _numbers(graph)
    with use_implementation("naive"):
        theirs = _numbers(graph)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_groups_are_copies(way: str) -> None:
    edge_index = EdgeIndex(torch.randint(9, (2, 40)), sparse_size=(9, 9)).sort_by("row")[0].fill_cache_()
    graph, _ = graph_view(edge_index, 9, 9)
    before = _numbers(graph)
    _damage_memory(edge_index)
    for a, b in zip(before, _numbers(graph), strict=True):
        assert torch.equal(a, b)
