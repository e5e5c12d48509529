"""The scores of GAT from the projected values, and their gradients, against plain torch."""

from __future__ import annotations

import ctypes
import itertools

import pytest
import torch
from torch import Tensor

from lcat.ops import _native
from lcat.ops._gat_attention import native
from tests.ops.cases import WIDTHS, guarded_memory

pytestmark = pytest.mark.skipif(_native.STATUS.instruction_set is None, reason="no compiled kernels")

HEADS = (1, 2, 3, 4, 5, 8)
ROWS = (0, 1, 3, 4, 33, 300)


def check(rows: int, heads: int, width: int, dtype: torch.dtype, which: str = "source target") -> None:
    """Scores and gradients of one shape; ``which`` names the vectors that are given."""
    draw = torch.Generator().manual_seed(rows * 100 + heads * 10 + width)
    value = torch.randn(rows, heads, width, generator=draw, dtype=torch.float64)
    before = torch.randn(rows, heads, width, generator=draw, dtype=torch.float64)
    vectors = torch.randn(2, heads, width, generator=draw, dtype=torch.float64)
    cotangents = torch.randn(2, rows, heads, generator=draw, dtype=torch.float64)
    value, before, vectors, cotangents = (t.to(dtype).double() for t in (value, before, vectors, cotangents))
    present = [name in which for name in ("source", "target")]

    leaf, att = value.clone().requires_grad_(), vectors.clone().requires_grad_()
    expected = [(leaf * a).sum(dim=2) for a in att]
    losses = [(e * c).sum() * is_present for e, c, is_present in zip(expected, cotangents, present, strict=True)]
    d_value, d_att = torch.autograd.grad(losses, (leaf, att))

    def optional(tensors: Tensor) -> list[Tensor | None]:
        return [t.to(dtype) if is_present else None for t, is_present in zip(tensors, present, strict=True)]

    limit = {torch.float64: 1e-11, torch.float32: 1e-4}[dtype]
    with guarded_memory() as frames:
        scores = native.scores(value.to(dtype), *optional(vectors))
        added = before.to(dtype, copy=True)
        grads = optional(cotangents)
        same, *gradients = native.scores_backward(value.to(dtype), *optional(vectors), *grads, added, (True,) * 3)
    assert same is added
    assert len(frames) == 2 * sum(present)
    torch.testing.assert_close(added.double(), before + d_value, rtol=limit, atol=limit)
    for got, right, is_present in zip(
        (*scores, *gradients), (*(e.detach() for e in expected), *d_att), 2 * present, strict=True
    ):
        assert (got is not None) == is_present
        if got is not None:
            torch.testing.assert_close(got.double(), right, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("heads", HEADS)
def test_shapes(heads: int, width: int, dtype: torch.dtype) -> None:
    for rows in ROWS:
        check(rows, heads, width, dtype)


@pytest.mark.parametrize("which", ["source", "target", ""])
@pytest.mark.parametrize("heads", [1, 3, 8])
def test_one_vector_or_none(which: str, heads: int) -> None:
    check(70, heads, 7, torch.float64, which)


@pytest.mark.parametrize("shape", [(5, 0, 3), (5, 3, 0), (0, 0, 0)])
def test_empty_shapes(shape: tuple[int, int, int]) -> None:
    check(*shape, torch.float32)


def test_only_what_is_needed() -> None:
    value, att, score = torch.randn(40, 2, 5), torch.randn(2, 5), torch.randn(40, 2)
    everything = native.scores_backward(value, att, att, score, score, None, needs=(True, True, True))
    for needs in itertools.product((False, True), repeat=3):
        gradients = native.scores_backward(value, att, att, score, score, None, needs=needs)
        for got, right, need in zip(gradients, everything, needs, strict=True):
            assert got is None if not need else torch.equal(got, right)


def test_half_precision_and_strided_values() -> None:
    value = torch.randn(2, 30, 9).transpose(0, 1)
    att = torch.randn(2, 9).bfloat16()
    source_score, target_score = native.scores(value, att, None)
    assert target_score is None
    torch.testing.assert_close(source_score, (value * att).sum(dim=2), rtol=1e-5, atol=1e-5)


def test_the_same_row_has_the_same_bits_everywhere() -> None:
    value = torch.randn(1, 3, 7).repeat(50, 1, 1)
    source_score, _ = native.scores(value, torch.randn(3, 7), None)
    assert torch.equal(source_score, source_score[:1].repeat(50, 1))


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_bits_do_not_depend_on_threads(threads: int) -> None:
    value, att, score = torch.randn(3000, 4, 16), torch.randn(2, 4, 16), torch.randn(2, 3000, 4)

    def run() -> list[Tensor]:
        gradients = native.scores_backward(value, *att, *score, torch.ones_like(value), needs=(True, True, True))
        return [*native.scores(value, *att), *gradients]

    torch.set_num_threads(1)
    alone = run()
    torch.set_num_threads(threads)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(alone, run(), strict=True))


@pytest.mark.parametrize("instruction_set", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_that_runs_here(instruction_set: str, monkeypatch: pytest.MonkeyPatch) -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    path = _native._find(f"_native_{instruction_set}")
    if instruction_set not in _native._RUNNABLE.get(capability, ("baseline",)) or path is None:
        pytest.skip(f"not built, or {capability} does not run it")
    library = ctypes.CDLL(str(path))
    _native._declare(library)
    monkeypatch.setattr(_native, "_LIBRARY", library)
    for heads in (1, 3, 4):
        for width in (1, 7, 8, 16, 33, 64):
            for dtype in (torch.float32, torch.float64):
                check(41, heads, width, dtype)
