"""separate_self, symmetric_norm and edge_dropout: against formulas, in every way in which layers are used."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

import lcat.nn
import lcat.ops
from lcat.graph import graph_view
from lcat.nn import GATConv, GATv2Conv, GCNConv, LCATConv, models
from lcat.ops import draw_kept_edges, use_implementation
from lcat.train import LayerStep, layerwise_inference
from tests.support.compare import assert_same, assert_same_gradients, gradients
from tests.support.graphs import KINDS, random_edges, size_of
from tests.support.layers import ATTENTION, MODELS
from tests.support.long import quick_or_long
from tests.support.oracle import attention_layer

OPTIONS = {
    "separate": {"separate_self": True},
    "symmetric": {"symmetric_norm": True},
    "dropped": {"edge_dropout": 0.4},
    "all": {"separate_self": True, "symmetric_norm": True, "edge_dropout": 0.4},
}
EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1, 2, 2], [1, 0, 3, 3, 2, 0, 1, 3, 4, 5]])
IMPLEMENTATIONS = ["native", "naive"]


@pytest.fixture
def x():
    return torch.randn(6, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_()


def make(name, seed=0, **options):
    torch.manual_seed(seed)
    layer = getattr(lcat.nn, name)(8, 3, heads=2, **options).double()
    with torch.no_grad():
        layer.bias.normal_()
    return layer


def drawn(layer, seed, num_sources, num_targets, edges):
    """The edges that a call with this seed of the global generator leaves."""
    if layer.edge_dropout == 0:
        return None
    torch.manual_seed(seed)
    graph, _ = graph_view(edges, num_sources, num_targets)
    if layer.add_self_loops:
        graph = graph.with_self_loops(min(num_sources, num_targets))
    return draw_kept_edges(graph, layer.edge_dropout).tolist()


def parameters(layer, scalars=True, **inputs):
    return inputs | {name: each for name, each in layer.named_parameters() if scalars or "raw" not in name}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no_nodes"])
@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("name", ATTENTION)
def test_formula(name, case, kind):
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        options = {"add_self_loops": seed % 2 == 0, "concat": seed < 2, "residual": seed == 3}
        layer = make(name, seed, **options, **OPTIONS[case])
        num_nodes, num_edges = size_of(kind, seed)
        edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
        x = torch.randn(num_nodes, 8, dtype=torch.double, generator=generator).requires_grad_()
        weight = torch.rand(edges.shape[1], dtype=torch.double, generator=generator) + 0.1
        kwargs = {"edge_weight": weight.requires_grad_()} if seed % 2 else {}
        keep = drawn(layer, seed, num_nodes, num_nodes, edges)
        expected = attention_layer(layer, x, edges, keep=keep, **kwargs)
        inputs, actual = parameters(layer, scalars=False, x=x, **kwargs), {}
        wanted = gradients(expected, inputs)
        for implementation in IMPLEMENTATIONS:
            with use_implementation(implementation):
                torch.manual_seed(seed)
                out = layer(x, edges, **kwargs)
            assert_same(out, expected, f"output of {implementation}")
            actual[implementation] = gradients(out, parameters(layer, x=x, **kwargs))
            assert_same_gradients({key: actual[implementation][key] for key in inputs}, wanted)
        assert_same_gradients(actual["native"], actual["naive"])


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("add_self_loops", [True, False])
def test_formula_in_bipartite_graphs(name, case, add_self_loops):
    generator = torch.Generator().manual_seed(3)
    layer = make(name, add_self_loops=add_self_loops, concat=False, **OPTIONS[case])
    layer = type(layer)((5, 7), 3, heads=2, add_self_loops=add_self_loops, **OPTIONS[case]).double()
    x = [torch.randn(n, width, dtype=torch.double, generator=generator) for n, width in ((6, 5), (4, 7))]
    edges = torch.stack([torch.randint(n, (15,), generator=generator) for n in (6, 4)])
    keep = drawn(layer, 1, 6, 4, edges)
    expected = attention_layer(layer, tuple(x), edges, keep=keep)
    torch.manual_seed(1)
    out = layer(tuple(x), edges)
    inputs = parameters(layer, scalars=False)
    assert_same(out, expected, "output")
    assert_same_gradients(gradients(out, inputs), gradients(expected, inputs))


@pytest.mark.parametrize("name", ATTENTION)
def test_off_is_as_before(name, x):
    layer, plain = make(name, separate_self=False, symmetric_norm=False, edge_dropout=0.0), make(name)
    assert list(layer.state_dict()) == list(plain.state_dict())
    assert not any("mix" in key for key in plain.state_dict())
    assert_same(layer(x, EDGES), plain(x, EDGES), "output", 0.0)
    assert plain.lin_mix is None


@pytest.mark.parametrize("name", ATTENTION)
def test_evaluation_drops_no_edge(name, x):
    layer, plain = make(name, edge_dropout=0.9), make(name)
    assert_same(layer.eval()(x, EDGES), plain.eval()(x, EDGES), "output", 0.0)
    state = torch.get_rng_state()
    layer(x, EDGES)
    assert torch.equal(torch.get_rng_state(), state)
    layer.train()
    assert float((layer(x, EDGES) - plain(x, EDGES)).abs().max()) > 0.01


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("name", ATTENTION)
def test_by_messages(name, case, x):
    """Hooks, returned attention and an explainer's mask of ones see the same numbers, gradients included."""
    layer = make(name, dropout=0.0, **OPTIONS[case])
    inputs = parameters(layer, x=x)

    def run(**kwargs):
        torch.manual_seed(5)
        return layer(x, EDGES, **kwargs)

    fused = run()
    returned, (edge_index, alpha) = run(return_attention_weights=True)
    assert_same(returned, fused, "output with attention")
    assert_same_gradients(gradients(returned, inputs), gradients(fused, inputs))
    if layer.edge_dropout:
        keep = torch.tensor(drawn(layer, 5, 6, 6, EDGES))
        assert not keep.all()
        assert bool((alpha[~keep] == 0).all())
        if not layer.symmetric_norm:
            total = torch.zeros(6, 2, dtype=torch.double).index_add(0, edge_index[1], alpha.detach())
            assert bool(((total - 1).abs().lt(1e-12) | total.eq(0)).all())  # what stays sums to 1
    seen = []
    hook = layer.register_message_forward_hook(lambda module, args, out: seen.append(out.shape))
    assert_same(run(), fused, "output with a hook")
    hook.remove()
    assert seen == [(9 + 6, 2, 3)]
    set_masks(layer, torch.full((EDGES.shape[1],), 100.0, dtype=torch.double), EDGES)
    if "CAT" not in name or name.startswith("CAT"):
        assert_same(run(), fused, "output under a mask")
    clear_masks(layer)


def test_dropped_edges_have_no_part_in_the_softmax():
    """One of two in-edges dropped: the other has all the attention, whatever its score."""
    layer = GATConv(1, 1, add_self_loops=False, edge_dropout=0.5, bias=False)
    x, edges = torch.tensor([[1.0], [50.0], [0.0]]), torch.tensor([[0, 1], [2, 2]])
    values = layer.lin(x).flatten().tolist()
    results = {round(float(layer(x, edges)[2]), 4) for _ in range(60)}
    mean_of_both = round(float(layer.eval()(x, edges)[2]), 4)
    assert results == {0.0, round(values[0], 4), round(values[1], 4), mean_of_both}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_probability_one_drops_all(dropout, x):
    layer = make("GATConv", edge_dropout=1.0, dropout=dropout)
    out = layer(x, EDGES)
    assert_same(out, layer.bias.expand(6, 6), "output", 0.0)
    out.sum().backward()
    assert float(x.grad.abs().max()) == 0


@pytest.mark.parametrize("name", ["GATConv", "LCATv2Conv"])
def test_beside_attention_dropout(name, x):
    layer = make(name, dropout=0.5, edge_dropout=0.3)
    torch.manual_seed(3)
    first = layer(x, EDGES)
    torch.manual_seed(3)
    assert_same(layer(x, EDGES), first, "output", 0.0)
    assert float((layer(x, EDGES) - first).abs().max()) > 0.01


@pytest.mark.parametrize("v2", [False, True])
def test_a_mean_becomes_gcn(v2, x):
    """lambda1 = 0 with symmetric normalization, at the weights of a GCN: GCN, directed graphs included."""
    gcn = GCNConv(8, 3).double()
    layer = (lcat.nn.LCATv2Conv if v2 else LCATConv)(8, 3, lambda1=0.0, symmetric_norm=True).double()
    source = layer.lin_l if v2 else layer.lin
    source.weight = gcn.lin.weight
    if v2:
        torch.nn.init.zeros_(source.bias)
    assert_same(layer(x, EDGES), gcn(x, EDGES), "output")


@pytest.mark.parametrize("name", ATTENTION)
def test_static_graphs_and_edge_formats(name, x):
    layer = make(name, separate_self=True, symmetric_norm=True)
    sets = torch.stack([x.detach(), 2 * x.detach()])
    assert_same(layer(sets, EDGES), torch.stack([layer(one, EDGES) for one in sets]), "feature sets")
    matrix = torch.sparse_coo_tensor(EDGES.flip(0), torch.ones(EDGES.shape[1]).double(), (6, 6)).coalesce()
    assert_same(layer(x, matrix.to_sparse_csr()), layer(x, EDGES), "matrix")
    drops = make(name, edge_dropout=0.5)
    torch.manual_seed(2)
    both = drops(sets, EDGES)
    torch.manual_seed(2)
    assert_same(drops(sets[1], EDGES), both[1], "the second feature set")


@pytest.mark.parametrize("name", ATTENTION)
def test_lazy_sizes_pickles_and_reset(name, x):
    layer = getattr(lcat.nn, name)(-1, 3, heads=2, separate_self=True, edge_dropout=0.5).double()
    layer(x, EDGES)
    copied = pickle.loads(pickle.dumps(layer))
    assert copied.separate_self
    assert copied.edge_dropout == 0.5
    assert_same(copied.eval()(x, EDGES), layer.eval()(x, EDGES), "output", 0.0)
    before = layer.lin_mix.weight.clone()
    layer.reset_parameters()
    assert not torch.equal(before, layer.lin_mix.weight)
    assert layer.lin_mix.weight.shape == (6, 12)


@pytest.mark.parametrize("name", ATTENTION)
def test_layers_pickled_before_there_were_these_options(name, x):
    layer = make(name)
    expected = layer(x, EDGES)
    for option in ("separate_self", "symmetric_norm", "edge_dropout", "lin_mix"):
        del layer.__dict__[option]
    assert_same(layer(x, EDGES), expected, "output", 0.0)
    layer.reset_parameters()


# One option alone on each layer, all of them together on the last one.
QUICK_COMPILED = [("GATConv", "dropped"), ("GATv2Conv", "symmetric"), ("LCATConv", "separate"), ("LCATv2Conv", "all")]


@pytest.mark.parametrize(
    ("name", "case"), quick_or_long([(name, case) for name, _ in QUICK_COMPILED for case in OPTIONS], QUICK_COMPILED)
)
def test_compiled(name, case, x):
    torch._dynamo.reset()
    edges = EDGES[:, EDGES[0] != EDGES[1]]  # else a trace numbers the edges that are left in another way
    layer = make(name, **OPTIONS[case])
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    inputs = parameters(layer, x=x)
    torch.manual_seed(4)
    expected = layer(x, edges)
    torch.manual_seed(4)
    out = compiled(x, edges)
    assert_same(out, expected, "output")
    assert_same_gradients(gradients(out, inputs), gradients(expected, inputs))
    layer.eval()
    assert_same(compiled(x, EDGES), layer(x, EDGES), "output in evaluation")


@pytest.mark.parametrize("name", ATTENTION)
def test_exported(name, x):
    layer = make(name, **OPTIONS["all"]).eval()
    program = torch.export.export(layer, (x.detach(), EDGES), strict=False)
    assert_same(program.module()(x.detach(), EDGES), layer(x, EDGES), "output")


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("name", ["GATConv", "LCATv2Conv"])
def test_double_backward(name, case, x):
    layer = make(name, **OPTIONS[case])

    def function(features):
        torch.manual_seed(6)
        return layer(features, EDGES)

    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("name", ["GATConv", "LCATv2Conv"])
def test_other_types(name, dtype, x):
    layer = make(name, separate_self=True, symmetric_norm=True)
    expected = layer(x, EDGES)
    out = layer.to(dtype)(x.to(dtype), EDGES)
    assert out.dtype == dtype
    assert_same(out.double(), expected, "output", 0.05 if dtype.itemsize == 2 else 1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_models_pass_them_on(name):
    options = OPTIONS["all"]
    model = getattr(models, name)
    if name == "GCN":
        with pytest.raises(TypeError, match="separate_self"):
            model(8, 6, 2, out_channels=3, **options)
        return
    made = model(8, 6, 2, out_channels=3, heads=2, **options)
    assert all(conv.separate_self and conv.symmetric_norm and conv.edge_dropout == 0.4 for conv in made.convs)
    assert made(torch.randn(6, 8), EDGES).shape == (6, 3)


@pytest.mark.parametrize("option", [{"separate_self": "yes"}, {"symmetric_norm": 2}, {"edge_dropout": 1.5}])
@pytest.mark.parametrize("name", ATTENTION)
def test_bad_values(name, option):
    (key,) = option
    with pytest.raises(ValueError, match=f"'{key}' of {name} is "):
        getattr(lcat.nn, name)(8, 3, **option)
    with pytest.raises(TypeError, match=r"'seperate_self' \(did you mean separate_self\?\)"):
        getattr(lcat.nn, name)(8, 3, seperate_self=True)


def test_a_step_of_ones_own_that_cannot_drop_edges(x):
    class Own(GATv2Conv):
        def edge_update(self, x_j, x_i, edge_attr, index, ptr, dim_size):
            return super().edge_update(x_j, x_i, edge_attr, index, ptr, dim_size)

    layer = Own(8, 3, edge_dropout=0.5).double()
    with pytest.raises(ValueError, match="takes no argument 'keep'"):
        layer(x, EDGES)
    assert layer.eval()(x, EDGES).shape == (6, 3)


def test_maps_that_were_replaced(x):
    layer = make("GATConv", separate_self=True)
    layer.lin_mix = torch.nn.Linear(12, 5).double()
    with pytest.raises(ValueError, match=r"'lin_mix' of GATConv returned shape \[6, 5\]; expected \[6, 6\]"):
        layer(x, EDGES)
    layer.lin_mix = None
    with pytest.raises(ValueError, match="'lin_mix' of GATConv is None"):
        layer(x, EDGES)
    layer.lin_mix = pyg.MLP([12, 9, 6], norm=None).double()
    assert layer(x, EDGES).shape == (6, 6)


@pytest.mark.parametrize("name", ATTENTION)
def test_degrees_are_missing_in_blocks(name, x):
    layer = getattr(lcat.nn, name)(8, 3, symmetric_norm=True).double()
    model = torch.nn.Module()
    model.layer_steps = lambda: [LayerStep(layer)]
    with pytest.raises(ValueError, match="symmetric_norm=True cannot be computed block by block"):
        layerwise_inference(model, x.detach(), EDGES)
    if "CAT" in name:
        statistic = layer.neighborhood_statistic(x, EDGES)
        with pytest.raises(ValueError, match="symmetric_norm=True takes no 'statistic'"):
            layer(x, EDGES, statistic=statistic)


@pytest.mark.parametrize("name", ATTENTION)
def test_traced_and_transformed(name, x):
    layer = make(name, **OPTIONS["all"])
    vmapped = torch.func.vmap(lambda one: layer(one, EDGES), randomness="same")(torch.stack([x, x]))
    assert_same(vmapped[0], vmapped[1], "two copies", 1e-12)
    layer.eval()
    traced = torch.jit.trace(layer, (x, EDGES), check_trace=False)
    assert_same(traced(x, EDGES), layer(x, EDGES), "traced")
    vmapped = torch.func.vmap(lambda one: layer(one, EDGES))(torch.stack([x, 2 * x]))
    assert_same(vmapped[1], layer(2 * x, EDGES), "vmap")
