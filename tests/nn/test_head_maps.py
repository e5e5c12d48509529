"""Linear maps by head: numbers, gradients of both orders, and where results lie in memory."""

from __future__ import annotations

import pytest
import torch

from lcat.nn import _head_maps
from lcat.nn._head_maps import map_heads


@pytest.fixture(params=["one step", "einsum"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(_head_maps, "_MANY", 0 if request.param == "one step" else 1 << 60)
    return str(request.param)


@pytest.mark.parametrize("shape", [(7, 3, 4, 2), (1, 1, 1, 1), (5, 8, 4, 3), (0, 2, 3, 4)])
def test_numbers_and_gradients(way: str, shape: tuple[int, int, int, int]) -> None:
    nodes, heads, width, out_width = shape
    x = torch.randn(nodes, heads, width, dtype=torch.double, requires_grad=True)
    matrices = torch.randn(heads, width, out_width, dtype=torch.double, requires_grad=True)
    out = map_heads(x, matrices)
    assert out.is_contiguous()
    for head in range(heads):
        torch.testing.assert_close(out[:, head], x[:, head] @ matrices[head])
    if nodes:
        assert torch.autograd.gradcheck(map_heads, (x, matrices))
        assert torch.autograd.gradgradcheck(map_heads, (x, matrices))


def test_gradient_of_rows_needs_no_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_head_maps, "_MANY", 0)
    x, matrices = torch.randn(9, 4, 5, requires_grad=True), torch.randn(4, 6, 5)
    (gradient,) = torch.autograd.grad(map_heads(x, matrices.transpose(1, 2)).sum(), x)
    assert gradient.is_contiguous()


def test_only_one_of_both_needs_a_gradient(way: str) -> None:
    x, matrices = torch.randn(9, 4, 5), torch.randn(4, 5, 6)
    for needs in (x, matrices):
        needs.requires_grad_()
        (gradient,) = torch.autograd.grad(map_heads(x, matrices).square().sum(), needs)
        (expected,) = torch.autograd.grad(torch.einsum("nha,hab->nhb", x, matrices).square().sum(), needs)
        torch.testing.assert_close(gradient, expected)
        needs.requires_grad_(False)


def test_half_precision_and_transforms_take_the_product_of_torch(way: str) -> None:
    x, matrices = torch.randn(9, 4, 5), torch.randn(4, 5, 6)
    with torch.autocast("cpu", torch.bfloat16):
        assert map_heads(x, matrices).dtype is torch.bfloat16
    batched = torch.func.vmap(map_heads, in_dims=(0, None))(torch.stack([x, 2 * x]), matrices)
    torch.testing.assert_close(batched[1], 2 * map_heads(x, matrices))
