"""PyG's layers with the seam of lcat: PyG's numbers, and the primitive is what runs."""

from __future__ import annotations

import copy
import inspect
import warnings

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.models.linkx import SparseLinear

from lcat.nn import _message_forms, _propagation
from lcat.nn._propagation import FusedPropagation, form_of
from tests.support.graphs import edge_formats

N, E = 7, 22

_generator = torch.Generator().manual_seed(0)
EDGES = torch.randint(N, (2, E), generator=_generator)
X = torch.randn(N, 6, generator=_generator, dtype=torch.double)
WEIGHT = torch.rand(E, generator=_generator, dtype=torch.double)
# What else a layer's forward takes beside x and edges; constructor arguments first.
LAYERS = {
    "SAGEConv": ((6, 4), ()),
    "GINConv": ((torch.nn.Linear(6, 4),), ()),
    "MFConv": ((6, 4), ()),
    "SignedConv": ((6, 4, True), (EDGES.flip(0),)),
    "RGCNConv": ((6, 4, 2), (torch.arange(E) % 2,)),
    "GCNConv": ((6, 4), (WEIGHT,)),
    "GraphConv": ((6, 4), (WEIGHT,)),
    "SimpleConv": ((), (WEIGHT,)),
    "GatedGraphConv": ((6, 2), (WEIGHT,)),
    "APPNP": ((2, 0.1), (WEIGHT,)),
    "SGConv": ((6, 4, 2), (WEIGHT,)),
    "SSGConv": ((6, 4, 0.1, 2), (WEIGHT,)),
    "TAGConv": ((6, 4), (WEIGHT,)),
    "GCN2Conv": ((6, 0.1), ()),
    "ARMAConv": ((6, 4), (WEIGHT,)),
    "ClusterGCNConv": ((6, 4), ()),
    "LGConv": ((), (WEIGHT,)),
    "MixHopConv": ((6, 4), (WEIGHT,)),
    "PDNConv": ((6, 4, 3, 5), (WEIGHT.view(-1, 1).expand(-1, 3),)),
    "WLConvContinuous": ((), (WEIGHT,)),
    "ChebConv": ((6, 4, 3), (WEIGHT,)),
}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyG and torch.sparse on formats
        yield


@pytest.fixture
def calls(monkeypatch):
    """Counts the calls of the primitive."""
    counted = []
    aggregate = _propagation.aggregate

    def counting(*args, **kwargs):
        counted.append(kwargs)
        return aggregate(*args, **kwargs)

    monkeypatch.setattr(_propagation, "aggregate", counting)
    return counted


def make(name, *args, **kwargs):
    torch.manual_seed(0)
    layer = getattr(pyg, name)(*copy.deepcopy(args), **kwargs)
    return layer.double().eval()


def swapped(layer):
    """The same layer with the seam."""
    cls = type(layer)
    fused = copy.deepcopy(layer)
    fused.__class__ = type(cls.__name__, (FusedPropagation, cls), {"__module__": __name__})
    return fused


def has_gradient(value):
    return isinstance(value, torch.Tensor) and value.is_floating_point() and value.layout is torch.strided


def gradients(layer, *inputs):
    """Output and all gradients."""
    inputs = [i.clone().requires_grad_() if has_gradient(i) else i for i in inputs]
    layer.zero_grad()
    out = layer(*inputs)
    (out * torch.linspace(1, 2, out.numel(), dtype=out.dtype).view_as(out)).sum().backward()
    grads = [i.grad for i in inputs if isinstance(i, torch.Tensor) and i.requires_grad]
    return [out.detach(), *grads, *[p.grad for p in layer.parameters()]]


def generated_anew(layer):
    """The layer in a class of its own: what PyG generates knows matrices only if the first layer of the class could."""
    cls = type(layer)
    layer = copy.deepcopy(layer)
    layer.__class__ = type(cls.__name__, (cls,), {"__module__": __name__})
    layer._set_jittable_templates()
    return layer


def assert_same(layer, *inputs, pygs=None):
    reference = generated_anew(layer)
    for ours, theirs in zip(gradients(swapped(layer), *inputs), gradients(reference, *(pygs or inputs)), strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
def test_pygs_numbers(name, calls):
    args, extra = LAYERS[name]
    inputs = (X, X, EDGES) if name == "GCN2Conv" else (X, EDGES, *extra)
    assert_same(make(name, *args), *inputs)
    assert calls


def test_every_known_message_is_what_the_table_says():
    value = torch.tensor([[2.0, 5.0], [1.0, -1.0]], dtype=torch.double)
    factor = torch.tensor([3.0, 7.0], dtype=torch.double)
    for message, form in _message_forms._forms.items():
        arguments = {f"{form.value}_j": value}
        arguments |= {form.weight: factor} if form.weight else {}
        arguments |= dict.fromkeys(form.must_be_none)
        names = [name for name in inspect.signature(message).parameters if name != "self"]
        assert sorted(names) == sorted(arguments), message
        expected = factor.view(-1, 1) * value if form.weight else value
        assert torch.equal(message(None, **arguments), expected), message


def test_every_class_of_pyg_with_such_a_message_is_known():
    unknown = []
    for name in pyg.__all__:
        cls = getattr(pyg, name)
        if not inspect.isclass(cls) or not issubclass(cls, MessagePassing) or form_of(cls) is not None:
            continue
        body = inspect.getsource(cls.message).split(":\n", 1)[-1].strip()
        plain = body in (
            "return x_j",
            "return edge_weight.view(-1, 1) * x_j",
            "return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j",
        )
        if plain and cls.aggregate is MessagePassing.aggregate:
            unknown.append(name)
    assert unknown == []


@pytest.mark.parametrize("aggr", ["sum", "mean"])
@pytest.mark.parametrize("format_name", list(edge_formats(EDGES, N, N)))
@pytest.mark.parametrize("name", ["SAGEConv", "GraphConv"])
def test_edge_formats(name, format_name, aggr, calls):
    edges, _ = edge_formats(EDGES, N, N)[format_name]
    args, _ = LAYERS[name]
    layer = make(name, *args, aggr=aggr)
    try:
        # With int32 indices torch computes wrong gradients of its sums (2.13); an EdgeIndex multiplies float32 only.
        plain = format_name == "int32" or "EdgeIndex" in format_name
        assert_same(layer, X, edges, pygs=(X, EDGES) if plain else None)
    except NotImplementedError:  # PyG has no means of a CSC matrix
        assert format_name == "csc"
        return
    unsummed = format_name == "coo" and aggr == "mean"
    assert bool(calls) != unsummed


@pytest.mark.parametrize("name", ["SAGEConv", "GraphConv", "SimpleConv", "GINConv"])
def test_entries_of_matrices(name):
    args, _ = LAYERS[name]
    for aggr in ("sum", "mean"):
        for fuse in (True, False):
            layer = make(name, *args, aggr=aggr)
            layer.fuse = layer.fuse and fuse
            matrix = torch.sparse_coo_tensor(EDGES.flip(0), WEIGHT, (N, N)).coalesce()
            assert_same(layer, X, matrix)
            assert_same(layer, X, matrix.to_sparse_csr())


@pytest.mark.parametrize("aggr", ["sum", "mean"])
def test_two_kinds_of_nodes_and_sizes(aggr, calls):
    counts = (5, 9)
    edges = torch.stack([torch.arange(12) % count for count in counts])
    first, second = (torch.randn(count, 6, dtype=torch.double) for count in counts)
    layer = make("SAGEConv", (6, 6), 4, aggr=aggr)
    fused = swapped(layer)
    for x, size in (((first, second), None), ((first, second), counts), ((first, None), counts)):
        assert torch.allclose(fused(x, edges, size), layer(x, edges, size))
    assert len(calls) == 3
    with pytest.raises(ValueError, match="size"):
        fused((first, second), edges, (6, 9))


@pytest.mark.parametrize("name", ["SAGEConv", "GraphConv", "SGConv"])
def test_the_other_flow(name, calls):
    args, _ = LAYERS[name]
    assert_same(make(name, *args, flow="target_to_source"), X, EDGES)
    assert calls
    # PyG's two forms of `propagate` take different sides of a pair there; the layer leaves it to PyG.
    layer = make("SAGEConv", (6, 6), 4, flow="target_to_source")
    number = len(calls)
    assert torch.allclose(swapped(layer)((X, X + 1), EDGES), layer((X, X + 1), EDGES))
    assert len(calls) == number


def test_feature_sets_on_one_graph_and_other_dimensions(calls):
    sets = torch.randn(3, N, 6, dtype=torch.double)
    for name in ("SAGEConv", "GraphConv", "LGConv", "SGConv"):
        args, _ = LAYERS[name]
        assert_same(make(name, *args), sets, EDGES)
    assert len(calls) == 5
    # There a column of weights does not stand beside the nodes, so PyG's own step decides what happens.
    layer = make("GraphConv", 6, 4, node_dim=0)
    with pytest.raises(RuntimeError):
        swapped(layer)(torch.randn(N, 3, 6, dtype=torch.double), EDGES, WEIGHT)
    assert len(calls) == 5


@pytest.mark.parametrize("kind", ["message", "aggregate", "propagate", "message_and_aggregate"])
def test_hooks_see_what_pyg_shows_them(kind, calls):
    layer = swapped(make("SAGEConv", 6, 4))
    matrix = torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(E, dtype=torch.double), (N, N)).coalesce()
    edges = matrix.to_sparse_csr() if kind == "message_and_aggregate" else EDGES
    before = layer(X, edges)
    seen = []
    handle = getattr(layer, f"register_{kind}_forward_hook")(lambda module, inputs, out: seen.append(out))
    assert torch.allclose(layer(X, edges), before)
    assert len(seen) == 1
    assert len(calls) == 1
    handle.remove()
    layer(X, edges)
    assert len(calls) == 2


def test_replaced_steps_run():
    layer = make("SAGEConv", 6, 4)

    class Doubled(pyg.SAGEConv):
        def message(self, x_j):
            return 2 * x_j

    assert form_of(Doubled) is None
    for step in ("message", "aggregate", "update"):
        fused = swapped(layer)
        setattr(fused, step, lambda *args, **kwargs: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fused(X, EDGES)


def test_explainers_and_parts_and_back(calls):
    layer = make("LGConv")
    fused = swapped(layer)
    expected = layer(X, EDGES)
    fused.decomposed_layers = 2
    assert torch.allclose(fused(X, EDGES), expected)
    fused.decomposed_layers = 1
    assert not calls
    mask = torch.linspace(-1, 1, E, dtype=torch.double)
    results = []
    for explained in (layer, fused):
        explained.explain = True
        explained._edge_mask = mask
        results.append(explained(X, EDGES))
        explained.explain = False
        explained._edge_mask = None
        assert torch.allclose(explained(X, EDGES), expected)
    assert torch.allclose(*results)
    assert not torch.allclose(results[0], expected)
    assert len(calls) == 1


@pytest.mark.parametrize("aggr", ["median", ["mean", "max"], "softmax", None])
def test_other_aggregations_are_pygs(aggr, calls):
    layer = make("SAGEConv", 6, 4, aggr=aggr)
    if aggr is None:
        with pytest.raises(TypeError):
            swapped(layer)(X, EDGES)
    else:
        assert torch.allclose(swapped(layer)(X, EDGES), layer(X, EDGES))
    assert not calls


def test_integers_and_numbers_per_node_are_pygs(calls):
    layer = make("LGConv", normalize=False)
    x = torch.arange(2 * N).view(N, 2)
    assert torch.equal(swapped(layer)(x, EDGES), layer(x, EDGES))
    assert not calls


def test_bad_edges_say_what_is_wrong():
    fused = swapped(make("SAGEConv", 6, 4))
    with pytest.raises(ValueError, match="transposed"):
        fused(X, EDGES.t())
    with pytest.raises(IndexError, match=r"larger than 6 \(got 9\)"):
        fused(X, torch.tensor([[0, 9], [1, 2]]))


def test_a_map_of_edges_alone():
    layer = SparseLinear(N, 5).double()
    with torch.no_grad():
        layer.weight.copy_(torch.randn(N, 5))
    assert_same(layer, EDGES)


def test_a_class_that_is_made_first_keeps_the_seam(calls):
    class Own(FusedPropagation, pyg.SAGEConv):
        pass

    Own(6, 4).double()(X, EDGES)
    assert Own.propagate is FusedPropagation.propagate
    assert copy.deepcopy(Own(6, 4).double())(X, EDGES).shape == (N, 4)
    assert len(calls) == 2
