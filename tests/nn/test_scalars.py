"""lambda1 and lambda2 as users fix, free, freeze and read them, and an L-CAT that starts from a trained GAT."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.utils.parametrize
import torch.nn.utils.prune
import torch_geometric.nn as pyg
from torch.nn import Parameter

import lcat.nn
from lcat.nn import (
    CATConv,
    GATConv,
    LambdaSchedule,
    LCATConv,
    freeze_lambdas,
    lambda_parameters,
    lambdas,
    models,
    set_lambdas,
    unfreeze_lambdas,
)
from tests.support.compare import assert_same

EDGES = torch.tensor([[0, 1, 2, 3, 1], [1, 2, 3, 0, 0]])
LEARNED = ["LCATConv", "LCATv2Conv"]


@pytest.fixture
def x():
    return torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("value", [0.3, 0, 1.0, np.float32(0.25), torch.tensor(0.75)])
@pytest.mark.parametrize("scalar", ["lambda1", "lambda2"])
@pytest.mark.parametrize("name", LEARNED)
def test_assigned_numbers_are_fixed_as_by_the_constructor(name, scalar, value, x):
    torch.manual_seed(0)
    conv = getattr(lcat.nn, name)(8, 4, heads=2)
    torch.manual_seed(0)
    made = getattr(lcat.nn, name)(8, 4, heads=2, **{scalar: value})
    setattr(conv, scalar, value)
    assert str(conv) == str(made)
    assert list(conv.state_dict()) == list(made.state_dict())
    assert conv.statistic_depends_on == made.statistic_depends_on
    assert_same(conv(x, EDGES), made(x, EDGES), "output", 0.0)
    assert float(getattr(conv, scalar)) == pytest.approx(float(value))


def test_none_learns_a_scalar_from_its_value_on(x):
    conv = LCATConv(8, 4, lambda1=0.3, lambda2=0.0).double()
    out = conv(x.double(), EDGES)
    conv.lambda1 = None
    assert float(conv.lambda1.detach()) == pytest.approx(0.3)
    assert_same(conv(x.double(), EDGES), out, "output", 1e-7)
    conv.lambda2 = None
    assert str(conv) == "LCATConv(8, 4, heads=1, lambda1=learned(0.300), lambda2=learned(0.003))"
    assert conv.raw_lambda1.dtype == torch.float64
    assert list(conv.state_dict()) == list(LCATConv(8, 4).state_dict())
    conv(x.double(), EDGES).sum().backward()
    assert conv.raw_lambda1.grad is not None
    assert conv.raw_lambda2.grad is not None
    cat = CATConv(8, 4)
    cat.lambda1 = cat.lambda2 = None
    assert str(cat) == "CATConv(8, 4, heads=1, lambda1=learned(0.999), lambda2=learned(0.999))"


def test_a_learned_scalar_stays_itself_when_it_is_learned_again():
    conv = LCATConv(8, 4)
    raw = conv.raw_lambda1.requires_grad_(False)
    conv.lambda1 = None
    assert conv.raw_lambda1 is raw
    assert raw.requires_grad


def test_a_copy_has_scalars_of_its_own():
    conv = LCATConv(8, 4)
    twin = copy.deepcopy(conv)
    twin.lambda1 = 0.25
    assert "lambda1=learned(0.500)" in str(conv)
    assert "lambda1=0.25" in str(twin)


def test_repr_distinguishes_learned_frozen_and_fixed():
    conv = LCATConv(8, 4, lambda2=0.25)
    assert str(conv) == "LCATConv(8, 4, heads=1, lambda1=learned(0.500), lambda2=0.25)"
    conv.raw_lambda1.requires_grad_(False)
    assert str(conv) == "LCATConv(8, 4, heads=1, lambda1=frozen(0.500), lambda2=0.25)"


@pytest.mark.parametrize(
    ("value", "error"),
    [(1.5, ValueError), (-0.1, ValueError), (float("nan"), ValueError), ("learn", TypeError), (True, TypeError),
     (Parameter(torch.tensor(0.3)), TypeError), (torch.ones(2), TypeError)],
)  # fmt: skip
def test_what_is_no_scalar_changes_nothing(value, error):
    conv = LCATConv(8, 4)
    before = str(conv), list(conv.state_dict())
    with pytest.raises(error, match=r"'lambda1' is .*; it takes None \(learned\) or a float in \[0, 1\]"):
        conv.lambda1 = value
    assert (str(conv), list(conv.state_dict())) == before


def test_what_is_read_is_a_value_of_its_own(x):
    """A write into it reaches no layer, as the documentation says."""
    for conv in (LCATConv(8, 4), LCATConv(8, 4, lambda1=0.5)):
        before = conv(x, EDGES)
        conv.lambda1.data.fill_(0.0)
        conv.lambda1.detach().fill_(0.0)
        assert float(conv.lambda1) == pytest.approx(0.5)
        assert torch.equal(conv(x, EDGES), before)


def _make_model(name):
    options = {}
    if "PNA" in name:
        options = {"aggregators": ["mean"], "scalers": ["identity"], "deg": torch.tensor([0, 4])}
    return getattr(models, name)(8, 16, num_layers=2, **options)


@pytest.mark.parametrize("name", [name for name in models.__all__ if "CAT" in name])
def test_a_model_says_that_its_layers_have_the_scalars(name):
    """An assignment would set an attribute that nothing reads."""
    model = _make_model(name)
    before = lcat.nn.lambdas(model)
    for scalar in ("lambda1", "lambda2"):
        message = rf"{name} has no '{scalar}', each of its layers .*set_lambdas\(model, {scalar}=\.\.\.\)"
        with pytest.raises(AttributeError, match=message):
            setattr(model, scalar, 0.25)
        assert not hasattr(model, scalar)
    assert lcat.nn.lambdas(copy.deepcopy(model)) == before


@pytest.mark.parametrize("name", ["LCATConv", "LCATv2Conv", "CATConv", "CATv2Conv"])
def test_scalars_of_replicas(name, x):
    """What torch.nn.DataParallel computes with: copies whose parameters are plain tensors."""

    def replicate(module):
        replica = module._replicate_for_data_parallel()
        for key, child in module._modules.items():
            replica._modules[key] = None if child is None else replicate(child)
        for key, parameter in module._parameters.items():
            if parameter is None:
                replica._parameters[key] = None
            else:
                setattr(replica, key, parameter.clone())
        return replica

    conv = getattr(lcat.nn, name)(8, 4, heads=2)
    replica = replicate(conv)
    assert list(replica.parameters()) == []
    for scalar in ("lambda1", "lambda2"):
        assert_same(getattr(replica, scalar), getattr(conv, scalar), scalar, 0.0)
    assert_same(replica(x, EDGES), conv(x, EDGES), "output", 0.0)
    assert name in str(replica)


@pytest.mark.parametrize("theirs", [pyg, lcat.nn])
@pytest.mark.parametrize("version", ["", "v2"])
def test_an_lcat_that_starts_from_a_trained_gat(version, theirs, x):
    """As docs/layers.md says: exact with fixed scalars, near with learned ones."""
    options = {"heads": 2, "edge_dim": 3, "residual": True}
    gat, layer = getattr(theirs, f"GAT{version}Conv")(8, 4, **options), getattr(lcat.nn, f"LCAT{version}Conv")
    attr = torch.randn(5, 3)
    expected = gat(x, EDGES, edge_attr=attr)

    exact = layer(8, 4, lambda1=1.0, lambda2=0.0, **options)
    exact.load_state_dict(gat.state_dict())
    assert_same(exact(x, EDGES, edge_attr=attr), expected, "fixed", 1e-6)

    near = layer(8, 4, lambda1_init=0.999, lambda2_init=0.003, **options)
    missing, unexpected = near.load_state_dict(gat.state_dict(), strict=False)
    assert (missing, unexpected) == (["raw_lambda1", "raw_lambda2"], [])
    distance = (near(x, EDGES, edge_attr=attr) - expected).abs().max()
    assert 0.0 < distance < 0.02 * expected.abs().max()
    exact.lambda1 = exact.lambda2 = None
    assert_same(exact(x, EDGES, edge_attr=attr), near(x, EDGES, edge_attr=attr), "freed", 1e-6)

    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*raw_lambda1.*is it that of a GAT\?.*strict=False"):
        layer(8, 4, **options).load_state_dict(gat.state_dict())


def test_a_model_that_starts_from_a_trained_gat(x):
    gat = models.GAT(8, 16, 2, out_channels=3, heads=2).eval()
    model = models.LCAT(8, 16, 2, out_channels=3, heads=2, lambda1_init=0.999, lambda2_init=0.003).eval()
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*convs.0.raw_lambda1.*is it that of a GAT\?"):
        model.load_state_dict(gat.state_dict())
    missing, unexpected = model.load_state_dict(gat.state_dict(), strict=False)
    assert (len(missing), unexpected) == (4, [])
    assert all("raw_lambda" in name for name in missing)
    assert (model(x, EDGES) - gat(x, EDGES)).abs().max() < 0.02 * gat(x, EDGES).abs().max()


def test_other_errors_of_loading_are_torchs():
    with pytest.raises(RuntimeError, match="size mismatch") as caught:
        LCATConv(8, 4).load_state_dict(LCATConv(8, 5).state_dict())
    assert "GAT" not in str(caught.value).replace("LCATConv", "")
    with pytest.raises(RuntimeError, match="Missing key") as caught:
        LCATConv(8, 4, lambda1=1.0, lambda2=1.0).load_state_dict({})
    assert "is it that of a GAT" not in str(caught.value)
    assert GATConv(8, 4).load_state_dict(GATConv(8, 4).state_dict())


class _Half(torch.nn.Module):
    def forward(self, raw):
        return raw / 2


def pruned(layer):
    torch.nn.utils.prune.random_unstructured(layer, "raw_lambda2", amount=0)


def parametrized(layer):
    torch.nn.utils.parametrize.register_parametrization(layer, "raw_lambda2", _Half())


@pytest.mark.parametrize("compute", [pruned, parametrized])
@pytest.mark.parametrize("name", ["LCATConv", "LCATv2Conv", "LCATGCN2Conv"])
def test_scalars_that_are_computed_are_not_set(name, compute):
    """What was written into them would be lost; and of a model with one of them, no scalar changes."""
    sizes = (4, 0.1) if "GCN2" in name else (4, 4)
    model = torch.nn.ModuleList([getattr(lcat.nn, name)(*sizes), getattr(lcat.nn, name)(*sizes)])
    compute(model[1])
    before = lambdas(model)
    for call in (
        lambda: set_lambdas(model, lambda1=0.9, lambda2=0.9),
        lambda: freeze_lambdas(model),
        lambda: unfreeze_lambdas(model),
        lambda: lambda_parameters(model),
        lambda: setattr(model[1], "lambda2", 0.9),
        lambda: LambdaSchedule(model, steps=4, lambda2=(0.0, 1.0)).step(),
    ):
        with pytest.raises(
            ValueError, match=r"'raw_lambda2' of .* is computed from another parameter \(pruned or param"
        ):
            call()
        assert lambdas(model) == before
        assert model[0].raw_lambda1.requires_grad
    assert set_lambdas(model, lambda1=0.9) == 2  # the other one is a parameter
