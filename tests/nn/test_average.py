"""Averages of nodes with their neighbors: the formula, and its gradients of both orders."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lcat.nn._average import average


def inputs(
    rows: int = 5, *width: int, dtype: torch.dtype = torch.float64, strength: float | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor | float]:
    draw = torch.Generator().manual_seed(rows)
    own, neighbor_sum = (
        torch.randn(rows, *width, generator=draw, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(2)
    )
    degree = torch.randint(0, 9, (rows,), generator=draw).view(-1, *[1] * len(width))
    return own, neighbor_sum, degree, torch.tensor(0.3, dtype=dtype).requires_grad_() if strength is None else strength


def formula(own: Tensor, neighbor_sum: Tensor, degree: Tensor, strength: Tensor | float) -> Tensor:
    return (own + strength * neighbor_sum) / (1.0 + strength * degree)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("strength", [None, 0.0, 0.7, 1.0])
@pytest.mark.parametrize("size", [(0, 3), (1, 1), (5,), (6, 4), (4, 2, 3)])
def test_formula(size, strength, dtype):
    tensors = inputs(*size, dtype=dtype, strength=strength)
    exact = [t.detach().double().requires_grad_() if isinstance(t, Tensor) else t for t in tensors]
    exact[2] = tensors[2].double()
    out, expected = average(*tensors), formula(*exact)
    assert out.dtype is dtype
    limit = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 5e-2}[dtype]
    torch.testing.assert_close(out.double(), expected, rtol=limit, atol=limit)
    positions = [0, 1, 3] if strength is None else [0, 1]
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradients = torch.autograd.grad(out, [tensors[i] for i in positions], grad.to(dtype))
    right = torch.autograd.grad(expected, [exact[i] for i in positions], grad)
    for got, wanted in zip(gradients, right, strict=True):
        assert got.dtype is dtype
        torch.testing.assert_close(got.double(), wanted, rtol=limit, atol=4 * limit)


@pytest.mark.parametrize("strength", [None, 0.7])
def test_gradcheck_and_gradgradcheck(strength):
    own, neighbor_sum, degree, learned = inputs(4, 3, strength=strength)
    leaves = (own, neighbor_sum) if strength is not None else (own, neighbor_sum, learned)

    def function(*tensors: Tensor) -> Tensor:
        return average(*tensors[:2], degree, strength if len(tensors) == 2 else tensors[2])

    assert torch.autograd.gradcheck(function, leaves, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("wanted", [0, 1, 3])
def test_each_gradient_alone(wanted):
    tensors = inputs(4, 3)
    whole = torch.autograd.grad(average(*tensors).square().sum(), tensors[wanted])[0]
    alone = [t.detach() for t in tensors]
    alone[wanted].requires_grad_()
    torch.testing.assert_close(torch.autograd.grad(average(*alone).square().sum(), alone[wanted])[0], whole)


def test_one_tensor_as_both():
    own, _, degree, strength = inputs(4, 3)
    out = average(own, own, degree, strength)
    torch.testing.assert_close(out, formula(own, own, degree, strength))
    for got, right in zip(
        torch.autograd.grad(out.sum(), (own, strength)),
        torch.autograd.grad(formula(own, own, degree, strength).sum(), (own, strength)),
        strict=True,
    ):
        torch.testing.assert_close(got, right)


def test_one_step_for_autograd():
    out = average(*inputs(4, 3))
    assert out.grad_fn.name() == "lcat::averageBackward"
    assert {type(node).__name__ for node, _ in out.grad_fn.next_functions if node is not None} == {"AccumulateGrad"}


def test_transforms_and_compiled_code():
    own, neighbor_sum, degree, strength = (t.detach() for t in inputs(4, 3))
    expected = formula(own, neighbor_sum, degree, strength)
    _, tangent = torch.func.jvp(
        lambda s: average(own, neighbor_sum, degree, s), (strength,), (torch.ones_like(strength),)
    )
    torch.testing.assert_close(tangent, (neighbor_sum - expected * degree) / (1 + strength * degree))
    mapped = torch.func.vmap(lambda o: average(o, neighbor_sum, degree, strength))(torch.stack([own, own]))
    torch.testing.assert_close(mapped[1], expected)
    torch._dynamo.reset()
    compiled = torch.compile(average, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(own, neighbor_sum, degree, strength), expected)
