"""Steps that somebody has replaced, patched or hooked, in a subclass, a class or an instance: they run, as in PyG."""

from __future__ import annotations

import copy
import pickle
import types

import pytest
import torch
import torch_geometric.nn as pyg
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.nn.aggr import Aggregation, MaxAggregation, SumAggregation
from torch_geometric.typing import Adj, OptPairTensor, OptTensor, PairTensor  # noqa: F401 - for comments that PyG reads
from torch_geometric.utils import spmm
from torch_geometric.utils.sparse import set_sparse_value

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS

EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1], [1, 0, 3, 3, 2, 0, 1, 3]])
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
WITH_PYG = ["GCNConv", "GATConv", "GATv2Conv"]


def base_of(name, module=lcat.nn):
    return getattr(module, name)


def make(layer_class, **options):
    torch.manual_seed(1)
    options.setdefault("bias", False)
    if not issubclass(layer_class, (lcat.nn.GCNConv, pyg.GCNConv)):
        options.setdefault("heads", 2)
    return layer_class(4, 3, **options)


def derived(name, module=lcat.nn, label="", **members):
    """A subclass; PyG keys what it knows of classes and steps by their names."""
    for step, function in members.items():
        members[step] = types.FunctionType(
            function.__code__, function.__globals__, step, function.__defaults__, function.__closure__
        )
    members["__module__"] = __name__
    return type(f"{label}{name}{module.__name__.split('.')[0]}", (base_of(name, module),), members)


def matrix(layout="csr"):
    coo = torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(EDGES.shape[1]), (6, 6))
    return {"coo": coo.coalesce(), "csr": coo.to_sparse_csr(), "csc": coo.to_sparse_csc()}[layout]


def twice_propagate(self, edge_index, size=None, **kwargs):
    return 2 * super(type(self), self).propagate(edge_index, size=size, **kwargs)


def twice_update(self, inputs):
    return 2 * inputs


def twice_aggregate(self, inputs, index, ptr=None, dim_size=None):
    return 2 * super(type(self), self).aggregate(inputs, index, ptr=ptr, dim_size=dim_size)


def twice_gcn_message(self, x_j, edge_weight):
    return 2 * edge_weight.view(-1, 1) * x_j


def twice_attention_message(self, x_j, alpha):
    return 2 * alpha.unsqueeze(-1) * x_j


def twice_edge_updater(self, edge_index, size=None, **kwargs):
    return 2 * super(type(self), self).edge_updater(edge_index, size=size, **kwargs)


def twice_message(name):
    return twice_attention_message if name in ATTENTION else twice_gcn_message


class TestSubclasses:
    @pytest.mark.parametrize("step", ["propagate", "update", "aggregate", "message"])
    @pytest.mark.parametrize("name", LAYERS)
    @pytest.mark.parametrize("edges", [EDGES, matrix()], ids=["edge_index", "csr"])
    def test_a_step_of_the_subclass_runs(self, name, step, edges):
        replaced = {"message": twice_message(name), "propagate": twice_propagate, "update": twice_update}
        replaced["aggregate"] = twice_aggregate
        layer = make(derived(name, label=f"Twice{step}", **{step: replaced[step]}))
        assert_same(layer(X, edges), 2 * make(base_of(name))(X, EDGES), step, 1e-6)

    @pytest.mark.parametrize("name", ATTENTION)
    def test_an_edge_updater_of_the_subclass_runs(self, name):
        layer = make(derived(name, label="TwiceUpdater", edge_updater=twice_edge_updater))
        assert_same(layer(X, EDGES), 2 * make(base_of(name))(X, EDGES), "edge_updater", 1e-6)

    @pytest.mark.parametrize("name", LAYERS)
    def test_those_of_a_mixin_and_of_a_subclass_of_a_subclass_run(self, name):
        earlier = derived(name, label="Earlier", update=twice_update)
        mixin = type("Mixin", (), {"update": earlier.update})
        mixed = type(f"Mixed{name}", (mixin, base_of(name)), {"__module__": __name__})
        later = type(f"Later{name}", (earlier,), {"__module__": __name__})
        for layer_class in (mixed, later):
            assert_same(make(layer_class)(X, EDGES), 2 * make(base_of(name))(X, EDGES), "inherited", 1e-6)

    @pytest.mark.parametrize("name", WITH_PYG)
    def test_with_the_arguments_that_pyg_passes(self, name):
        """Steps that take what PyG's layer passes to them, by name, and nothing else."""

        def gcn(self, edge_index, x, edge_weight):
            return pyg.MessagePassing.propagate(self, edge_index, x=2 * x, edge_weight=edge_weight)

        def gat(self, edge_index, x, alpha, size):
            return pyg.MessagePassing.propagate(self, edge_index, x=x, alpha=2 * alpha, size=size)

        def gatv2(self, edge_index, x, alpha):
            return pyg.MessagePassing.propagate(self, edge_index, x=x, alpha=2 * alpha)

        propagate = {"GCNConv": gcn, "GATConv": gat, "GATv2Conv": gatv2}[name]
        ours, theirs = (make(derived(name, module, label="Named", propagate=propagate)) for module in (lcat.nn, pyg))
        assert_same(ours(X, EDGES), theirs(X, EDGES), "PyG", 1e-6)


class TestInstances:
    @pytest.mark.parametrize("step", ["propagate", "update", "aggregate", "message"])
    @pytest.mark.parametrize("name", LAYERS)
    def test_a_step_of_the_instance_runs(self, name, step):
        layer = make(base_of(name))
        plain, before = layer(X, EDGES), getattr(layer, step)
        setattr(layer, step, lambda *args, **kwargs: 2 * before(*args, **kwargs))
        assert_same(layer(X, EDGES), 2 * plain, step, 1e-6)
        delattr(layer, step)
        assert torch.equal(layer(X, EDGES), plain)

    @pytest.mark.parametrize("name", LAYERS)
    def test_a_method_bound_to_the_instance_runs(self, name):
        layer = make(base_of(name))
        plain = layer(X, EDGES)
        layer.update = types.MethodType(twice_update, layer)
        assert_same(layer(X, EDGES), 2 * plain, "bound", 1e-6)
        assert_same(copy.deepcopy(layer)(X, EDGES), 2 * plain, "copied", 1e-6)

    @pytest.mark.parametrize("name", LAYERS)
    def test_its_own_method_bound_to_it_changes_nothing(self, name, monkeypatch):
        layer = make(base_of(name))
        plain = layer(X, EDGES)
        layer.propagate = layer.propagate
        assert not layer._wants_messages()
        assert torch.equal(layer(X, EDGES), plain)

    @pytest.mark.parametrize("name", LAYERS)
    def test_edge_update_of_the_instance(self, name):
        if name not in ATTENTION:
            pytest.skip("no scores")
        layer = make(base_of(name))
        plain, before = layer(X, EDGES), layer.edge_update
        layer.edge_update = lambda **inputs: 2 * before(**inputs)
        assert_same(layer(X, EDGES), 2 * plain, "edge_update", 1e-6)


class TestPatchedClasses:
    @pytest.mark.parametrize("name", LAYERS)
    def test_a_class_patched_after_import(self, name, monkeypatch):
        layer = make(base_of(name))
        plain = layer(X, EDGES)
        with monkeypatch.context() as patch:
            patch.setattr(base_of(name), "message", twice_message(name))
            assert_same(layer(X, EDGES), 2 * plain, "patched", 1e-6)
        assert torch.equal(layer(X, EDGES), plain)

    @pytest.mark.parametrize(("step", "replacement"), [("update", twice_update), ("aggregate", None)])
    @pytest.mark.parametrize("name", LAYERS)
    def test_message_passing_patched_after_import(self, name, step, replacement, monkeypatch):
        layer = make(base_of(name))
        plain, before = layer(X, EDGES), getattr(pyg.MessagePassing, step)
        if replacement is None:

            def replacement(self, *args, **kwargs):
                return 2 * before(self, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(pyg.MessagePassing, step, replacement)
            assert_same(layer(X, EDGES), 2 * plain, "patched", 1e-6)
        assert torch.equal(layer(X, EDGES), plain)

    @pytest.mark.parametrize("name", LAYERS)
    def test_the_sum_patched_after_import(self, name, monkeypatch):
        layer, before = make(base_of(name)), SumAggregation.forward
        plain = layer(X, EDGES)
        monkeypatch.setattr(SumAggregation, "forward", lambda self, *args, **kwargs: 2 * before(self, *args, **kwargs))
        assert_same(layer(X, EDGES), 2 * plain, "patched", 1e-6)


@pytest.mark.parametrize("name", LAYERS)
class TestAggregations:
    def test_another_one_in_its_place(self, name):
        layer = make(base_of(name))
        layer.aggr_module = MaxAggregation()
        assert_same(layer(X, EDGES), make(base_of(name), aggr="max")(X, EDGES), "maximum", 1e-6)
        if name in WITH_PYG:
            theirs = make(base_of(name, pyg))
            theirs.aggr_module = MaxAggregation()
            assert_same(layer(X, EDGES), theirs(X, EDGES), "PyG", 1e-6)

    def test_a_subclass_of_the_sum(self, name):
        class Twice(SumAggregation):
            def forward(self, *args, **kwargs):
                return 2 * super().forward(*args, **kwargs)

        layer = make(base_of(name))
        plain = layer(X, EDGES)
        layer.aggr_module = Twice()
        assert_same(layer(X, EDGES), 2 * plain, "twice", 1e-6)

    def test_hooks(self, name):
        layer = make(base_of(name))
        plain, seen = layer(X, EDGES), []
        handle = layer.aggr_module.register_forward_hook(lambda module, inputs, out: 2 * out)
        assert_same(layer(X, EDGES), 2 * plain, "forward hook", 1e-6)
        handle.remove()
        handle = layer.aggr_module.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
        assert_same(layer(X, EDGES), 2 * plain, "forward pre-hook", 1e-6)
        handle.remove()
        handle = layer.aggr_module.register_full_backward_hook(lambda *_: seen.append("backward"))
        layer(X, EDGES).sum().backward()
        handle.remove()
        assert seen == ["backward"]
        assert torch.equal(layer(X, EDGES), plain)

    def test_hooks_of_all_modules(self, name):
        layer = make(base_of(name))
        plain = layer(X, EDGES)
        handle = register_module_forward_hook(
            lambda module, _, out: 2 * out if isinstance(module, Aggregation) else out
        )
        doubled = layer(X, EDGES)
        handle.remove()
        assert_same(doubled, 2 * plain, "global hook", 1e-6)

    def test_forward_of_the_instance(self, name):
        layer = make(base_of(name))
        plain, before = layer(X, EDGES), layer.aggr_module.forward
        layer.aggr_module.forward = lambda *args, **kwargs: 2 * before(*args, **kwargs)
        assert_same(layer(X, EDGES), 2 * plain, "forward", 1e-6)


class FusedGCN(lcat.nn.GCNConv):
    def message_and_aggregate(self, adj_t, x):
        return 2 * spmm(adj_t, x, reduce="sum")


class PyGFusedGCN(pyg.GCNConv):
    def message_and_aggregate(self, adj_t, x):
        return 2 * spmm(adj_t, x, reduce="sum")


def fused_attention(self, adj_t, x, alpha):
    """Twice the sum; for one head."""
    return 2 * spmm(set_sparse_value(adj_t, alpha[:, 0]), x[0][:, 0]).unsqueeze(1)


@pytest.mark.filterwarnings("ignore:Converting sparse tensor to CSR format")  # PyG's spmm, for COO
class TestMatrices:
    @pytest.mark.parametrize("layout", ["coo", "csr"])
    @pytest.mark.parametrize("options", [{}, {"normalize": False}, {"cached": True}], ids=str)
    def test_message_and_aggregate_of_gcn(self, layout, options):
        edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])  # without loops: PyG has another normalization with them
        adj = torch.sparse_coo_tensor(edges.flip(0), torch.tensor([1.0, 2.0, 0.5, 3.0]), (6, 6)).coalesce()
        adj = adj if layout == "coo" else adj.to_sparse_csr()
        ours, theirs, plain = (make(cls, **options) for cls in (FusedGCN, PyGFusedGCN, lcat.nn.GCNConv))
        for _ in range(2):
            assert_same(ours(X, adj), theirs(X, adj), "PyG", 1e-6)
            assert_same(ours(X, adj), 2 * plain(X, adj), "twice", 1e-6)
        assert_same(make(FusedGCN, **options)(X, edges), make(lcat.nn.GCNConv, **options)(X, edges), "edge_index", 1e-6)

    def test_message_and_aggregate_of_an_instance_and_of_a_patched_class(self, monkeypatch):
        layer = make(lcat.nn.GCNConv)
        plain = layer(X, matrix())
        layer.message_and_aggregate = lambda adj_t, x: 2 * spmm(adj_t, x)
        assert_same(layer(X, matrix()), 2 * plain, "instance", 1e-6)
        del layer.message_and_aggregate
        monkeypatch.setattr(lcat.nn.GCNConv, "message_and_aggregate", FusedGCN.message_and_aggregate)
        assert_same(layer(X, matrix()), 2 * plain, "class", 1e-6)

    @pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
    @pytest.mark.parametrize("name", ATTENTION)
    def test_message_and_aggregate_of_attention(self, name, layout):
        layer = make(derived(name, label=f"Fused{layout}", message_and_aggregate=fused_attention), heads=1)
        plain = make(base_of(name), heads=1)
        out, (_, alpha) = layer(X, matrix(layout), return_attention_weights=True)
        assert_same(layer(X, EDGES), plain(X, EDGES), "edge_index", 1e-6)
        expected, (_, alpha_) = plain(X, matrix(layout), return_attention_weights=True)
        assert_same(out, 2 * expected, "matrix", 1e-6)
        assert_same(layer(X, matrix(layout)), 2 * expected, "matrix, without attention", 1e-6)
        assert_same(alpha, alpha_, "attention", 1e-6)

    def test_hooks_where_a_list_of_aggregations_came_first(self):
        """PyG generates the code of a class for its first instance; here, all instances are alike."""
        make(lcat.nn.GCNConv, aggr=["add", "max"])
        layer = make(lcat.nn.GCNConv)
        plain = layer(X, matrix())
        layer.register_message_and_aggregate_forward_hook(lambda module, inputs, out: 2 * out)
        assert_same(layer(X, matrix()), 2 * plain, "hook", 1e-6)

    def test_without_fusing(self):
        layer = make(FusedGCN)
        layer.fuse = False
        assert_same(layer(X, matrix()), make(lcat.nn.GCNConv)(X, matrix()), "fuse = False", 1e-6)


class GatedGCN(lcat.nn.GCNConv):
    def forward(self, x, edge_index, gate):
        # propagate_type: (x: Tensor, gate: Tensor)
        return self.propagate(edge_index, x=self.lin(x), gate=gate)

    def message(self, x_j, gate):
        return gate.view(-1, 1) * x_j


class PyGGatedGCN(pyg.GCNConv):
    def forward(self, x, edge_index, gate):
        # propagate_type: (x: Tensor, gate: Tensor)
        return self.propagate(edge_index, x=self.lin(x), gate=gate)

    def message(self, x_j, gate):
        return gate.view(-1, 1) * x_j


class PyGGatedGAT(pyg.GATConv):
    """A GAT whose score has one more term, and its messages one more factor."""

    def forward(self, x, edge_index, gate):
        h = self.lin(x).view(-1, self.heads, self.out_channels)
        scores = (h * self.att_src).sum(-1), (h * self.att_dst).sum(-1)
        # edge_updater_type: (alpha: OptPairTensor, gate: Tensor)
        alpha = self.edge_updater(edge_index, alpha=scores, gate=gate)
        # propagate_type: (x: OptPairTensor, alpha: Tensor, gate: Tensor)
        return self.propagate(edge_index, x=(h, h), alpha=alpha, gate=gate).flatten(1)

    def edge_update(self, alpha_j, alpha_i, gate):
        return alpha_i + alpha_j + gate.view(-1, 1)

    def message(self, x_j, alpha, gate):
        return (gate.view(-1, 1) * alpha).unsqueeze(-1) * x_j


class PyGGatedGATv2(pyg.GATv2Conv):
    def forward(self, x, edge_index, gate):
        h = self.lin_l(x).view(-1, self.heads, self.out_channels)
        # edge_updater_type: (x: PairTensor, gate: Tensor)
        alpha = self.edge_updater(edge_index, x=(h, h), gate=gate)
        # propagate_type: (x: PairTensor, alpha: Tensor, gate: Tensor)
        return self.propagate(edge_index, x=(h, h), alpha=alpha, gate=gate).flatten(1)

    def edge_update(self, x_j, x_i, gate):
        return (x_i + x_j).sum(-1) + gate.view(-1, 1)

    message = PyGGatedGAT.message


class TestMoreArguments:
    def test_gcn(self):
        gate = torch.rand(EDGES.shape[1])
        assert_same(make(GatedGCN)(X, EDGES, gate), make(PyGGatedGCN)(X, EDGES, gate), "PyG", 1e-6)

    @pytest.mark.parametrize("name", ATTENTION)
    def test_attention(self, name):
        gate = torch.rand(EDGES.shape[1])
        reference = PyGGatedGATv2 if "v2" in name else PyGGatedGAT
        steps = {step: reference.__dict__[step] for step in ("forward", "edge_update", "message")}
        ours, theirs = make(derived(name, label="Gated", **steps)), make(reference)
        theirs.load_state_dict(ours.state_dict(), strict=False)
        assert_same(ours(X, EDGES, gate), theirs(X, EDGES, gate), "PyG", 1e-6)


class Scaled(lcat.nn.GCNConv):
    def message(self, x_j: Tensor, edge_weight: OptTensor, x_i: Tensor) -> Tensor:
        assert edge_weight is not None
        return edge_weight.view(-1, 1) * (x_j - x_i)


class ScriptableGate(lcat.nn.GCNConv):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        # propagate_type: (x: Tensor, gate: Tensor)
        return self.propagate(edge_index, x=self.lin(x), gate=x.sum(1, keepdim=True))

    def message(self, x_j: Tensor, gate_j: Tensor) -> Tensor:
        return gate_j * x_j


class Scriptable(torch.nn.Module):
    def __init__(self, layer_class):
        super().__init__()
        self.conv = make(layer_class)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index).relu()


@pytest.mark.parametrize("layer_class", [lcat.nn.GCNConv, Scaled, ScriptableGate])
def test_a_model_is_scripted_and_stays_as_it_was(layer_class):
    model = Scriptable(layer_class)
    expected = model(X, EDGES)
    assert_same(torch.jit.script(model)(X, EDGES), expected, "scripted", 1e-6)
    for again in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(X, EDGES), expected)
        assert type(again.conv) is layer_class
        set_masks(again, torch.zeros(EDGES.shape[1]), EDGES, apply_sigmoid=False)
        assert not torch.allclose(again(X, EDGES), expected)
        clear_masks(again)


class TestExplainers:
    """The mask of an explainer reaches a layer in whatever order its classes were used."""

    @pytest.mark.parametrize("used_first", [True, False])
    @pytest.mark.parametrize("name", LAYERS)
    def test_through_a_propagate_of_the_subclass(self, name, used_first):
        layer_class = derived(name, label=f"Masked{used_first}", propagate=twice_propagate)
        if used_first:
            make(base_of(name))(X, EDGES)
        layer = make(layer_class, add_self_loops=False)
        set_masks(layer, torch.zeros(EDGES.shape[1]), EDGES, apply_sigmoid=False)
        assert not layer(X, EDGES).any()
        clear_masks(layer)
        assert_same(layer(X, EDGES), 2 * make(base_of(name), add_self_loops=False)(X, EDGES), "afterwards", 1e-6)

    @pytest.mark.parametrize("name", LAYERS)
    def test_a_layer_is_as_before_when_it_was_explained(self, name):
        layer = make(base_of(name))
        plain, attributes = layer(X, EDGES), set(layer.__dict__)
        set_masks(layer, torch.zeros(EDGES.shape[1]), EDGES, apply_sigmoid=False)
        layer(X, EDGES)
        clear_masks(layer)
        assert not layer._wants_messages()
        assert set(layer.__dict__) == attributes
        assert torch.equal(layer(X, EDGES), plain)
