"""lcat.ops.dropout: its rule, statistics, gradients, and what falls back to torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lcat.ops import _native, dropout
from lcat.ops._attention_dropout import philox

native = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")


def naive(x: Tensor, seed: Tensor, p: float) -> Tensor:
    """Entry i is word (i % 64) // 16 of Philox at counter (i // 64) * 16 + i % 16."""
    i = torch.arange(x.numel())
    words = philox(i // 64 * 16 + i % 16, seed)
    word = words.gather(0, (i % 64 // 16).unsqueeze(0)).squeeze(0).view(x.shape)
    return torch.where(word >= int(p * 2**32), x / (1 - p), torch.zeros_like(x))


@native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (63,), (64,), (65,), (7, 3, 5), (1000, 33)])
def test_values_and_gradient_follow_the_rule(shape, dtype) -> None:
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    torch.manual_seed(4)
    y = dropout(x, 0.3)
    torch.manual_seed(4)
    seed = torch.randint(0, 2**62, (1,))
    assert torch.allclose(y, naive(x, seed, 0.3), rtol=1e-6)
    grad = torch.randn(shape, dtype=dtype)
    assert torch.allclose(torch.autograd.grad(y, x, grad)[0], naive(grad, seed, 0.3), rtol=1e-6)


@native
@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_statistics(p) -> None:
    torch.manual_seed(0)
    retained = (dropout(torch.ones(2000, 64), p) > 0).double()
    assert abs(float(retained.mean()) - (1 - p)) < 5 * (p * (1 - p) / retained.numel()) ** 0.5
    flat = retained.flatten()
    for lag in (1, 16, 64, 1024):
        assert abs(float(torch.corrcoef(torch.stack([flat[lag:], flat[:-lag]]))[0, 1])) < 5 / flat.numel() ** 0.5
    another = (dropout(torch.ones(2000, 64), p) > 0).double().flatten()
    assert abs(float(torch.corrcoef(torch.stack([flat, another]))[0, 1])) < 5 / flat.numel() ** 0.5


@native
def test_threads_and_strides_change_nothing() -> None:
    x, threads, outputs = torch.randn(500, 77).double(), torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            torch.manual_seed(1)
            outputs.append(dropout(x.T.contiguous().T, 0.5))
    finally:
        torch.set_num_threads(threads)
    torch.manual_seed(1)
    expected = dropout(x, 0.5)
    assert all(torch.equal(y, expected) for y in outputs)


@native
def test_gradients_of_both_orders() -> None:
    def function(x: Tensor) -> Tensor:
        torch.manual_seed(2)
        return dropout(x, 0.4)

    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))
    torch.library.opcheck(torch.ops.lcat.dropout.default, (x, torch.tensor([7]), 0.4))


@native
def test_nothing_is_kept_but_a_seed() -> None:
    saved_sizes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved_sizes.append(t.numel()) or t, lambda t: t):
        dropout(torch.ones(1000, requires_grad=True), 0.5)
    assert saved_sizes == [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_bounds(dtype) -> None:
    x = torch.tensor([1.0, torch.inf, torch.nan], dtype=dtype)
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.5, training=False) is x
    assert not dropout(x[:1], 1.0).any()
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"expected a probability 'p' in \[0, 1\], got"):
            dropout(x, p)


@native
def test_all_is_dropped_whatever_it_is() -> None:
    assert not dropout(torch.tensor([1.0, torch.inf, torch.nan]), 1.0).any()


def test_half_precision_and_transforms_are_torchs() -> None:
    x = torch.randn(100).half()
    torch.manual_seed(0)
    ours = dropout(x, 0.5)
    torch.manual_seed(0)
    assert torch.equal(ours, F.dropout(x, 0.5))
    batched = torch.func.vmap(lambda row: dropout(row, 0.5), randomness="different")(torch.ones(50, 20))
    assert set(batched.unique().tolist()) == {0.0, 2.0}


@native
def test_compiled_without_graph_break() -> None:
    compiled = torch.compile(lambda x: dropout(x, 0.5).sin(), backend="aot_eager", fullgraph=True)
    x = torch.ones(30, 10, requires_grad=True)
    y = compiled(x)
    y.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_numbers_are_dropped_as_a_whole(dtype):
    x = torch.full((2000,), 1 + 2j, dtype=dtype, requires_grad=True)
    torch.manual_seed(0)
    y = dropout(x, 0.25)
    values, counts = y.detach().real.unique(return_counts=True)
    assert values.tolist() == pytest.approx([0.0, 4 / 3])
    assert 400 < counts[0] < 600
    assert torch.equal(y.detach().imag, 2 * y.detach().real)
    y.real.sum().backward()
    assert torch.equal(x.grad == 0, y == 0)
    assert torch.equal(dropout(x, 1.0), torch.zeros_like(x))
    assert dropout(x, 0.5, training=False) is x
    infinite = torch.full((50,), complex("inf"), dtype=dtype)
    assert not dropout(infinite, 0.5).real.isnan().any()


def test_types_that_torch_cannot_drop():
    for dtype in (torch.float8_e4m3fn, torch.int64, torch.bool):
        with pytest.raises(ValueError, match=f"'x' of a floating point or complex type, got {dtype}"):
            dropout(torch.ones(3).to(dtype))
