"""True and false of layers and models: a text would be true, whatever it says."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from lcat import nn
from lcat.nn import from_published, models

_LAYERS = (
    nn.GCNConv, nn.GATConv, nn.GATv2Conv, nn.CATConv, nn.CATv2Conv, nn.LCATConv, nn.LCATv2Conv,
)  # fmt: skip
_MODELS = (models.GCN, models.GAT, models.GATv2, models.CAT, models.CATv2, models.LCAT, models.LCATv2)


def _flags(layer):
    parameters = inspect.signature(layer).parameters.values()
    return [one.name for one in parameters if isinstance(one.default, bool)] + (
        ["add_self_loops"] if layer is nn.GCNConv else []
    )


_CASES = [(layer, flag) for layer in _LAYERS for flag in _flags(layer)]


def test_all_flags_are_known():
    assert {flag for _, flag in _CASES} == {
        "add_self_loops", "bias", "cache_neighbor_sum", "cached", "concat", "improved", "lambdas_per_head", "normalize",
        "residual", "score_bias", "share_values", "share_weights",
    }  # fmt: skip


@pytest.mark.parametrize("value", ["no", "True", "", 2, 0.0, [True], np.array([True, False])], ids=repr)
@pytest.mark.parametrize(("layer", "flag"), _CASES)
def test_layers_refuse_what_is_neither_true_nor_false(layer, flag, value):
    with pytest.raises(ValueError, match=rf"'{flag}' of {layer.__name__} is .*; it takes True or False"):
        layer(4, 4, **{flag: value})


@pytest.mark.parametrize("number", [np.bool_, int, np.int64, torch.tensor], ids=["bool_", "int", "int64", "tensor"])
@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize(("layer", "flag"), _CASES)
def test_layers_take_numpy_booleans_and_the_numbers_of_command_lines(layer, flag, value, number):
    more = {"normalize": False} if layer is nn.GCNConv and flag == "add_self_loops" and not value else {}
    if layer is nn.GCNConv and flag == "normalize":
        more = {"add_self_loops": False}
    torch.manual_seed(0)
    made = layer(4, 4, **{flag: number(value)}, **more)
    torch.manual_seed(0)
    expected = layer(4, 4, **{flag: value}, **more)
    assert made.state_dict().keys() == expected.state_dict().keys()
    if flag not in ("bias", "cache_neighbor_sum", "lambdas_per_head", "share_values"):
        assert getattr(made, flag) is value
    x, edges = torch.randn(3, 4), torch.tensor([[0, 1, 2], [1, 2, 2]])
    assert torch.equal(made(x, edges), expected(x, edges))


@pytest.mark.parametrize("model", _MODELS)
def test_models_refuse_what_is_neither_true_nor_false(model):
    flags = {"act_first", "bias", "add_self_loops"}
    flags |= {"improved", "cached", "normalize"} if model is models.GCN else {"concat", "residual"}
    flags |= {"v2"} if model is models.GAT else set()
    for flag in sorted(flags):
        with pytest.raises(ValueError, match=rf"'{flag}' of \w+ is 'no'; it takes True or False"):
            model(4, 8, num_layers=2, out_channels=3, **{flag: "no"})


@pytest.mark.parametrize("flag", ["add_self_loops", "bias", "share_weights_score", "share_weights_value"])
def test_published_layers_refuse_what_is_neither_true_nor_false(flag):
    with pytest.raises(ValueError, match=rf"'{flag}' of from_published is 'no'; it takes True or False"):
        from_published("plain", "v2", {}, in_channels=2, out_channels=2, **{flag: "no"})


@pytest.mark.parametrize("layer", _LAYERS[1:])
def test_calls_refuse_what_is_neither_true_nor_false(layer):
    conv, x, edges = layer(4, 4), torch.randn(3, 4), torch.tensor([[0, 1, 2], [1, 2, 2]])
    with pytest.raises(ValueError, match=r"'return_attention_weights' of \w+ is 'no'; it takes True or False"):
        conv(x, edges, return_attention_weights="no")
    assert len(conv(x, edges, return_attention_weights=np.bool_(True))) == 2
    assert conv(x, edges, return_attention_weights=np.bool_(False)).shape == (3, 4)
