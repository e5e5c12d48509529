"""SAGEConv, GraphConv and GINConv against PyG's: random configurations, every edge format, and bad input."""

from __future__ import annotations

import copy
import pickle
import random
import warnings

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

import lcat.nn
from tests.support.graphs import KINDS, edge_formats, random_edges, size_of

NAMES = ("SAGEConv", "GraphConv", "GINConv")
REDUCTIONS = ("sum", "mean", "min", "max")


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse (CSR|CSC)|Converting sparse")
        yield


def pair_of(name, *args, seed=0, **kwargs):
    """lcat's layer and PyG's, with the same weights."""
    layers = []
    for module in (lcat.nn, pyg):
        torch.manual_seed(seed)
        layers.append(getattr(module, name)(*copy.deepcopy(args), **kwargs).double())
    assert list(layers[0].state_dict()) == list(layers[1].state_dict())
    layers[0].load_state_dict(layers[1].state_dict())
    assert repr(layers[0]) == repr(layers[1])
    return layers


def outcome(layer, x, *args):
    """Output and all gradients."""
    layer.zero_grad()
    x = tuple(None if t is None else t.clone().requires_grad_() for t in x) if isinstance(x, tuple) else x.clone()
    inputs = [t for t in (x if isinstance(x, tuple) else (x.requires_grad_(),)) if t is not None]
    args = [t.clone().requires_grad_() if has_gradient(t) else t for t in args]
    out = layer(x, *args)
    out.backward(torch.linspace(1, 2, out.numel(), dtype=out.dtype).view_as(out))
    grads = [t.grad for t in (*inputs, *(t for t in args if has_gradient(t)), *layer.parameters())]
    return [out.detach(), *grads]


def has_gradient(value):
    return isinstance(value, torch.Tensor) and value.layout is torch.strided and value.is_floating_point()


def assert_same(ours, theirs, *, tolerance=1e-10):
    for one, other in zip(ours, theirs, strict=True):
        if other is not None and one is not None:
            scale = max(1.0, float(other.abs().max()) if other.numel() else 1.0)
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * scale, equal_nan=True)
        else:
            assert one is None or not one.any()
            assert other is None or not other.any()


def arguments(name, draw):
    """Constructor arguments of one configuration, and features per node."""
    width, out = draw.choice([1, 3, 8, 20]), draw.choice([1, 4, 9])
    options = {"aggr": draw.choice([*REDUCTIONS, "add", "std", "softmax"])}
    if name == "GINConv":
        net = draw.choice([nn.Linear(width, out), nn.Sequential(nn.Linear(width, out), nn.ReLU(), nn.Linear(out, out))])
        options |= {"train_eps": draw.random() < 0.5, "eps": draw.choice([0.0, 0.3])}
        return (net,), options, width
    options["bias"] = draw.random() < 0.7
    if name == "SAGEConv":
        options |= {flag: draw.random() < 0.4 for flag in ("normalize", "root_weight", "project")}
    return (width, out), options, width


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("name", NAMES)
def test_random_configurations(name, seed):
    draw = random.Random(f"{name} {seed}")
    args, options, width = arguments(name, draw)
    kind = draw.choice(KINDS)
    num_nodes, num_edges = size_of(kind, seed)
    generator = torch.Generator().manual_seed(seed)
    edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
    flow = draw.choice(["source_to_target", "target_to_source"])
    ours, theirs = pair_of(name, *args, flow=flow, **options)
    x = torch.randn(num_nodes, width, generator=generator, dtype=torch.double)
    if draw.random() < 0.4:
        x = x.relu()  # ties
    elif draw.random() < 0.2 and options["aggr"] != "softmax":
        x = torch.stack([x, -x, 2 * x])
    more = ()
    if name == "GraphConv" and draw.random() < 0.6:
        more = (torch.rand(edges.shape[1], generator=generator, dtype=torch.double),)
    assert_same(outcome(ours, x, edges, *more), outcome(theirs, x, edges, *more))


@pytest.mark.parametrize("aggr", REDUCTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_edge_format(name, aggr):
    generator = torch.Generator().manual_seed(1)
    edges = random_edges("duplicates", 7, 7, 20, generator)
    x = torch.randn(7, 5, generator=generator, dtype=torch.double)
    first = nn.Linear(5, 3) if name == "GINConv" else 5
    ours, theirs = pair_of(name, *((first,) if name == "GINConv" else (5, 3)), aggr=aggr)
    expected = outcome(theirs, x, edges)
    for label, (form, _) in edge_formats(edges, 7, 7).items():
        if label == "csc" and aggr in ("min", "max"):
            continue  # PyG has no such product
        result = outcome(ours, x, form)
        if label == "coo" and aggr != "sum":  # PyG makes one edge of parallel ones there
            cls = type(theirs)  # what it has generated for the class may know no matrices
            theirs.__class__ = type(cls.__name__, (cls,), {"__module__": __name__})
            theirs._set_jittable_templates()
            assert_same(result, outcome(theirs, x, form))
        else:
            assert_same(result, expected)


SPARSE = {
    "csr": torch.Tensor.to_sparse_csr,
    "csc": torch.Tensor.to_sparse_csc,
    "coo": torch.Tensor.to_sparse_coo,
    "hybrid": lambda x: x.to_sparse(1),
    "blocks": lambda x: x.to_sparse_bsr((2, 3)),
}
SPARSE_CASES = [*((name, aggr) for name in NAMES for aggr in (*REDUCTIONS, "std")), ("SAGEConv", ["mean", "max"])]


@pytest.mark.parametrize("layout", SPARSE)
@pytest.mark.parametrize(("name", "aggr"), SPARSE_CASES, ids=str)
@pytest.mark.filterwarnings("ignore:Sparse BSR tensor support")
def test_features_as_a_sparse_matrix(name, aggr, layout):
    """PyG takes rows of none of them."""
    torch.manual_seed(0)
    layer = getattr(lcat.nn, name)(*((nn.Linear(6, 3),) if name == "GINConv" else (6, 3)), aggr=aggr).double()
    edges = torch.tensor([[0, 1, 2, 2, 3, 3], [1, 1, 0, 3, 3, 3]])
    x = torch.randn(4, 6, dtype=torch.double).relu()
    matrix = SPARSE[layout](x)
    assert matrix.layout is not torch.strided

    def run(x):
        layer.zero_grad()
        out = layer(x, edges)
        out.square().sum().backward()
        return [out.detach(), *(parameter.grad for parameter in layer.parameters())]

    assert_same(run(matrix), run(x))
    assert_same(run((matrix, matrix)), run((x, x)))


@pytest.mark.parametrize("aggr", REDUCTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_two_kinds_of_nodes(name, aggr):
    edges = torch.tensor([[0, 1, 2, 2, 4, 4], [1, 1, 0, 5, 5, 5]])
    sources, targets = torch.randn(5, 6, dtype=torch.double), torch.randn(7, 6, dtype=torch.double)
    args = (nn.Linear(6, 2),) if name == "GINConv" else ((6, 6), 2)
    ours, theirs = pair_of(name, *args, aggr=aggr)
    more = (None,) if name == "GraphConv" else ()
    for x, size in (((sources, targets), None), ((sources, None), (5, 7)), ((sources, targets), (5, 7))):
        assert_same(outcome(ours, x, edges, *more, size), outcome(theirs, x, edges, *more, size))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["another aggregation", "the other flow", "a hook"])
def test_int32_has_the_right_gradients_where_messages_are_formed(name, way):
    """There torch's gradient of the rows that int32 selects is wrong."""
    edges = torch.tensor([[0, 1, 2, 2, 4, 4, 3, 3, 0], [1, 1, 0, 5, 5, 5, 2, 1, 4]])
    sources, targets = torch.randn(6, 6, dtype=torch.double), torch.randn(6, 6, dtype=torch.double)
    args = (nn.Linear(6, 2),) if name == "GINConv" else (6, 2)
    options = {"another aggregation": {"aggr": "std"}, "the other flow": {"flow": "target_to_source"}, "a hook": {}}
    layer, _ = pair_of(name, *args, **options[way])
    if way == "a hook":
        layer.register_message_forward_hook(lambda module, inputs, messages: messages)
    assert_same(outcome(layer, (sources, targets), edges.int()), outcome(layer, (sources, targets), edges))


@pytest.mark.parametrize("aggr", ["lstm", ["mean", "max", "std"], "softmax"])
def test_other_aggregations(aggr):
    edges = torch.tensor([[0, 1, 2, 3, 2, 1], [0, 0, 1, 1, 2, 3]])
    ours, theirs = pair_of("SAGEConv", 6, 4, aggr=aggr)
    x = torch.randn(4, 6, dtype=torch.double)
    assert_same(outcome(ours, x, edges), outcome(theirs, x, edges))


@pytest.mark.parametrize("aggr", REDUCTIONS)
def test_lazy_sizes_and_state(aggr):
    x, edges = torch.randn(5, 6), torch.tensor([[0, 1, 2], [1, 2, 2]])
    for name in ("SAGEConv", "GraphConv"):
        layer = getattr(lcat.nn, name)(-1, 3, aggr=aggr)
        out = layer(x, edges)
        theirs = getattr(pyg, name)(6, 3, aggr=aggr)
        theirs.load_state_dict(layer.state_dict())
        torch.testing.assert_close(theirs(x, edges), out)
        for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert torch.equal(copied(x, edges), out)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("aggr", REDUCTIONS)
def test_gradcheck(name, aggr):
    edges = torch.tensor([[0, 1, 2, 3, 0, 0], [1, 2, 2, 2, 3, 0]])
    args = (nn.Linear(3, 2),) if name == "GINConv" else (3, 2)
    layer, _ = pair_of(name, *args, aggr=aggr)
    x = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer(x, edges), x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x, edges), x)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_and_autocast(name):
    edges = torch.tensor([[0, 1, 2, 3, 0, 0], [1, 2, 2, 2, 3, 0]])
    x = torch.randn(4, 3)
    for aggr in REDUCTIONS:
        args = (nn.Linear(3, 2),) if name == "GINConv" else (3, 2)
        layer = getattr(lcat.nn, name)(*copy.deepcopy(args), aggr=aggr)
        theirs = getattr(pyg, name)(*copy.deepcopy(args), aggr=aggr)
        theirs.load_state_dict(layer.state_dict())
        with torch.autocast("cpu", torch.bfloat16):
            ours, other = layer(x, edges), theirs(x, edges)
        assert ours.dtype == other.dtype
        torch.testing.assert_close(ours, other, rtol=0.05, atol=0.05)
        half = layer.bfloat16()(x.bfloat16(), edges)
        assert half.dtype == torch.bfloat16
        torch.testing.assert_close(half.float(), theirs(x, edges), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_exported_and_scripted(name):
    edges, x = torch.tensor([[0, 1, 2, 3, 0, 0], [1, 2, 2, 2, 3, 0]]), torch.randn(4, 3)
    for aggr in ("mean", "max"):
        layer = getattr(lcat.nn, name)(*((nn.Linear(3, 2),) if name == "GINConv" else (3, 2)), aggr=aggr)
        expected = layer(x, edges)
        torch.testing.assert_close(torch.compile(layer, backend="aot_eager", fullgraph=True)(x, edges), expected)
        program = torch.export.export(layer, (x, edges), strict=False)
        torch.testing.assert_close(program.module()(x, edges), expected)
        torch.testing.assert_close(torch.jit.script(layer)(x, edges), expected)
        assert type(layer) is getattr(lcat.nn, name)


class TestBadInput:
    def test_the_network_of_gin_is_no_class(self):
        with pytest.raises(TypeError, match=r"'nn' of GINConv is the class Linear; it takes a module"):
            lcat.nn.GINConv(nn.Linear)

    X, EDGES = torch.randn(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]])

    @pytest.mark.parametrize("name", ["SAGEConv", "GraphConv"])
    def test_arguments(self, name):
        cls = getattr(lcat.nn, name)
        for args, options, words in (
            ((0, 4), {}, "'in_channels'"),
            ((3, 0), {}, "'out_channels'"),
            ((3, 4), {"aggr": "maen"}, "'aggr'.*mean"),
            ((3, 4), {"bias": "yes"}, "'bias'"),
            ((3, 4), {"flwo": "source_to_target"}, "flwo.*flow"),
            ((3, 4), {"flow": "backwards"}, "'flow'"),
        ):
            with pytest.raises((TypeError, ValueError), match=words):
                cls(*args, **options)
        with pytest.raises(ValueError, match="project=True"):
            lcat.nn.SAGEConv(-1, 4, project=True)
        with pytest.raises(TypeError, match="'nn' of GINConv"):
            lcat.nn.GINConv(3)
        with pytest.raises(ValueError, match="'eps' of GINConv"):
            lcat.nn.GINConv(nn.Linear(3, 3), eps="small")

    @pytest.mark.parametrize("name", NAMES)
    def test_inputs(self, name):
        layer = getattr(lcat.nn, name)(*((nn.Linear(3, 2),) if name == "GINConv" else (3, 2)))
        for x, edges, error, words in (
            (self.X.numpy(), self.EDGES, TypeError, f"'x' of {name}"),
            (self.X.tolist(), self.EDGES, ValueError, "tuple of 4"),
            (self.X[0], self.EDGES, ValueError, f"'x' of {name}"),
            ((self.X, self.X, self.X), self.EDGES, ValueError, "tuple of 3"),
            (self.X, self.EDGES.t(), ValueError, "transposed"),
            (self.X, self.EDGES.float(), ValueError, "integer"),
            (self.X, self.EDGES + 2, IndexError, "larger than 3"),
            (self.X, self.EDGES - 1, IndexError, "negative"),
            (self.EDGES, self.X, ValueError, "swapped"),
        ):
            with pytest.raises(error, match=words):
                layer(x, edges)
        with pytest.raises(ValueError, match="'size'"):
            layer(self.X, self.EDGES, size=(5, 4))
        if name != "GINConv":
            with pytest.raises(ValueError, match="in_channels=3"):
                layer(torch.randn(4, 5), self.EDGES)
            with pytest.raises(ValueError, match="dtype"):
                layer(self.X.double(), self.EDGES)
        if name == "GraphConv":
            with pytest.raises(ValueError, match="'edge_weight' of GraphConv has 5 rows"):
                layer(self.X, self.EDGES, torch.rand(5))
        layer.aggr_module = None
        with pytest.raises(ValueError, match="'aggr_module'"):
            layer(self.X, self.EDGES)


def test_they_are_layers_of_pyg():
    for name in NAMES:
        assert issubclass(getattr(lcat.nn, name), getattr(pyg, name))


def test_means_are_taken_after_a_map_that_narrows(monkeypatch):
    from lcat.nn import _propagation

    widths = []
    aggregate = _propagation.aggregate

    def noting(x, *args, **kwargs):
        widths.append(x.shape[-1])
        return aggregate(x, *args, **kwargs)

    monkeypatch.setattr(_propagation, "aggregate", noting)
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    for width, out, aggr, expected in ((64, 4, "mean", 4), (4, 64, "mean", 4), (64, 4, "max", 64), (64, 4, "sum", 4)):
        lcat.nn.SAGEConv(width, out, aggr=aggr)(torch.randn(4, width), edges)
        assert widths.pop() == expected
