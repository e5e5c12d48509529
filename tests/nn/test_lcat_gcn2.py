"""L-CAT with GCNII: PyG's GCN2Conv at lambda1 = 0, and the formula elsewhere."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

import lcat.nn
from lcat.nn import LCATConv, LCATGCN2Conv, LCATv2Conv, LCATv2GCN2Conv
from tests.support.compare import assert_same, assert_same_gradients, gradients
from tests.support.graphs import KINDS, edge_formats, random_edges, size_of
from tests.support.long import long

BOTH = pytest.mark.parametrize("layer_class", [LCATGCN2Conv, LCATv2GCN2Conv])
# Five nodes, one self-loop, one pair of parallel edges, one node without in-edges.
EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 0, 0], [1, 0, 3, 3, 2, 0, 1, 2]])


def _one_of(generator, *choices):
    return choices[int(torch.randint(len(choices), (1,), generator=generator))]


def _run(layer, x, x_0, edges, weight, messages=False):
    handle = layer.register_message_forward_hook(lambda *args: None) if messages else None
    out = layer(x, x_0, edges, weight)
    if handle is not None:
        handle.remove()
    inputs = {"x": x, "x_0": x_0, "weight1": layer.weight1}
    inputs |= {} if layer.weight2 is None else {"weight2": layer.weight2}
    inputs |= {} if weight is None else {"edge_weight": weight}
    return out, gradients(out, inputs)


@pytest.mark.parametrize("kind", KINDS)
@BOTH
def test_without_attention_it_is_gcnii(layer_class, kind):
    for seed in range(16):
        generator = torch.Generator().manual_seed(1000 * KINDS.index(kind) + seed)
        num_nodes, num_edges = size_of(kind, seed)
        edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
        has_parallel_loops = (edges[0] == edges[1]).sum() > edges[0][edges[0] == edges[1]].unique().numel()
        options = {
            "shared_weights": _one_of(generator, True, False),
            "normalize": _one_of(generator, True, True, False),
            "add_self_loops": _one_of(generator, True, True, False),
            "flow": _one_of(generator, "source_to_target", "target_to_source"),
        }
        if _one_of(generator, True, False):
            options |= {"theta": 0.7, "layer": int(_one_of(generator, 1, 3))}
        theirs = pyg.GCN2Conv(8, 0.3, **options).double()
        ours = layer_class(
            8, 0.3, **options, lambda1=0.0, heads=_one_of(generator, 1, 2, 4), share_values=False,
            share_weights=_one_of(generator, True, False),
        ).double()  # fmt: skip
        assert ours.load_state_dict(theirs.state_dict(), strict=False).unexpected_keys == []
        x, x_0 = (torch.randn(num_nodes, 8, generator=generator, dtype=torch.double).requires_grad_() for _ in "01")
        weight = None
        if _one_of(generator, True, False):
            weight = torch.rand(edges.shape[1], generator=generator, dtype=torch.double).requires_grad_()
        expected, expected_gradients = _run(theirs, x, x_0, edges, weight)
        for messages in (False, True):
            label = f"{kind} {seed} {options} messages={messages}"
            out, computed = _run(ours, x, x_0, edges, weight, messages)
            assert_same(out, expected, label)
            if has_parallel_loops and options["add_self_loops"] and options["normalize"]:
                computed.pop("edge_weight", None)  # PyG gives all of them the gradient of one
                expected_gradients.pop("edge_weight", None)
            assert_same_gradients(computed, expected_gradients)


@pytest.mark.parametrize("lambdas", [(1.0, 0.0), (1.0, 1.0), (None, None)], ids=["gat", "cat", "lcat"])
@pytest.mark.parametrize("share_values", [True, False])
@pytest.mark.parametrize("loop_weight", [None, 1.0, 0.5])
@BOTH
def test_formula(layer_class, loop_weight, share_values, lambdas):
    """Written down with dense matrices, and the attention of the plain layer."""
    torch.manual_seed(0)
    alpha, beta, heads = 0.3, math.log(0.5 / 2 + 1), 2
    layer = layer_class(
        8, alpha, 0.5, 2, heads=heads, loop_weight=loop_weight, share_values=share_values,
        lambda1=lambdas[0], lambda2=lambdas[1],
    ).double()  # fmt: skip
    plain_class = LCATConv if layer_class is LCATGCN2Conv else LCATv2Conv
    plain = plain_class(8, 4, heads=heads, lambda1=lambdas[0], lambda2=lambdas[1], bias=plain_class is LCATv2Conv)
    plain.double().load_state_dict(layer.state_dict(), strict=False)
    x, x_0 = torch.randn(5, 8, dtype=torch.double), torch.randn(5, 8, dtype=torch.double)
    _, (edges, attention) = plain(x, EDGES, return_attention_weights=True)

    count = torch.zeros(5, dtype=torch.double)
    for _, target in edges.t().tolist():
        count[target] += 1
    matrix = torch.zeros(heads, 5, 5, dtype=torch.double)
    for (source, target), share in zip(edges.t().tolist(), attention, strict=True):
        weight = 1.0 / (count[source] * count[target]).sqrt()
        if source == target and loop_weight is not None:
            weight = loop_weight
        matrix[:, target, source] += count[target] * share * weight
    aggregate = torch.cat([matrix[head] @ x[:, 4 * head : 4 * head + 4] for head in range(heads)], dim=1)
    mixed = (1 - alpha) * aggregate + alpha * x_0
    first = layer._maps()[0].weight if share_values else layer.weight1
    expected = (1 - beta) * mixed + beta * mixed @ first
    out, (used, factors) = layer(x, x_0, EDGES, return_attention_weights=True)
    assert_same(out, expected, "through messages")
    assert_same(layer(x, x_0, EDGES), expected, "fused")
    assert torch.equal(used, edges)
    dense = torch.zeros_like(matrix).permute(1, 2, 0).index_put((used[1], used[0]), factors, accumulate=True)
    assert_same(dense.permute(2, 0, 1), matrix, "what multiplies the features")


@BOTH
def test_every_format_of_edges(layer_class):
    torch.manual_seed(0)
    layer = layer_class(8, 0.2, 0.5, 1, heads=2).double()
    edges = EDGES.unique(dim=1).contiguous()
    x, x_0 = torch.randn(5, 8, dtype=torch.double), torch.randn(5, 8, dtype=torch.double)
    weight = torch.rand(edges.shape[1], dtype=torch.double)
    plain, weighted = layer(x, x_0, edges), layer(x, x_0, edges, weight)
    for name, (matrix, order) in edge_formats(edges, 5, 5).items():
        assert_same(layer(x, x_0, matrix), plain, name)
        assert_same(layer(x, x_0, matrix, weight[order]), weighted, f"weighted {name}")
    entries = torch.sparse_coo_tensor(edges.flip(0), weight, (5, 5)).coalesce()
    for matrix in (entries, entries.to_sparse_csr(), entries.to_sparse_csc()):
        assert_same(layer(x, x_0, matrix), weighted, f"entries of {matrix.layout}")


@pytest.mark.parametrize(
    "options",
    [{}, {"share_values": False, "shared_weights": False}, {"normalize": False}, {"edge_dim": 2, "fill_value": "add"}],
    ids=str,
)
@BOTH
def test_gradcheck(layer_class, options):
    torch.manual_seed(0)
    layer = layer_class(4, 0.2, 0.5, 2, heads=2, **options).double()
    x, x_0 = (torch.randn(5, 4, dtype=torch.double, requires_grad=True) for _ in "01")
    weight = torch.rand(8, dtype=torch.double, requires_grad=True)
    attr = torch.randn(8, 2, dtype=torch.double, requires_grad=True) if "edge_dim" in options else None
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x, x_0, weight, *rest):
        state = dict(zip(names, rest, strict=True))
        return torch.func.functional_call(layer, state, (x, x_0, EDGES, weight, attr))

    assert torch.autograd.gradcheck(run, (x, x_0, weight, *parameters), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, x_0, weight, *parameters), fast_mode=True)


@BOTH
def test_types(layer_class):
    torch.manual_seed(0)
    layer = layer_class(8, 0.2, 0.5, 2, heads=2)
    x, x_0 = torch.randn(5, 8), torch.randn(5, 8)
    exact = layer(x, x_0, EDGES)
    for dtype, close in ((torch.float64, 1e-6), (torch.float16, 5e-3), (torch.bfloat16, 5e-2)):
        out = copy.deepcopy(layer).to(dtype)(x.to(dtype), x_0.to(dtype), EDGES)
        assert out.dtype is dtype
        assert_same(out.float(), exact, str(dtype), close)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(layer(x, x_0, EDGES).float(), exact, "autocast", 5e-2)


@BOTH
def test_initial_features_may_have_more_rows(layer_class):
    layer = layer_class(8, 0.2, heads=2)
    x, x_0 = torch.randn(5, 8), torch.randn(9, 8)
    assert torch.equal(layer(x, x_0, EDGES), layer(x, x_0[:5], EDGES))


@BOTH
def test_edge_mask_of_an_explainer(layer_class):
    torch.manual_seed(0)
    layer, x, x_0 = layer_class(8, 0.2, heads=2), torch.randn(5, 8), torch.randn(5, 8)
    plain = layer(x, x_0, EDGES)
    set_masks(layer, torch.ones(8), EDGES, apply_sigmoid=False)
    assert_same(layer(x, x_0, EDGES), plain, "mask of ones", 1e-6)
    mask = torch.ones(8)
    mask[2] = 0.0  # 2 -> 3
    set_masks(layer, mask, EDGES, apply_sigmoid=False)
    masked = layer(x, x_0, EDGES)
    clear_masks(layer)
    assert (masked[3] - plain[3]).abs().max() > 1e-3
    assert_same(masked[[0, 1, 4]], plain[[0, 1, 4]], "nodes that the edge does not reach", 1e-6)


@pytest.mark.parametrize("layer_class", [LCATGCN2Conv, long(LCATv2GCN2Conv)])
def test_compile_and_export(layer_class):
    torch.manual_seed(0)
    layer, x, x_0 = layer_class(8, 0.2, 0.5, 1, heads=2).eval(), torch.randn(5, 8), torch.randn(5, 8)
    expected = layer(x, x_0, EDGES)
    assert_same(torch.compile(layer, fullgraph=True, backend="aot_eager")(x, x_0, EDGES), expected, "compiled", 1e-6)
    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    program = torch.export.export(
        layer, (x, x_0, EDGES), dynamic_shapes=({0: nodes}, {0: nodes}, {1: edges}), strict=False
    )
    assert_same(program.module()(x, x_0, EDGES), expected, "exported", 1e-6)
    more, other = torch.randn(7, 8), torch.tensor([[0, 6, 3], [6, 6, 1]])
    assert_same(program.module()(more, more, other), layer(more, more, other), "another graph", 1e-6)


@BOTH
def test_state_and_copies(layer_class):
    torch.manual_seed(0)
    layer = layer_class(8, 0.2, heads=2, shared_weights=False)
    assert "weight1" not in layer.state_dict()
    assert "weight2" in layer.state_dict()
    layer.reset_parameters()
    other = layer_class(8, 0.2, heads=2, shared_weights=False)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(5, 8)
    assert torch.equal(other(x, x, EDGES), layer(x, x, EDGES))
    assert torch.equal(copy.deepcopy(layer)(x, x, EDGES), layer(x, x, EDGES))
    assert repr(layer).startswith(f"{layer_class.__name__}(8, alpha=0.2, beta=1, heads=2, lambda1=learned(0.500)")


X = torch.randn(5, 8)
REFUSALS = [
    (lambda c: c(8, 0.1, heads=3), ValueError, "'channels' of .* is 8, which 3 heads cannot share"),
    (lambda c: c(-1, 0.1), ValueError, "'channels' of .* is -1"),
    (lambda c: c(8, "much"), ValueError, "'alpha' of .* is 'much'"),
    (lambda c: c(8, 0.1, theta=0.5), ValueError, "theta=0.5 and layer=None; pass both"),
    (lambda c: c(8, 0.1, theta=0.5, layer=0), ValueError, "'layer' of .* is 0"),
    (lambda c: c(8, 0.1, theta=-3.0, layer=2), ValueError, "'theta' of .* is -3.0"),
    (lambda c: c(8, 0.1, concat=True), TypeError, "has no argument 'concat'"),
    (lambda c: c(8, 0.1, shared_wieghts=True), TypeError, "did you mean shared_weights"),
    (lambda c: c(8, 0.1, loop_weight="one"), ValueError, "'loop_weight' of .* is 'one'"),
    (lambda c: c(8, 0.1)((X, X), X, EDGES), ValueError, "'x' of .* is a tuple; it takes one tensor"),
    (lambda c: c(8, 0.1)(X, EDGES, EDGES), ValueError, "'x_0' of .*the edges come third"),
    (lambda c: c(8, 0.1)(X, None, EDGES), TypeError, "'x_0' of .* is of type NoneType"),
    (lambda c: c(8, 0.1)(X, X[:3], EDGES), ValueError, r"'x_0' of .* has shape \[3, 8\]; .* \[5, 8\]"),
    (lambda c: c(8, 0.1)(X, X[:, :4], EDGES), ValueError, r"'x_0' of .* has shape \[5, 4\]"),
    (lambda c: c(8, 0.1)(X, X, EDGES, torch.ones(3)), ValueError, "'edge_weight' of .* has 3 rows"),
    (lambda c: c(8, 0.1).neighborhood_statistic(X, EDGES), NotImplementedError, "takes 'x_0'"),
]


@pytest.mark.parametrize(("call", "error", "match"), REFUSALS, ids=[match for _, _, match in REFUSALS])
@BOTH
def test_refusals(layer_class, call, error, match):
    with pytest.raises(error, match=match):
        call(layer_class)


def test_a_shared_map_that_was_replaced():
    layer = LCATGCN2Conv(8, 0.1)
    layer.lin = torch.nn.Sequential(layer.lin)
    with pytest.raises(ValueError, match=r"share_values=True.*replaced by one without a weight"):
        layer(X, X, EDGES)
    layer = LCATGCN2Conv(8, 0.1, share_values=False)
    expected = layer(X, X, EDGES)
    layer.lin = torch.nn.Sequential(layer.lin)
    assert_same(layer(X, X, EDGES), expected, "a map that scores only", 1e-6)
    assert lcat.LCATGCN2Conv is LCATGCN2Conv
