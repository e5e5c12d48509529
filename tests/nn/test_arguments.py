"""Arguments as users pass them: numbers of NumPy, misspelt keywords, sizes that the first input decides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch_geometric.nn as pyg

import lcat.nn
from lcat.nn import GATConv, GATv2Conv, GCNConv, LCATConv, LCATv2Conv, models
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS, MODELS

EDGES = torch.tensor([[0, 1, 2, 1], [1, 2, 0, 0]])
X = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
LABELS = np.array([0, 2, 1])


@pytest.mark.parametrize("name", LAYERS)
def test_numbers_of_numpy(name):
    layer = getattr(lcat.nn, name)
    options, plain = {}, {}
    if name in ATTENTION:
        options = {"heads": np.int64(2), "dropout": np.float32(0.5), "edge_dim": np.int32(2),
                   "negative_slope": np.float64(0.25), "fill_value": np.float32(0.5)}  # fmt: skip
        plain = {"heads": 2, "dropout": 0.5, "edge_dim": 2, "negative_slope": 0.25, "fill_value": 0.5}
    if "CAT" in name:
        options |= {"lambda1": np.float32(0.5), "lambda2": np.int64(1), "lambda1_init": np.float64(0.25)}
        plain |= {"lambda1": 0.5, "lambda2": 1, "lambda1_init": 0.25}
    torch.manual_seed(0)
    ours = layer(np.int64(8), LABELS.max() + 1, **options)
    torch.manual_seed(0)
    theirs = layer(8, 3, **plain)
    assert str(ours) == str(theirs)
    assert_same(ours.eval()(X, EDGES), theirs.eval()(X, EDGES), "output", 0.0)
    assert all(type(value) in (int, float) for key, value in vars(ours).items() if key in {"in_channels", *plain})


def test_pairs_and_tensors_as_sizes():
    pair = LCATConv([np.int64(8), np.int32(5)], torch.tensor(4), add_self_loops=False)
    assert pair.in_channels == (8, 5)
    assert pair((X, torch.randn(3, 5)), EDGES).shape == (3, 4)
    assert GATv2Conv((-1, np.int64(-1)), 4, add_self_loops=False)((X, torch.randn(3, 5)), EDGES).shape == (3, 4)


@pytest.mark.parametrize("name", MODELS)
def test_models_take_numbers_of_numpy(name):
    heads = {} if name == "GCN" else {"heads": np.int64(2)}
    model = getattr(models, name)(
        np.int64(8), np.int64(16), np.int64(2), out_channels=LABELS.max() + 1, dropout=np.float32(0.5), **heads
    )
    assert model.eval()(X, EDGES).shape == (3, 3)


@pytest.mark.parametrize("value", [True, np.bool_(True), torch.tensor(True), 2.0, np.float32(2.0), "2", None])
@pytest.mark.parametrize("argument", ["out_channels", "heads", "in_channels"])
def test_what_is_no_size(argument, value):
    arguments = {"in_channels": 8, "out_channels": 4, argument: value}
    with pytest.raises(ValueError, match=rf"'{argument}' of LCATConv is "):
        LCATConv(**arguments)
    if argument != "heads":
        with pytest.raises(ValueError, match=rf"'{argument}' of GCNConv is "):
            GCNConv(**arguments)


@pytest.mark.parametrize("value", [True, np.bool_(True), "0.1", None, 1.5, np.float32(-0.1), float("nan")])
def test_what_is_no_rate(value):
    with pytest.raises(ValueError, match="'dropout' of GATConv is "):
        GATConv(8, 4, dropout=value)
    with pytest.raises(ValueError, match="'dropout' of GCN is "):
        models.GCN(8, 4, 2, dropout=value)


MISSPELT = [
    (lambda: LCATConv(8, 4, lambda_1=0.3), "LCATConv has no argument 'lambda_1' .did you mean lambda1"),
    (lambda: LCATv2Conv(8, 4, heds=2), "LCATv2Conv has no argument 'heds' .did you mean heads"),
    (lambda: lcat.nn.CATConv(8, 4, share_value=True), "CATConv has no argument 'share_value' .did you mean share_val"),
    (lambda: lcat.nn.CATv2Conv(8, 4, droput=0.1), "CATv2Conv has no argument 'droput' .did you mean dropout"),
    (lambda: GATConv(8, 4, agr="mean"), "GATConv has no argument 'agr' .did you mean aggr"),
    (lambda: GATv2Conv(8, 4, lambda1=1.0), "GATv2Conv has no argument 'lambda1'; its arguments are in_channels"),
    (lambda: GCNConv(8, 4, normalise=True), "GCNConv has no argument 'normalise' .did you mean normalize"),
    (lambda: models.LCAT(8, 4, 2, out_chanels=2), "LCAT has no argument 'out_chanels' .did you mean out_channels"),
    (lambda: models.GCN(8, 4, 2, heads=2), "GCN has no argument 'heads'"),
    (lambda: models.GAT(8, 4, 2, v2=True, head=2), "GAT has no argument 'head' .did you mean heads"),
]


@pytest.mark.parametrize(("make", "match"), MISSPELT)
def test_misspelt_keywords_are_named(make, match):
    with pytest.raises(TypeError, match=match) as caught:
        make()
    assert "MessagePassing" not in str(caught.value)


class Own(LCATConv):
    """A user's layer with an argument of its own."""

    def __init__(self, *arguments, temperature=1.0, **keywords):
        super().__init__(*arguments, **keywords)
        self.temperature = temperature


def test_the_arguments_of_a_subclass_are_known():
    assert Own(8, 4, temperature=2.0, heads=2).temperature == 2.0
    with pytest.raises(TypeError, match=r"Own has no argument 'temperatur' .did you mean temperature"):
        Own(8, 4, temperatur=2.0)


class OwnModel(models.GCN):
    """A user's model that passes layers an option of its own."""

    def init_conv(self, in_channels, out_channels, *, gain, **keywords):
        layer = super().init_conv(in_channels, out_channels, **keywords)
        layer.gain = gain
        return layer


def test_the_options_of_a_subclass_are_its_own_business():
    assert [layer.gain for layer in OwnModel(8, 4, 2, gain=3.0).convs] == [3.0, 3.0]


@pytest.mark.parametrize("name", LAYERS)
def test_options_of_message_passing(name):
    conv = getattr(lcat.nn, name)(8, 4, aggr="mean", aggr_kwargs={}, flow="target_to_source", decomposed_layers=1)
    assert (conv.aggr, conv.flow, conv.decomposed_layers) == ("mean", "target_to_source", 1)
    if name in ATTENTION:
        assert getattr(lcat.nn, name)(8, 4, node_dim=0).node_dim == 0
        with pytest.raises(ValueError, match=f"'node_dim' of {name} is -2; it takes 0"):
            getattr(lcat.nn, name)(8, 4, node_dim=-2)


@pytest.mark.parametrize("edges", [EDGES, EDGES.int()])
@pytest.mark.parametrize("name", LAYERS)
def test_swapped_arguments_are_named(name, edges):
    conv = getattr(lcat.nn, name)(8, 4, add_self_loops=False)
    adjacency = torch.sparse_coo_tensor(edges.long(), torch.ones(4), (3, 3))
    wide = torch.randint(3, (2, 8))  # as many edges as in_channels
    for swapped in (edges, wide, adjacency, adjacency.to_sparse_csr()):
        with pytest.raises(ValueError, match=rf"'x' and 'edge_index' of {name} are swapped.*\[3, 8\]"):
            conv(swapped, X)
    square = getattr(lcat.nn, name)(3, 4)
    with pytest.raises(ValueError, match="are swapped"):
        square(adjacency, X[:, :3])
    if name in ATTENTION:
        with pytest.raises(ValueError, match="are swapped"):
            conv(edges, (X, X))


@pytest.mark.parametrize("name", ATTENTION)
def test_one_projection_takes_one_width(name):
    """PyG's GATConv fails in a matrix product; GATv2Conv has two projections, and takes two widths."""
    pair = torch.randn(3, 12), torch.randn(3, 20)
    conv = getattr(lcat.nn, name)(-1, 8, add_self_loops=False)
    if "v2" in name:
        assert conv(pair, EDGES).shape == (3, 8)
        conv = getattr(lcat.nn, name)(-1, 8, add_self_loops=False, share_weights=True)
    with pytest.raises(ValueError, match=rf"'x' of {name} has 12 features per source and 20 per target.*\(-1, -1\)"):
        conv(pair, EDGES)
    assert getattr(lcat.nn, name)((-1, -1), 8, add_self_loops=False)(pair, EDGES).shape == (3, 8)


@pytest.mark.parametrize("name", LAYERS)
def test_the_first_input_decides_the_width(name):
    conv = getattr(lcat.nn, name)(-1, 4)
    conv(X, EDGES)
    conv(X, EDGES)
    with pytest.raises(ValueError, match=f"'x' of {name} has 5 features per node.*its first input had 8"):
        conv(X[:, :5], EDGES)
    if name in ATTENTION:
        conv = getattr(lcat.nn, name)(8, 4, edge_dim=-1)
        conv(X, EDGES, edge_attr=torch.randn(4, 2))
        with pytest.raises(ValueError, match=f"'edge_attr' of {name} has 3 features.*first edge features had 2"):
            conv(X, EDGES, edge_attr=torch.randn(4, 3))


@pytest.mark.parametrize("name", ["GATConv", "GATv2Conv"])
def test_edge_dim_0_is_as_in_pyg(name):
    """``edge_dim=dataset.num_edge_features`` of data without edge features."""
    theirs, ours = getattr(pyg, name)(8, 4, edge_dim=0), getattr(lcat.nn, name)(8, 4, edge_dim=0)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert_same(ours(X, EDGES), theirs(X, EDGES), "without edge features", 1e-6)
    attr = torch.randn(4, 2)
    torch.manual_seed(0)
    expected = theirs(X, EDGES, edge_attr=attr)
    torch.manual_seed(0)
    assert_same(ours(X, EDGES, edge_attr=attr), expected, "with edge features", 1e-6)


@pytest.mark.parametrize("name", [name for name in ATTENTION if "CAT" in name])
def test_edge_dim_0_of_the_other_layers(name):
    torch.manual_seed(0)
    with_none = getattr(lcat.nn, name)(8, 4)
    conv = getattr(lcat.nn, name)(8, 4, edge_dim=0)
    conv.load_state_dict(with_none.state_dict(), strict=False)
    assert_same(conv(X, EDGES), with_none(X, EDGES), "without edge features", 0.0)


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"aggr": "mean"}, {"aggr": "max"}, {"bias": False}])
@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 1, 3), (0, 2)])
def test_gcn_takes_any_leading_dimensions_as_pyg_does(shape, options):
    torch.manual_seed(0)
    theirs, ours = pyg.GCNConv(5, 4, **options), GCNConv(5, 4, **options)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(*shape, 6, 5)
    edges = torch.tensor([[0, 1, 2, 2, 5, 4], [1, 2, 0, 2, 4, 4]])
    weight = torch.rand(6)
    for arguments in ((), (weight,)):
        first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
        expected, out = theirs(first, edges, *arguments), ours(second, edges, *arguments)
        assert out.shape == (*shape, 6, 4)
        assert_same(out, expected, "output", 1e-6)
        expected.square().sum().backward()
        out.square().sum().backward()
        assert_same(second.grad, first.grad, "gradient", 1e-5)
    wide = GCNConv(5, 9, **options)  # the sum before the map
    narrow = torch.stack([wide(one, edges) for one in x.reshape(-1, 6, 5)]) if x.numel() else x.new_empty(0, 6, 9)
    assert_same(wide(x, edges), narrow.reshape(*shape, 6, 9), "each set by itself", 1e-6)


def test_models_of_gcn_take_any_leading_dimensions():
    x = torch.randn(2, 3, 6, 5)
    edges = torch.tensor([[0, 1, 2, 5], [1, 2, 0, 4]])
    model = models.GCN(5, 8, 2, out_channels=3).eval()
    assert_same(model(x, edges)[1, 2], model(x[1, 2], edges), "one set", 1e-6)


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_layers_take_one_leading_dimension(name):
    conv = getattr(lcat.nn, name)(8, 4)
    assert_same(conv(X.expand(2, 3, 8), EDGES)[1], conv(X, EDGES), "one set", 1e-6)
    with pytest.raises(ValueError, match=rf"'x' of {name} has shape \[2, 2, 3, 8\]; it takes \[N, 8\], or \[B, N, 8\]"):
        conv(X.expand(2, 2, 3, 8), EDGES)
