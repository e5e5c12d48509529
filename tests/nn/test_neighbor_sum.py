"""The neighbor sum that CAT and L-CAT keep for fixed inputs, when asked."""

from __future__ import annotations

import copy
import io
from unittest import mock

import pytest
import torch

import lcat.nn._attention as attention_module
import lcat.nn._neighbor_sum as sum_module
from lcat.nn import CATConv, CATv2Conv, LCATConv, LCATv2Conv

VARIANTS = [
    (CATConv, {}),
    (LCATConv, {}),
    (LCATConv, {"share_weights": False, "score_bias": True}),
    (CATv2Conv, {}),
    (LCATv2Conv, {"share_weights": True}),
    (LCATv2Conv, {"share_values": False}),
]


def make(layer_class, options):
    torch.manual_seed(0)
    layer = layer_class(20, 3, heads=2, cache_neighbor_sum=True, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return layer


def make_input():
    torch.manual_seed(1)
    return torch.randn(9, 20, dtype=torch.double), torch.randint(9, (2, 30))


def outcome(layer, x, edge_index):
    out = layer(x, edge_index)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), list(layer.parameters()), allow_unused=True)]


def same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("layer_class", "options"), VARIANTS)
def test_numbers_and_gradients_are_those_without(layer_class, options):
    layer, (x, edge_index) = make(layer_class, options), make_input()
    plain = copy.deepcopy(layer)
    plain.interpolation.cache_neighbor_sum = False
    expected = outcome(plain, x, edge_index)
    for _ in range(2):
        same(outcome(layer, x, edge_index), expected)


@pytest.mark.parametrize(("layer_class", "options"), VARIANTS)
def test_only_the_first_call_sums(layer_class, options):
    layer, (x, edge_index) = make(layer_class, options), make_input()
    with (
        mock.patch.object(sum_module, "aggregate", wraps=sum_module.aggregate) as cached,
        mock.patch.object(attention_module, "aggregate", wraps=attention_module.aggregate) as anew,
    ):
        for _ in range(3):
            layer(x, edge_index)
    assert (cached.call_count, anew.call_count) == (1, 0)


@pytest.mark.parametrize(("layer_class", "options"), VARIANTS)
def test_a_change_is_seen(layer_class, options):
    layer, (x, edge_index) = make(layer_class, options), make_input()
    layer(x, edge_index)
    plain = copy.deepcopy(layer)
    plain.interpolation.cache_neighbor_sum = False
    x[3] += 1.0
    same(outcome(layer, x, edge_index), outcome(plain, x, edge_index))
    edge_index[0, 2:9] = 4
    same(outcome(layer, x, edge_index), outcome(plain, x, edge_index))
    other = x * 2
    same(outcome(layer, other, edge_index), outcome(plain, other, edge_index))
    other.data = x * 3  # the same version counter, other memory
    same(outcome(layer, other, edge_index), outcome(plain, other, edge_index))


@pytest.mark.parametrize(("layer_class", "options"), VARIANTS)
def test_a_sum_made_in_inference_mode_is_good_for_training(layer_class, options):
    layer, (x, edge_index) = make(layer_class, options), make_input()
    expected = outcome(copy.deepcopy(layer), x, edge_index)
    with torch.inference_mode():
        layer(x, edge_index)
    assert layer.interpolation.neighbor_sum._cached is not None
    same(outcome(layer, x, edge_index), expected)


@pytest.mark.parametrize(("layer_class", "options"), VARIANTS)
def test_without_effect_where_it_would_be_wrong(layer_class, options):
    layer, (x, edge_index) = make(layer_class, options), make_input()
    plain = copy.deepcopy(layer)
    plain.interpolation.cache_neighbor_sum = False
    x.requires_grad_()
    (ours,), (theirs,) = (torch.autograd.grad(each(x, edge_index).sum(), x) for each in (layer, plain))
    torch.testing.assert_close(ours, theirs)
    x = x.detach()
    batched = torch.vmap(lambda x: layer(x, edge_index))(torch.stack([x, x + 1]))
    torch.testing.assert_close(batched, torch.stack([plain(x, edge_index), plain(x + 1, edge_index)]))
    assert layer.interpolation.neighbor_sum._cached is None
    with torch.inference_mode():
        y = x + 1
        for shift in (0.0, 1.0):
            y += shift
            torch.testing.assert_close(layer(y, edge_index), plain(y, edge_index))


def test_static_graphs_copies_and_pickles():
    layer, (x, edge_index) = make(LCATConv, {}), make_input()
    both = torch.stack([x, -x])
    for _ in range(2):
        torch.testing.assert_close(layer(both, edge_index)[1], layer(-x, edge_index))
    assert copy.deepcopy(layer).interpolation.neighbor_sum._cached is None
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    again = torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert len(buffer.getvalue()) < 20_000
    torch.testing.assert_close(again(x, edge_index), layer(x, edge_index))


@pytest.mark.parametrize("layer_class", [CATConv, LCATConv, CATv2Conv, LCATv2Conv])
def test_large_graphs_sum_over_the_edges_of_the_attention(layer_class, monkeypatch):
    layer, (x, edge_index) = make(layer_class, {}), make_input()
    layer.interpolation.cache_neighbor_sum = False
    edge_index[1, :3] = edge_index[0, :3]  # loops of the graph's own
    expected = outcome(layer, x, edge_index)
    monkeypatch.setattr(attention_module, "_LARGE", 0)
    same(outcome(layer, x, edge_index), expected)
