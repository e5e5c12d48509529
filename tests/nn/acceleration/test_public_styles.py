"""Models in the styles of public code, accelerated and upgraded: equal outputs and gradients, and true reports."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lcat
from tests.support.compare import assert_same
from tests.support.public_styles import styles

STYLES = styles()


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    nested = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for one in nested for tensor in _tensors(one)]


def _results(model: nn.Module, inputs: tuple[Any, ...], parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs, and the gradients of these parameters."""
    for parameter in parameters.values():
        parameter.grad = None
    torch.manual_seed(5)  # SuperGAT draws edges
    outputs = _tensors(model(*inputs))
    loss = sum((one * torch.linspace(-1, 1, one.numel(), dtype=one.dtype).view_as(one)).sum() for one in outputs)
    loss.backward()  # PyG's checkpoints refuse torch.autograd.grad
    named = {name: torch.zeros(1) if one.grad is None else one.grad for name, one in parameters.items()}
    return {**{f"output {number}": one.detach() for number, one in enumerate(outputs)}, **named}


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch.compile looks at it
@pytest.mark.parametrize("name", STYLES)
def test_outputs_gradients_and_reports(name):
    torch.manual_seed(0)
    torch._dynamo.reset()
    style = STYLES[name]
    model = style.make().double().eval()
    with torch.no_grad():
        model(*style.inputs)  # lazy sizes
    parameters = {key: one for key, one in model.named_parameters() if one.requires_grad}
    expected = _results(model, style.inputs, parameters)

    def check(what: str) -> None:
        results = _results(model, style.inputs, parameters)
        assert results.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(results[key], value, f"{key}, {what}")

    report = lcat.accelerate(model)
    check("accelerated")
    assert tuple(layer.path for layer in report.swapped) == style.swapped
    assert lcat.restore(model) == len(report)
    check("restored")
    lcat.accelerate(model)
    report = lcat.upgrade(model)
    check("accelerated and upgraded")
    assert tuple(layer.path for layer in report.swapped) == style.upgraded
    assert len(lcat.accelerate(model)) == 0
