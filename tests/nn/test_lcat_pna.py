"""L-CAT with PNA: PyG's PNAConv at lambda1 = 0, and the formula elsewhere."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.data import Data
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks
from torch_geometric.loader import DataLoader
from torch_geometric.nn.aggr import MedianAggregation

from lcat.nn import LCATConv, LCATPNAConv, LCATv2Conv, LCATv2PNAConv
from tests.support.compare import assert_same, assert_same_gradients, gradients
from tests.support.graphs import KINDS, edge_formats, random_edges, size_of
from tests.support.long import long

BOTH = pytest.mark.parametrize("layer_class", [LCATPNAConv, LCATv2PNAConv])
AGGREGATORS = ["sum", "mean", "min", "max", "var", "std"]
SCALERS = ["identity", "amplification", "attenuation", "linear", "inverse_linear"]
DEG = torch.tensor([1, 3, 2, 1])
EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 0, 0], [1, 0, 3, 3, 2, 0, 1, 2]])


def make(layer_class, *args, **options):
    torch.manual_seed(1)
    args = args or (8, 6, AGGREGATORS, ["identity", "amplification"], DEG)
    options.setdefault("heads", 2)
    return layer_class(*args, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("heads", [1, 2])
@BOTH
def test_without_attention_it_is_pna(layer_class, heads, kind):
    """PyG's PNAConv, whose network of messages takes the source as it is, on the values."""
    for seed in range(6):
        generator = torch.Generator().manual_seed(1000 * KINDS.index(kind) + seed)
        num_nodes, num_edges = size_of(kind, seed)
        edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
        options = {"post_layers": 1 + seed % 3, "act": "tanh" if seed % 2 else "relu", "train_norm": bool(seed % 2)}
        args = (8, 6, AGGREGATORS, SCALERS, DEG)
        torch.manual_seed(seed)
        theirs = pyg.PNAConv(*args, towers=heads, divide_input=True, **options).double()
        ours = layer_class(*args, heads=heads, towers=heads, lambda1=0.0, share_values=False, **options).double()
        width = 8 // heads
        with torch.no_grad():
            for network in theirs.pre_nns:
                network[0].weight.copy_(torch.cat([torch.zeros(width, width), torch.eye(width)], dim=1))
                network[0].bias.zero_()
        state = {name.replace("lin.", "lin_out."): value for name, value in theirs.state_dict().items()}
        state = {name: value for name, value in state.items() if not name.startswith("pre_nns")}
        assert ours.load_state_dict(state, strict=False).unexpected_keys == []
        x = torch.randn(num_nodes, 8, generator=generator, dtype=torch.double).requires_grad_()
        expected, out = theirs(ours.lin_value(x), edges), ours(x, edges)
        assert_same(out, expected, f"{kind} {seed}")
        pairs = [(ours.lin_out, theirs.lin), *zip(ours.post_nns, theirs.post_nns, strict=True)]
        named = [
            {"x": x, "value": ours.lin_value.weight}
            | {f"{n} {name}": p for n, pair in enumerate(pairs) for name, p in pair[side].named_parameters()}
            for side in (0, 1)
        ]
        assert_same_gradients(gradients(out, named[0]), gradients(expected, named[1]))


@pytest.mark.parametrize("lambdas", [(1.0, 0.0), (1.0, 1.0), (None, None)], ids=["gat", "cat", "lcat"])
@pytest.mark.parametrize("share_values", [True, False])
@BOTH
def test_formula(layer_class, share_values, lambdas):
    """Written down node by node, with the attention of the plain layer."""
    layer = make(layer_class, lambda1=lambdas[0], lambda2=lambdas[1], share_values=share_values).double()
    plain_class = LCATConv if layer_class is LCATPNAConv else LCATv2Conv
    options = {"lambda1": lambdas[0], "lambda2": lambdas[1], "share_values": share_values}
    plain = plain_class(8, 4, heads=2, add_self_loops=False, **options).double()
    plain.load_state_dict(layer.state_dict(), strict=False)
    x, weight = torch.randn(5, 8, dtype=torch.double), torch.rand(8, dtype=torch.double)
    _, (_, attention) = plain(x, EDGES, return_attention_weights=True)
    values = (layer._maps()[0] if share_values else layer.lin_value)(x).view(5, 2, 4)

    log_average = float((torch.arange(4) + 1.0).log() @ DEG.float() / DEG.sum())
    rows = []
    for node in range(5):
        edges = (EDGES[1] == node).nonzero().flatten()
        degree = len(edges)
        aggregates = torch.zeros(2, 6 * 4, dtype=torch.double)
        if degree:
            factors = (degree * attention[edges] * weight[edges, None]).unsqueeze(-1)
            messages = factors * values[EDGES[0, edges]]
            mean, variance = messages.mean(0), messages.var(0, correction=0)
            deviation = variance.sqrt().masked_fill(variance <= 1e-5, 0.0)
            extremes = (messages.amin(0), messages.amax(0))
            aggregates = torch.cat([messages.sum(0), mean, *extremes, variance, deviation], dim=-1)
        scaled = aggregates * torch.tensor(degree + 1.0).double().log() / log_average
        rows.append(torch.cat([values[node], aggregates, scaled], dim=-1).flatten())
    expected = layer.lin_out(layer.post_nns[0](torch.stack(rows)))
    out, (edges, alpha) = layer(x, EDGES, edge_weight=weight, return_attention_weights=True)
    assert_same(out, expected, "output", 1e-6)  # average degrees are float32
    assert torch.equal(edges, EDGES)
    degrees = EDGES[1].bincount(minlength=5)[EDGES[1]]
    assert_same(alpha, degrees[:, None] * weight[:, None] * attention, "what multiplies the values")


@BOTH
def test_every_format_of_edges(layer_class):
    layer, edges = make(layer_class).double(), EDGES.unique(dim=1).contiguous()
    x, weight = torch.randn(5, 8, dtype=torch.double), torch.rand(edges.shape[1], dtype=torch.double)
    plain, weighted = layer(x, edges), layer(x, edges, edge_weight=weight)
    for name, (matrix, order) in edge_formats(edges, 5, 5).items():
        assert_same(layer(x, matrix), plain, name)
        assert_same(layer(x, matrix, edge_weight=weight[order]), weighted, f"weighted {name}")


@BOTH
def test_flow_static_graphs_and_pairs(layer_class):
    layer = make(layer_class).double()
    x = torch.randn(2, 5, 8, dtype=torch.double)
    assert_same(layer(x, EDGES), torch.stack([layer(part, EDGES) for part in x]), "feature sets")
    reverse = make(layer_class, flow="target_to_source").double()
    assert_same(reverse(x[0], EDGES.flip(0)), layer(x[0], EDGES), "flow")
    # In a bipartite graph a source is not averaged; with lambda2 = 0 nothing is.
    layer = make(layer_class, lambda2=0.0).double()
    sources, targets = torch.randn(6, 8, dtype=torch.double), torch.randn(4, 8, dtype=torch.double)
    edges = torch.tensor([[0, 5, 2, 3], [1, 1, 3, 0]])
    joint = layer(torch.cat([targets, sources]), torch.stack([edges[0] + 4, edges[1]]))
    assert_same(layer((sources, targets), edges), joint[:4], "bipartite")
    assert layer((sources, None), edges, size=(6, 4)).shape == (4, 6)


@pytest.mark.parametrize(
    "options",
    [{}, {"share_values": False, "towers": 2}, {"edge_dim": 2, "add_self_loops": True}, {"train_norm": True}],
    ids=str,
)
@BOTH
def test_gradcheck(layer_class, options):
    layer = make(layer_class, 4, 4, ["sum", "mean", "min", "max", "var"], SCALERS, DEG, **options).double()
    x = torch.randn(5, 4, dtype=torch.double, requires_grad=True)
    edges = EDGES.unique(dim=1)
    weight = torch.rand(edges.shape[1], dtype=torch.double, requires_grad=True)
    attr = torch.randn(edges.shape[1], 2, dtype=torch.double) if "edge_dim" in options else None
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def run(x, weight, *rest):
        kwargs = {"edge_weight": weight, "edge_attr": attr}
        return torch.func.functional_call(layer, dict(zip(names, rest, strict=True)), (x, edges), kwargs)

    assert torch.autograd.gradcheck(run, (x, weight, *parameters), fast_mode=True)


@BOTH
def test_lazy_channels(layer_class):
    layer = make(layer_class, -1, 6, ["mean", "max"], ["identity"], DEG, head_channels=3)
    x = torch.randn(5, 11)
    assert layer(x, EDGES).shape == (5, 6)
    same = make(layer_class, 11, 6, ["mean", "max"], ["identity"], DEG, head_channels=3)
    same.load_state_dict(layer.state_dict())
    assert torch.equal(same(x, EDGES), layer(x, EDGES))


@BOTH
def test_types(layer_class):
    layer, x = make(layer_class), torch.randn(5, 8)
    exact = layer(x, EDGES)
    for dtype, close in ((torch.float64, 1e-5), (torch.bfloat16, 6e-2)):
        out = copy.deepcopy(layer).to(dtype)(x.to(dtype), EDGES)
        assert out.dtype is dtype
        assert_same(out.float(), exact, str(dtype), close)


@BOTH
def test_edge_mask_of_an_explainer(layer_class):
    layer, x = make(layer_class), torch.randn(5, 8)
    plain = layer(x, EDGES)
    set_masks(layer, torch.ones(8), EDGES, apply_sigmoid=False)
    assert_same(layer(x, EDGES), plain, "mask of ones", 1e-6)
    mask = torch.ones(8)
    mask[2] = 0.0  # 2 -> 3
    set_masks(layer, mask, EDGES, apply_sigmoid=False)
    masked = layer(x, EDGES)
    clear_masks(layer)
    assert (masked[3] - plain[3]).abs().max() > 1e-3
    assert_same(masked[[0, 1, 4]], plain[[0, 1, 4]], "nodes that the edge does not reach", 1e-6)


@pytest.mark.parametrize("layer_class", [long(LCATPNAConv), LCATv2PNAConv])
def test_compile_and_export(layer_class):
    layer, x = make(layer_class).eval(), torch.randn(5, 8)
    expected = layer(x, EDGES)
    assert_same(torch.compile(layer, fullgraph=True, backend="aot_eager")(x, EDGES), expected, "compiled", 1e-6)
    nodes, edges = torch.export.Dim("nodes", min=2), torch.export.Dim("edges", min=2)
    program = torch.export.export(layer, (x, EDGES), dynamic_shapes=({0: nodes}, {1: edges}), strict=False)
    assert_same(program.module()(x, EDGES), expected, "exported", 1e-6)
    more, other = torch.randn(7, 8), torch.tensor([[0, 6, 3], [6, 6, 1]])
    assert_same(program.module()(more, other), layer(more, other), "another graph", 1e-6)


@BOTH
def test_state_and_copies(layer_class):
    layer = make(layer_class, towers=2)
    keys = set(layer.state_dict())
    assert {"aggr_module.avg_deg_lin", "aggr_module.avg_deg_log", "post_nns.1.0.weight", "lin_out.bias"} <= keys
    assert "bias" not in keys
    layer.reset_parameters()
    other = make(layer_class, towers=2)
    other.load_state_dict(layer.state_dict())
    x = torch.randn(5, 8)
    assert torch.equal(other(x, EDGES), layer(x, EDGES))
    assert torch.equal(copy.deepcopy(layer)(x, EDGES), layer(x, EDGES))
    assert repr(layer).startswith(f"{layer_class.__name__}(8, 6, heads=2, towers=2, edge_dim=None, lambda1=learned(")


@BOTH
def test_histogram_and_aggregations_of_pyg(layer_class):
    loader = DataLoader([Data(edge_index=EDGES, num_nodes=5), Data(edge_index=EDGES[:, :2], num_nodes=2)])
    deg = layer_class.get_degree_histogram(loader)
    assert deg.tolist() == [1, 2, 4]
    layer = make(layer_class, 8, 6, [MedianAggregation(), "max"], ["linear"], deg)
    assert torch.isfinite(layer(torch.randn(5, 8), EDGES)).all()


X = torch.randn(5, 8)
REFUSALS = [
    (lambda c: c(8, 6, ["mean"], ["identity"], DEG, heads=3), ValueError, "8, which 3 heads cannot share.*head_chan"),
    (lambda c: c(-1, 6, ["mean"], ["identity"], DEG), ValueError, "'in_channels' of .* is -1.*head_channels"),
    (lambda c: c((8, 8), 6, ["mean"], ["identity"], DEG), ValueError, r"'in_channels' of .* is \(8, 8\)"),
    (lambda c: c(8, 6, ["maen"], ["identity"], DEG), ValueError, r"'aggregators' of .* is \['maen'\].*Could not"),
    (lambda c: c(8, 6, "mean", ["identity"], DEG), ValueError, "'aggregators' of .* is 'mean'; it takes a list"),
    (lambda c: c(8, 6, ["mean"], ["identiy"], DEG), ValueError, "'identiy'.*did you mean .?identity"),
    (lambda c: c(8, 6, ["mean"], [], DEG), ValueError, r"'scalers' of .* is \[\]"),
    (lambda c: c(8, 6, ["mean"], ["identity"], [1, 2]), ValueError, "'deg' of .* is of type list; .*histogram"),
    (lambda c: c(8, 6, ["mean"], ["identity"], torch.tensor([5, 0])), ValueError, r"'deg' of .* is \[5, 0\]"),
    (lambda c: c(8, 6, ["mean"], ["identity"], DEG, heads=2, towers=3), ValueError, "'heads' of .* 2, which 3 towers"),
    (lambda c: c(8, 6, ["mean"], ["identity"], DEG, heads=4, towers=4), ValueError, "'out_channels' .* 6, which 4"),
    (lambda c: c(8, 6, ["mean"], ["identity"], DEG, aggr="max"), TypeError, "has no argument 'aggr'"),
    (lambda c: c(8, 6, ["mean"], ["identity"], DEG, pre_layers=2), TypeError, "did you mean post_layers"),
    (lambda c: c(8, 6, ["mean"], ["identity"], DEG)(X[:, :4], EDGES), ValueError, "'x' of .* has 4 features"),
]


@pytest.mark.parametrize(("call", "error", "match"), REFUSALS, ids=[match for _, _, match in REFUSALS])
@BOTH
def test_refusals(layer_class, call, error, match):
    with pytest.raises(error, match=match):
        call(layer_class)
