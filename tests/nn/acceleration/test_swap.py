"""Which layers are swapped, which are left and why, and what stays as it was."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import weakref
from types import FunctionType

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import lcat
import lcat.nn
from tests.support.compare import assert_same
from tests.support.pyg_models import CHANNELS, OtherMessages, PlainSubclass, make_inputs

EDGES = make_inputs().edge_index
X = make_inputs().x


def _layers():
    return {
        "GCNConv": pyg.GCNConv(CHANNELS, 4).double(),
        "GATConv": pyg.GATConv(CHANNELS, 4, heads=2).double(),
        "GATv2Conv": pyg.GATv2Conv(CHANNELS, 4, heads=2).double(),
        "TransformerConv": pyg.TransformerConv(CHANNELS, 4, heads=2).double(),
    }


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (pyg.GAT, "expected 'model' of type torch.nn.Module, got the class GAT: this is the class; pass an instance"),
        ("model", "expected 'model' of type torch.nn.Module, got str"),
        (None, "expected 'model' of type torch.nn.Module, got NoneType"),
        ([pyg.GCNConv(2, 2)], r"got list: pass torch.nn.ModuleList\(...\) of it"),
    ],
)
def test_what_is_no_module(model, message):
    with pytest.raises(TypeError, match=message):
        lcat.accelerate(model)
    with pytest.raises(TypeError, match=message):
        lcat.restore(model)
    with pytest.raises(TypeError, match=message), lcat.accelerated(model):
        pass


def test_report():
    model = nn.ModuleDict(
        {
            "a": pyg.GCNConv(2, 2),
            "b": nn.ModuleList([OtherMessages(2, 2), pyg.HypergraphConv(2, 2), nn.Linear(2, 2)]),
            "c": pyg.GATConv(2, 2, aggr="max"),
        }
    )
    report = lcat.accelerate(model)
    assert len(report) == 1
    assert [(layer.path, layer.layer) for layer in report.swapped] == [("a", "GCNConv")]
    assert {layer.path: (layer.layer, layer.reason) for layer in report.left} == {
        "b.0": ("OtherMessages", "OtherMessages overrides 'message'"),
        "b.1": ("HypergraphConv", "lcat has no faster form of this class"),
        "c": ("GATConv", "its aggregation is 'max'; lcat's layer is faster for 'add'"),
    }
    text = str(report)
    assert text.splitlines()[0] == "1 layer swapped, 3 layers left as they were"
    for layer in report.left:
        assert any(layer.path in line and layer.reason in line for line in text.splitlines())
    page = report._repr_html_()
    assert "<td>b.1</td>" in page
    assert "overrides &#x27;message&#x27;" in page
    assert bool(lcat.accelerate(nn.Linear(2, 2)))
    assert str(lcat.accelerate(nn.Linear(2, 2))) == "0 layers swapped, 0 layers left as they were"


def test_a_report_is_no_model_and_no_block():
    model = pyg.GCN(8, 4, num_layers=2)
    report = lcat.accelerate(model)
    for arguments in ((), (torch.ones(3, 8), torch.zeros(2, 0, dtype=torch.long))):
        with pytest.raises(TypeError, match=r"report of lcat.accelerate\(model\).*call the model"):
            report(*arguments)
    with pytest.raises(TypeError, match=r"with lcat.accelerated\(model\):"), report:
        pass


def test_a_single_layer():
    layer = pyg.GCNConv(CHANNELS, 4).double()
    expected = layer(X, EDGES)
    report = lcat.accelerate(layer)
    assert "(the model)" in str(report)
    assert isinstance(layer, lcat.nn.GCNConv)
    assert isinstance(layer, pyg.GCNConv)
    assert_same(layer(X, EDGES), expected, "output")
    assert lcat.restore(layer) == 1
    assert type(layer) is pyg.GCNConv


def test_a_shared_layer_is_swapped_once():
    shared = pyg.GCNConv(4, 4)
    model = nn.ModuleList([shared, nn.ModuleDict({"again": shared}), pyg.GCNConv(4, 4)])
    assert [layer.path for layer in lcat.accelerate(model).swapped] == ["0", "2"]
    assert model[0] is model[1]["again"]
    assert lcat.restore(model) == 2


def test_layers_of_lcat_are_left_and_not_restored():
    model = nn.ModuleList([lcat.nn.GATConv(2, 2), lcat.nn.LCATConv(2, 2)])
    report = lcat.accelerate(model)
    assert len(report) == 0
    assert {layer.reason for layer in report.left} == {"already a layer of lcat"}
    assert lcat.restore(model) == 0
    assert type(model[0]) is lcat.nn.GATConv


def test_twice():
    model = pyg.GCN(2, 2, num_layers=2)
    assert len(lcat.accelerate(model)) == 2
    again = lcat.accelerate(model)
    assert len(again) == 0
    assert [(layer.path, layer.reason) for layer in again.left] == [
        ("convs.0", "already accelerated"),
        ("convs.1", "already accelerated"),
    ]


def test_block_and_what_an_error_leaves():
    model = pyg.GAT(2, 2, num_layers=2)

    def fails():
        with lcat.accelerated(model) as report:
            assert len(report) == 2
            assert isinstance(model.convs[0], lcat.nn.GATConv)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert {type(conv) for conv in model.convs} == {pyg.GATConv}


def test_nested_blocks():
    model = pyg.GAT(2, 2, num_layers=2)
    with lcat.accelerated(model):
        with lcat.accelerated(model) as inner:
            assert len(inner) == 0
        assert isinstance(model.convs[0], lcat.nn.GATConv)
        with lcat.accelerated(model.convs[0]):
            lcat.restore(model)
        assert {type(conv) for conv in model.convs} == {pyg.GATConv}
    assert {type(conv) for conv in model.convs} == {pyg.GATConv}
    lcat.accelerate(model.convs[0])
    with lcat.accelerated(model) as report:
        assert [layer.path for layer in report.swapped] == ["convs.1"]
    assert isinstance(model.convs[0], lcat.nn.GATConv)
    assert type(model.convs[1]) is pyg.GATConv


@pytest.mark.parametrize(
    "step", ["message", "aggregate", "update", "edge_update", "explain_message", "message_and_aggregate", "_lift"]
)
def test_a_subclass_that_overrides_a_step_is_left(step):
    original = getattr(pyg.GATConv, step)
    layer = type("Changed", (pyg.GATConv,), {step: FunctionType(original.__code__, globals())})(2, 2)
    cls = type(layer)
    report = lcat.accelerate(layer)
    assert report.left[0].reason == f"Changed overrides '{step}'"
    assert type(layer) is cls


def test_a_mixin_that_overrides_a_step_is_left():
    class Mixin:
        def update(self, inputs):
            return 2 * inputs

    class Mixed(Mixin, pyg.GCNConv):
        pass

    assert lcat.accelerate(Mixed(2, 2)).left[0].reason == "Mixin overrides 'update'"


def test_a_forward_that_does_not_call_its_parents_is_left():
    class Own(pyg.GCNConv):
        def forward(self, x, edge_index):
            return self.propagate(edge_index, x=self.lin(x), edge_weight=None)

    assert lcat.accelerate(Own(2, 2)).left[0].reason == "'forward' of Own does not call that of GCNConv"


def test_a_subclass_keeps_its_own_calls_of_super():
    class Base(pyg.GATConv):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.calls = []

        def forward(self, x, edge_index):
            self.calls.append("base")
            return super().forward(x, edge_index)

        def reset_parameters(self):
            super().reset_parameters()
            with torch.no_grad():
                self.att_src.fill_(0.5)

    class Derived(Base):
        def forward(self, x, edge_index):
            self.calls.append("derived")
            return 2 * Base.forward(self, x, edge_index)

    torch.manual_seed(0)
    layer = Derived(CHANNELS, 4).double()
    expected = layer(X, EDGES)
    assert len(lcat.accelerate(layer)) == 1
    assert_same(layer(X, EDGES), expected, "output")
    assert layer.calls == ["derived", "base"] * 2
    assert isinstance(layer, Derived)
    torch.manual_seed(0)
    layer.reset_parameters()
    twin = Derived(CHANNELS, 4).double()
    torch.manual_seed(0)
    twin.reset_parameters()
    assert_same(layer.lin.weight, twin.lin.weight, "as PyG draws it")
    assert float(layer.att_src.detach().min()) == 0.5


def test_names_that_mean_something_else_are_left():
    class Named(pyg.GATConv):
        def _project(self, x):
            return x

    layer = pyg.GCNConv(2, 2)
    layer._sum = 3
    model = nn.ModuleList([Named(2, 2), layer])
    assert [one.reason for one in lcat.accelerate(model).left] == [
        "it has '_project', which lcat's layer uses for something else",
        "it has '_sum', which lcat's layer uses for something else",
    ]


def test_a_step_replaced_on_the_layer_is_left():
    layers = [pyg.GATConv(2, 2) for _ in range(2)]
    layers[0].message = lambda x_j, alpha: x_j
    layers[1].forward = lambda x, edge_index: x
    assert [one.reason for one in lcat.accelerate(nn.ModuleList(layers)).left] == [
        "'message' was replaced on this layer",
        "'forward' was replaced on this layer",
    ]


def test_a_class_that_refuses_subclasses_is_left():
    class Final(pyg.GATConv):
        def __init_subclass__(cls):
            raise TypeError("no subclasses, please")

    layer = Final(2, 2)
    assert "no subclasses, please" in lcat.accelerate(layer).left[0].reason
    assert type(layer) is Final


def test_scripted_modules_are_left():
    model = nn.ModuleDict({"a": torch.jit.script(pyg.GCNConv(2, 2)), "b": pyg.GCNConv(2, 2)})
    report = lcat.accelerate(model)
    assert [layer.path for layer in report.swapped] == ["b"]
    assert [(layer.path, layer.reason) for layer in report.left] == [("a", "it is compiled by TorchScript")]


def test_an_accelerated_layer_scripts_as_before():
    layer = pyg.GCNConv(CHANNELS, 4).double()
    expected = layer(X, EDGES)
    lcat.accelerate(layer)
    layer(X, EDGES)
    assert_same(torch.jit.script(layer)(X, EDGES), expected, "scripted")
    assert isinstance(layer, lcat.nn.GCNConv)


@pytest.mark.parametrize("name", _layers())
def test_hooks_mode_and_flags_stay(name):
    layer, calls = _layers()[name], []
    handles = [
        layer.register_forward_hook(lambda module, inputs, out: calls.append("forward")),
        layer.register_message_forward_hook(lambda module, inputs, out: calls.append("message")),
        layer.register_full_backward_hook(lambda module, inputs, out: calls.append("backward")),
    ]
    layer.eval()
    next(layer.parameters()).requires_grad_(False)
    x = X.clone().requires_grad_()
    expected = layer(x, EDGES)
    expected.sum().backward()
    assert calls == ["forward", "message", "backward"] or calls == ["message", "forward", "backward"]
    before = list(calls)
    lcat.accelerate(layer)
    out = layer(x, EDGES)
    out.sum().backward()
    assert calls == 2 * before
    assert not layer.training
    assert not next(layer.parameters()).requires_grad
    assert_same(out, expected, "output with hooks")
    for handle in handles:
        handle.remove()
    assert_same(layer(x, EDGES), expected, "output without hooks")
    assert calls == 2 * before


@pytest.mark.parametrize("name", _layers())
def test_an_explainers_mask_before_during_and_after(name):
    from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

    layer = _layers()[name]
    mask = nn.Parameter(torch.linspace(-1, 1, EDGES.shape[1], dtype=torch.double))
    set_masks(layer, mask, EDGES)
    assert lcat.accelerate(layer).left[0].reason == "an explainer works with it"
    expected_masked = layer(X, EDGES)
    clear_masks(layer)
    expected = layer(X, EDGES)
    keys = list(layer.__dict__)
    assert len(lcat.accelerate(layer)) == 1
    assert not layer._wants_messages()
    assert_same(layer(X, EDGES), expected, "output")
    set_masks(layer, mask, EDGES)
    assert layer._wants_messages()
    has_loops = bool((EDGES[0] == EDGES[1]).any())
    assert has_loops
    assert_same(layer(X, EDGES), expected_masked, "output with a mask")
    clear_masks(layer)
    assert not layer._wants_messages()
    lcat.restore(layer)
    # PyG binds the class's own step to a layer that was explained; lcat's layers take it off again.
    assert set(layer.__dict__) | {"propagate"} == set(keys) | {"propagate"}
    assert_same(layer(X, EDGES), expected, "restored")
    set_masks(layer, mask, EDGES)
    assert_same(layer(X, EDGES), expected_masked, "restored, with a mask")
    lcat.accelerate(layer)


def test_a_parametrized_layer():
    layer = pyg.GATConv(CHANNELS, 4, heads=2).double()
    parametrizations.weight_norm(layer, "att_src")
    parametrizations.orthogonal(layer.lin, "weight")
    cls, expected = type(layer), layer(X, EDGES)
    assert len(lcat.accelerate(layer)) == 1
    assert_same(layer(X, EDGES), expected, "output")
    assert parametrize.is_parametrized(layer, "att_src")
    twin = copy.deepcopy(layer)
    assert_same(twin(X, EDGES), expected, "a copy")
    lcat.restore(layer)
    assert type(layer) is cls
    assert_same(layer(X, EDGES), expected, "restored")
    parametrize.remove_parametrizations(layer, "att_src")
    assert type(layer) is pyg.GATConv
    assert_same(layer(X, EDGES), expected, "without it")


def test_parametrizations_that_come_and_go_meanwhile():
    layer = pyg.GATConv(CHANNELS, 4, heads=2).double()
    parametrizations.weight_norm(layer, "att_src")
    lcat.accelerate(layer)
    expected = layer(X, EDGES)
    parametrizations.weight_norm(layer, "att_dst")
    parametrize.remove_parametrizations(layer, "att_src")
    assert_same(layer(X, EDGES), expected, "another one")
    lcat.restore(layer)
    assert_same(layer(X, EDGES), expected, "restored")
    assert not parametrize.is_parametrized(layer, "att_src")
    parametrize.remove_parametrizations(layer, "att_dst")
    assert type(layer) is pyg.GATConv
    lcat.accelerate(layer)
    parametrizations.weight_norm(layer, "att_src")
    assert_same(layer(X, EDGES), expected, "one of a swapped layer")
    assert lcat.restore(layer) == 1
    assert not isinstance(layer, lcat.nn.GATConv)
    assert_same(layer(X, EDGES), expected, "restored")
    parametrize.remove_parametrizations(layer, "att_src")
    assert type(layer) is pyg.GATConv


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_weight_norm_of_old():
    layer = pyg.GATConv(CHANNELS, 4, heads=2).double()
    torch.nn.utils.weight_norm(layer, "att_src")
    torch.nn.utils.weight_norm(layer.lin, "weight")
    expected = layer(X, EDGES)
    assert len(lcat.accelerate(layer)) == 1
    assert_same(layer(X, EDGES), expected, "output")
    layer(X, EDGES).sum().backward()
    assert layer.att_src_g.grad is not None
    assert layer.lin.weight_g.grad is not None
    lcat.restore(layer)
    assert_same(layer(X, EDGES), expected, "restored")


def test_caches_of_a_layer_come_and_go():
    layer = pyg.GCNConv(CHANNELS, 4, cached=True).double()
    expected = layer(X, EDGES)
    keys = list(layer.__dict__)
    lcat.accelerate(layer)
    assert_same(layer(X, EDGES), expected, "with the cache of before")
    layer._cached_edge_index = None
    assert_same(layer(X, EDGES), expected, "with a new one")
    assert layer._cached_edge_index is not None
    lcat.restore(layer)
    assert list(layer.__dict__) == keys
    assert_same(layer(X, EDGES), expected, "restored")
    assert_same(layer(X, EDGES[:, :3]), expected, "the cache is used, as PyG does")


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings(
    "ignore:Sparse CSR tensor support is in beta state", "ignore:Converting sparse tensor to CSR"
)
def test_numbers_of_matrices_are_pygs(layout):
    layer = pyg.GCNConv(CHANNELS, 4).double()
    n = X.shape[0]
    weight = torch.rand(EDGES.shape[1], dtype=torch.double)
    matrix = torch.sparse_coo_tensor(EDGES.flip(0), weight, (n, n)).coalesce().to_sparse(layout=layout)
    expected = layer(X, matrix)
    lcat.accelerate(layer)
    assert_same(layer(X, matrix), expected, "output")


def test_classes_are_made_once_and_freed():
    first, second = PlainSubclass(2, 2), PlainSubclass(2, 2)
    lcat.accelerate(first)
    lcat.accelerate(second)
    assert type(first) is type(second)

    class Local(pyg.GCNConv):
        pass

    layer = Local(2, 2)
    lcat.accelerate(layer)
    classes = weakref.ref(type(layer)), weakref.ref(Local)
    lcat.restore(layer)
    del layer, Local
    gc.collect()
    assert [cls() for cls in classes] == [None, None]


def test_a_pickle_has_the_name_of_the_original_class():
    layer = PlainSubclass(2, 2)
    lcat.accelerate(layer)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(layer, protocol)
        assert b"PlainSubclass" in data
        assert type(pickle.loads(data)) is type(layer)


def test_a_new_layer_of_the_class_can_be_made():
    layer = pyg.GATConv(CHANNELS, 4, heads=2)
    lcat.accelerate(layer)
    torch.manual_seed(0)
    twin = type(layer)(CHANNELS, 4, heads=2)
    torch.manual_seed(0)
    expected = pyg.GATConv(CHANNELS, 4, heads=2)
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), expected.parameters(), strict=True))


class Deep(nn.Module):
    """Layers at several depths, one of them shared."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleList([pyg.GATConv(5, 5), pyg.SGConv(5, 5), pyg.SAGEConv(5, 5), pyg.GCNConv(5, 5)])
        self.blocks = nn.ModuleDict({"a": nn.Sequential(pyg.TransformerConv(5, 5))})
        self.head = pyg.GraphConv(5, 3)

    def forward(self, x, edge_index, at=None):
        for path, layer in (*self.encoder.named_children(), ("a", self.blocks["a"][0]), ("head", self.head)):
            x = layer(x, edge_index + 100 if path == at else edge_index)
        return x


@pytest.mark.parametrize(
    ("at", "path"), [("0", "encoder.0"), ("2", "encoder.2"), ("3", "encoder.3"), ("a", "blocks.a.0"), ("head", "head")]
)
def test_errors_name_the_path_of_the_layer(at, path):
    model, x, edges = Deep(), torch.randn(4, 5), torch.tensor([[0, 1, 2], [1, 2, 3]])
    lcat.accelerate(model)
    expected = rf"in layer '{re.escape(path)}' of the accelerated model\)$"
    with pytest.raises(IndexError, match=expected):
        model(x, edges, at)
    model(x, edges)
    lcat.restore(model)
    with pytest.raises((IndexError, RuntimeError)) as caught:
        model(x, edges, at)
    assert "accelerated" not in str(caught.value)


def test_errors_of_layers_that_normalize_name_their_path():
    model, edges = Deep(), torch.tensor([[0, 1, 2], [1, 2, 300]])
    lcat.accelerate(model)
    with pytest.raises(IndexError, match=r"in layer 'encoder\.1' of the accelerated model\)$"):
        model.encoder[1](torch.randn(4, 5), edges)
    with pytest.raises(TypeError, match=r"edge_wieght.*in layer 'encoder\.1' of the accelerated model\)$"):
        model.encoder[1](torch.randn(4, 5), edges[:, :2], edge_wieght=None)


def test_a_layer_by_itself_has_no_path():
    layer = pyg.GATConv(5, 5)
    lcat.accelerate(layer)
    with pytest.raises(ValueError, match=r"in_channels=-1 to take the size of the first input$"):
        layer(torch.randn(4, 3), torch.zeros(2, 3, dtype=torch.long))
