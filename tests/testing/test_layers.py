"""The contract of a layer accepts a sound layer, and every clause finds a broken one."""

# ruff: noqa: RUF012 - the declarations of a suite are read, never written

from __future__ import annotations

import re
import unittest

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn as pyg
from torch_geometric import EdgeIndex

from lcat.graph import graph_view
from lcat.testing import LayerContract


class Sound(torch.nn.Module):
    """A linear map of each node plus the mean of its in-neighbors', with all that the contract knows."""

    def __init__(self, in_channels, dropout=0.0, edge_channels=0):
        super().__init__()
        self.own = torch.nn.Linear(in_channels, 4)
        self.neighbor = torch.nn.Linear(in_channels, 4, bias=False)
        self.edge = torch.nn.Linear(edge_channels, 4, bias=False) if edge_channels else None
        self.dropout = dropout

    def forward(self, x, edge_index, edge_weight=None, edge_attr=None):
        sources, targets = x if isinstance(x, tuple) else (x, x)
        self.check_x(sources)
        source, target = self.read(edge_index, sources.shape[-2], targets.shape[-2])
        messages = self.neighbor(sources).index_select(-2, source)
        if edge_attr is not None:
            messages = messages + self.edge(self.rows("edge_attr", edge_attr, source))
        if edge_weight is not None:
            messages = messages * self.rows("edge_weight", edge_weight, source)[:, None]
        messages = self.drop(messages)
        return self.finish(self.own(targets), self.mean(messages, source, target, targets.shape[-2]))

    def check_x(self, x):
        if x.shape[-1] != self.own.in_features:
            raise ValueError(f"x has {x.shape[-1]} features, expected {self.own.in_features}")

    def read(self, edge_index, num_sources, num_targets):
        graph, _ = graph_view(edge_index, num_sources, num_targets)
        return graph.source, graph.target

    def rows(self, name, tensor, source):
        if len(tensor) != len(source):
            raise ValueError(f"{name} has {len(tensor)} rows, expected {len(source)}")
        return tensor

    def drop(self, messages):
        return F.dropout(messages, self.dropout, self.training)

    def mean(self, messages, source, target, num_targets):
        count = torch.zeros(num_targets, dtype=messages.dtype).index_add(0, target, messages.new_ones(len(target)))
        total = messages.new_zeros(*messages.shape[:-2], num_targets, 4).index_add(-2, target, messages)
        return total / count.clamp(min=1)[:, None]

    def finish(self, own, mean):
        return own + mean


class SoundMessages(pyg.MessagePassing):
    """The same in PyG's way."""

    def __init__(self, in_channels, dropout=0.0):
        super().__init__(aggr="mean")
        self.linear = torch.nn.Linear(in_channels, 4)

    def forward(self, x, edge_index):
        x = self.linear(x)
        return x + self.propagate(edge_index, x=x)

    def message(self, x_j):
        return x_j


class SoundContract(LayerContract):
    kind = Sound
    out_channels = 4
    dropout = {"dropout": 0.5}
    edge_weight = {}
    edge_attr = {"edge_channels": 3}
    pairs = {}
    static = {}
    slow = True

    def layer(self, **options):
        return self.kind(self.in_channels, **options)

    def reference(self, layer, x, edge_index):
        edges = edge_index.t().tolist()
        means = []
        for node in range(len(x)):
            inputs = [x[source] for source, target in edges if target == node]
            means.append(sum(inputs) / len(inputs) if inputs else torch.zeros_like(x[0]))
        return x @ layer.own.weight.T + layer.own.bias + torch.stack(means) @ layer.neighbor.weight.T


class MessagesContract(SoundContract):
    kind = SoundMessages
    dropout = edge_weight = edge_attr = pairs = static = None

    def reference(self, layer, x, edge_index):
        return None


class TestSound(SoundContract):
    unsupported = {
        "test_message_hooks_see_messages": "is a plain module",
        "test_edges_as_sparse_tensor": "the test needs no torch-sparse",
    }


class TestSoundMessages(MessagesContract):
    slow = False
    unsupported = {
        **dict.fromkeys(["test_edges_as_coo", "test_edges_as_csr", "test_edges_as_csc"], "PyG takes their entries"),
        **dict.fromkeys(["test_edges_as_sorted_edge_index", "test_edges_as_edge_index"], "PyG takes two ways"),
        "test_edges_as_int32": "torch 2.13 differentiates scatter_add wrongly for an index of int32",
        "test_edges_as_small_integers": "PyG indexes with int32 and int64",
        **{name: "PyG's own error" for name in MessagesContract.clauses() if name.startswith("test_names_")},
    }


# Broken layers: each overrides one step of the sound one.


class Wide(Sound):
    def finish(self, own, mean):
        return torch.cat([own, mean], dim=-1)


class Doubled(Sound):
    def finish(self, own, mean):
        return 2 * (own + mean)


class Deaf(Sound):
    def finish(self, own, mean):
        return own + 0 * mean


class Numbered(Sound):
    def finish(self, own, mean):
        return own + mean + torch.arange(len(own), dtype=own.dtype)[:, None]


class LastEdgeFirst(Sound):
    def mean(self, messages, source, target, num_targets):
        scale = torch.arange(len(target), dtype=messages.dtype)[:, None]
        return super().mean(messages * scale, source, target, num_targets)


class Centered(Sound):
    def finish(self, own, mean):
        return own + mean - own.mean(dim=-2, keepdim=True)


class DividedBySize(Sound):
    def finish(self, own, mean):
        return own + mean / own.shape[-2]


class NoClamp(Sound):
    def mean(self, messages, source, target, num_targets):
        count = torch.zeros(num_targets, dtype=messages.dtype).index_add(0, target, messages.new_ones(len(target)))
        return messages.new_zeros(num_targets, 4).index_add(0, target, messages) / count[:, None]


class NeedsNodes(Sound):
    def finish(self, own, mean):
        return own + mean + 0 * own.max()


class Merged(Sound):
    def read(self, edge_index, num_sources, num_targets):
        source, target = super().read(edge_index, num_sources, num_targets)
        return torch.stack([source, target]).unique(dim=1)


class CountsLoops(Sound):
    def mean(self, messages, source, target, num_targets):
        loops = (source == target).sum()
        return super().mean(messages, source, target, num_targets) * (1 + loops)


class SpreadsNaN(Sound):
    def finish(self, own, mean):
        return own + mean + 0 * own.sum(dim=-2, keepdim=True)


class SwallowsNaN(Sound):
    def mean(self, messages, source, target, num_targets):
        return super().mean(messages.nan_to_num(), source, target, num_targets)


class RemembersTensors(Sound):
    def read(self, edge_index, num_sources, num_targets):
        if getattr(self, "edges", None) is not edge_index:
            self.edges, self.read_before = edge_index, super().read(edge_index.clone(), num_sources, num_targets)
        return self.read_before


class RemembersTheFirstGraph(Sound):
    def mean(self, messages, source, target, num_targets):
        if not hasattr(self, "scale"):
            self.scale = num_targets
        return super().mean(messages, source, target, num_targets) / self.scale


class IgnoresRows(Sound):
    def rows(self, name, tensor, source):
        return torch.ones_like(super().rows(name, tensor, source))


class RowsOfSources(Sound):
    def mean(self, messages, source, target, num_targets):
        return super().mean(messages, source, target, 6)

    def finish(self, own, mean):
        return own.new_zeros(6, 4).index_copy(0, torch.arange(len(own)), own) + mean


class MixesFeatureSets(Sound):
    def finish(self, own, mean):
        return own + mean + (own.sum(dim=0) if own.dim() == 3 else 0)


def losing(is_lost):
    """A layer that loses an edge where the edges come in one form."""

    class Loses(Sound):
        def read(self, edge_index, num_sources, num_targets):
            source, target = super().read(edge_index, num_sources, num_targets)
            return (source[:-1], target[:-1]) if is_lost(edge_index) else (source, target)

    return Loses


LosesInt32 = losing(lambda edges: edges.dtype == torch.int32)
LosesInt8 = losing(lambda edges: edges.dtype == torch.int8)
LosesStrided = losing(lambda edges: edges.layout == torch.strided and edges.stride()[0] == 1)
LosesEdgeIndex = losing(lambda edges: isinstance(edges, EdgeIndex) and not edges.is_sorted)
LosesSorted = losing(lambda edges: isinstance(edges, EdgeIndex) and edges.is_sorted_by_col)
LosesCOO = losing(lambda edges: edges.layout == torch.sparse_coo)
LosesCSR = losing(lambda edges: edges.layout == torch.sparse_csr)
LosesCSC = losing(lambda edges: edges.layout == torch.sparse_csc)


class HalfGradient(Sound):
    def finish(self, own, mean):
        return own + (mean + mean.detach()) / 2


class Unwritten(Sound):
    def mean(self, messages, source, target, num_targets):
        out = torch.empty(num_targets, 4, dtype=messages.dtype)
        for node in target.unique():
            out[node] = messages[target == node].mean(dim=0)
        return out


class WritesEdges(Sound):
    def read(self, edge_index, num_sources, num_targets):
        source, target = super().read(edge_index.clone(), num_sources, num_targets)
        edge_index.add_(1).sub_(1)
        return source, target


class WritesX(Sound):
    def check_x(self, x):
        super().check_x(x)
        x.data.clamp_(min=0)


class AlwaysDouble(Sound):
    def finish(self, own, mean):
        return (own + mean).double()


class RoughFloat32(Sound):
    def finish(self, own, mean):
        return own + (mean.half().to(mean.dtype) if mean.dtype == torch.float32 else mean)


class RoughBFloat16(Sound):
    def finish(self, own, mean):
        return own + (mean.round() if mean.dtype == torch.bfloat16 else mean)


class Counting(Sound):
    calls = 0

    def finish(self, own, mean):
        self.calls += 1
        return own + mean * (1 + 1e-14 * self.calls)


class AssumesContiguous(Sound):
    def forward(self, x, edge_index):
        return super().forward(x.as_strided(x.shape, (x.shape[1], 1)), edge_index)


class HasHiddenState(Sound):
    def __init__(self, in_channels):
        super().__init__(in_channels)
        self.secret = torch.randn(4).double()

    def finish(self, own, mean):
        return own + mean * self.secret


class SharesOnCopy(Sound):
    def __deepcopy__(self, memo):
        return self


class HoldsAFunction(Sound):
    def __init__(self, in_channels):
        super().__init__(in_channels)
        self.activation = lambda x: x


class AlwaysTraining(Sound):
    def drop(self, messages):
        return F.dropout(messages, self.dropout, training=True)


class NeverDrops(Sound):
    def drop(self, messages):
        return messages


class DropsWithoutBeingAsked(Sound):
    def drop(self, messages):
        return F.dropout(messages, 0.5, self.training)


class IgnoresTheSeed(Sound):
    generator = torch.Generator().manual_seed(0)

    def drop(self, messages):
        keep = torch.rand(messages.shape, generator=self.generator) > self.dropout
        return messages * keep if self.training else messages


class BreaksTheGraph(Sound):
    def finish(self, own, mean):
        torch._dynamo.graph_break()
        return own + mean


class FormsNoMessages(SoundMessages):
    def forward(self, x, edge_index):
        x = self.linear(x)
        return x + torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]])


class IgnoresWhatHooksReturn(SoundMessages):
    def forward(self, x, edge_index):
        x = self.linear(x)
        self.propagate(edge_index, x=x)
        return x + torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]])


class HalfMask(SoundMessages):
    # PyG would take the code that it generated for SoundMessages, which has no masks.
    propagate = pyg.MessagePassing.propagate

    def explain_message(self, inputs, dim_size):
        return inputs / 2


class IgnoresMasks(SoundMessages):
    propagate = pyg.MessagePassing.propagate

    def explain_message(self, inputs, dim_size):
        return inputs


class CutsX(Sound):
    def forward(self, x, edge_index):
        return super().forward(F.pad(x, (0, self.own.in_features - x.shape[-1])), edge_index)


class ClampsEdges(Sound):
    def read(self, edge_index, num_sources, num_targets):
        return super().read(edge_index.clamp(0, num_sources - 1), num_sources, num_targets)


class RoundsEdges(Sound):
    def read(self, edge_index, num_sources, num_targets):
        return super().read(edge_index.long(), num_sources, num_targets)


class TurnsEdges(Sound):
    def read(self, edge_index, num_sources, num_targets):
        edges = edge_index if edge_index.shape[0] == 2 else edge_index.t()
        return super().read(edges, num_sources, num_targets)


class CutsRows(Sound):
    def rows(self, name, tensor, source):
        return tensor[: len(source)]


class SaysNothing(Sound):
    def read(self, edge_index, num_sources, num_targets):
        try:
            return super().read(edge_index, num_sources, num_targets)
        except (ValueError, IndexError):
            raise ValueError("bad input") from None


BROKEN = [
    (Wide, ["test_output_has_the_declared_shape"]),
    (Doubled, ["test_equals_the_reference"]),
    (Deaf, ["test_neighbors_matter"]),
    (Numbered, ["test_nodes_may_be_renumbered", "test_disjoint_graphs_do_not_meet"]),
    (LastEdgeFirst, ["test_edges_may_come_in_any_order"]),
    (Centered, ["test_disjoint_graphs_do_not_meet", "test_isolated_nodes_change_nothing"]),
    (DividedBySize, ["test_isolated_nodes_change_nothing"]),
    (NoClamp, ["test_no_edges", "test_output_has_the_declared_shape"]),
    (NeedsNodes, ["test_no_nodes"]),
    (Merged, ["test_an_edge_that_occurs_twice_counts_twice"]),
    (CountsLoops, ["test_a_self_loop_stays_in_its_neighborhood"]),
    (SpreadsNaN, ["test_nan_stays_in_its_neighborhood"]),
    (SwallowsNaN, ["test_nan_stays_in_its_neighborhood"]),
    (RemembersTensors, ["test_edges_changed_in_place_are_seen"]),
    (RemembersTheFirstGraph, ["test_graphs_do_not_meet_in_the_layer"]),
    (IgnoresRows, ["test_edge_weights", "test_edge_features"]),
    (RowsOfSources, ["test_pairs"]),
    (MixesFeatureSets, ["test_static_graphs"]),
    (LosesInt32, ["test_edges_as_int32"]),
    (LosesInt8, ["test_edges_as_small_integers"]),
    (LosesStrided, ["test_edges_with_strides"]),
    (LosesEdgeIndex, ["test_edges_as_edge_index"]),
    (LosesSorted, ["test_edges_as_sorted_edge_index"]),
    (LosesCOO, ["test_edges_as_coo"]),
    (LosesCSR, ["test_edges_as_csr"]),
    (LosesCSC, ["test_edges_as_csc"]),
    (HalfGradient, ["test_gradients"]),
    (Unwritten, ["test_writes_all_of_its_memory"]),
    (WritesEdges, ["test_leaves_its_inputs_alone"]),
    (WritesX, ["test_leaves_its_inputs_alone"]),
    (AlwaysDouble, ["test_float32", "test_bfloat16"]),
    (RoughFloat32, ["test_float32"]),
    (RoughBFloat16, ["test_bfloat16"]),
    (Counting, ["test_repeats_bit_for_bit"]),
    (AssumesContiguous, ["test_strides_of_x_do_not_matter"]),
    (HasHiddenState, ["test_state_dict_round_trip"]),
    (SharesOnCopy, ["test_deepcopies_apart"]),
    (HoldsAFunction, ["test_pickles"]),
    (AlwaysTraining, ["test_dropout_only_in_training"]),
    (NeverDrops, ["test_dropout_only_in_training"]),
    (IgnoresTheSeed, ["test_dropout_only_in_training"]),
    (DropsWithoutBeingAsked, ["test_training_without_dropout_is_evaluation"]),
    (BreaksTheGraph, ["test_compiles_as_one_graph"]),
    (FormsNoMessages, ["test_message_hooks_see_messages"]),
    (IgnoresWhatHooksReturn, ["test_message_hooks_change_messages"]),
    (HalfMask, ["test_mask_of_ones_changes_nothing"]),
    (IgnoresMasks, ["test_a_masked_edge_is_absent"]),
    (CutsX, ["test_names_x_of_another_width"]),
    (ClampsEdges, ["test_names_edges_beyond_the_nodes", "test_names_negative_edges"]),
    (RoundsEdges, ["test_names_edges_that_are_no_integers"]),
    (TurnsEdges, ["test_names_edges_that_are_transposed"]),
    (CutsRows, ["test_names_edge_weights_of_another_length", "test_names_edge_features_of_another_length"]),
    (SaysNothing, ["test_names_negative_edges", "test_names_edges_that_are_no_integers"]),
]


@pytest.mark.parametrize(("broken", "clauses"), BROKEN)
def test_the_contract_finds_what_is_broken(broken, clauses):
    contract = MessagesContract if issubclass(broken, SoundMessages) else SoundContract
    for name in clauses:
        suite = contract()
        getattr(type("Suite", (contract,), {"kind": contract.kind})(), name)()  # the sound layer passes
        suite.kind = broken
        with pytest.raises(Exception) as caught:  # noqa: PT011 - an assertion, or what the layer itself raises
            getattr(suite, name)()
        assert not isinstance(caught.value, unittest.SkipTest)


def test_every_clause_finds_a_broken_layer():
    found_out = {name for _, clauses in BROKEN for name in clauses}
    # A layer for torch-sparse needs that package.
    assert set(LayerContract.clauses()) - found_out == {"test_edges_as_sparse_tensor"}


def test_what_does_not_apply_is_skipped_with_a_reason():
    class Suite(LayerContract):
        unsupported = {"test_edges_as_csc": "reads rows only"}

        def layer(self, **options):
            return Sound(self.in_channels)

    suite = Suite()
    for name, reason in {
        "test_edges_as_csc": "reads rows only",
        "test_dropout_only_in_training": "declares dropout = None",
        "test_static_graphs": "declares static = None",
        "test_equals_the_reference": "no reference",
        "test_message_hooks_see_messages": "Sound is no torch_geometric.nn.MessagePassing",
        "test_compiles_as_one_graph": "slow = True",
    }.items():
        with pytest.raises(unittest.SkipTest, match=reason):
            getattr(suite, name)()


def test_a_declaration_that_names_no_clause_is_refused():
    with pytest.raises(TypeError, match=r"'test_edges_as_cscc', which is no clause.*did you mean 'test_edges_as_csc'"):

        class Suite(LayerContract):
            unsupported = {"test_edges_as_cscc": "mistyped"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda out: (out, None), "expected a tensor, got tuple from Returning: .* override call"),
        (lambda out: None, "expected a tensor, got NoneType"),
        (lambda out: out.detach().float().numpy(), "expected a tensor, got ndarray"),
        (lambda out: out.sum(), r"expected one row per node, a shape \[N, F\], got \[\]"),
        (lambda out: out[:, 0], r"expected one row per node, a shape \[N, F\], got \[\d+\]"),
        (lambda out: out.argmax(dim=-1, keepdim=True), "expected floating point numbers, got torch.int64"),
    ],
)
def test_what_is_no_output_is_named_by_every_clause(wrong, message):
    class Returning(Sound):
        def forward(self, x, edge_index, **inputs):
            return wrong(super().forward(x, edge_index, **inputs))

    class Suite(SoundContract):
        kind = Returning

    for clause in Suite.clauses():
        if clause.startswith("test_names"):
            continue  # these pass before anything is returned
        with pytest.raises((AssertionError, unittest.SkipTest)) as caught:
            getattr(Suite(), clause)()
        assert caught.type is unittest.SkipTest or re.search(message, str(caught.value)), clause


def test_what_is_no_layer_is_named():
    class Suite(LayerContract):
        def layer(self, **options):
            Sound(self.in_channels, **options)

    with pytest.raises(AssertionError, match=r"expected a torch.nn.Module, got NoneType from layer"):
        Suite().test_gradients()


@pytest.mark.parametrize(
    ("name", "value"), [("edge_weight", True), ("options", None), ("unsupported", ["test_pickles"])]
)
def test_a_declaration_of_another_type_is_refused(name, value):
    with pytest.raises(TypeError, match=f"{name!r} of Suite is of type {type(value).__name__}; it takes a dict"):
        type("Suite", (LayerContract,), {name: value})


def test_a_layer_must_be_defined():
    with pytest.raises(NotImplementedError, match="override layer"):
        LayerContract().make()
