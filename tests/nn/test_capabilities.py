"""What users of PyG do with a layer, each on all of them: one row of the contract a test."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torch._dynamo
import torch._dynamo.testing
import torch_geometric.nn as pyg
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch_geometric import EdgeIndex
from torch_geometric.nn import summary

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS, TWO_HOPS
from tests.support.long import quick_or_long

# Six nodes, seven edges, one self-loop.
EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5], [1, 0, 3, 3, 2, 0, 1]])


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(6, 8)


def make(name, *args, **kwargs):
    torch.manual_seed(1)
    args = args or (8, 4)
    if name in ATTENTION:
        kwargs.setdefault("heads", 2)
    return getattr(lcat.nn, name)(*args, **kwargs)


@pytest.mark.parametrize("name", LAYERS)
class TestEveryLayer:
    def test_is_message_passing(self, name, x):
        assert isinstance(make(name), pyg.MessagePassing)

    def test_subclass(self, name, x):
        # PyG keys the code it generates by module and name, so names must differ.
        mine = type(f"Mine{name}", (getattr(lcat.nn, name),), {"__module__": __name__})
        torch.manual_seed(1)
        layer = mine(8, 4, heads=2) if name in ATTENTION else mine(8, 4)
        assert_same(layer(x, EDGES), make(name)(x, EDGES), "subclass", 0.0)
        assert repr(layer).startswith(f"Mine{name}(8, 4")

    def test_subclass_with_its_own_message_gets_its_way(self, name, x):
        def weighted_message(self, x_j, edge_weight):
            return 2.0 * edge_weight.view(-1, 1) * x_j

        def attention_message(self, x_j, alpha):
            return 2.0 * alpha.unsqueeze(-1) * x_j

        message = attention_message if name in ATTENTION else weighted_message
        message.__name__ = "message"
        doubled = type(f"Doubled{name}", (getattr(lcat.nn, name),), {"message": message, "__module__": __name__})
        torch.manual_seed(1)
        layer = doubled(8, 4, heads=2) if name in ATTENTION else doubled(8, 4)
        plain = make(name)
        assert_same(layer(x, EDGES), 2.0 * plain(x, EDGES), "doubled messages", 1e-6)

    def test_copies(self, name, x):
        layer = make(name)
        expected = layer(x, EDGES)
        assert torch.equal(copy.deepcopy(layer)(x, EDGES), expected)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x, EDGES), expected)
        buffer = io.BytesIO()
        torch.save(layer, buffer)
        buffer.seek(0)
        assert torch.equal(torch.load(buffer, weights_only=False)(x, EDGES), expected)
        buffer = io.BytesIO()
        torch.save(layer.state_dict(), buffer)
        buffer.seek(0)
        other = make(name)
        other.reset_parameters()
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert torch.equal(other(x, EDGES), expected)

    def test_nothing_is_left_and_nothing_is_changed(self, name, x):
        layer = make(name)
        before, x_before, edges_before = set(layer.__dict__), x.clone(), EDGES.clone()
        layer(x, EDGES)
        assert set(layer.__dict__) == before
        assert torch.equal(x, x_before)
        assert torch.equal(EDGES, edges_before)

    def test_reset_parameters_is_reproducible(self, name, x):
        layer = make(name)
        torch.manual_seed(5)
        layer.reset_parameters()
        first = copy.deepcopy(layer.state_dict())
        torch.manual_seed(5)
        layer.reset_parameters()
        assert all(torch.equal(first[key], value) for key, value in layer.state_dict().items())

    def test_lazy_channels(self, name, x):
        layer, plain = make(name, -1, 4), make(name)
        out = layer(x, EDGES)
        plain.load_state_dict(layer.state_dict())
        assert_same(out, plain(x, EDGES), "channels taken from the first input", 1e-6)
        assert not any(isinstance(p, torch.nn.parameter.UninitializedParameter) for p in layer.parameters())

    def test_sparse_features(self, name, x):
        layer = make(name)
        assert_same(layer(x.to_sparse(), EDGES), layer(x, EDGES), "sparse x", 1e-6)

    @pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
    def test_csr_features(self, name, x):
        layer, matrix = make(name), (x * (x > 0)).to_sparse_csr()
        out, expected = layer(matrix, EDGES), layer(matrix.to_dense(), EDGES)
        assert_same(out, expected, "CSR x", 1e-6)
        weights = [weight for weight in layer.parameters() if weight.requires_grad]
        pairs = [torch.autograd.grad(y.square().sum(), weights, allow_unused=True) for y in (out, expected)]
        for gradient, other in zip(*pairs, strict=True):
            if other is not None:
                assert_same(gradient, other, "gradient with CSR x", 1e-5)

    def test_features_that_are_mostly_zero(self, name, x, monkeypatch):
        """They are mapped by their entries: the same numbers, and no dense product."""
        torch.manual_seed(0)
        words, layer = torch.rand(len(x), 200) * (torch.rand(len(x), 200) < 0.04), make(name, 200, 4)
        expected = layer(words, EDGES)
        monkeypatch.setattr("lcat.ops._aggregate.sparse_features._MIN_SIZE", 1)
        products = []
        linear = torch.nn.functional.linear
        monkeypatch.setattr(torch.nn.functional, "linear", lambda x, *rest: (products.append(x), linear(x, *rest))[1])
        assert_same(layer(words, EDGES), expected, "mostly zero", 1e-6)
        assert not any(product is words for product in products)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_dtypes(self, name, x, dtype):
        layer = make(name)
        expected = layer(x, EDGES)
        out = copy.deepcopy(layer).to(dtype)(x.to(dtype), EDGES)
        assert out.dtype == dtype
        assert_same(out.float(), expected, str(dtype), {torch.float16: 5e-3, torch.bfloat16: 5e-2}.get(dtype, 1e-6))

    def test_half_types_train(self, name, x):
        layer = make(name).bfloat16()
        layer(x.bfloat16(), EDGES).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())

    def test_autocast(self, name, x):
        layer = make(name)
        expected = layer(x, EDGES)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(x, EDGES)
        out.float().sum().backward()
        assert_same(out.float(), expected, "autocast", 5e-2)

    def test_meta_device(self, name, x):
        with torch.device("meta"):
            layer = make(name)
        assert layer(x.to("meta"), EDGES.to("meta")).is_meta
        layer = layer.to_empty(device="cpu")
        layer.reset_parameters()
        assert layer(x, EDGES).isfinite().all()

    def test_functional_call(self, name, x):
        layer = make(name)
        state = {key: value.detach().clone() for key, value in layer.named_parameters()}
        assert torch.equal(torch.func.functional_call(layer, state, (x, EDGES)), layer(x, EDGES))

    def test_first_call_in_inference_mode(self, name, x):
        edges, layer = EDGES.clone(), make(name)
        with torch.inference_mode():
            expected = layer(x, edges)
        out = layer(x.requires_grad_(), edges)
        out.sum().backward()
        assert_same(out, expected, "after inference", 1e-6)

    def test_first_call_on_fake_tensors(self, name, x):
        edges, layer = EDGES.clone(), make(name)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert isinstance(layer(mode.from_tensor(x), edges), FakeTensor)
        assert type(layer(x, edges)) is torch.Tensor

    def test_vmap_over_features(self, name):
        layer, xs = make(name), torch.randn(3, 6, 8)
        out = torch.func.vmap(lambda one: layer(one, EDGES))(xs)
        assert_same(out, torch.stack([layer(one, EDGES) for one in xs]), "vmap", 1e-6)

    def test_vmap_over_parameters(self, name, x):
        layers = [make(name) for _ in range(3)]
        for layer in layers:
            layer.reset_parameters()
        params, buffers = torch.func.stack_module_state(layers)
        out = torch.func.vmap(lambda p, b: torch.func.functional_call(layers[0], (p, b), (x, EDGES)))(params, buffers)
        assert_same(out, torch.stack([layer(x, EDGES) for layer in layers]), "vmap over parameters", 1e-6)

    def test_forward_mode(self, name, x):
        layer = make(name).double()
        x, direction = x.double(), torch.randn(6, 8, dtype=torch.double)
        _, tangent = torch.func.jvp(lambda t: layer(t, EDGES), (x,), (direction,))
        step = 1e-6
        numeric = (layer(x + step * direction, EDGES) - layer(x - step * direction, EDGES)) / (2 * step)
        assert_same(tangent, numeric, "jvp", 1e-6)

    def test_jacrev(self, name, x):
        layer = make(name)
        jacobian = torch.func.jacrev(lambda t: layer(t, EDGES))(x)
        row = torch.autograd.functional.jacobian(lambda t: layer(t, EDGES), x)
        assert_same(jacobian, row, "jacrev", 1e-6)

    def test_export(self, name, x):
        layer = make(name).eval()
        program = torch.export.export(layer, (x, EDGES), strict=False)
        assert_same(program.module()(x, EDGES), layer(x, EDGES), "export", 1e-6)
        shapes = {0: torch.export.Dim("N", min=2)}, {1: torch.export.Dim("E", min=2)}
        program = torch.export.export(layer, (x, EDGES), dynamic_shapes=shapes, strict=False)
        x, edges = torch.randn(9, 8), torch.randint(0, 9, (2, 33))
        assert_same(program.module()(x, edges), layer(x, edges), "export, dynamic", 1e-6)

    def test_deterministic_bit_for_bit(self, name):
        torch.manual_seed(0)
        edges, x = torch.randint(0, 50, (2, 400)), torch.randn(50, 8, requires_grad=True)
        layer = make(name)
        torch.use_deterministic_algorithms(True)
        try:
            runs = []
            for threads in (1, 2, 1, 2):
                torch.set_num_threads(threads)
                out = layer(x, edges)
                runs.append([out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
        finally:
            torch.use_deterministic_algorithms(False)
            torch.set_num_threads(1)
        for run in runs[1:]:
            assert all(torch.equal(a, b) for a, b in zip(run, runs[0], strict=True))

    def test_nan_stays_in_its_neighborhood(self, name, x):
        layer = make(name)
        x[5] = float("nan")
        out = layer(x, EDGES)
        reached = {5, 1} | ({0} if name in TWO_HOPS else set())
        for node in range(6):
            assert bool(out[node].isnan().any()) == (node in reached), node

    def test_extreme_scores_are_finite(self, name, x):
        x = (1e4 * x).requires_grad_()
        out = make(name)(x, EDGES)
        (grad,) = torch.autograd.grad(out.sum(), x)
        assert out.isfinite().all()
        assert grad.isfinite().all()

    @pytest.mark.parametrize(("nodes", "edges"), [(0, 0), (1, 0), (5, 0)])
    def test_no_nodes_no_edges(self, name, nodes, edges):
        x = torch.randn(nodes, 8, requires_grad=True)
        empty = torch.empty(2, edges, dtype=torch.long)
        layers = [make(name), make(name, add_self_loops=False)]
        for layer in layers:
            out = layer(x, empty)
            assert out.shape == (nodes, 8 if name in ATTENTION else 4)
            out.sum().backward()
        with torch.no_grad():
            layers[1].bias.fill_(0.25)
        assert torch.equal(layers[1](x, empty), torch.full_like(out, 0.25)), "isolated nodes: zero plus bias"

    def test_isolated_node_is_zero_plus_bias(self, name, x):
        layer = make(name, add_self_loops=False)
        with torch.no_grad():
            layer.bias.fill_(0.25)
        out = layer(x, torch.tensor([[0, 1], [1, 2]]))
        assert torch.equal(out[3:], torch.full_like(out[3:], 0.25))

    def test_hooks_fire_and_can_change_things(self, name, x):
        layer, seen = make(name), []
        plain = layer(x, EDGES)
        handle = layer.register_message_forward_hook(lambda module, inputs, out: seen.append(out.shape))
        assert_same(layer(x, EDGES), plain, "with a hook", 1e-6)
        handle.remove()
        assert len(seen) == 1

        def no_messages(module, inputs, out):
            return torch.zeros_like(out)

        handle = layer.register_aggregate_forward_hook(no_messages)
        assert_same(layer(x, EDGES), layer.bias.expand_as(plain), "messages dropped by a hook", 1e-6)
        handle.remove()
        handle = layer.register_propagate_forward_pre_hook(lambda module, inputs: seen.append("propagate"))
        layer(x, EDGES)
        handle.remove()
        assert seen[-1] == "propagate"
        assert_same(layer(x, EDGES), plain, "hooks removed", 0.0)

    @pytest.mark.parametrize("bias", [True, False])
    def test_in_place_activation(self, name, x, bias):
        layer = make(name, bias=bias)
        expected = torch.autograd.grad(layer(x, EDGES).relu().square().sum(), list(layer.parameters()))
        computed = torch.autograd.grad(layer(x, EDGES).relu_().square().sum(), list(layer.parameters()))
        assert all(torch.equal(a, b) for a, b in zip(computed, expected, strict=True))

    def test_sequential_and_summary(self, name, x):
        layer = make(name)
        model = pyg.Sequential("x, edge_index", [(layer, "x, edge_index -> x"), torch.nn.ReLU()])
        assert_same(model(x, EDGES), layer(x, EDGES).relu(), "Sequential", 0.0)
        assert name in summary(layer, x, EDGES)

    @pytest.mark.parametrize("aggr", ["mean", "max", "min"])
    def test_other_aggregations(self, name, x, aggr):
        layer = make(name, aggr=aggr)
        layer.load_state_dict(make(name).state_dict())
        assert not torch.allclose(layer(x, EDGES), make(name)(x, EDGES))

    @pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit.trace` is deprecated")
    def test_traces_for_any_graph_and_remembers_nothing(self, name, x):
        layer = make(name).eval()
        traced = torch.jit.trace(layer, (x, EDGES))
        for nodes, edges in ((6, 7), (6, 4), (9, 30)):
            inputs = torch.randn(nodes, 8), torch.randint(0, nodes, (2, edges))
            assert_same(traced(*inputs), layer(*inputs), f"traced, {nodes} nodes", 1e-6)
        assert_same(layer(x, EDGES), make(name)(x, EDGES.clone()), "after tracing", 1e-6)

    def test_double_edge_weights_keep_the_type_of_the_features(self, name, x):
        layer, weight = make(name), torch.rand(7)
        out = layer(x, EDGES, edge_weight=weight.double())
        assert out.dtype == torch.float32
        assert_same(out, layer(x, EDGES, edge_weight=weight), "double weights", 1e-6)
        half = make(name).bfloat16()
        assert half(x.bfloat16(), EDGES, edge_weight=weight).dtype == torch.bfloat16

    def test_int32_and_noncontiguous(self, name, x):
        layer = make(name)
        expected = layer(x, EDGES)
        assert_same(layer(x, EDGES.int()), expected, "int32", 1e-6)
        assert_same(layer(x, EDGES.t().contiguous().t()), expected, "strided edges", 1e-6)
        assert_same(layer(x.repeat(1, 2)[:, :8], EDGES), expected, "strided x", 1e-6)
        assert_same(layer(x, EdgeIndex(EDGES)), expected, "EdgeIndex", 1e-6)


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"improved": True, "bias": False}])
def test_gcn_scripts_as_in_pyg(x, options):
    layer = lcat.nn.GCNConv(8, 4, **options)
    scripted = torch.jit.script(layer)
    assert_same(scripted(x, EDGES), layer(x, EDGES), "scripted", 1e-6)
    weight = torch.rand(7)
    assert_same(scripted(x, EDGES, weight), layer(x, EDGES, weight), "scripted, weighted", 1e-6)


@pytest.mark.parametrize("name", quick_or_long(LAYERS, ["GCNConv", "LCATConv", "LCATv2Conv"]))
class TestCompiled:
    def test_compile_fullgraph_compiles_at_most_twice(self, name):
        torch._dynamo.reset()
        layer, counter = make(name), torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(layer, backend=counter, fullgraph=True)
        for nodes, edges in [(6, 7), (9, 20), (12, 31), (5, 4), (30, 100)]:
            x, edge_index = torch.randn(nodes, 8), torch.randint(0, nodes, (2, edges))
            assert_same(compiled(x, edge_index), layer(x, edge_index), f"{nodes} {edges}", 1e-5)
        assert counter.frame_count <= 2

    def test_compiled_gradients(self, name, x):
        torch._dynamo.reset()
        layer = make(name)
        compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=True)
        tensors = [x.requires_grad_(), *layer.parameters()]
        expected = torch.autograd.grad(layer(x, EDGES).square().sum(), tensors)
        computed = torch.autograd.grad(compiled(x, EDGES).square().sum(), tensors)
        for ours, theirs in zip(computed, expected, strict=True):
            assert_same(ours, theirs, "gradient", 1e-5)


@pytest.mark.parametrize("name", ATTENTION)
class TestAttentionLayers:
    def test_hook_sees_alpha_of_every_head(self, name, x):
        layer, seen = make(name), []
        layer.register_message_forward_hook(lambda module, inputs, out: seen.append(inputs[0]["alpha"].shape))
        layer(x, EDGES)
        assert seen == [torch.Size([12, 2])]

    def test_return_attention_weights_goes_by_truth(self, name, x):
        layer = make(name)
        assert isinstance(layer(x, EDGES, return_attention_weights=False), torch.Tensor)
        assert isinstance(layer(x, EDGES, return_attention_weights=None), torch.Tensor)
        out, (edge_index, alpha) = layer(x, EDGES, return_attention_weights=True)
        assert_same(out, layer(x, EDGES), "output", 1e-6)
        assert torch.equal(edge_index[:, :6], EDGES[:, [0, 1, 2, 4, 5, 6]])
        assert torch.equal(edge_index[:, 6:], torch.arange(6).repeat(2, 1))
        sums = torch.zeros(6, 2).index_add(0, edge_index[1], alpha)
        assert_same(sums, torch.ones(6, 2), "attention sums to 1 at every node", 1e-6)

    @pytest.mark.skipif(
        tuple(map(int, torch.__version__.split(".")[:2])) < (2, 10),
        reason="torch 2.9 traces no number of edges that depends on the self-loops among them",
    )
    def test_attention_weights_under_compile(self, name, x):
        torch._dynamo.reset()
        layer = make(name)
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        out, (edge_index, alpha) = compiled(x, EDGES, return_attention_weights=True)
        expected, (edge_index_, alpha_) = layer(x, EDGES, return_attention_weights=True)
        assert torch.equal(edge_index, edge_index_)
        assert_same(alpha, alpha_, "attention", 1e-6)
        assert_same(out, expected, "output", 1e-6)

    def test_lazy_pair_and_bipartite(self, name, x):
        layer, plain = make(name, (-1, -1), 4), make(name, (8, 5), 4)
        edges, pair = torch.tensor([[0, 1, 5], [0, 1, 2]]), (x, torch.randn(3, 5))
        out = layer(pair, edges)
        plain.load_state_dict(layer.state_dict())
        assert_same(out, plain(pair, edges), "channels taken from the first input", 0.0)

    def test_more_targets_than_sources(self, name, x):
        """As with more sources, which send nothing; targets without a source of their number get no self-loop."""
        sources, edges = torch.randn(2, 5), torch.tensor([[0, 1, 1], [0, 5, 4]])
        more_sources = torch.cat([sources, torch.randn(4, 5)])
        plain = make(name, (5, 8), 4, add_self_loops=False)
        expected = plain((more_sources, x), edges)
        assert_same(plain((sources, x), edges), expected, "sources that send nothing", 1e-6)
        assert_same(make(name, (5, 8), 4)((sources, x), edges)[2:], expected[2:], "targets without a loop", 1e-6)

    def test_targets_without_features(self, name, x):
        layer = make(name, (8, 8), 4)
        if hasattr(layer, "lin_r"):
            torch.nn.init.zeros_(layer.lin_r.bias)
        edges = torch.tensor([[0, 1, 5], [0, 1, 2]])
        out = layer((x, None), edges, size=(6, 3))
        assert_same(out, layer((x, torch.zeros(3, 8)), edges), "they count as zero", 1e-6)
        matrix = torch.sparse_coo_tensor(edges.flip(0), torch.ones(3), (3, 6)).to_sparse_csr()
        assert_same(layer((x, None), matrix), out, "matrix tells the size", 1e-6)
        pyg_edges = EdgeIndex(edges, sparse_size=(6, 3))
        assert_same(layer((x, None), pyg_edges), out, "EdgeIndex tells the size", 1e-6)

    def test_unknown_sizes_are_those_of_x(self, name, x):
        assert_same(make(name)(x, EDGES, size=(None, None)), make(name)(x, EDGES), "size", 0.0)

    def test_static_graph_without_feature_sets(self, name, x):
        layer = make(name)
        expected, (edge_index, attention) = layer(x.expand(2, -1, -1), EDGES, return_attention_weights=True)
        out, (same_edges, alpha) = layer(x.expand(0, -1, -1), EDGES, return_attention_weights=True)
        assert torch.equal(out, expected[:0])
        assert torch.equal(alpha, attention[:0])
        assert torch.equal(same_edges, edge_index)
        empty = layer(x.expand(0, -1, -1), EDGES)
        assert torch.equal(empty, expected[:0])
        gradients = torch.autograd.grad(empty.sum(), list(layer.parameters()), allow_unused=True)
        assert all(gradient is None or not gradient.any() for gradient in gradients)

    def test_dropout_only_in_training(self, name, x):
        layer = make(name, dropout=0.8)
        assert not torch.equal(layer(x, EDGES), layer(x, EDGES))
        layer.eval()
        assert torch.equal(layer(x, EDGES), layer(x, EDGES))
        assert_same(layer(x, EDGES), make(name)(x, EDGES), "evaluation", 0.0)

    def test_dropout_keeps_the_mean(self, name, x):
        layer = make(name, dropout=0.4)
        with torch.no_grad():
            torch.manual_seed(0)
            copies = 4000  # of the graph beside each other, each with draws of its own
            edges = (EDGES[:, None] + len(x) * torch.arange(copies)[:, None]).view(2, -1)
            mean = layer(x.repeat(copies, 1), edges).view(copies, len(x), -1).mean(dim=0)
            expected = layer.eval()(x, EDGES)
        assert float((mean - expected).abs().max()) < 0.08 * float(expected.abs().max())

    @pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
    def test_attention_in_every_matrix_layout(self, name, x, layout):
        layer = make(name)
        matrix = torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(7), (6, 6))
        matrix = {"coo": matrix, "csr": matrix.to_sparse_csr(), "csc": matrix.to_sparse_csc()}[layout]
        out, (adj, alpha) = layer(x, matrix, return_attention_weights=True)
        expected, (edge_index, alpha_) = layer(x, EDGES, return_attention_weights=True)
        assert_same(out, expected, "output", 1e-6)
        assert adj.layout == matrix.layout
        dense = torch.zeros(6, 6, 2).index_put((edge_index[1], edge_index[0]), alpha_, accumulate=True)
        computed = adj.to_dense() if layout != "csc" else _csc_to_dense(adj)
        assert_same(computed, dense, "attention", 1e-6)
        assert alpha.shape == (12, 2)

    def test_entries_of_matrices(self, name, x):
        """As in PyG: single entries are left alone, multi-dimensional ones are edge features."""
        layer = make(name, edge_dim=3)
        attr = torch.randn(7, 3)
        matrix = torch.sparse_coo_tensor(EDGES.flip(0), attr, (6, 6, 3))
        assert_same(layer(x, matrix), layer(x, EDGES, edge_attr=attr), "edge features in a matrix", 1e-6)
        plain = make(name)
        scaled = torch.sparse_coo_tensor(EDGES.flip(0), 3.0 * torch.ones(7), (6, 6))
        assert_same(plain(x, scaled), plain(x, EDGES), "single entries", 1e-6)


@pytest.mark.parametrize("name", ["GCNConv", "GATConv"])
def test_compiled_transforms(name, x):
    torch._dynamo.reset()
    layer = make(name)

    def gradient(x):
        return torch.func.grad(lambda x: layer(x, EDGES).square().sum())(x)

    assert_same(torch.compile(gradient, backend="eager", fullgraph=True)(x), gradient(x), "compiled gradient", 1e-5)


@pytest.mark.parametrize("name", ["GCNConv", "GATConv"])
def test_compiled_layers_call_the_operators(name, x):
    torch._dynamo.reset()
    called = []

    def backend(graph, inputs):
        called.extend(str(node.target).split(".")[1] for node in graph.graph.nodes if "lcat" in str(node.target))
        return graph.forward

    torch.compile(make(name), backend=backend, fullgraph=True)(x, EDGES)
    primitive = "aggregate" if name == "GCNConv" else "gat_attention"
    assert set(called) == {"group_edges", primitive}
    assert called.count(primitive) == 1


def _csc_to_dense(matrix):
    pointer, rows, values = matrix.ccol_indices(), matrix.row_indices(), matrix.values()
    columns = torch.arange(pointer.numel() - 1).repeat_interleave(pointer.diff())
    return torch.zeros(matrix.shape).index_put((rows, columns), values, accumulate=True)
