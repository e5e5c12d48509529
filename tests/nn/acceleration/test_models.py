"""Whole models of PyG compute on lcat what they computed before, and come back as they were."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import lcat
from tests.support.compare import assert_same
from tests.support.pyg_models import MODELS, Inputs, loss_of, make_inputs, make_model, run

# The classes that each model has layers of, and that lcat swaps.
SWAPPED = {
    "GCN": ["GCNConv"] * 3,
    "GAT": ["GATConv"] * 2,
    "GATv2": ["GATv2Conv"] * 2,
    "GAT with JK": ["GATConv"] * 3,
    "GAT with residuals": ["GATConv"] * 2,
    "PNA": ["PNAConv"] * 2,
    "DeepGCN": ["GCNConv"] * 3,
    "GAE": ["GCNConv"] * 2,
    "GPS with a local GAT": ["GATConv"] * 2,
    "TransformerConv": ["TransformerConv"] * 2,
    "TransformerConv with JK": ["TransformerConv"] * 2,
    "a plain subclass": ["PlainSubclass"],
    "a subclass of TransformerConv": ["ScaledTransformer"] * 2,
    "a subclass with other messages": [],
}


def _results(model: nn.Module, name: str, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Output and all gradients, of inputs and parameters."""
    leaves = inputs._replace(
        **{key: getattr(inputs, key).clone().requires_grad_() for key in ("x", *MODELS[name].takes)}
    )
    out = run(model, name, leaves)
    named = {key: getattr(leaves, key) for key in ("x", *MODELS[name].takes)} | dict(model.named_parameters())
    used = {key: tensor for key, tensor in named.items() if tensor.requires_grad}
    grads = torch.autograd.grad(loss_of(out), list(used.values()), allow_unused=True)
    results = {f"gradient of {key}": grad for key, grad in zip(used, grads, strict=True)}
    return {"output": out.detach(), **{key: torch.zeros(0) if grad is None else grad for key, grad in results.items()}}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_gradients(name, dtype):
    model, inputs = make_model(name, dtype), make_inputs(dtype)
    before = _results(model, name, inputs)
    report = lcat.accelerate(model)
    if name in SWAPPED:
        assert [layer.layer for layer in report.swapped] == SWAPPED[name]
    after = _results(model, name, inputs)
    assert before.keys() == after.keys()
    for key in before:
        assert_same(after[key], before[key], key, 2e-6 if dtype is torch.float32 else 1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_restored_exactly(name):
    model = make_model(name)
    inputs = make_inputs()
    before = {path: (type(module), list(module.__dict__)) for path, module in model.named_modules()}
    parameters, expected = list(model.parameters()), _results(model, name, inputs)
    text = repr(model)
    report = lcat.accelerate(model)
    assert repr(model) == text
    assert len(lcat.accelerate(model)) == 0
    assert all(isinstance(module, before[path][0]) for path, module in model.named_modules())
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    run(model, name, inputs)
    assert lcat.restore(model) == len(report)
    assert {path: (type(module), list(module.__dict__)) for path, module in model.named_modules()} == before
    for key, value in _results(model, name, inputs).items():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=0)
    assert lcat.restore(model) == 0


@pytest.mark.parametrize("name", MODELS)
def test_training_goes_on_with_the_same_optimizer_and_the_same_numbers(name):
    ours, theirs, inputs = make_model(name), make_model(name), make_inputs()
    optimizers = [torch.optim.Adam(model.parameters(), lr=0.01) for model in (ours, theirs)]
    for step in range(5):
        if step == 1:
            lcat.accelerate(ours)
        if step == 4:
            lcat.restore(ours)
        losses = []
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            loss = loss_of(run(model, name, inputs))
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        assert_same(losses[0], losses[1], f"loss of step {step}", 1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_fit_both_ways(name):
    model, other, inputs = make_model(name), make_model(name), make_inputs()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    expected = run(other, name, inputs)
    state = other.state_dict()
    lcat.accelerate(model)
    assert list(model.state_dict()) == list(state)
    model.load_state_dict(state)
    assert_same(run(model, name, inputs), expected, "accelerated, with a checkpoint of before")
    third = make_model(name)
    third.load_state_dict(model.state_dict())
    assert_same(run(third, name, inputs), expected, "not accelerated, with a checkpoint of an accelerated one")


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"to_hetero", "GAE"}))  # PyG's own cannot be pickled
@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_copies_stay_accelerated_and_can_be_restored(name, way):
    model, inputs = make_model(name), make_inputs()
    expected, types = run(model, name, inputs), [type(module) for module in model.modules()]
    lcat.accelerate(model)
    if way == "deepcopy":
        twin = copy.deepcopy(model)
    elif way == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        twin = torch.load(buffer, weights_only=False)
    assert [type(module) for module in twin.modules()] == [type(module) for module in model.modules()]
    assert_same(run(twin, name, inputs), expected, "the copy")
    lcat.restore(twin)
    assert [type(module) for module in twin.modules()] == types
    assert_same(run(twin, name, inputs), expected, "the copy, restored")
