"""The scalars of whole models: read, set, frozen, annealed, penalized and drawn."""

from __future__ import annotations

import sys

import pytest
import torch
import torch_geometric.nn as pyg
from torch import nn

import lcat
from lcat.nn import (
    CATConv,
    GATConv,
    Lambdas,
    LambdaSchedule,
    LCATConv,
    LCATv2Conv,
    freeze_lambdas,
    lambda_parameters,
    lambda_penalty,
    lambdas,
    models,
    plot_triangle,
    set_lambdas,
    unfreeze_lambdas,
)
from lcat.train import read_lambdas

PARAMETRIZATIONS = ["published", "sigmoid", "reflected"]


def mixed():
    shared = LCATConv(8, 4, lambda1=0.25, lambda2_init=0.75)
    heads = LCATv2Conv(8, 4, heads=2, lambdas_per_head=True, parametrization="reflected")
    with torch.no_grad():
        heads.raw_lambda1.copy_(torch.tensor([0.125, 1.5]))
    return nn.ModuleDict({"a": shared, "again": shared, "cat": CATConv(8, 4), "gat": GATConv(8, 4), "heads": heads})


def test_lambdas():
    values = lambdas(mixed())
    assert list(values) == ["a", "cat", "heads"]
    assert values["a"].lambda1 == 0.25
    assert values["a"].lambda2 == pytest.approx(0.75)
    assert values["cat"] == Lambdas(1.0, 1.0)
    assert values["heads"] == Lambdas((0.125, 0.5), (0.5, 0.5))
    assert lambdas(GATConv(8, 4)) == {}
    assert list(lambdas(LCATConv(8, 4))) == [""]
    model = models.LCAT(8, 16, 2, out_channels=3)
    assert {name: list(pair) for name, pair in lambdas(model).items()} == read_lambdas(model)


def test_parameters_and_freezing():
    model = mixed()
    raw = lambda_parameters(model)
    assert [id(each) for each in raw] == [id(each) for name, each in model.named_parameters() if "raw" in name]
    assert freeze_lambdas(model) == 3
    assert not any(each.requires_grad for each in raw)
    assert model["cat"].att_src.requires_grad
    assert "frozen" in str(model["heads"])
    assert unfreeze_lambdas(model) == 3
    assert all(each.requires_grad for each in raw)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_set(parametrization):
    model = models.LCAT(8, 16, 2, out_channels=3, parametrization=parametrization)
    before = lambda_parameters(model)
    assert set_lambdas(model, lambda1=0.3) == 2
    assert lambdas(model)["convs.1"].lambda1 == pytest.approx(0.3)
    assert lambdas(model)["convs.1"].lambda2 == pytest.approx(0.5)
    set_lambdas(model, 1.0, 0.0)
    exact = parametrization == "reflected"
    assert lambdas(model)["convs.0"].lambda1 == pytest.approx(1.0 if exact else 0.999, abs=1e-6)
    assert lambdas(model)["convs.0"].lambda2 == pytest.approx(0.0 if exact else 0.003, abs=1e-6)
    assert all(now is then for now, then in zip(lambda_parameters(model), before, strict=True))
    fixed = models.CAT(8, 16, 2, out_channels=3)
    set_lambdas(fixed, lambda2=0.5)
    assert lambdas(fixed)["convs.0"] == Lambdas(1.0, 0.5)
    assert lambda_parameters(fixed) == []
    heads = LCATConv(8, 4, heads=3, lambdas_per_head=True, parametrization=parametrization)
    set_lambdas(heads, 0.25)
    assert heads.lambda1.tolist() == pytest.approx([0.25] * 3)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_schedules(shape):
    model = models.LCAT(8, 16, 2, out_channels=3, parametrization="reflected", lambda2=0.25)
    schedule = LambdaSchedule(model, 4, lambda1=(0.0, 1.0), lambda2=(1.0, 0.0), shape=shape)
    path = [lambdas(model)["convs.0"]]
    while not schedule.done:
        schedule.step()
        path.append(lambdas(model)["convs.1"])
    quarter = 0.25 if shape == "linear" else 0.1464466
    assert [each.lambda1 for each in path] == pytest.approx([0, quarter, 0.5, 1 - quarter, 1], abs=1e-6)
    assert [each.lambda2 for each in path] == pytest.approx([1, 1 - quarter, 0.5, quarter, 0], abs=1e-6)
    with torch.no_grad():
        model.convs[0].raw_lambda1.fill_(0.6)
    schedule.step()
    assert lambdas(model)["convs.0"].lambda1 == pytest.approx(0.6)  # learned from here on
    other = LambdaSchedule(model, 4, lambda1=(0.0, 1.0))
    other.load_state_dict({"count": 2})
    other.step()
    assert lambdas(model)["convs.0"].lambda1 == pytest.approx(0.75)
    assert other.state_dict() == {"count": 3}


@pytest.mark.parametrize(
    ("lambda1", "lambda2", "towards", "expected"),
    [
        (0.0, 0.3, "corners", 0.0), (1.0, 0.0, "corners", 0.0), (1.0, 1.0, "corners", 0.0),
        (0.5, 0.5, "corners", 0.375), (1.0, 0.5, "corners", 0.25),
        (0.25, 0.5, "gcn", 0.0625), (0.5, 0.5, "gat", 0.5), (0.5, 0.25, "cat", 0.8125), (0.0, 0.7, "gcn", 0.0),
        (0.5, 0.75, (0.5, 0.25), 0.125),
    ],
)  # fmt: skip
def test_penalties(lambda1, lambda2, towards, expected):
    options = {"parametrization": "reflected", "lambda1_init": lambda1, "lambda2_init": lambda2}
    model = nn.ModuleList([LCATConv(8, 4, **options), LCATv2Conv(8, 4, heads=2, lambdas_per_head=True, **options)])
    penalty = lambda_penalty(model, towards)
    assert float(penalty) == pytest.approx(expected)
    assert penalty.dim() == 0
    fixed = LCATConv(8, 4, lambda1=lambda1, lambda2=lambda2)
    assert float(lambda_penalty(fixed, towards)) == pytest.approx(expected)


def test_a_penalty_pulls_to_a_corner():
    model = models.LCAT(8, 16, 2, out_channels=3, parametrization="reflected", lambda1_init=0.7, lambda2_init=0.4)
    optimizer = torch.optim.SGD(lambda_parameters(model), lr=0.2)
    for _ in range(200):
        optimizer.zero_grad()
        lambda_penalty(model).backward()
        optimizer.step()
    for pair in lambdas(model).values():
        assert pair.lambda1 == pytest.approx(1, abs=0.15)
        assert pair.lambda2 == pytest.approx(0, abs=0.15)
    assert float(lambda_penalty(GATConv(8, 4))) == 0


def test_bad_input():
    layer = LCATConv(8, 4)
    for function in (lambdas, lambda_parameters, freeze_lambdas, set_lambdas, lambda_penalty):
        with pytest.raises(TypeError, match=r"expected 'model' of type torch\.nn\.Module, got list"):
            function([layer])
    with pytest.raises(ValueError, match=r"expected 'lambda1' in \[0, 1\], got 1.5"):
        set_lambdas(layer, 1.5)
    with pytest.raises(TypeError, match="expected 'lambda2' as a number"):
        set_lambdas(layer, lambda2="0.5")
    with pytest.raises(ValueError, match=r"'shape' is 'cosin' .*cosine"):
        LambdaSchedule(layer, 4, lambda1=(0, 1), shape="cosin")
    with pytest.raises(ValueError, match="expected 'steps' as an int of at least 1, got 0"):
        LambdaSchedule(layer, 0)
    with pytest.raises(TypeError, match="expected 'lambda1' as a pair"):
        LambdaSchedule(layer, 3, lambda1=0.5)
    with pytest.raises(ValueError, match="expected the state_dict of a LambdaSchedule"):
        LambdaSchedule(layer, 3, lambda1=(0.5, 0.5)).load_state_dict({})
    with pytest.raises(ValueError, match=r"'towards' is 'corner' .*corners"):
        lambda_penalty(layer, "corner")
    with pytest.raises(TypeError, match="expected 'towards' as a text or a pair"):
        lambda_penalty(layer, 0.5)
    with pytest.raises(ValueError, match=r"expected 'towards\[1\]' in \[0, 1\]"):
        lambda_penalty(layer, (0.5, 2.0))
    with pytest.raises(ValueError, match="lambda1 of the layer is on the device 'meta'"):
        lambdas(LCATConv(8, 4).to("meta"))
    assert lambdas(layer) == {"": Lambdas(pytest.approx(0.5), pytest.approx(0.5))}  # nothing was lost


def test_upgraded_models():
    model = pyg.GCN(8, 16, num_layers=2)
    lcat.upgrade(model)
    assert lambdas(model) == {"convs.0": Lambdas(0.0, 0.0), "convs.1": Lambdas(0.0, 0.0)}
    assert len(lambda_parameters(model)) == 4


def test_triangle(tmp_path):
    model = mixed()
    paths = {"a": [(0.5, 0.5), (0.4, 0.6), Lambdas(0.25, 0.75)], "heads": [[(0.5, 0.5), 0.5], [(0.2, 0.4), 0.5]]}
    axes = plot_triangle(model, paths)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["a", "cat", "heads"]
    by_label = {line.get_label(): line for line in axes.lines}
    assert by_label["cat"].get_xydata().tolist() == [[1.0, 1.0]]
    assert by_label["heads"].get_xydata().tolist() == [[0.125, 0.0], [0.5, 0.0]]
    assert by_label["a"].get_xydata()[0].tolist() == pytest.approx([0.25, 0.25 * 0.5])
    ways = [line.get_xydata() for line in axes.lines if len(line.get_xydata()) == 3]
    assert any(way[1].tolist() == pytest.approx([0.4, 0.4 * 0.2]) for way in ways)
    target = tmp_path / "triangle.png"
    axes.figure.savefig(target)
    assert target.stat().st_size > 5000
    again = plot_triangle(lambdas(model), axes=axes)
    assert again is axes
    long = {"a": [(t / 5000, 0.5) for t in range(5001)]}
    (way,) = [line.get_xydata() for line in plot_triangle(model, long).lines if len(line.get_xydata()) > 10]
    assert len(way) <= 401
    assert way[-1].tolist() == [1.0, 0.0]


def test_bad_triangles(monkeypatch):
    with pytest.raises(ValueError, match="has no CAT or L-CAT layer"):
        plot_triangle(GATConv(8, 4))
    with pytest.raises(ValueError, match="'paths' has 'b', which is no layer"):
        plot_triangle(mixed(), {"b": []})
    for paths in ([1, 2], {"a": 0.5}):
        with pytest.raises(TypeError, match="expected 'paths' as a mapping from layers to lists of pairs, got"):
            plot_triangle(mixed(), paths)
    with pytest.raises(TypeError, match="expected a pair"):
        plot_triangle({"a": 0.5})
    with pytest.raises(ValueError, match=r"expected 'a' in \[0, 1\], got 3"):
        plot_triangle({"a": (3, 0)})
    with pytest.raises(ValueError, match="lambda1 of 'a' has 2 numbers, the other one has 3"):
        plot_triangle({"a": ((0, 1), (0, 1, 1))})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'lcat-gnn\[study\]'"):
        plot_triangle(mixed())


def test_schedules_that_would_change_nothing():
    with pytest.raises(ValueError, match="nothing would change"):
        LambdaSchedule(LCATConv(4, 4), 10)
    with pytest.raises(ValueError, match="no CAT or L-CAT layer"):
        LambdaSchedule(models.GAT(4, 4, 2), 10, lambda1=(0.0, 1.0))
