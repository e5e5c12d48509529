"""Constructors that repeat their arguments, so that editors show them, repeat them exactly."""

from __future__ import annotations

import inspect

import pytest

from lcat.nn import CATConv, CATv2Conv, GATConv, GATv2Conv, LCATConv, LCATv2Conv


def parameters(function):
    return dict(inspect.signature(function).parameters)


@pytest.mark.parametrize(("cat", "lcat"), [(CATConv, LCATConv), (CATv2Conv, LCATv2Conv)])
def test_cat_is_lcat_with_two_other_defaults(cat, lcat):
    ours, theirs = parameters(cat), parameters(lcat)
    assert list(ours) == list(theirs)
    for name in ("lambda1", "lambda2"):
        assert (ours[name].default, theirs[name].default) == (1.0, None)
        ours[name] = ours[name].replace(default=None)
    assert ours == theirs  # kinds, annotations and all other defaults


@pytest.mark.parametrize(("lcat", "gat"), [(LCATConv, GATConv), (LCATv2Conv, GATv2Conv)])
@pytest.mark.parametrize("method", ["__init__", "forward"])
def test_lcat_adds_arguments_behind_those_of_gat(lcat, gat, method):
    ours, theirs = parameters(getattr(lcat, method)), parameters(getattr(gat, method))
    positional = [name for name, each in theirs.items() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    assert list(ours)[: len(positional)] == positional
    assert all(ours[name] == theirs[name] for name in theirs)


@pytest.mark.parametrize("layer", [LCATConv, LCATv2Conv, CATConv, CATv2Conv])
def test_every_argument_arrives(layer):
    """By keyword and by position: values that differ from every default, read back from the layer."""
    values = {
        "in_channels": 3,
        "out_channels": 5,
        "heads": 2,
        "concat": False,
        "negative_slope": 0.4,
        "dropout": 0.3,
        "add_self_loops": False,
        "edge_dim": 4,
        "fill_value": "max",
        "bias": False,
        "residual": True,
        "share_weights": "v2" in layer.__name__,
        "lambda1": 0.25,
        "lambda2": 0.75,
        "share_values": False,
        "score_bias": True,
        "parametrization": "sigmoid",
        "lambda1_init": 0.125,
        "lambda2_init": 0.875,
        "neighbor_aggr": "mean",
        "cache_neighbor_sum": True,
    }
    names = [name for name, each in parameters(layer).items() if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    values = {name: values[name] for name in names}
    for made in (layer(**values), layer(*values.values())):
        interpolation = made.interpolation
        read = {
            "lambda1": interpolation.lambda1.fixed,
            "lambda2": interpolation.lambda2.fixed,
            "lambda1_init": interpolation.lambda1.initial,
            "lambda2_init": interpolation.lambda2.initial,
            "parametrization": interpolation.lambda2.parametrization,
            "share_values": interpolation.share_values,
            "neighbor_aggr": interpolation.neighbor_aggr,
            "cache_neighbor_sum": interpolation.cache_neighbor_sum,
            "bias": made.bias is not None,
        }
        for name, value in values.items():
            assert (read[name] if name in read else getattr(made, name)) == value, name
        assert interpolation.lambda1.parametrization == "sigmoid"
        has_bias = values.get("score_bias", values["bias"])
        assert (made.lin_value.bias is not None) == has_bias
