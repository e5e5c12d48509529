"""GCNConv, GATConv, GATv2Conv give PyG's numbers: outputs, attention and all gradients, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_geometric.nn as pyg

import lcat.nn
from tests.support.compare import assert_same, assert_same_gradients, gradients
from tests.support.graphs import KINDS, edge_formats, random_edges, size_of
from tests.support.layers import LAYERS

SEEDS = range(12)


def _one_of(generator, *choices):
    return choices[int(torch.randint(len(choices), (1,), generator=generator))]


def _attention_options(generator, version):
    options = {
        "heads": _one_of(generator, 1, 2, 3),
        "concat": _one_of(generator, True, False),
        "negative_slope": _one_of(generator, 0.2, 0.01),
        "add_self_loops": _one_of(generator, True, True, False),
        "residual": _one_of(generator, True, False),
        "bias": _one_of(generator, True, False),
        "flow": _one_of(generator, "source_to_target", "source_to_target", "target_to_source"),
        "dropout": _one_of(generator, 0.0, 0.4),
    }
    if _one_of(generator, True, False):
        options["edge_dim"] = 2
        options["fill_value"] = _one_of(generator, "mean", "add", "min", "max", "mul", 0.3, torch.tensor([0.1, -0.2]))
    if version == "v2":
        options["share_weights"] = _one_of(generator, True, False)
    return options


def _run(layer, x, edges, messages=False, **kwargs):
    """Output, attention and gradients; through messages if asked, else as the layer likes."""
    handle = layer.register_message_forward_hook(lambda *args: None) if messages else None
    torch.manual_seed(7)
    out, (edge_index, alpha) = layer(x, edges, return_attention_weights=True, **kwargs)
    torch.manual_seed(7)
    plain = layer(x, edges, **kwargs)
    if handle is not None:
        handle.remove()
    inputs = dict(layer.named_parameters())
    tensors = x if isinstance(x, tuple) else (x,)
    inputs |= {f"x{n}": t for n, t in enumerate(tensors) if t is not None}
    if "edge_attr" in kwargs and kwargs["edge_attr"] is not None:
        inputs["edge_attr"] = kwargs["edge_attr"]
    return out, plain, edge_index, alpha, gradients(plain, {k: v for k, v in inputs.items() if v.requires_grad})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_attention_layers(name, kind):
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(1000 * KINDS.index(kind) + seed)
        options = _attention_options(generator, "v2" if name == "GATv2Conv" else "v1")
        num_nodes, num_edges = size_of(kind, seed)
        edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
        theirs = getattr(pyg, name)(4, 3, **options).double()
        ours = getattr(lcat.nn, name)(4, 3, **options).double()
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(num_nodes, 4, generator=generator, dtype=torch.double, requires_grad=True)
        kwargs = {}
        if "edge_dim" in options:
            attr = torch.randn(edges.shape[1], 2, generator=generator, dtype=torch.double)
            kwargs["edge_attr"] = attr.requires_grad_()

        out, plain, edge_index, alpha, grads = _run(theirs, x, edges, **kwargs)
        for messages in (False, True):
            label = f"{name} {kind} {seed} {options} messages={messages}"
            out_, plain_, edge_index_, alpha_, grads_ = _run(ours, x, edges, messages, **kwargs)
            assert torch.equal(edge_index, edge_index_), label
            if options["dropout"] > 0.0 and messages:
                continue  # rows may be ordered otherwise, so other ones are dropped
            assert_same(alpha_, alpha, f"attention, {label}")
            assert_same(out_, out, f"output, {label}")
            if options["dropout"] == 0.0:
                assert_same(plain_, plain, f"output of the plain call, {label}")
                assert_same_gradients(grads_, grads)
        ours.eval(), theirs.eval()
        out, plain, _, _, grads = _run(theirs, x, edges, **kwargs)
        _, plain_, _, _, grads_ = _run(ours, x, edges, **kwargs)
        assert_same(plain_, plain, "output in evaluation")
        assert_same_gradients(grads_, grads)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (5, 5)])
def test_bipartite(name, sizes):
    for seed in range(16):
        generator = torch.Generator().manual_seed(seed)
        options = _attention_options(generator, "v2" if name == "GATv2Conv" else "v1")
        options |= {"flow": "source_to_target", "dropout": 0.0}
        options.pop("share_weights", None)
        if sizes[1] > sizes[0] and isinstance(options.get("fill_value"), str):
            options["fill_value"] = 0.5  # PyG's own reduction runs out of bounds there
        edges = random_edges("plain", *sizes, 12, generator)
        channels = _one_of(generator, (4, 2), 4)
        theirs = getattr(pyg, name)(channels, 3, **options).double()
        ours = getattr(lcat.nn, name)(channels, 3, **options).double()
        ours.load_state_dict(theirs.state_dict())
        widths = channels if isinstance(channels, tuple) else (channels, channels)
        x = tuple(
            torch.randn(n, w, generator=generator, dtype=torch.double).requires_grad_()
            for n, w in zip(sizes, widths, strict=True)
        )
        kwargs = {}
        if "edge_dim" in options:
            kwargs["edge_attr"] = torch.randn(edges.shape[1], 2, generator=generator, dtype=torch.double)
        for call in range(2 if name == "GATConv" else 1):
            if call == 1:  # targets without features
                x, kwargs = (x[0], None), kwargs | {"size": sizes}
            expected = _run(theirs, x, edges, **kwargs)
            for messages in (False, True):
                computed = _run(ours, x, edges, messages, **kwargs)
                assert torch.equal(expected[2], computed[2])
                for ours_, theirs_, what in zip(
                    (computed[0], computed[1], computed[3]),
                    (expected[0], expected[1], expected[3]),
                    ["out", "plain", "alpha"],
                    strict=True,
                ):
                    assert_same(ours_, theirs_, f"{what} {name} {sizes} {seed} {options}")
                assert_same_gradients(computed[4], expected[4])


def _has_parallel_loops(edges):
    loops = edges[:, edges[0] == edges[1]]
    return loops.shape[1] != loops.unique(dim=1).shape[1]


@pytest.mark.parametrize("kind", KINDS)
def test_gcn(kind):
    for seed in range(24):
        generator = torch.Generator().manual_seed(500 * KINDS.index(kind) + seed)
        normalize = _one_of(generator, True, True, False)
        options = {
            "improved": _one_of(generator, True, False),
            "normalize": normalize,
            "add_self_loops": _one_of(generator, None, False) if normalize else False,
            "bias": _one_of(generator, True, False),
            "flow": _one_of(generator, "source_to_target", "target_to_source"),
            "aggr": _one_of(generator, "add", "add", "mean", "max"),
            "cached": _one_of(generator, True, False),
            "decomposed_layers": _one_of(generator, 1, 1, 3),
        }
        num_nodes, num_edges = size_of(kind, seed)
        edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
        theirs = pyg.GCNConv(4, 3, **options).double()
        ours = lcat.nn.GCNConv(4, 3, **options).double()
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn(num_nodes, 4, generator=generator, dtype=torch.double, requires_grad=True)
        weight = torch.rand(edges.shape[1], generator=generator, dtype=torch.double).requires_grad_()
        weight = _one_of(generator, None, weight)
        inputs = {"x": x}
        if weight is not None:
            inputs["edge_weight"] = weight
        theirs_out = theirs(x, edges, weight)
        for messages in (False, True):
            layer = copy.deepcopy(ours)
            if messages:
                layer.register_message_forward_hook(lambda *args: None)
            out = layer(x, edges, weight)
            assert_same(out, theirs_out, f"GCN {kind} {seed} {options}")
            if not options["cached"]:  # cached weights keep a graph that can be used once only
                computed = gradients(out, inputs | dict(layer.named_parameters()))
                expected = gradients(theirs(x, edges, weight), inputs | dict(theirs.named_parameters()))
                if _has_parallel_loops(edges):  # PyG's gradient to parallel self-loops is wrong: test_gradcheck
                    computed.pop("edge_weight", None), expected.pop("edge_weight", None)
                assert_same_gradients(computed, expected)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "no_nodes"])
@pytest.mark.parametrize("name", LAYERS)
def test_one_answer_for_every_edge_format(name, kind):
    generator = torch.Generator().manual_seed(KINDS.index(kind))
    num_nodes, num_edges = size_of(kind, 3)
    edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
    layer = getattr(lcat.nn, name)(4, 3).double().eval()
    x = torch.randn(num_nodes, 4, generator=generator, dtype=torch.double, requires_grad=True)
    weight = torch.rand(edges.shape[1], generator=generator, dtype=torch.double) + 0.5
    inputs = {"x": x, **dict(layer.named_parameters())}
    plain, weighted = layer(x, edges), layer(x, edges, edge_weight=weight)
    grads = gradients(weighted, inputs)
    for label, (pyg_input, order) in edge_formats(edges, num_nodes, num_nodes).items():
        assert_same(layer(x, pyg_input), plain, label)
        again = layer(x, pyg_input, edge_weight=weight[order])
        if name == "GCNConv" and kind in ("loops",):
            continue  # of parallel self-loops with other weights the last counts, and formats order them differently
        assert_same(again, weighted, f"{label} with weights")
        assert_same_gradients(gradients(again, inputs), grads)


def test_gcn_reads_the_entries_of_a_matrix_as_weights():
    edges = torch.tensor([[0, 1, 2, 2, 1], [1, 2, 0, 2, 1]])
    weight = torch.tensor([0.5, 2.0, 1.5, 3.0, 0.7])
    matrix = torch.sparse_coo_tensor(edges.flip(0), weight, (3, 3))
    layer, x = lcat.nn.GCNConv(4, 2), torch.randn(3, 4)
    expected = layer(x, edges, weight)
    for pyg_input in (matrix, matrix.coalesce(), matrix.to_sparse_csr(), matrix.to_sparse_csc()):
        assert_same(layer(x, pyg_input), expected, str(pyg_input.layout), 1e-5)


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
@pytest.mark.parametrize("layout", ["coo", "csr"])
def test_attention_in_a_matrix_is_as_pyg_returns_it(name, layout):
    edges = torch.tensor([[0, 1, 2, 3, 3], [1, 2, 0, 2, 3]])
    matrix = torch.sparse_coo_tensor(edges.flip(0), torch.ones(5), (4, 4)).coalesce()
    matrix = matrix if layout == "coo" else matrix.to_sparse_csr()
    theirs = getattr(pyg, name)(4, 3, heads=2)
    ours = getattr(lcat.nn, name)(4, 3, heads=2)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(4, 4)
    out, (adj, alpha) = theirs(x, matrix, return_attention_weights=True)
    out_, (adj_, alpha_) = ours(x, matrix, return_attention_weights=True)
    assert_same(out_, out, "output", 1e-6)
    assert adj_.layout == adj.layout
    assert adj_.shape == adj.shape == (4, 4, 2)
    assert_same(adj_.to_dense(), adj.to_dense(), "matrix", 1e-6)
    if layout == "csr":
        assert_same(alpha_, alpha, "attention", 1e-6)


@pytest.mark.parametrize("name", ["GCNConv", "GATConv", "GATv2Conv"])
def test_same_seed_same_parameters_as_pyg(name):
    options = {} if name == "GCNConv" else {"heads": 2, "residual": True, "edge_dim": 3}
    torch.manual_seed(3)
    theirs = getattr(pyg, name)(8, 4, **options)
    after = torch.rand(3)
    torch.manual_seed(3)
    ours = getattr(lcat.nn, name)(8, 4, **options)
    assert torch.equal(torch.rand(3), after)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key
