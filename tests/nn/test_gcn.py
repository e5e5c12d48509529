"""GCNConv: what it caches, and the types and gradients of its weights."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo
import torch_geometric.nn as pyg
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv.gcn_conv import gcn_norm

import lcat.nn
from lcat.nn import GATConv, GCNConv
from tests.support.layers import LAYERS

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
EDGES = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 2]])


def make(*args, layer_class=GCNConv, **kwargs):
    torch.manual_seed(1)
    return layer_class(*args, **kwargs)


def accelerated(layer):
    lcat.accelerate(torch.nn.ModuleList([layer]))
    return layer


class TestCached:
    def test_nothing_traced_is_cached(self):
        torch._dynamo.reset()
        layer, expected = make(4, 4, cached=True), make(4, 4)(X, EDGES)
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        for _ in range(2):
            torch.testing.assert_close(compiled(X, EDGES), expected)
            torch.func.grad(lambda x: layer(x, EDGES).sum())(X)
            assert layer._cached_edge_index is None
        for call in (layer, compiled, layer):  # once it is cached, compiled calls use it
            torch.testing.assert_close(call(X, EDGES), expected)
        torch.testing.assert_close(compiled(X, EDGES[:, :0]), expected)

    def test_first_call_in_inference_mode(self):
        layer, weight = make(4, 4, cached=True), torch.rand(4)
        with torch.inference_mode():
            layer(X, EDGES, weight)
        torch.testing.assert_close(layer(X, EDGES), make(4, 4)(X, EDGES, weight))
        layer(X.clone().requires_grad_(), EDGES).sum().backward()

    @pytest.mark.parametrize("options", [{}, {"add_self_loops": False}])
    def test_another_number_of_nodes_is_an_error(self, options):
        layer = make(4, 4, cached=True, **options)
        layer(X, EDGES[:, :2])
        for nodes in (2, 4):
            with pytest.raises(ValueError, match=f"graph with 3 nodes, but 'x' has {nodes}.*reset_parameters"):
                layer(torch.randn(nodes, 4), EDGES)


class TestWeights:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
    @pytest.mark.parametrize("weight", [torch.tensor([3, 1, 2, 7]), torch.tensor([True, False, True, True])])
    def test_integers_and_bools_are_numbers_of_the_type_of_the_features(self, dtype, weight):
        for layer_class, options in ((GCNConv, {"improved": True}), (GATConv, {})):
            layer = make(4, 2, layer_class=layer_class, **options).to(dtype)
            x = X.to(dtype)
            out = layer(x, EDGES, edge_weight=weight)
            assert out.dtype == dtype
            assert torch.equal(out, layer(x, EDGES, edge_weight=weight.to(dtype)))

    @pytest.mark.parametrize("out", [2, 8])
    def test_double_ones_under_autocast(self, out):
        layer, weight = make(4, out), torch.rand(4, dtype=torch.float64)
        with torch.autocast("cpu", torch.bfloat16):
            computed = layer(X, EDGES, weight)
            assert torch.equal(computed, layer(X, EDGES, weight.float()))
        torch.testing.assert_close(computed.float(), layer(X, EDGES, weight), rtol=0.05, atol=0.05)

    @pytest.mark.parametrize("weighted", [False, True])
    def test_degrees_beyond_float16(self, weighted):
        edges = torch.stack([torch.arange(1, 70_000), torch.zeros(69_999, dtype=torch.long)])
        weight = torch.ones(69_999) if weighted else None
        layer, x = make(2, 2, bias=False), torch.ones(70_000, 2)
        expected = layer(x, edges, weight)[0]
        assert expected.abs().max() > 1
        half = layer.half()(x.half(), edges, None if weight is None else weight.half())[0]
        torch.testing.assert_close(half.float(), expected, rtol=2e-3, atol=0)

    @pytest.mark.parametrize("implementation", ["naive", "native"])
    @pytest.mark.parametrize("make_layer", [
        lambda: GCNConv(4, 4),
        lambda: accelerated(pyg.GCNConv(4, 4)),
        lambda: lcat.nn.LCATGCN2Conv(4, 0.1),
        lambda: GATConv(4, 4, symmetric_norm=True),
    ], ids=["GCN", "accelerated", "GCNII", "GAT"])  # fmt: skip
    def test_gradients_where_a_degree_is_zero(self, make_layer, implementation):
        """Zero for the weights of that node, and those of all others as if they were the only ones; PyG's are nan."""
        if implementation == "native" and lcat.ops.native_status().instruction_set is None:
            pytest.skip("no compiled kernels")
        layer, weight = make_layer().double(), torch.tensor([-1.0, 2.0, 0.5, 1.5], dtype=torch.double)
        weight.requires_grad_()
        x = X.double()
        inputs = (x, x, EDGES) if isinstance(layer, lcat.nn.LCATGCN2Conv) else (x, EDGES)
        with lcat.ops.use_implementation(implementation):
            layer(*inputs, edge_weight=weight).square().sum().backward()
        assert weight.grad.isfinite().all()
        assert weight.grad[0] == 0  # the only edge into node 1 but for its self-loop, whose weight is 1
        assert weight.grad[2] != 0


class TestEntriesOfMatrices:
    @pytest.mark.parametrize("layout", ["coo", "coalesced", "csr", "csc"])
    def test_get_their_gradient(self, layout):
        # Distinct edges in no order, a self-loop among them.
        weight = torch.rand(4, requires_grad=True)
        (expected,) = torch.autograd.grad(make(4, 4)(X, EDGES, weight).square().sum(), weight)
        order = {"coalesced": EDGES[0] + 3 * EDGES[1], "csr": EDGES[0] + 3 * EDGES[1], "csc": EDGES[1] + 3 * EDGES[0]}
        position = order[layout].argsort() if layout in order else torch.arange(4)
        (source, target), values = EDGES[:, position], weight[position]
        if layout in ("csr", "csc"):
            line, other = (target, source) if layout == "csr" else (source, target)
            pointer = torch.searchsorted(line, torch.arange(4))
            make_matrix = torch.sparse_csr_tensor if layout == "csr" else torch.sparse_csc_tensor
            matrix = make_matrix(pointer, other, values, (3, 3))
        else:
            matrix = torch.sparse_coo_tensor(
                torch.stack([target, source]), values, (3, 3), is_coalesced=layout == "coalesced"
            )
        (computed,) = torch.autograd.grad(make(4, 4)(X, matrix).square().sum(), weight)
        torch.testing.assert_close(computed, expected)

    def test_features_in_a_coo_matrix_get_theirs(self):
        layer, attr = make(4, 4, layer_class=GATConv, edge_dim=2), torch.rand(4, 2, requires_grad=True)
        matrix = torch.sparse_coo_tensor(EDGES.flip(0), attr, (3, 3, 2))
        (expected,) = torch.autograd.grad(layer(X, EDGES, attr).square().sum(), attr)
        (computed,) = torch.autograd.grad(layer(X, matrix).square().sum(), attr)
        torch.testing.assert_close(computed, expected)

    def test_none_of_their_own_for_parallel_edges(self):
        indices = torch.tensor([[0, 0, 1], [1, 1, 2]])
        matrix = torch.sparse_coo_tensor(indices, torch.rand(3, requires_grad=True), (3, 3))
        with pytest.raises(ValueError, match=r"'edge_index' is a COO matrix with 1 parallel edges.*coalesce\(\)"):
            make(4, 4)(X, matrix)
        make(4, 4, layer_class=GATConv)(X, matrix)  # has no use for them
        with torch.no_grad():
            torch.testing.assert_close(make(4, 4)(X, matrix), make(4, 4)(X, matrix.coalesce()))

    @pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
    def test_weights_take_their_place_and_features_do_not(self, layout):
        matrix = torch.sparse_coo_tensor(EDGES.flip(0), torch.tensor([1.0, 2.0, 3.0, 4.0]), (3, 3))
        matrix = {"coo": matrix, "csr": matrix.to_sparse_csr(), "csc": matrix.to_sparse_csc()}[layout]
        ones = torch.ones(4)
        torch.testing.assert_close(make(4, 2)(X, matrix, ones), make(4, 2)(X, EDGES, ones))
        features = torch.sparse_coo_tensor(EDGES.flip(0), torch.rand(4, 2), (3, 3, 2))
        layer = make(4, 2, layer_class=GATConv, edge_dim=2)
        with pytest.raises(ValueError, match=r"edge features of GATConv are given twice.*pass the matrix alone"):
            layer(X, features, torch.rand(4, 2))


class TestCacheSetByHand:
    """``_cached_edge_index`` and ``_cached_adj_t`` have PyG's form, and PyG's meaning."""

    WEIGHT = torch.tensor([1.0, 2.0, 0.5])
    RING = torch.tensor([[0, 1, 2], [1, 2, 0]])  # no loops, which PyG normalizes in another way in a matrix

    def both(self, use, **options):
        layers = make(4, 2, **options), make(4, 2, layer_class=pyg.GCNConv, **options)
        layers[1].load_state_dict(layers[0].state_dict())
        ours, theirs = (use(layer) for layer in layers)
        torch.testing.assert_close(ours, theirs)
        return ours

    def test_a_pair(self):
        def use(layer):
            layer._cached_edge_index = gcn_norm(self.RING, self.WEIGHT, 3)
            return layer(X, self.RING[:, :1])

        out = self.both(use)
        torch.testing.assert_close(out, make(4, 2)(X, self.RING, self.WEIGHT))
        self.both(use, cached=True)

    def test_a_matrix(self):
        matrix = torch.sparse_coo_tensor(self.RING.flip(0), self.WEIGHT, (3, 3)).to_sparse_csr()

        def use(layer):
            layer._cached_edge_index = gcn_norm(matrix, None, 3)
            return layer(X, matrix)

        self.both(use)

    def test_after_a_call_of_another_graph(self):
        def use(layer):
            layer(X, EDGES)
            layer._cached_edge_index = gcn_norm(self.RING, self.WEIGHT, 3)
            return layer(X[:3], EDGES)

        self.both(use, cached=True)

    def test_what_is_kept_is_a_pair(self):
        def use(layer):
            layer(X, self.RING, self.WEIGHT)
            _, weight = layer._cached_edge_index
            return weight.sort().values

        self.both(use, cached=True)

    def test_none_of_it_without_normalization(self):
        def use(layer):
            layer(X, self.RING, self.WEIGHT)
            layer.normalize = layer.add_self_loops = False
            return layer(X, self.RING, self.WEIGHT)

        out = self.both(use, cached=True)
        torch.testing.assert_close(out, make(4, 2, normalize=False)(X, self.RING, self.WEIGHT))

    def test_anything_else_is_an_error(self):
        layer = make(4, 2)
        layer._cached_edge_index = self.RING
        with pytest.raises(ValueError, match=r"'_cached_edge_index' of GCNConv is of type Tensor; it takes a pair"):
            layer(X, self.RING)

    def test_a_hook_sees_the_cached_edges(self):
        layer, seen = make(4, 2, cached=True), []
        expected = layer(X, self.RING, self.WEIGHT)
        layer.register_message_forward_hook(lambda module, inputs, out: seen.append(out.shape[0]))
        torch.testing.assert_close(layer(X, self.RING[:, :1]), expected)
        assert seen == [6]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", LAYERS)
def test_the_type_of_the_output_under_autocast(name, bias, dtype):
    """One type, in training and evaluation, for every layer of a model: that of PyG's layer."""
    for width, out in ((8, 4), (4, 8)):
        x = torch.randn(3, width)
        layer = getattr(lcat.nn, name)(width, out, bias=bias)
        theirs = getattr(pyg, name)(width, out, bias=bias) if hasattr(pyg, name) else None
        for features in (x, x.clone().requires_grad_(), x.to(dtype)):
            for training, grad in ((True, True), (False, True), (False, False)):
                with torch.autocast("cpu", dtype), torch.set_grad_enabled(grad):
                    computed = layer.train(training)(features, EDGES)
                    if theirs is not None:
                        assert computed.dtype == theirs.train(training)(features, EDGES).dtype
                    elif features is x:
                        assert computed.dtype == torch.float32


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_the_type_of_weights_under_autocast(normalize, weighted):
    weight = torch.rand(4, dtype=torch.bfloat16) if weighted else None
    for width, out in ((8, 4), (4, 8)):
        for dtype in (torch.float32, torch.bfloat16):
            x = torch.randn(3, width).to(dtype)
            layers = [cls(width, out, normalize=normalize, bias=False) for cls in (GCNConv, pyg.GCNConv)]
            with torch.autocast("cpu", torch.bfloat16):
                ours, theirs = (layer(x, EDGES, weight) for layer in layers)
            assert ours.dtype == theirs.dtype


def test_improved_counts_where_there_are_weights():
    """As in PyG: the entries of a matrix are weights, and a plain edge_index has none."""
    edges, ones, x = torch.tensor([[0, 1], [1, 2]]), torch.ones(2), torch.ones(3, 1)
    layer = make(1, 1, improved=True, bias=False)
    torch.nn.init.ones_(layer.lin.weight)
    matrix = torch.sparse_coo_tensor(edges.flip(0), ones, (3, 3))
    for inputs in ((edges, ones), (matrix,), (matrix.to_sparse_csr(),), (matrix.to_sparse_csc(),)):
        expected = torch.tensor([[1.0], [2 / 3 + 1 / 6**0.5], [1.0]])
        torch.testing.assert_close(layer(x, *inputs), expected)
    for plain in (edges, EdgeIndex(edges, sparse_size=(3, 3))):
        torch.testing.assert_close(layer(x, plain), torch.tensor([[1.0], [0.5 + 0.5**0.5], [1.0]]))
