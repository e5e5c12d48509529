"""Calls that fail because of wrong use: misspelt arguments of ``forward``, and parts that were replaced before."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch_geometric.nn.dense.linear import Linear

import lcat.nn
from tests.support.compare import assert_same
from tests.support.layers import ATTENTION, LAYERS, MODELS

EDGES = torch.tensor([[0, 1, 2, 3, 3, 4], [1, 0, 3, 3, 2, 0]])
X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
ATTR = torch.randn(6, 2, generator=torch.Generator().manual_seed(1))
V1 = ["GATConv", "CATConv", "LCATConv"]
V2 = ["GATv2Conv", "CATv2Conv", "LCATv2Conv"]
LEARNED = ["LCATConv", "LCATv2Conv"]


def make(name, **options):
    torch.manual_seed(1)
    if name in ATTENTION:
        options.setdefault("heads", 2)
    return getattr(lcat.nn, name)(4, 3, **options)


def changed(layer, **parts):
    for part, value in parts.items():
        setattr(layer, part, value)
    return layer


def first_map(name):
    return "lin_l" if name in V2 else "lin"


@pytest.mark.parametrize("name", LAYERS)
class TestMisspelt:
    def test_the_nearest_argument_is_named(self, name):
        with pytest.raises(
            TypeError, match=rf"^{name} has no argument 'edge_wieght' \(did you mean edge_weight.*x, edge"
        ):
            make(name)(X, EDGES, edge_wieght=torch.ones(6))

    def test_also_under_hooks_and_in_subclasses(self, name):
        layer = make(name)
        layer.register_forward_hook(lambda *_: None)
        with pytest.raises(TypeError, match=r"has no argument 'edge_indx' \(did you mean edge_index"):
            layer(X, edge_indx=EDGES)

        class Mine(getattr(lcat.nn, name)):
            def forward(self, x, edge_index, strength=1.0):
                return strength * super().forward(x, edge_index)

        with pytest.raises(TypeError, match=r"^Mine has no argument 'strenght' \(did you mean strength\?\)"):
            Mine(4, 3)(X, EDGES, strenght=2.0)

    def test_a_subclass_that_takes_any_keyword_fails_as_it_does(self, name):
        class Mine(getattr(lcat.nn, name)):
            def forward(self, x, edge_index, **options):
                raise RuntimeError("of its own")

        with pytest.raises(RuntimeError, match=r"^of its own$"):
            Mine(4, 3)(X, EDGES, anything=1)

    def test_errors_of_others_pass(self, name):
        layer = make(name)
        layer.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(TypeError("of a hook")))
        with pytest.raises(TypeError, match=r"^of a hook$"):
            layer(X, EDGES)

    def test_a_call_is_the_same_with_and_without_hooks(self, name):
        layer = make(name).eval()
        expected, seen = layer(X, EDGES), []
        layer.register_forward_hook(lambda _, inputs, out: seen.append((inputs, out)))
        assert_same(layer(X, EDGES), expected, "hooked", 0.0)
        assert_same(seen[0][1], expected, "seen", 0.0)
        for copied in (copy.deepcopy(make(name)), pickle.loads(pickle.dumps(make(name)))):
            assert_same(copied.eval()(X, EDGES), expected, "copied", 0.0)

    def test_compile_takes_the_place_of_a_call(self, name):
        layer = make(name).eval()
        expected = layer(X, EDGES)
        layer.compile(backend="eager", fullgraph=True)
        assert_same(layer(X, EDGES), expected, "compiled", 1e-6)

    def test_fx_sees_the_layer_as_one_module(self, name):
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = make(name)

            def forward(self, x, edge_index):
                return self.conv(x, edge_index)

        class Tracer(torch.fx.Tracer):
            def is_leaf_module(self, module, path):
                return path == "conv"

        graph = Tracer().trace(Model())
        assert [node.target for node in graph.nodes if node.op == "call_module"] == ["conv"]


@pytest.mark.parametrize("name", MODELS)
def test_models_name_the_nearest_argument(name):
    model = getattr(lcat.nn.models, name)(4, 8, num_layers=2, out_channels=3)
    with pytest.raises(TypeError, match=rf"^{name} has no argument 'edge_wieght' \(did you mean edge_weight"):
        model(X, EDGES, edge_wieght=torch.ones(6))


@pytest.mark.parametrize("name", LAYERS)
class TestReplaced:
    def test_map_that_is_gone(self, name):
        layer = changed(make(name), **{first_map(name): None})
        with pytest.raises(ValueError, match=rf"of {name} is None; it takes"):
            layer(X, EDGES)

    def test_map_that_returns_no_tensor(self, name):
        layer = changed(make(name), **{first_map(name): nn.LSTM(4, 6 if name in ATTENTION else 3)})
        with pytest.raises(TypeError, match=rf"of {name} returned tuple; expected a tensor"):
            layer(X, EDGES)

    @pytest.mark.parametrize(
        ("module", "match"),
        [
            (nn.Linear(4, 5), "returned 5 features per node|but the layer has 4 input"),
            (nn.Linear(5, 6), r"has shape \[6, 5\], but the layer has 4 input"),
            (Linear(4, 5), "has shape .5, 4., but the layer has 4 input|returned 5 features"),
            (nn.Flatten(0), r"returned shape \[24\]"),
            (
                nn.Sequential(nn.Linear(4, 6), nn.Unflatten(0, (3, 2)), nn.Flatten(1)),
                r"returned (shape \[3, 12\]|12 feat)",
            ),
            (
                nn.Linear(4, 6, dtype=torch.float64),
                "has dtype torch.float64, the layer's others|has shape .6, 4.*3 output",
            ),
        ],
        ids=["width", "input", "pyg", "flat", "rows", "double"],
    )
    def test_map_of_another_shape(self, name, module, match):
        layer = changed(make(name), **{first_map(name): module})
        with pytest.raises(ValueError, match=match):
            layer(X, EDGES)

    def test_map_of_half_the_rows(self, name):
        class Half(nn.Linear):
            def forward(self, x):
                return super().forward(x)[:3]

        layer = changed(make(name), **{first_map(name): Half(4, 6 if name in ATTENTION else 3)})
        with pytest.raises(ValueError, match=rf"of {name} returned shape \[3, (6|3)\].*expected"):
            layer(X, EDGES)

    def test_bias(self, name):
        layer = changed(make(name), bias=nn.Parameter(torch.ones(5)))
        with pytest.raises(ValueError, match=rf"'bias' of {name} has shape \[5\]"):
            layer(X, EDGES)
        # As in PyG, none and one for all features are fine.
        none, one = (changed(make(name), bias=bias) for bias in (None, nn.Parameter(torch.ones(1))))
        assert_same(one(X, EDGES), none(X, EDGES) + 1.0, "one for all", 1e-6)

    def test_aggregation_that_is_gone(self, name):
        with pytest.raises(ValueError, match=rf"'aggr_module' of {name} is None"):
            changed(make(name), aggr_module=None)(X, EDGES)


@pytest.mark.parametrize("name", ATTENTION)
class TestReplacedInAttention:
    @pytest.mark.parametrize("heads", [4, 0, "two", None, 1.5])
    def test_heads(self, name, heads):
        with pytest.raises(ValueError, match=r"'heads' of|\[1, 2, 3\]; it takes \[1, 4, 3\], that is \[1, heads"):
            changed(make(name), heads=heads)(X, EDGES)

    def test_concat(self, name):
        for bias, residual in ((True, False), (False, True)):
            layer = changed(make(name, bias=bias, residual=residual), concat=False)
            with pytest.raises(
                ValueError, match=rf"of {name} (has shape \[6\].*3 features|returned shape \[6, 6\].*'concat')"
            ):
                layer(X, EDGES)
        concatenated, averaged = make(name, bias=False), changed(make(name, bias=False), concat=False)
        expected = concatenated(X, EDGES).view(6, 2, 3).mean(dim=1)
        assert_same(averaged(X, EDGES), expected, "without bias", 1e-6)

    def test_concat_of_one_channel_is_not_broadcast(self, name):
        layer = changed(getattr(lcat.nn, name)(4, 1, heads=2), concat=False)
        with pytest.raises(ValueError, match=r"'bias' of .* has shape \[2\], but the output has 1 features"):
            layer(X, EDGES)

    def test_attention_vector(self, name):
        part = "att" if name in V2 else "att_src"
        for vector in (None, nn.Parameter(torch.ones(1, 3, 2)), nn.Parameter(torch.ones(1, 2, 3).to(torch.complex64))):
            layer = changed(make(name), **{part: vector})
            with pytest.raises(ValueError, match=f"'{part}'"):
                layer(X, EDGES)

    def test_edge_map(self, name):
        for module, error, match in (
            (None, ValueError, "'lin_edge' of .* is None, but it was made with edge_dim=2"),
            (nn.LSTM(2, 6), TypeError, "'lin_edge' of .* returned tuple"),
            (nn.Linear(2, 5), ValueError, r"'lin_edge' of .* returned shape .*, 5\]; expected heads"),
            (nn.Linear(3, 6), ValueError, r"'lin_edge' of .* has shape \[6, 3\]"),
        ):
            layer = changed(make(name, edge_dim=2), lin_edge=module)
            for options in ({}, {"return_attention_weights": True}):
                with pytest.raises(error, match=match):
                    layer(X, EDGES, edge_attr=ATTR, **options)

    def test_residual(self, name):
        with pytest.raises(TypeError, match=r"'res' of .* returned tuple"):
            changed(make(name, residual=True), res=nn.LSTM(4, 6))(X, EDGES)

    @pytest.mark.parametrize("slope", ["a", float("inf"), None])
    def test_slope(self, name, slope):
        for options in ({}, {"return_attention_weights": True}):
            layer = changed(make(name), negative_slope=slope)
            if options and slope == float("inf"):
                continue  # as PyG: nan in sight
            with pytest.raises((TypeError, ValueError), match="negative_slope"):
                layer(X, EDGES, **options)


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("scalar", ["lambda1", "lambda2"])
class TestRawScalars:
    def test_gone(self, name, scalar):
        layer = changed(make(name), **{f"raw_{scalar}": None})
        match = rf"'raw_{scalar}' is None, but {scalar} is learned: assign {scalar} = None"
        for use in (lambda: layer(X, EDGES), lambda: getattr(layer, scalar), layer.reset_parameters):
            with pytest.raises(ValueError, match=match):
                use()
        assert f"{scalar}=missing" in repr(layer)

    def test_both_ways_out(self, name, scalar):
        layer = changed(make(name), **{f"raw_{scalar}": None})
        setattr(layer, scalar, None)
        assert getattr(layer, scalar).item() == pytest.approx(0.5)
        assert getattr(layer, f"raw_{scalar}").requires_grad
        assert_same(layer(X, EDGES), make(name)(X, EDGES), "learned again", 1e-6)
        layer = changed(make(name), **{f"raw_{scalar}": None})
        setattr(layer, scalar, 0.3)
        assert_same(layer(X, EDGES), make(name, **{scalar: 0.3})(X, EDGES), "fixed", 1e-6)

    def test_of_another_shape(self, name, scalar):
        for size in (3, 0):
            layer = changed(make(name), **{f"raw_{scalar}": nn.Parameter(torch.ones(size))})
            with pytest.raises(ValueError, match=rf"'raw_{scalar}' of {name} has shape \[{size}\]"):
                layer(X, EDGES)


@pytest.mark.parametrize("name", [name for name in LAYERS if "CAT" in name])
def test_the_statistic_names_a_map_that_is_gone(name):
    layer = changed(make(name), **{first_map(name): None})
    with pytest.raises(ValueError, match=rf"of {name} is None"):
        layer.neighborhood_statistic(X, EDGES)


@pytest.mark.parametrize("name", [name for name in LAYERS if "CAT" in name])
def test_statistic_of_another_kind(name):
    layer = make(name)
    right = layer.neighborhood_statistic(X, EDGES)
    for wrong in (right[..., :1], right.to(torch.complex64), right.to("meta"), right.to_sparse()):
        with pytest.raises(ValueError, match=f"'statistic' of {name} has"):
            layer(X, EDGES, statistic=wrong)
    assert_same(layer(X, EDGES, statistic=right), layer(X, EDGES), "right", 1e-6)
