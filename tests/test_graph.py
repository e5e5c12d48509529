"""The view of a graph: what it reads, what it checks, what it remembers, and that it is never stale."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
from torch_geometric import EdgeIndex

import lcat.graph as graph_module
from lcat import _device, _edge_formats, _graph_cache
from lcat.graph import CacheKey, Graph, cache_info, forget, graph_view, set_cache_limit
from lcat.ops import aggregate, use_implementation
from tests.support.graphs import KINDS, edge_formats, random_edges, size_of

EDGES = torch.tensor([[0, 1, 2, 2, 0, 1], [1, 0, 2, 0, 1, 1]])


@pytest.fixture(autouse=True)
def _empty_cache():
    forget()


def _view(edges, n=3, m=3, **kwargs):
    return graph_view(edges, n, m, **kwargs)[0]


class TestSorting:
    def test_by_hand(self):
        graph = _view(EDGES)
        assert graph.by_target.indptr.tolist() == [0, 2, 5, 6]
        assert graph.by_target.indices.tolist() == [1, 2, 0, 0, 1, 2]
        assert graph.by_target.edge_ids.tolist() == [1, 3, 0, 4, 5, 2]
        assert graph.by_source.indptr.tolist() == [0, 2, 4, 6]
        assert graph.by_source.indices.tolist() == [1, 1, 0, 1, 0, 2]
        assert graph.in_degree.tolist() == [2, 3, 1]

    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind(self, kind):
        nodes, count = size_of(kind, 1)
        edges = random_edges(kind, nodes, nodes, count, torch.Generator().manual_seed(0))
        graph = _view(edges, nodes, nodes)
        for sides, (row, other) in ((graph.by_target, (1, 0)), (graph.by_source, (0, 1))):
            assert sides.indptr.shape == (nodes + 1,)
            assert sides.edge_ids.sort().values.tolist() == list(range(edges.shape[1]))
            for node in range(nodes):
                slots = slice(int(sides.indptr[node]), int(sides.indptr[node + 1]))
                mine = (edges[row] == node).nonzero().flatten()
                assert sorted(sides.edge_ids[slots].tolist()) == mine.tolist()
                assert sides.indices[slots].tolist() == sorted(edges[other][mine].tolist())
                assert torch.equal(edges[other][sides.edge_ids[slots]], sides.indices[slots])

    def test_layout_does_not_depend_on_the_order_of_edges(self):
        order = torch.randperm(6)
        first, second = _view(EDGES).by_target, _view(EDGES[:, order]).by_target
        assert torch.equal(first.indptr, second.indptr)
        assert torch.equal(first.indices, second.indices)

    def test_flow_turns_edges_round(self):
        graph = _view(EDGES, flow="target_to_source")
        assert torch.equal(graph.source, EDGES[1])
        assert torch.equal(graph.target, EDGES[0])


class TestSelfLoops:
    def test_without(self):
        graph = _view(EDGES).without_self_loops()
        assert graph.source.tolist() == [0, 1, 2, 0]
        assert graph.target.tolist() == [1, 0, 0, 1]
        assert graph.kept_edges.tolist() == [0, 1, 3, 4]
        per_edge = torch.arange(6.0)
        assert graph.select(per_edge).tolist() == [0.0, 1.0, 3.0, 4.0]

    def test_with_in_pyg_order(self):
        from torch_geometric.utils import add_self_loops, remove_self_loops

        graph = _view(EDGES).with_self_loops(3)
        expected, _ = add_self_loops(remove_self_loops(EDGES)[0], num_nodes=3)
        assert torch.equal(torch.stack([graph.source, graph.target]), expected)
        assert graph.num_loops == 3

    @pytest.mark.parametrize(("sources", "targets"), [(3, 2), (2, 3)])
    def test_no_more_loops_than_nodes(self, sources, targets):
        graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 0]), sources, targets)
        assert graph.with_self_loops(2).num_edges == 4
        with pytest.raises(ValueError, match=rf"'num_loops' is 3.*{sources} source and {targets} target.*at most 2"):
            graph.with_self_loops(3)

    def test_padded_graphs_have_the_same_live_edges(self):
        edges = EDGES.to("meta")
        padded = _view(edges).with_self_loops(3)
        assert padded.padded
        assert padded.num_edges == 9  # the two loops of the input are dead, and still there

    def test_nothing_is_copied_where_there_are_no_loops(self):
        graph = _view(EDGES[:, [0, 1, 3]].contiguous())
        assert graph.without_self_loops().kept_edges is None


class TestFormats:
    @pytest.mark.parametrize("kind", KINDS)
    def test_same_edges_in_every_format(self, kind):
        nodes, count = size_of(kind, 2)
        edges = random_edges(kind, nodes, nodes, count, torch.Generator().manual_seed(0))
        for name, (edge_input, order) in edge_formats(edges, nodes, nodes).items():
            graph = _view(edge_input, nodes, nodes)
            assert graph.source.dtype == torch.long, name
            assert torch.equal(graph.source, edges[0][order]), name
            assert torch.equal(graph.target, edges[1][order]), name

    def test_rectangular_matrix_states_its_size(self):
        matrix = torch.sparse_coo_tensor(torch.tensor([[0, 1], [4, 2]]), torch.ones(2), (3, 5)).to_sparse_csr()
        graph, edges = graph_view(matrix, None, None)
        assert (graph.num_sources, graph.num_targets) == (5, 3)
        assert edges.values.tolist() == [1.0, 1.0]

    def test_unknown_size_is_an_error(self):
        with pytest.raises(ValueError, match="number of nodes is unknown"):
            graph_view(EDGES, None, None)


class TestMemory:
    def test_one_view_for_all_calls_and_no_other_key(self):
        first = _view(EDGES)
        assert _view(EDGES) is first
        assert _view(EDGES, 4, 3) is not first
        assert _view(EDGES, flow="target_to_source") is not first
        assert _view(EDGES) is first
        assert _view(EDGES.clone()) is not first

    def test_derived_views_are_kept(self):
        graph = _view(EDGES)
        assert graph.by_target is graph.by_target
        assert graph.with_self_loops(3) is _view(EDGES).with_self_loops(3)
        assert graph.without_self_loops().in_degree is graph.without_self_loops().in_degree

    @pytest.mark.parametrize(
        "change",
        [
            lambda e: e.__setitem__((0, 0), 2),
            lambda e: e.add_(0),
            lambda e: e.resize_(2, 4),
            lambda e: e[:, :2].fill_(1),
            lambda e: e.t_().t_(),
            lambda e: setattr(e, "data", torch.tensor([[0, 1], [1, 2]])),
        ],
        ids=["setitem", "add_", "resize_", "through a view", "transposed", "data replaced"],
    )
    def test_changed_in_place(self, change):
        edges = EDGES.clone()
        before = _view(edges)
        change(edges)
        after = _view(edges)
        assert after is not before
        assert torch.equal(torch.stack([after.source, after.target]), edges)

    @pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
    def test_matrix_changed_in_place(self, layout):
        matrix = torch.sparse_coo_tensor(torch.tensor([[0, 1], [1, 2]]), torch.ones(2), (3, 3)).coalesce()
        matrix = {"coo": matrix, "csr": matrix.to_sparse_csr(), "csc": matrix.to_sparse_csc()}[layout]
        before = _view(matrix)
        assert _view(matrix) is before
        old = torch.stack([before.source, before.target])
        index = {"coo": matrix._indices, "csr": matrix.col_indices, "csc": matrix.row_indices}[layout]()
        index.flatten()[-1:].fill_(0)
        after = _view(matrix)
        assert after is not before
        assert not torch.equal(torch.stack([after.source, after.target]), old)

    @pytest.mark.parametrize("through", ["itself", "the tensor inside"])
    def test_an_edge_index_of_pyg_changed_in_place(self, through):
        edges = EDGES.clone()
        edge_input = EdgeIndex(edges, sparse_size=(3, 3))
        before = _view(edge_input)
        assert _view(edge_input) is before
        (edge_input if through == "itself" else edges)[0, 0] = 2
        after = _view(edge_input)
        assert after is not before
        assert torch.equal(torch.stack([after.source, after.target]), edges)

    @pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
    def test_a_matrix_written_to_through_what_it_was_made_of(self, layout):
        """It has the memory of those tensors, but not their version counter."""
        indices, pointer = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.arange(4)
        if layout == "coo":
            matrix = torch.sparse_coo_tensor(indices, torch.ones(3), (3, 3))
        else:
            make = torch.sparse_csr_tensor if layout == "csr" else torch.sparse_csc_tensor
            matrix = make(pointer, indices[1], torch.ones(3), (3, 3))
        graph = _view(matrix)
        old = torch.stack([graph.source, graph.target])
        indices.copy_(indices.flip(1))
        after = _view(matrix)
        assert after is not graph
        assert not torch.equal(torch.stack([after.source, after.target]), old)
        assert torch.equal(torch.stack([graph.source, graph.target]), old)
        indices.fill_(10**9)
        with pytest.raises(IndexError, match="1000000000"):
            _view(matrix)

    def test_a_writer_between_reading_and_storing_is_seen(self, monkeypatch):
        edges = EDGES.clone()
        build = graph_module._build

        def interrupted(*arguments):
            made = build(*arguments)
            edges[0, 0] = 2
            return made

        monkeypatch.setattr(graph_module, "_build", interrupted)
        before = _view(edges)
        monkeypatch.undo()
        assert _view(edges) is not before

    @pytest.mark.parametrize("make", ["edge_index", "int32", "EdgeIndex", "coo", "csr", "csc"])
    def test_freed_with_the_edges(self, make):
        edges = EDGES[:, :4].clone()
        edge_input = edges if make == "edge_index" else edge_formats(edges, 3, 3)[make][0]
        _view(edge_input).by_target  # noqa: B018
        gc.collect()
        assert cache_info().tensors == 1
        del edge_input, edges
        gc.collect()
        assert cache_info().tensors == 0

    def test_many_sizes_do_not_pile_up(self):
        for size in range(3, 40):
            _view(EDGES, size, 3)
        assert _graph_cache.num_views(EDGES) <= _graph_cache._MAX_VARIANTS

    def test_nothing_is_left_on_the_tensor(self):
        edges = EDGES.clone()
        _view(edges).by_target  # noqa: B018
        assert edges.__dict__ == {}
        assert len(pickle.dumps(edges)) == len(pickle.dumps(EDGES.clone()))
        copy.deepcopy(edges)

    @pytest.mark.parametrize("make", ["edge_index", "EdgeIndex", "coo", "csr"])
    def test_inference_tensors_have_no_version_and_are_not_remembered(self, make):
        with torch.inference_mode():
            edges, pointer = EDGES[:, :3].clone(), torch.arange(4)
        edge_input = {
            "edge_index": lambda: edges,
            "EdgeIndex": lambda: EdgeIndex(edges, sparse_size=(3, 3)),
            "coo": lambda: torch.sparse_coo_tensor(edges, torch.ones(3), (3, 3)),
            "csr": lambda: torch.sparse_csr_tensor(pointer, edges[1], torch.ones(3), (3, 3)),
        }[make]()
        for mode in (True, False):
            with torch.inference_mode(mode):
                assert _view(edge_input).by_target.indices.shape == (3,)
        assert cache_info().tensors == 0

    def test_what_is_first_asked_for_in_inference_mode_may_be_saved_for_a_backward_pass(self):
        edges = EDGES.clone()
        with torch.inference_mode():
            graph = _view(edges)
            made = [graph.source, graph.with_self_loops(3).target, graph.by_source.indices, graph.in_degree]
        assert _view(edges) is graph
        assert not any(tensor.is_inference() for tensor in made)

    def test_nothing_fake_is_remembered(self):
        edges = EDGES.clone()
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert isinstance(_view(edges).by_target.indices, FakeTensor)
        assert type(_view(edges).by_target.indices) is torch.Tensor

    def test_threads(self):
        edges = torch.randint(0, 50, (2, 500))
        expected = _view(edges.clone(), 50, 50).by_target.indices
        failures = []

        def work():
            for _ in range(50):
                if not torch.equal(_view(edges, 50, 50).by_target.indices, expected):
                    failures.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    def test_edge_index_of_pyg_is_read_as_a_plain_tensor(self):
        graph = _view(EdgeIndex(EDGES, sparse_size=(3, 3)))
        assert type(graph.source) is torch.Tensor
        assert type(graph.by_target.indices) is torch.Tensor


def _remembered(tensors):
    return [_graph_cache.has(tensor) for tensor in tensors]


class TestForgetting:
    @pytest.fixture(autouse=True)
    def _default_limit(self):
        yield
        set_cache_limit(None)

    @pytest.mark.parametrize("form", edge_formats(EDGES[:, :4], 3, 3))
    def test_one_graph(self, form):
        edge_input, other = edge_formats(EDGES[:, :4], 3, 3)[form][0], EDGES.clone()
        before, view = _view(edge_input), _view(other)
        forget(edge_input)
        assert _view(other) is view
        assert _view(edge_input) is not before

    def test_one_that_is_not_kept_and_all(self):
        forget(EDGES)
        tensors = [EDGES.clone() for _ in range(3)]
        for tensor in tensors:
            _view(tensor)
        assert cache_info().tensors == 3
        forget()
        assert cache_info()[:2] == (0, 0)

    def test_what_is_no_graph(self):
        with pytest.raises(TypeError, match=r"'edges' is of type str"):
            forget("all")

    def test_bytes_are_those_of_the_tensors(self):
        edges = torch.randint(50, (2, 400))
        edges = edges[:, edges[0] != edges[1]].contiguous()
        count, graph = edges.shape[1], _view(edges, 50, 50)
        assert cache_info().bytes == 0  # the edges themselves belong to the caller
        graph.by_target  # noqa: B018
        assert cache_info().bytes == 8 * (51 + 2 * count)
        graph.with_self_loops(50).in_degree  # noqa: B018
        assert cache_info().bytes == 8 * (51 + 2 * count) + 8 * (2 * (count + 50) + 50)
        set_cache_limit(0)
        assert cache_info().tensors == 1  # the one that was used last
        _view(EDGES)
        assert _remembered([edges, EDGES]) == [False, True]

    def test_the_limit_forgets_what_was_used_longest_ago(self):
        tensors = [torch.randint(50, (2, 1000)) for _ in range(10)]
        each = 8 * (51 + 2000)
        set_cache_limit(5 * each)
        for tensor in tensors[:5]:
            _view(tensor, 50, 50).by_target  # noqa: B018
        assert _remembered(tensors[:5]) == [True] * 5
        _view(tensors[0], 50, 50)
        _view(tensors[5], 50, 50).by_target  # noqa: B018
        assert _remembered(tensors[:6]) == [True, False, False, True, True, True]
        for tensor in tensors:
            _view(tensor, 50, 50).by_target  # noqa: B018
            assert cache_info().bytes <= 5 * each
        set_cache_limit(2 * each)
        assert cache_info().bytes <= 2 * each
        assert _remembered(tensors[-1:]) == [True]

    def test_freed_tensors_make_room(self):
        edges, each = torch.randint(50, (2, 1000)), 8 * (51 + 2000)
        set_cache_limit(3 * each)
        _view(edges, 50, 50).by_target  # noqa: B018
        for _ in range(10):
            _view(torch.randint(50, (2, 1000)), 50, 50).by_target  # noqa: B018
        assert _remembered([edges]) == [True]

    def test_layers_are_right_without_room(self):
        from lcat.nn import LCATConv

        set_cache_limit(0)
        layer, x, graphs = LCATConv(4, 2), torch.randn(50, 4), [torch.randint(50, (2, 300)) for _ in range(3)]
        first = [layer(x, edges) for edges in graphs]
        assert all(torch.equal(layer(x, edges), out) for edges, out in zip(graphs, first, strict=True))

    @pytest.mark.parametrize(
        ("limit", "error", "message"),
        [
            (-1, ValueError, "'limit' of at least 0 bytes, got -1"),
            (1e9, TypeError, "'limit' as a number of bytes .* got float"),
            (True, TypeError, "got bool"),
        ],
    )
    def test_limits_that_are_none(self, limit, error, message):
        with pytest.raises(error, match=message):
            set_cache_limit(limit)

    def test_the_default_is_a_quarter_of_the_memory(self):
        from lcat._environment import memory_bytes

        if memory_bytes() is not None:
            assert cache_info().limit == memory_bytes() // 4


def test_what_a_transform_makes_does_not_reach_ordinary_calls():
    """A view first asked for inside a trace or transform has dead edges; later plain calls must not get it."""
    from lcat.nn import GCNConv

    for trace in (
        lambda layer, x, edges: torch.func.vmap(lambda one: layer(one, edges))(x.expand(2, -1, -1)),
        lambda layer, x, edges: torch.func.jvp(lambda one: layer(one, edges), (x,), (x,)),
        lambda layer, x, edges: torch.export.export(layer, (x, edges), strict=False),
    ):
        edges, x, layer = EDGES.clone(), torch.randn(3, 4), GCNConv(4, 2)
        trace(layer, x, edges)
        view = _view(edges)
        assert not view.with_self_loops(3).padded
        assert not view.without_self_loops().padded
        layer.register_message_forward_hook(lambda *args: None)
        assert layer(x, edges).shape == (3, 2)


def test_extreme_scores_at_dead_edges_have_finite_gradients():
    from lcat import ops

    graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 2, 2, padded=True)
    s = torch.tensor([[1e4], [2e4]], requires_grad=True)
    with ops.use_implementation("naive"):
        out = ops.gat_attention(s, None, torch.ones(2, 1, 1), graph)
    (grad,) = torch.autograd.grad(out.sum(), s)
    assert out.flatten().tolist() == [0.0, 1.0]
    assert grad.isfinite().all()


def test_selective_checkpointing_keeps_the_view(monkeypatch):
    """It watches operators and changes none, so that nothing is sorted anew at every step."""
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
    graph, _ = graph_view(edge_index, 3, 3)
    made, key = [], CacheKey("looked up")

    def look(x):
        again, _ = graph_view(edge_index, 3, 3)
        assert again is graph
        return x * again.cached(key, lambda: made.append(1) or torch.tensor(2.0))

    x = torch.ones(3, requires_grad=True)
    contexts = partial(create_selective_checkpoint_contexts, [torch.ops.aten.mm.default])
    for _ in range(2):
        checkpoint(look, x, use_reentrant=False, context_fn=contexts).sum().backward()
    assert made == [1]
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


def test_nothing_is_kept_that_was_made_while_a_cuda_graph_was_captured(monkeypatch):
    """Its memory belongs to the captured graph; on a CPU what asks CUDA is replaced."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    edges, key = torch.tensor([[0, 1, 2], [1, 2, 4]]), CacheKey("x")
    capturing = True
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing)
    graph, _ = graph_view(edges, 5, 5)
    assert graph_view(edges, 5, 5)[0] is not graph
    made = []
    for _ in range(2):
        graph.cached(key, lambda: made.append(1))
    assert len(made) == 2
    capturing = False
    graph, _ = graph_view(edges, 5, 5)
    assert graph_view(edges, 5, 5)[0] is graph
    for _ in range(2):
        graph.cached(key, lambda: made.append(1))
    assert len(made) == 3


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((EDGES[0].to(torch.uint8), EDGES[1].to(torch.uint8), 3, 3), ValueError, "'source'.*int64.*uint8.*graph_view"),
        ((EDGES[0].float(), EDGES[1].float(), 3, 3), ValueError, "'source'.*int64.*float32"),
        ((EDGES, EDGES, 3, 3), ValueError, r"'source'.*shape \[E\].*\[2, 6\]"),
        ((EDGES[0], EDGES[1, :4], 3, 3), ValueError, r"of one length on one device, got \[6\] on cpu and \[4\] on cpu"),
        ((EDGES[0], EDGES[1].to("meta"), 3, 3), ValueError, "of one length on one device"),
        ((EDGES[0].tolist(), EDGES[1], 3, 3), TypeError, "'source' of type torch.Tensor, got list"),
        ((None, EDGES[1], 3, 3), TypeError, "'source' of type torch.Tensor, got NoneType"),
        ((EDGES[0], EDGES[1], -1, 3), ValueError, "'num_sources' of at least 0, got -1"),
        ((EDGES[0], EDGES[1], 3, 3.0), TypeError, "'num_targets' of type int, got float"),
        ((EDGES[0], EDGES[1], None, 3), TypeError, "'num_sources' of type int, got NoneType"),
    ],
)
def test_graph_by_hand_is_checked(arguments, error, match):
    with pytest.raises(error, match=match):
        Graph(*arguments)


@pytest.mark.parametrize("derive", ["by_target", "by_source", "in_degree"])
@pytest.mark.parametrize(("row", "index"), [(0, 3), (0, -1), (1, 10**9), (1, -5)])
def test_indices_of_a_graph_by_hand_are_checked_at_first_use(row, index, derive):
    edges = EDGES.clone()
    edges[row, 2] = index
    graph = Graph(edges[0], edges[1], 3, 3)
    with pytest.raises(IndexError, match=f"in '{('source', 'target')[row]}'.*{index}"):
        getattr(graph, derive)
    for context in (use_implementation("naive"), nullcontext()):
        with context, pytest.raises(IndexError, match=f"in '{('source', 'target')[row]}'.*{index}"):
            aggregate(torch.ones(3, 2), graph)


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize(
    "pointer", [[0, 2, 10**6, 4], [0, 5, 2, 4], [-3, 2, 3, 4], [0, 2, 3, 9], [1, 2, 3, 4], [0, 2, 4]]
)
def test_a_pointer_of_a_matrix_that_does_not_fit(pointer, layout):
    make = torch.sparse_csr_tensor if layout == "csr" else torch.sparse_csc_tensor
    matrix = make(torch.tensor(pointer), torch.tensor([0, 1, 2, 0]), torch.ones(4), (3, 3))
    part = "crow_indices" if layout == "csr" else "ccol_indices"
    with pytest.raises(ValueError, match=rf"'edge_index' with {part}\(\) of shape \[4\].*rise from 0.*4, got others"):
        graph_view(matrix, None, None)


@pytest.mark.parametrize(
    ("count", "error", "match"),
    [
        (3.0, TypeError, "of type int, got float: 3.0 is no number of nodes"),
        ("3", TypeError, "of type int, got str"),
        (True, TypeError, "of type int, got bool"),
        ([3], TypeError, "of type int, got list"),
        (-1, ValueError, "of at least 0, got -1"),
    ],
)
def test_numbers_of_nodes_are_checked_also_for_known_edges(count, error, match):
    edges = EDGES.clone()
    for _ in range(2):
        with pytest.raises(error, match=f"'num_sources' {match}"):
            graph_view(edges, count, 3)
        with pytest.raises(error, match=f"'num_targets' {match}"):
            graph_view(edges, 3, count)
        with pytest.raises(error, match=f"'num_sources' {match}"):
            graph_view(edges[:, :0], count, count)
        graph, _ = graph_view(edges, 3, 3)
        with pytest.raises(error, match=f"'num_loops' {match}"):
            graph.with_self_loops(count)


def test_numbers_of_nodes_may_be_those_of_numpy():
    edges = EDGES.clone()
    graph, _ = graph_view(edges, np.int64(3), np.array(3))
    assert graph is graph_view(edges, 3, 3)[0]
    assert (type(graph.num_sources), graph.num_targets) == (int, 3)
    assert Graph(edges[0], edges[1], np.int64(3), np.int32(3)).with_self_loops(np.int64(2)).num_loops == 2


def test_no_number_of_nodes_says_what_to_pass():
    with pytest.raises(ValueError, match="'num_sources' and 'num_targets'"):
        graph_view(EDGES, None, None)


def test_per_edge_values_are_tensors():
    for graph in (graph_view(EDGES, 3, 3)[0], graph_view(EDGES, 3, 3)[0].with_self_loops(3)):
        for values in (None, [1.0] * 6, np.ones(6)):
            with pytest.raises(TypeError, match=rf"'per_edge' of type torch.Tensor, got {type(values).__name__}"):
                graph.select(values)


@pytest.mark.filterwarnings("ignore:.*nested:UserWarning")
def test_nested_indices_are_refused():
    nested = torch.nested.nested_tensor([EDGES[0], EDGES[1]])
    with pytest.raises(ValueError, match=r"'source' as a dense tensor of shape .E., got a nested one"):
        Graph(nested, EDGES[1], 3, 3)


@pytest.mark.parametrize("loops", [True, False])
def test_what_is_read_at_once_where_the_host_waits(loops, monkeypatch):
    """As on a GPU: bounds and the number of self-loops are read together, and nothing is asked again."""
    edges = torch.tensor([[0, 1, 2, 2, 0], [1, 2, 2 if loops else 0, 0, 0 if loops else 1]])
    expected = _view(edges).with_self_loops(3)
    answers = []
    real = _edge_formats.check_ends

    def check_ends(*arguments, questions):
        answers.append(real(*arguments, questions=questions))
        return answers[-1]

    monkeypatch.setattr(_device, "host_waits_for", lambda tensor: True)
    for module in (_edge_formats, graph_module):
        monkeypatch.setattr(module, "check_ends", check_ends)
    for name in ("__bool__", "nonzero", "item"):
        monkeypatch.setattr(torch.Tensor, name, None)
    for graph in (_view(edges.clone()), Graph(*edges, 3, 3)):
        derived = graph.with_self_loops(3)
        assert torch.equal(derived.source, expected.source)
        assert torch.equal(derived.target, expected.target)
        assert (derived.kept_edges is not None) == loops
        assert derived.kept_edges is None or torch.equal(derived.kept_edges, expected.kept_edges)
    assert answers == [(2 * loops, [])] * 2


@pytest.mark.parametrize(("questions", "answer"), [(None, None), ([], (0, [])), ([torch.tensor(True)], (0, [True]))])
@pytest.mark.parametrize(
    ("source", "target", "match"),
    [([0, -2], [1, 9], "negative.*'a'.*got -2"), ([0, 1], [4, 0], "'b'.*larger than 3.*got 4"), ([], [], None)],
)
def test_bounds(source, target, match, questions, answer):
    source, target = torch.tensor(source, dtype=torch.long), torch.tensor(target, dtype=torch.long)
    if match is None:
        assert _edge_formats.check_ends(("a", "b"), source, target, (0, 0), questions=questions) == answer
        return
    with pytest.raises(IndexError, match=match):
        _edge_formats.check_ends(("a", "b"), source, target, (3, 4), questions=questions)
