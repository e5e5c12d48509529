"""lcat.upgrade: L-CAT layers that begin as the GCN and GAT layers that they were, and leave their corner."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import prune
from torch_geometric.explain import AttentionExplainer, Explainer, GNNExplainer

import lcat
from lcat.nn import GATConv, GATv2Conv, GCNConv, LCATConv, LCATv2Conv
from lcat.nn.upgraded_gcn_conv import UpgradedGCNConv
from lcat.train.layer_steps import source_statistic
from tests.support.compare import assert_same, assert_same_gradients, gradients

EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1, 2, 2, 2], [1, 0, 3, 3, 2, 0, 1, 3, 4, 5, 5]])
MODULES = {"pyg": pyg, "lcat": lcat.nn}


@pytest.fixture
def x():
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


def randomize(model):
    torch.manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_()


ATTENTION = {
    "plain": {},
    "heads": {"heads": 3, "concat": False, "residual": True},
    "edges": {"heads": 2, "edge_dim": 4, "fill_value": 0.5, "bias": False},
    "no loops": {"add_self_loops": False, "negative_slope": 0.4},
    "shared": {"heads": 2, "share_weights": True},
    "mean of them": {"aggr": "mean"},
}


@pytest.mark.parametrize("case", ATTENTION)
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
@pytest.mark.parametrize("module", MODULES)
def test_attention_layers_begin_as_they_were(module, name, case, x):
    options = dict(ATTENTION[case])
    if name == "GATConv" and options.pop("share_weights", None) is not None:
        pytest.skip("GATConv has one map anyway")
    layer = getattr(MODULES[module], name)(8, 4, **options)
    randomize(layer)
    kwargs = {"edge_attr": torch.randn(11, 4)} if "edge_dim" in options else {}
    inputs = dict(layer.named_parameters())
    expected = layer(x, EDGES, **kwargs)
    wanted = gradients(expected, inputs)
    keys = list(layer.state_dict())
    report = lcat.upgrade(layer)
    assert type(layer) is (LCATConv if name == "GATConv" else LCATv2Conv)
    assert [len(report), len(report.left), report.swapped[0].begins_as] == [1, 0, "GAT"]
    out = layer(x, EDGES, **kwargs)
    assert_same(out, expected, "output", 1e-6)
    assert_same_gradients(gradients(out, inputs), wanted, 1e-5)
    assert all(dict(layer.named_parameters())[key] is each for key, each in inputs.items())
    assert sorted(layer.state_dict()) == sorted([*keys, "raw_lambda1", "raw_lambda2"])
    assert [each.shape for each in report.parameters] == [(1,), (1,)]
    layer(x, EDGES, **kwargs).square().sum().backward()
    assert float(layer.raw_lambda1.grad.abs()) > 0
    assert float(layer.raw_lambda2.grad.abs()) > 0
    plain = lcat.nn.LCATConv if name == "GATConv" else lcat.nn.LCATv2Conv
    made = plain(8, 4, parametrization="reflected", **options)
    made.load_state_dict(layer.state_dict())
    assert_same(made(x, EDGES, **kwargs), out, "a layer of that class with its parameters", 0.0)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_bipartite_and_lazy(name, x):
    layer = getattr(pyg, name)((-1, -1), 4, heads=2, add_self_loops=False)
    lcat.upgrade(layer)
    assert any(isinstance(each, UninitializedParameter) for each in layer.parameters())
    pair = (x, torch.randn(4, 5))
    edges = EDGES[:, EDGES[1] < 4]
    out = layer(pair, edges)
    plain = getattr(pyg, name)((8, 5), 4, heads=2, add_self_loops=False)
    plain.load_state_dict({key: value for key, value in layer.state_dict().items() if "raw" not in key})
    assert_same(out, plain(pair, edges), "output", 1e-6)
    lcat.upgrade(plain)
    assert_same(out, plain(pair, edges), "output upgraded", 1e-6)


GCNS = {
    "plain": {},
    "improved": {"improved": True},
    "no loops": {"add_self_loops": False},
    "raw": {"normalize": False},
    "no bias": {"bias": False},
    "cached": {"cached": True},
    "mean of them": {"aggr": "mean"},
    "flow": {"flow": "target_to_source"},
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("start", ["gcn", "gat", "cat"])
@pytest.mark.parametrize("case", GCNS)
@pytest.mark.parametrize("module", MODULES)
def test_gcn_layers_begin_as_they_were(module, case, start, weighted, x):
    layer = MODULES[module].GCNConv(8, 4, **GCNS[case])
    randomize(layer)
    weight = torch.rand(11).add_(0.1).requires_grad_() if weighted else None
    inputs = dict(layer.named_parameters()) | ({"weight": weight} if weighted and "cached" not in case else {})
    expected = layer(x, EDGES, weight)
    wanted = gradients(expected, inputs)
    report = lcat.upgrade(layer, start)
    assert type(layer) is UpgradedGCNConv
    assert report.swapped[0].begins_as == "GCN"
    out = layer(x, EDGES, weight)
    assert_same(out, expected, "output", 1e-6)
    assert_same_gradients(gradients(out, inputs), wanted, 1e-5)
    assert all(dict(layer.named_parameters())[key] is each for key, each in inputs.items() if key != "weight")
    assert float(layer.lambda2) == (1.0 if start == "cat" else 0.0)
    assert len(report.parameters) == 4
    if case == "cached":
        assert_same(layer(x, EDGES[:, :3]), out, "as in PyG, the edges of the first call", 1e-6)
    layer(x, EDGES, weight).square().sum().backward()
    assert float(layer.raw_lambda1.grad.abs()) > 0
    hook = layer.register_message_forward_hook(lambda module, args, out: None)
    assert_same(layer(x, EDGES, weight), expected, "output by messages", 1e-6)
    hook.remove()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("module", MODULES)
class TestCachedGCN:
    """The cache is that of the layer as it was."""

    OTHER = EDGES.flip(1)[:, ::2]

    def made(self, module, weighted):
        layer = MODULES[module].GCNConv(8, 4, cached=True)
        randomize(layer)
        return layer, torch.rand(11).add_(0.1) if weighted else None

    def test_a_filled_cache_stays(self, module, weighted, x):
        layer, weight = self.made(module, weighted)
        expected = layer(x, EDGES, weight)
        lcat.upgrade(layer)
        assert_same(layer(x, self.OTHER), expected, "output", 1e-6)

    def test_what_is_kept_is_not_what_was_passed(self, module, weighted, x):
        layer, weight = self.made(module, weighted)
        lcat.upgrade(layer)
        edges = EDGES.clone()
        expected = layer(x, edges, weight)
        edges.zero_()
        if weighted:
            weight.zero_()
        assert_same(layer(x, self.OTHER), expected, "output", 1e-6)
        assert_same(layer(x, self.OTHER, return_attention_weights=True)[0], expected, "with attention", 1e-6)

    def test_compiled_as_eager(self, module, weighted, x):
        layer, weight = self.made(module, weighted)
        lcat.upgrade(layer)
        torch._dynamo.reset()
        compiled = torch.compile(layer, backend="eager", fullgraph=True)
        other = compiled(x, self.OTHER)
        assert layer._cached_edge_index is None
        assert_same(other, copy.deepcopy(layer)(x, self.OTHER), "nothing traced is kept", 1e-6)
        expected = layer(x, EDGES, weight)
        assert_same(compiled(x, self.OTHER), expected, "compiled", 1e-6)

    def test_another_number_of_nodes_is_an_error(self, module, weighted, x):
        layer, weight = self.made(module, weighted)
        lcat.upgrade(layer)
        expected = layer(x, EDGES, weight)
        for other in (torch.cat([x, x]), x[:3]):
            with pytest.raises(ValueError, match=f"cached the normalization of a graph with {len(x)} nodes"):
                layer(other, EDGES)
        layer.reset_parameters()
        assert layer(torch.cat([x, x]), EDGES).shape == (2 * len(x), 4)
        assert expected.shape == (len(x), 4)


def test_feature_sets_matrices_and_bad_input_of_a_gcn(x):
    layer, plain = GCNConv(8, 4), GCNConv(8, 4)
    plain.load_state_dict(layer.state_dict())
    lcat.upgrade(layer)
    sets = torch.stack([x, 2 * x])
    assert_same(layer(sets, EDGES), plain(sets, EDGES), "feature sets", 1e-6)
    nested = torch.stack([sets, -sets, sets + 1])
    assert_same(layer(nested, EDGES), plain(nested, EDGES), "sets of feature sets", 1e-6)
    out, (_, alpha) = layer(nested, EDGES, return_attention_weights=True)
    assert_same(out, layer(nested, EDGES), "sets of feature sets, with attention", 1e-6)
    _, (_, expected) = layer(nested[2], EDGES, return_attention_weights=True)
    assert_same(alpha[2], expected, "attention of feature sets", 1e-6)
    assert layer(nested[:0], EDGES).shape == (0, 2, 6, 4)
    matrix = torch.sparse_coo_tensor(EDGES.flip(0), torch.rand(11), (6, 6)).coalesce().to_sparse_csr()
    assert_same(layer(x, matrix), plain(x, matrix), "matrix", 1e-6)
    with pytest.raises(ValueError, match="'x' of UpgradedGCNConv is a tuple; it takes a tensor"):
        layer((x, x), EDGES)
    with pytest.raises(ValueError, match="cannot be computed block by block"):
        source_statistic(layer)
    out, (edge_index, alpha) = layer(x, EDGES, return_attention_weights=True)
    values = layer.lin(x)[edge_index[0]] * alpha
    assert_same(torch.zeros(6, 4).index_add(0, edge_index[1], values) + layer.bias, out, "attention", 1e-6)


@pytest.mark.parametrize("start", ["gcn", "cat"])
def test_other_corners_for_attention_layers(start, x):
    layer = pyg.GATConv(8, 4, heads=2)
    weights = layer.state_dict()
    report = lcat.upgrade(layer, start)
    lambdas = {"gcn": (0.0, 0.0), "cat": (1.0, 1.0)}[start]
    fixed = LCATConv(8, 4, heads=2, lambda1=lambdas[0], lambda2=lambdas[1])
    fixed.load_state_dict(weights)
    assert_same(layer(x, EDGES), fixed(x, EDGES), "output", 1e-6)
    assert report.swapped[0].begins_as == {"gcn": "a mean", "cat": "CAT"}[start]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = pyg.GCNConv(8, 16)
        self.norm = nn.BatchNorm1d(16)
        self.blocks = nn.ModuleDict({"a": pyg.GATConv(16, 8, heads=2), "b": GATv2Conv(16, 8, heads=2)})
        self.shared = self.blocks["a"]
        self.sage = pyg.SAGEConv(16, 16)
        self.last = nn.ModuleList([GCNConv(16, 3)])

    def forward(self, x, edge_index):
        x = self.norm(self.first(x, edge_index)).relu()
        for block in self.blocks.values():
            x = x + block(x, edge_index).relu()
        x = x + self.shared(x, edge_index)
        x = self.sage(x, edge_index).relu()
        return self.last[0](x, edge_index)


def test_a_model(x):
    model = Net().eval()
    expected = model(x, EDGES)
    before = dict(model.named_parameters())
    first = model.first
    seen = []
    first.register_forward_hook(lambda module, args, out: seen.append(type(module).__name__))
    report = lcat.upgrade(model)
    assert_same(model(x, EDGES), expected, "output", 1e-6)
    assert [(one.path, one.layer, one.becomes) for one in report.swapped] == [
        ("first", "GCNConv", "UpgradedGCNConv"),
        ("blocks.a", "GATConv", "LCATConv"),
        ("blocks.b", "GATv2Conv", "LCATv2Conv"),
        ("last.0", "GCNConv", "UpgradedGCNConv"),
    ]
    assert [(one.path, one.layer) for one in report.left] == [("sage", "SAGEConv")]
    assert "no GCN or GAT" in str(report)
    assert str(report).splitlines()[0] == "4 layers upgraded, 1 layer left as it was"
    assert seen == ["UpgradedGCNConv"]
    assert first is model.first
    assert model.shared is model.blocks["a"]
    assert not model.first.training
    after = dict(model.named_parameters())
    assert all(after[key] is each for key, each in before.items())
    assert {id(each) for each in report.parameters} == {id(each) for key, each in after.items() if key not in before}
    again = lcat.upgrade(model)
    assert len(again) == 0
    assert "already an L-CAT" in again.left[0].reason
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(copy.deepcopy(model.blocks)))):
        assert type(getattr(other, "blocks", other)["a"]) is LCATConv


def test_accelerated_models(x):
    model = Net().eval()
    expected = model(x, EDGES)
    lcat.accelerate(model)
    report = lcat.upgrade(model)
    assert len(report) == 4
    assert [one.layer for one in report.swapped] == ["GCNConv", "GATConv", "GATv2Conv", "GCNConv"]
    assert_same(model(x, EDGES), expected, "output", 1e-6)
    lcat.accelerate(model)
    assert_same(model(x, EDGES), expected, "output", 1e-6)


class Outer(pyg.MessagePassing):
    """A layer that has a layer inside."""

    def __init__(self):
        super().__init__()
        self.inner = pyg.SAGEConv(8, 8)

    def forward(self, x, edge_index):
        return self.propagate(edge_index, x=self.inner(x, edge_index))


def test_accelerated_layers_that_are_left_stay_as_they_are():
    """Their class is the same, also inside of another layer, and errors name their path in the model."""
    model = nn.ModuleDict({"outer": nn.ModuleList([Outer()]), "sage": pyg.SAGEConv(8, 8), "gat": pyg.GATConv(8, 8)})
    lcat.accelerate(model)
    kinds = {path: type(layer) for path, layer in model.named_modules() if path != "gat"}
    for _ in range(2):
        lcat.upgrade(model)
        assert {path: type(layer) for path, layer in model.named_modules() if path != "gat"} == kinds
        for layer, path in ((model["outer"][0].inner, r"outer\.0\.inner"), (model["sage"], "sage")):
            with pytest.raises(IndexError, match=f"in layer '{path}' of the accelerated model"):
                layer(torch.randn(3, 8), torch.tensor([[0], [7]]))
    assert lcat.restore(model) == 2


def test_restore_says_that_it_undoes_no_upgrade(recwarn):
    assert lcat.restore(nn.ModuleList([pyg.GATConv(8, 8), LCATConv(8, 8)])) == 0
    mixed = nn.ModuleList([pyg.SAGEConv(8, 8), pyg.GATConv(8, 8)])
    lcat.accelerate(mixed)
    lcat.upgrade(mixed)
    lcat.upgrade(mixed)
    assert lcat.restore(mixed) == 1
    assert not recwarn
    for model, path in ((pyg.GAT(8, 8, num_layers=2), "'convs.0', ..."), (pyg.GCNConv(8, 8), "'the model'")):
        lcat.accelerate(model)
        lcat.upgrade(model)
        for one in (model, pickle.loads(pickle.dumps(model))):
            with pytest.warns(UserWarning, match=f"nothing was restored.*{re.escape(path)}.*copy.deepcopy") as caught:
                assert lcat.restore(one) == 0
            assert caught[0].filename == __file__


def test_a_scripted_part_is_one_line_of_the_report():
    model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU())), pyg.GATConv(8, 8))
    reports = [lcat.accelerate(copy.deepcopy(model)), lcat.upgrade(model)]
    assert [[(one.path, one.layer, one.reason) for one in report.left] for report in reports] == [
        [("0", "Sequential", "it is compiled by TorchScript")]
    ] * 2


def test_layers_with_parametrized_parameters_are_left():
    layer = pyg.GATConv(8, 8)
    nn.utils.parametrizations.weight_norm(layer, "att_src")
    report = lcat.upgrade(layer)
    assert [one.reason for one in report.left] == ["its own parameters are parametrized: upgrade the model first"]


@pytest.mark.parametrize("name", ["GCN", "GAT"])
def test_models_of_pyg_leave_the_corner_when_they_are_trained(name, x):
    """An optimizer from before goes on with the new parameters; the loss falls, the scalars move, from both corners."""
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    edges = torch.randint(60, (2, 300), generator=generator)
    features = torch.randn(60, 8, generator=generator)
    labels = torch.randint(3, (60,), generator=generator)
    model = getattr(pyg, name)(8, 16, num_layers=2, out_channels=3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(model(features, edges), labels).backward()
        optimizer.step()
    trained = float(F.cross_entropy(model(features, edges), labels))
    report = lcat.upgrade(model)
    optimizer.add_param_group({"params": list(report.parameters), "weight_decay": 0.0})
    assert float(F.cross_entropy(model(features, edges), labels)) == pytest.approx(trained, abs=1e-5)
    begins = [(float(conv.lambda1), float(conv.lambda2)) for conv in model.convs]
    assert begins == [(0.0, 0.0) if name == "GCN" else (1.0, 0.0)] * 2
    attention, path = [conv.att_src.clone() for conv in model.convs], []
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(features, edges), labels)
        loss.backward()
        optimizer.step()
        path.append([(float(conv.lambda1), float(conv.lambda2)) for conv in model.convs])
    assert float(loss) < 0.9 * trained
    moved = (torch.tensor(path) - torch.tensor(begins)).abs()
    assert bool((moved.amax(dim=0) > 1e-3).all())  # each of them, also one that the data hold at the end of its range
    assert bool((moved[-1].amax(dim=-1) > 0.05).all())  # each layer has left its corner
    for conv, before in zip(model.convs, attention, strict=True):
        assert float((conv.att_src - before).abs().max()) > 0.01


def test_hetero_and_jumping_models(x):
    hetero = pyg.HeteroConv(
        {
            ("a", "to", "b"): pyg.GATConv((-1, -1), 4, add_self_loops=False),
            ("b", "to", "b"): pyg.GCNConv(-1, 4),
            ("b", "to", "a"): pyg.GATv2Conv((-1, -1), 4, add_self_loops=False),
        }
    )
    data = {"a": x, "b": torch.randn(5, 3)}
    edges = {("a", "to", "b"): EDGES[:, EDGES[1] < 5], ("b", "to", "b"): EDGES[:, (EDGES < 5).all(dim=0)]}
    edges["b", "to", "a"] = EDGES[:, EDGES[0] < 5]
    expected = hetero(data, edges)["b"]
    report = lcat.upgrade(hetero)
    assert len(report) == 3
    assert_same(hetero(data, edges)["b"], expected, "output", 1e-6)
    model = pyg.GAT(8, 16, num_layers=3, out_channels=3, heads=2, v2=True, jk="cat", residual=True).eval()
    expected = model(x, EDGES)
    assert len(lcat.upgrade(model)) == 3
    assert_same(model(x, EDGES), expected, "output", 1e-6)


@pytest.mark.parametrize("name", ["GCNConv", "GATConv", "GATv2Conv"])
def test_compiled_after_the_upgrade(name, x):
    layer = getattr(pyg, name)(8, 4)
    lcat.upgrade(layer)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_same(compiled(x, EDGES), layer(x, EDGES), "output", 1e-6)


def test_types_devices_and_flags():
    layer = pyg.GATConv(8, 4).to(torch.float64)
    layer.requires_grad_(False)
    lcat.upgrade(layer)
    assert {each.dtype for each in layer.parameters()} == {torch.float64}
    assert {name for name, each in layer.named_parameters() if each.requires_grad} == {"raw_lambda1", "raw_lambda2"}
    meta = pyg.GCNConv(8, 4).to("meta")
    lcat.upgrade(meta)
    assert all(each.is_meta for each in meta.parameters())
    heads = pyg.GATConv(8, 4, heads=3)
    state = torch.get_rng_state()
    lcat.upgrade(heads, lambdas_per_head=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert heads.lambda1.tolist() == [1.0, 1.0, 1.0]


def test_options_of_lcats_layers_stay(x):
    layer = GATConv(8, 4, heads=2, separate_self=True, symmetric_norm=True, edge_dropout=0.3)
    torch.manual_seed(0)
    expected = layer(x, EDGES)
    lcat.upgrade(layer)
    torch.manual_seed(0)
    assert_same(layer(x, EDGES), expected, "output", 1e-6)
    assert layer.separate_self
    assert layer.edge_dropout == 0.3


def test_what_is_left_alone(x):
    class Own(pyg.GATConv):
        pass

    patched = pyg.GATConv(8, 4)
    patched.message = lambda x_j, alpha: x_j
    explained = pyg.GCNConv(8, 4)
    explained.explain = True
    changed = pyg.GATConv(8, 4)
    changed.dropout = 7
    model = nn.ModuleList(
        [Own(8, 4), patched, explained, pyg.GCNConv(8, 4, decomposed_layers=2), LCATConv(8, 4), changed]
    )
    types = [type(each) for each in model]
    report = lcat.upgrade(model)
    assert [type(each) for each in model] == types
    reasons = [each.reason for each in report.left]
    expected = [
        "class of its own",
        "'message' was replaced",
        "explainer",
        "decomposed_layers=2",
        "already an L-CAT",
        "'dropout' of",
    ]
    assert all(part in reason for part, reason in zip(expected, reasons, strict=True))
    lcat.accelerate(model)
    swapped = type(model[0])
    lcat.upgrade(model)
    assert type(model[0]) is swapped


def test_bad_calls():
    with pytest.raises(TypeError, match=r"expected 'model' of type torch\.nn\.Module, got list"):
        lcat.upgrade([])
    with pytest.raises(ValueError, match=r"'start' is 'gatt' \(did you mean gat\?\); it takes 'gcn', 'gat', 'cat'"):
        lcat.upgrade(pyg.GATConv(8, 4), "gatt")


def test_the_report_is_no_model(x):
    for change in (lcat.upgrade, lcat.accelerate):
        report, name = change(pyg.GAT(8, 4, 2)), f"lcat.{change.__name__}"
        with pytest.raises(TypeError, match=rf"report of {name}\(model\).*: write {name}\(model\) without"):
            report(x, EDGES)
        with pytest.raises(TypeError, match=rf"^{name}\(model\) is not for a `with` block"), report:
            pass


def test_edge_attr_that_pyg_ignores_is_still_ignored(x):
    layer = pyg.GATConv(8, 4)
    expected = layer(x, EDGES, torch.randn(11, 2))
    lcat.upgrade(layer)
    with pytest.warns(UserWarning, match="ignored"):
        out = layer(x, EDGES, torch.randn(11, 2))
    assert_same(out, expected, "output", 1e-6)


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = pyg.GATConv((-1, -1), 4, add_self_loops=False)
        self.b = pyg.GATv2Conv((-1, -1), 4, add_self_loops=False)

    def forward(self, x, edge_index):
        return self.b(self.a(x, edge_index).relu(), edge_index)


def test_to_hetero(x):
    model = pyg.to_hetero(TwoLayers(), (["u", "v"], [("u", "r", "v"), ("v", "s", "u")]))
    data = {"u": x, "v": torch.randn(4, 2)}
    edges = {("u", "r", "v"): EDGES[:, EDGES[1] < 4], ("v", "s", "u"): EDGES[:, EDGES[0] < 4]}
    expected = model(data, edges)
    assert [one.path for one in lcat.upgrade(model).swapped] == ["a.u__r__v", "a.v__s__u", "b.u__r__v", "b.v__s__u"]
    out = model(data, edges)
    for kind in expected:
        assert_same(out[kind], expected[kind], kind, 1e-6)


@pytest.mark.parametrize("name", ["GCN", "GAT"])
def test_exported_explained_and_saved(name, x, tmp_path):
    def upgraded():
        model = getattr(pyg, name)(8, 8, 2, out_channels=3).eval()
        lcat.upgrade(model)
        return model

    model = upgraded()
    expected = model(x, EDGES)
    program = torch.export.export(model, (x, EDGES), strict=False)
    assert_same(program.module()(x, EDGES), expected, "exported", 1e-5)
    torch.save(model.state_dict(), tmp_path / "state.pt")
    other = upgraded()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert_same(other(x, EDGES), expected, "loaded", 1e-6)
    config = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}
    for algorithm in (GNNExplainer(epochs=2), AttentionExplainer()):
        nodes = "attributes" if isinstance(algorithm, GNNExplainer) else None
        explainer = Explainer(
            model, algorithm, explanation_type="model", node_mask_type=nodes, edge_mask_type="object",
            model_config=config,
        )  # fmt: skip
        assert explainer(x, EDGES).edge_mask.shape == (EDGES.shape[1],)


@pytest.mark.parametrize("name", ["GCN", "GAT"])
def test_new_parameters_learn_when_upgraded_in_inference_mode(name, x):
    model = getattr(pyg, name)(8, 8, 2, out_channels=3)
    with torch.inference_mode():
        report = lcat.upgrade(model)
    model(x, EDGES).sum().backward()
    assert not any(one.is_inference() for one in report.parameters)
    assert all(one.grad is not None for one in report.parameters)
    fixed = LCATConv(8, 4, lambda1=0.5, lambda2=0.5)
    with torch.inference_mode():
        fixed.lambda1 = None
    fixed(x, EDGES).sum().backward()
    assert fixed.raw_lambda1.grad is not None


@pytest.mark.parametrize("wrong", ["no", 4, None])
def test_lambdas_per_head_is_a_flag(wrong):
    layer = pyg.GATConv(8, 8, heads=2)
    with pytest.raises(ValueError, match=r"'lambdas_per_head' of upgrade is .*; it takes True or False"):
        lcat.nn.upgrade(layer, lambdas_per_head=wrong)
    assert type(layer) is pyg.GATConv


@pytest.mark.parametrize(
    ("name", "parameter"),
    [("GCNConv", "bias"), ("GATConv", "bias"), ("GATConv", "att_src"), ("GATv2Conv", "att")],
)
@pytest.mark.parametrize("change", ["pruned", "buffer"])
def test_layers_with_parameters_that_are_computed_are_left(name, parameter, change):
    model = nn.ModuleList([pyg.GATConv(6, 6), getattr(pyg, name)(6, 6)])
    if change == "pruned":
        prune.random_unstructured(model[1], parameter, 0.3)
    else:
        value = getattr(model[1], parameter).detach()
        delattr(model[1], parameter)
        model[1].register_buffer(parameter, value)
    edge_index = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 1]])
    x = torch.randn(3, 6)
    before = [layer(x, edge_index) for layer in model]
    report = lcat.upgrade(model)
    [left] = report.left
    assert (left.path, [layer.path for layer in report.swapped]) == ("1", ["0"])
    assert left.reason.startswith(f"its '{parameter}' is no parameter")
    for layer, expected in zip(model, before, strict=True):
        torch.testing.assert_close(layer(x, edge_index), expected)
