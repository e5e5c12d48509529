"""TransformerConv against PyG's: outputs and all gradients in float64, formats of edges, messages, wrong arguments."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import torch_geometric.nn as pyg
from torch_geometric import EdgeIndex

import lcat.nn
from lcat.nn import TransformerConv
from lcat.ops import native_status, use_implementation
from tests.support.compare import assert_same, assert_same_gradients, gradients
from tests.support.graphs import KINDS, edge_formats, random_edges, size_of

SEEDS = range(12)
native = pytest.mark.skipif(native_status().instruction_set is None, reason="no compiled kernels")


def _one_of(generator, *choices):
    return choices[int(torch.randint(len(choices), (1,), generator=generator))]


def _options(generator):
    options = {
        "heads": _one_of(generator, 1, 2, 3, 8),
        "concat": _one_of(generator, True, False),
        "beta": _one_of(generator, True, False),
        "bias": _one_of(generator, True, False),
        "root_weight": _one_of(generator, True, True, False),
        "flow": _one_of(generator, "source_to_target", "source_to_target", "target_to_source"),
    }
    if _one_of(generator, True, False):
        options["edge_dim"] = _one_of(generator, 1, 2, 16, 30)
    return options


def _pair(channels, width, **options):
    theirs = pyg.TransformerConv(channels, width, **options).double()
    ours = TransformerConv(channels, width, **options).double()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def _features(options, count, generator):
    if "edge_dim" not in options:
        return None
    return torch.randn(count, options["edge_dim"], generator=generator, dtype=torch.double).requires_grad_()


def _run(layer, x, edges, edge_attr=None):
    out = layer(x, edges, edge_attr)
    inputs = dict(layer.named_parameters())
    inputs |= {f"x{n}": t for n, t in enumerate(x if isinstance(x, tuple) else (x,))}
    if edge_attr is not None:
        inputs["edge_attr"] = edge_attr
    return out, gradients(out, inputs)


@pytest.mark.parametrize("implementation", [pytest.param("native", marks=native), "naive"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_gradients_are_pygs(kind, implementation):
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(1000 * KINDS.index(kind) + seed)
        options = _options(generator)
        num_nodes, num_edges = size_of(kind, seed)
        edges = random_edges(kind, num_nodes, num_nodes, num_edges, generator)
        ours, theirs = _pair(4, 3, **options)
        x = torch.randn(num_nodes, 4, generator=generator, dtype=torch.double, requires_grad=True)
        attr = _features(options, edges.shape[1], generator)
        expected, expected_gradients = _run(theirs, x, edges, attr)
        with use_implementation(implementation):
            assert not ours._wants_messages()
            out, out_gradients = _run(ours, x, edges, attr)
        assert_same(out, expected, f"{kind} {seed} {options}")
        assert_same_gradients(out_gradients, expected_gradients)
        handle = ours.register_message_forward_hook(lambda *args: None)
        out, out_gradients = _run(ours, x, edges, attr)
        handle.remove()
        assert_same(out, expected, f"by messages, {kind} {seed} {options}")
        assert_same_gradients(out_gradients, expected_gradients)


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (5, 5)])
def test_bipartite(sizes):
    for seed in range(16):
        generator = torch.Generator().manual_seed(seed)
        options = _options(generator)
        edges = random_edges("plain", *sizes, 12, generator)
        edges = edges if options["flow"] == "source_to_target" else edges.flip(0)
        channels = _one_of(generator, (4, 2), 4)
        ours, theirs = _pair(channels, 3, **options)
        widths = channels if isinstance(channels, tuple) else (channels, channels)
        x = tuple(
            torch.randn(n, w, generator=generator, dtype=torch.double).requires_grad_()
            for n, w in zip(sizes, widths, strict=True)
        )
        attr = _features(options, edges.shape[1], generator)
        (out, out_gradients), (expected, expected_gradients) = _run(ours, x, edges, attr), _run(theirs, x, edges, attr)
        assert_same(out, expected, f"{sizes} {seed} {options}")
        assert_same_gradients(out_gradients, expected_gradients)


WIDE, MANY = 300, 600


@pytest.mark.parametrize(
    "options",
    [{}, {"beta": True}, {"concat": False}, {"root_weight": False}, {"bias": False, "edge_dim": 2}],
    ids=lambda options: "-".join(options) or "plain",
)
@pytest.mark.parametrize("share", [0.02, 1.0], ids=["sparse", "dense"])
@pytest.mark.parametrize("both", [False, True], ids=["one", "pair"])
def test_wide_features_are_mapped_together(both, share, options):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = _pair((WIDE, WIDE) if both else WIDE, 4, heads=2, **options)
    rows = torch.randn(MANY, WIDE, generator=generator, dtype=torch.double)
    rows = rows * (torch.rand(MANY, WIDE, generator=generator) < share)
    x = rows.requires_grad_() if share == 1.0 else rows
    edges = random_edges("plain", MANY, MANY, 2000, generator)
    features = (x, rows.detach().flip(0).requires_grad_()) if both else x
    attr = _features(options, edges.shape[1], generator)
    results = []
    for layer in (ours, theirs):
        out = layer(features, edges, attr)
        tensors = [t for t in (*layer.parameters(), *(features if both else (x,))) if t.requires_grad]
        # Without root_weight, PyG has a map that it does not use.
        results.append(
            (out, torch.autograd.grad(out.square().sum(), tensors, allow_unused=True, materialize_grads=True))
        )
    assert_same(*(out for out, _ in results), "out", 1e-10)
    for mine, reference in zip(results[0][1], results[1][1], strict=True):
        assert_same(mine, reference, "gradient", 1e-10)


def test_a_map_that_somebody_watches_is_called():
    ours, theirs = _pair(WIDE, 4, heads=2)
    x, edges = torch.randn(MANY, WIDE, dtype=torch.double), torch.tensor([[0, 1], [1, 2]])
    seen = []
    ours.lin_value.register_forward_hook(lambda module, inputs, out: seen.append(out.shape))
    assert_same(ours(x, edges), theirs(x, edges), "out", 1e-10)
    assert seen == [(MANY, 8)]
    ours.lin_query = torch.nn.utils.parametrizations.weight_norm(ours.lin_query)
    assert_same(ours(x, edges), theirs(x, edges), "out", 1e-10)


@pytest.mark.filterwarnings("ignore:Sparse CS. tensor support is in beta state")
@pytest.mark.parametrize("edge_dim", [None, 2])
@pytest.mark.parametrize("kind", ["plain", "duplicates", "loops", "isolated", "no_edges"])
def test_every_format_of_edges(kind, edge_dim):
    generator = torch.Generator().manual_seed(3)
    edges = random_edges(kind, 7, 5, 14, generator)
    ours, theirs = _pair((4, 2), 3, heads=2, edge_dim=edge_dim)
    x = torch.randn(7, 4, generator=generator).double(), torch.randn(5, 2, generator=generator).double()
    attr = None if edge_dim is None else torch.randn(edges.shape[1], 2, generator=generator).double()
    expected = theirs(x, edges, attr)
    for name, (other, order) in edge_formats(edges, 7, 5).items():
        if "no_size" in name and edges.numel() == 0:
            continue
        assert_same(ours(x, other, None if attr is None else attr[order]), expected, name)


def test_entries_of_a_matrix_are_edge_features():
    generator = torch.Generator().manual_seed(0)
    edges = torch.tensor([[0, 1, 2, 3, 1], [0, 0, 1, 2, 3]])  # by target, as a coalesced matrix has them
    ours, theirs = _pair(4, 3, edge_dim=2)
    x, attr = torch.randn(4, 4, generator=generator).double(), torch.randn(5, 2, generator=generator).double()
    matrix = torch.sparse_coo_tensor(edges.flip(0), attr, (4, 4, 2)).coalesce()
    assert_same(ours(x, matrix), theirs(x, edges, attr), "entries")
    assert_same(ours(x, matrix), theirs(x, matrix), "as PyG")


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("edge_dim", [None, 3])
def test_attention_weights(flag, edge_dim):
    generator = torch.Generator().manual_seed(0)
    edges = random_edges("loops", 6, 6, 14, generator)
    ours, theirs = _pair(4, 3, heads=2, edge_dim=edge_dim)
    x = torch.randn(6, 4, generator=generator).double()
    attr = None if edge_dim is None else torch.randn(edges.shape[1], 3, generator=generator).double()
    out, (edge_index, alpha) = ours(x, edges, attr, return_attention_weights=flag)
    expected, (_, expected_alpha) = theirs(x, edges, attr, return_attention_weights=flag)
    assert torch.equal(edge_index, edges)
    assert_same(out, expected, "output")
    assert_same(alpha, expected_alpha, "attention")
    assert_same(ours(x, edges, attr), expected, "without")
    assert ours._alpha is None


@pytest.mark.parametrize("aggr", ["mean", "max", "softmax", ["add", "mean"]])
def test_other_aggregations_run_by_messages(aggr):
    edges = random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0))
    width = 2 if isinstance(aggr, list) else 1
    if width == 2:
        with pytest.raises((RuntimeError, ValueError)):  # PyG cannot tell the heads of two results apart
            TransformerConv(4, 3, heads=2, aggr=aggr, concat=False)(torch.randn(6, 4), edges)
        return
    ours, theirs = _pair(4, 3, heads=2, aggr=aggr)
    x = torch.randn(6, 4).double()
    assert ours._wants_messages()
    assert_same(ours(x, edges), theirs(x, edges), aggr)


def test_a_subclass_with_another_message():
    class Doubled(TransformerConv):
        def message(self, query_i, key_j, value_j, edge_attr, index, ptr, size_i):
            return 2 * super().message(query_i, key_j, value_j, edge_attr, index, ptr, size_i)

    edges, x = random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0)), torch.randn(6, 4).double()
    plain = TransformerConv(4, 3, root_weight=False).double()
    doubled = Doubled(4, 3, root_weight=False).double()
    doubled.load_state_dict(plain.state_dict())
    assert_same(doubled(x, edges), 2 * plain(x, edges), "output")


def test_an_edge_map_that_is_not_plain():
    edges, x = random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0)), torch.randn(6, 4).double()
    ours, theirs = _pair(4, 3, heads=2, edge_dim=2)
    attr = torch.randn(edges.shape[1], 2).double()
    for layer in (ours, theirs):
        torch.manual_seed(0)
        layer.lin_edge = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.ReLU(), torch.nn.Linear(5, 6)).double()
    assert_same(ours(x, edges, attr), theirs(x, edges, attr), "another map")


@native
@pytest.mark.parametrize("edge_dim", [None, 2, 20])
def test_dropout_draws_one_mask_for_both_passes(edge_dim):
    edges = random_edges("hub", 6, 6, 14, torch.Generator().manual_seed(0))
    layer = TransformerConv(4, 3, heads=2, dropout=0.4, edge_dim=edge_dim).double()
    x = torch.randn(6, 4).double().requires_grad_()
    inputs = (x,) if edge_dim is None else (x, torch.randn(edges.shape[1], edge_dim).double().requires_grad_())

    def run(x, attr=None):
        torch.manual_seed(5)
        return layer(x, edges, attr)

    assert torch.autograd.gradcheck(run, inputs)
    assert not torch.equal(run(*inputs), layer(*inputs[:1], edges, *inputs[1:]))
    layer.eval()
    theirs = pyg.TransformerConv(4, 3, heads=2, dropout=0.4, edge_dim=edge_dim).double().eval()
    theirs.load_state_dict(layer.state_dict())
    assert_same(run(*inputs), theirs(inputs[0], edges, *inputs[1:]), "evaluation")


def test_gradients_of_both_orders():
    edges = random_edges("duplicates", 4, 4, 7, torch.Generator().manual_seed(0))
    layer = TransformerConv(3, 2, heads=2, beta=True, edge_dim=2).double()
    inputs = torch.randn(4, 3).double().requires_grad_(), torch.randn(edges.shape[1], 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, attr: layer(x, edges, attr), inputs)
    assert torch.autograd.gradgradcheck(lambda x, attr: layer(x, edges, attr), inputs)


@native
@pytest.mark.parametrize("edge_dim", [None, 16, 24])
def test_nothing_of_all_heads_per_edge_is_kept(edge_dim):
    edges = random_edges("plain", 20, 20, 3_000, torch.Generator().manual_seed(0))
    layer = TransformerConv(4, 16, heads=4, edge_dim=edge_dim)
    attr = None if edge_dim is None else torch.randn(3_000, edge_dim)
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        layer(torch.randn(20, 4, requires_grad=True), edges, attr)
    assert max(sizes) <= 3_000 * (edge_dim or 1)


def test_in_place_activations_do_not_hit_what_is_kept():
    edges, x = random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0)), torch.randn(6, 4).double()
    layer = TransformerConv(4, 3, root_weight=False).double()
    expected = torch.autograd.grad(layer(x, edges).relu().sum(), list(layer.parameters())[:4])
    computed = torch.autograd.grad(layer(x, edges).relu_().sum(), list(layer.parameters())[:4])
    for ours, theirs in zip(computed, expected, strict=True):
        assert_same(ours, theirs, "gradient")


def test_lazy_sizes():
    edges = random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0))
    layer = TransformerConv((-1, -1), 3, heads=2, edge_dim=-1)
    x, attr = (torch.randn(6, 5), torch.randn(6, 4)), torch.randn(edges.shape[1], 7)
    first = layer(x, edges, attr)
    assert layer.lin_edge.weight.shape == (6, 7)
    assert not layer._wants_messages()
    assert layer._maps_edges_plainly()
    torch.testing.assert_close(layer(x, edges, attr), first)


def test_it_is_pygs_layer():
    layer = TransformerConv(4, 3, heads=2)
    assert isinstance(layer, pyg.TransformerConv)
    assert repr(layer) == "TransformerConv(4, 3, heads=2)"
    torch.manual_seed(0)
    ours = TransformerConv(4, 3, heads=2, edge_dim=2, beta=True)
    torch.manual_seed(0)
    theirs = pyg.TransformerConv(4, 3, heads=2, edge_dim=2, beta=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    edges, x = torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.randn(3, 4)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x, edges), layer(x, edges))


def test_explainers_see_messages():
    from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

    edges, x = random_edges("loops", 6, 6, 14, torch.Generator().manual_seed(0)), torch.randn(6, 4).double()
    ours, theirs = _pair(4, 3, heads=2)
    plain = ours(x, edges)
    for layer in (ours, theirs):
        set_masks(layer, torch.nn.Parameter(torch.linspace(-1, 1, edges.shape[1]).double()), edges)
    assert_same(ours(x, edges), theirs(x, edges), "masked")
    clear_masks(ours)
    assert not ours._wants_messages()
    assert_same(ours(x, edges), plain, "afterwards")


@pytest.mark.parametrize("edge_dim", [None, 3])
def test_compiles_whole(edge_dim):
    torch._dynamo.reset()
    layer = TransformerConv(4, 3, heads=2, edge_dim=edge_dim, beta=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for size in (6, 9):
        edges = random_edges("plain", size, size, 3 * size, torch.Generator().manual_seed(size))
        x = torch.randn(size, 4, requires_grad=True)
        attr = None if edge_dim is None else torch.randn(edges.shape[1], 3)
        torch.testing.assert_close(compiled(x, edges, attr), layer(x, edges, attr))
        (traced,) = torch.autograd.grad(compiled(x, edges, attr).square().sum(), x)
        (plain,) = torch.autograd.grad(layer(x, edges, attr).square().sum(), x)
        torch.testing.assert_close(traced, plain)


def test_transforms():
    edges, x = random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0)), torch.randn(2, 6, 4).double()
    layer = TransformerConv(4, 3, heads=2).double()
    stacked = torch.vmap(lambda x: layer(x, edges))(x)
    for one, features in zip(stacked, x, strict=True):
        assert_same(one, layer(features, edges), "vmap")


def test_half_precision_and_autocast():
    edges, x = random_edges("plain", 6, 6, 14, torch.Generator().manual_seed(0)), torch.randn(6, 4)
    layer, attr = TransformerConv(4, 3, heads=2, edge_dim=2), torch.randn(14, 2)
    expected = layer(x, edges, attr)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(x, edges, attr).float(), expected, rtol=0.05, atol=0.05)
    out = layer.bfloat16()(x.bfloat16(), edges, attr.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"heads": 0}, "'heads' of TransformerConv is 0; it takes an int of at least 1"),
        ({"dropout": 1.5}, "'dropout' of TransformerConv is 1.5; it takes a probability"),
        ({"edge_dim": -2}, "'edge_dim' of TransformerConv is -2"),
        ({"beta": "yes"}, "'beta' of TransformerConv is 'yes'; it takes True or False"),
        ({"flow": "to"}, "Expected 'flow' of TransformerConv"),
        ({"node_dim": -2}, "'node_dim' of TransformerConv takes 0 only"),
        ({"aggr": "ad"}, "'aggr' of TransformerConv is 'ad'"),
    ],
)
def test_wrong_arguments(options, match):
    with pytest.raises((TypeError, ValueError), match=match):
        TransformerConv(4, 3, **options)


def test_an_unknown_keyword_is_named():
    with pytest.raises(TypeError, match=r"^TransformerConv has no argument 'head' \(did you mean heads\?\)"):
        TransformerConv(4, 3, head=2)


EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda layer: layer(torch.randn(3, 5), EDGES), "'x' of TransformerConv has 5 features per node"),
        (lambda layer: layer(torch.randn(2, 3, 4), EDGES), r"'x' of TransformerConv has shape \[2, 3, 4\]"),
        (lambda layer: layer((torch.randn(3, 4), None), EDGES), r"'x\[1\]' of TransformerConv is None"),
        (lambda layer: layer((torch.randn(3, 4),), EDGES), "'x' of TransformerConv is a tuple of 1"),
        (lambda layer: layer(torch.ones(3, 4).long(), EDGES), "'x' of TransformerConv has dtype torch.int64"),
        (lambda layer: layer([1.0], EDGES), "'x' of TransformerConv is a tuple of 1"),
        (lambda layer: layer(torch.randn(3, 4), EDGES, torch.randn(3, 2)), "got 'edge_attr' of shape .*edge_dim=None"),
        (lambda layer: layer(EDGES, torch.randn(3, 4)), "are swapped"),
        (lambda layer: layer(torch.randn(2, 4), EDGES), "2"),
        (lambda layer: layer(torch.randn(3, 4), EDGES.float()), "edge_index"),
    ],
)
def test_wrong_calls(call, match):
    with pytest.raises((TypeError, ValueError, IndexError), match=match):
        call(TransformerConv(4, 3))


@pytest.mark.parametrize(
    ("attr", "match"),
    [
        (None, "'edge_attr' of TransformerConv is missing"),
        (torch.randn(3, 3), "'edge_attr' of TransformerConv has 3 features per edge"),
        (torch.randn(2, 2), "'edge_attr' of TransformerConv has 2 rows"),
        (torch.ones(3, 2).long(), "'edge_attr' of TransformerConv has dtype torch.int64"),
        ([1.0], "'edge_attr' of TransformerConv is of type list"),
    ],
)
def test_wrong_edge_features(attr, match):
    with pytest.raises((TypeError, ValueError), match=match):
        TransformerConv(4, 3, edge_dim=2)(torch.randn(3, 4), EDGES, attr)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda layer: setattr(layer, "lin_value", None), "'lin_value' of TransformerConv is None"),
        (lambda layer: setattr(layer, "lin_skip", pyg.Linear(4, 5)), "'lin_skip' of TransformerConv has shape"),
    ],
)
def test_a_layer_that_was_changed_says_so(change, match):
    layer = TransformerConv(4, 3, heads=2)
    change(layer)
    with pytest.raises(ValueError, match=match):
        layer(torch.randn(3, 4), EDGES)


def test_one_feature_per_edge_may_be_a_vector():
    layer, x, attr = TransformerConv(4, 3, edge_dim=1), torch.randn(3, 4), torch.randn(3)
    torch.testing.assert_close(layer(x, EDGES, attr), layer(x, EDGES, attr.view(-1, 1)))


def test_edge_index_of_pyg_with_cached_orders():
    edges = EdgeIndex(EDGES[:, torch.argsort(EDGES[1])], sparse_size=(3, 3), sort_order="col").fill_cache_()
    layer, x = TransformerConv(4, 3), torch.randn(3, 4)
    torch.testing.assert_close(layer(x, edges), layer(x, edges.as_tensor()))


def test_it_is_in_the_package():
    assert lcat.TransformerConv is lcat.nn.TransformerConv
