"""Models of L-CAT with GCNII and with PNA."""

from __future__ import annotations

import copy

import pytest
import torch
import torch_geometric.nn as pyg

import lcat.nn.models as models
from lcat.train import read_lambdas
from tests.support.compare import assert_same
from tests.support.layers import FAMILY_MODELS
from tests.support.long import quick_or_long

EDGES = torch.tensor([[0, 1, 2, 3, 3, 4, 5, 1], [1, 0, 3, 3, 2, 0, 1, 4]])
PNA = {"aggregators": ["mean", "max", "std"], "scalers": ["identity", "amplification"], "deg": torch.tensor([1, 3, 2])}


def make(name, **options):
    torch.manual_seed(0)
    options = {**PNA, **options} if name.endswith("PNA") else options
    return getattr(models, name)(8, 16, 3, out_channels=5, **{"heads": 2, **options})


@pytest.mark.parametrize("name", FAMILY_MODELS)
class TestEveryModel:
    def test_learns(self, name):
        model, x, y = make(name), torch.randn(6, 8), torch.tensor([0, 1, 2, 3, 4, 0])
        assert str(model) == f"{name}(8, 5, num_layers=3)"
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(30):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x, EDGES), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        assert min(losses) < 0.6 * losses[0]
        assert all(p.grad is not None for p in model.parameters())
        assert len(read_lambdas(model)) == 3
        model.reset_parameters()

    def test_edge_weight_and_edge_attr(self, name):
        x, model = torch.randn(6, 8), make(name, edge_dim=3).eval()
        weight, attr = torch.rand(8), torch.randn(8, 3)
        plain = model(x, EDGES)
        assert not torch.allclose(model(x, EDGES, edge_weight=weight), plain)
        assert not torch.allclose(model(x, EDGES, edge_attr=attr), plain)

    def test_copies_and_checkpoints(self, name):
        x, model = torch.randn(6, 8), make(name).eval()
        expected = model(x, EDGES)
        assert torch.equal(copy.deepcopy(model)(x, EDGES), expected)
        other = make(name).eval()
        other.reset_parameters()
        other.load_state_dict(model.state_dict())
        assert torch.equal(other(x, EDGES), expected)
        state = {key: value for key, value in model.state_dict().items() if "raw_lambda" not in key}
        with pytest.raises(RuntimeError, match="has no lambdas"):
            other.load_state_dict(state)

    def test_misspelt(self, name):
        with pytest.raises(TypeError, match=rf"^{name} has no argument 'edge_wieght' \(did you mean edge_weight"):
            make(name)(torch.randn(6, 8), EDGES, edge_wieght=torch.ones(8))
        with pytest.raises(TypeError, match=r"no argument 'lamda1' \(did you mean lambda1"):
            make(name, lamda1=0.5)

    def test_lazy_channels(self, name):
        options = PNA if name.endswith("PNA") else {}
        model = getattr(models, name)(-1, 16, 2, 5, heads=2, **options)
        assert model(torch.randn(6, 11), EDGES).shape == (6, 5)


@pytest.mark.parametrize("name", quick_or_long(FAMILY_MODELS, ["LCATGCN2"]))
def test_compiles(name):
    x, model = torch.randn(6, 8), make(name).eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_same(compiled(x, EDGES), model(x, EDGES), "compiled", 1e-6)


@pytest.mark.parametrize("name", ["LCATGCN2", "LCATv2GCN2"])
def test_without_attention_it_is_the_usual_gcnii(name):
    model = make(name, lambda1=0.0, share_values=False, alpha=0.2, theta=0.7).double().eval()
    x = torch.randn(6, 8, dtype=torch.double)
    h = h_0 = model.lin_in(x).relu()
    for number, conv in enumerate(model.convs, 1):
        theirs = pyg.GCN2Conv(16, 0.2, 0.7, number).double()
        theirs.weight1 = conv.weight1
        h = theirs(h, h_0, EDGES).relu()
    assert_same(model(x, EDGES), model.lin_out(h), "model by hand")
    hidden = getattr(models, name)(8, 16, 2, heads=4, theta=None)
    assert hidden(torch.randn(6, 8), EDGES).shape == (6, 16)
    assert [conv.beta for conv in hidden.convs] == [1.0, 1.0]


@pytest.mark.parametrize("name", ["LCATPNA", "LCATv2PNA"])
def test_models_with_pna(name):
    for jk in (None, "cat", "max"):
        model = make(name, jk=jk, norm="LayerNorm", towers=2)
        assert model(torch.randn(6, 8), EDGES).shape == (6, 5)
        assert [conv.out_channels for conv in model.convs] == [8, 8, 8]
    with pytest.raises(TypeError, match=f"{name} needs 'scalers', 'deg'"):
        getattr(models, name)(8, 16, 2, aggregators=["mean"])
    with pytest.raises(ValueError, match="16 hidden channels, which 3 heads cannot share"):
        make(name, heads=3)


def test_refusals_of_the_deep_model():
    for options, match in (
        ({"heads": 3}, "16, which 3 heads cannot share"),
        ({"num_layers": 0}, "'num_layers' of LCATGCN2 is 0"),
        ({"dropout": 2}, "'dropout' of LCATGCN2 is 2"),
        ({"act": torch.nn.ReLU}, "'act' of LCATGCN2"),
    ):
        with pytest.raises((TypeError, ValueError), match=match):
            models.LCATGCN2(**{"in_channels": 8, "hidden_channels": 16, "num_layers": 2, **options})
