"""The dropout mask of the GPU kernels, against Philox written out with Python's integers."""

from __future__ import annotations

import pytest
import torch

# First, because it decides whether the kernels are interpreted.
from tests.ops.triton_support import DEVICE

# isort: split
import triton
import triton.language as tl

from lcat.ops._attention_dropout import dropout_factors
from lcat.ops._triton.dropout import dropout_arguments, keep_factor, keep_mask
from lcat.ops._triton.launch import launch


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox 4x32-10 (Salmon and others 2011)."""
    a, b, c, d = counter
    x, y = key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ x, q & 0xFFFFFFFF, (p >> 32) ^ d ^ y, p & 0xFFFFFFFF
        x, y = (x + 0x9E3779B9) & 0xFFFFFFFF, (y + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def is_retained(edge: int, head: int, heads: int, dropout: float, seed: int) -> bool:
    """The rule, as the documentation states it."""
    index = edge * heads + head
    block, low = index // 4, 0xFFFFFFFF
    word = philox((block & low, block >> 32, 0, 0), (seed & low, (seed >> 32) & low))[index % 4]
    return word >= int(dropout * 2**32)


def test_philox_itself():
    # Known answers published with Random123.
    assert philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    ones = 0xFFFFFFFF
    assert philox((ones,) * 4, (ones, ones)) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345, -7])
@pytest.mark.parametrize(("heads", "dropout"), [(1, 0.5), (3, 0.1), (4, 0.5), (8, 0.9)])
def test_mask(heads, dropout, seed):
    mask = keep_mask(50, heads, dropout, torch.tensor([seed], device=DEVICE))
    expected = [[is_retained(e, h, heads, dropout, seed) for h in range(heads)] for e in range(50)]
    assert (mask > 0).tolist() == expected
    assert torch.allclose(mask[mask > 0], torch.tensor(1 / (1 - dropout), device=DEVICE))


@triton.jit
def far_kernel(
    OUT, SEED, EDGE_IDS, keep_threshold, keep_scale, keep_scale_rest, H: tl.constexpr, BLOCK_HEADS: tl.constexpr
):
    edge_id = tl.load(EDGE_IDS + tl.arange(0, 8))[None, :]
    first = tl.program_id(1) * BLOCK_HEADS
    factor = keep_factor(
        tl.load(SEED), edge_id, first, keep_threshold, keep_scale, keep_scale_rest, H, BLOCK_HEADS, tl.float64
    )
    head = (first + tl.arange(0, BLOCK_HEADS))[None, None, :]
    tl.store(OUT + tl.arange(0, 8)[None, :, None] * H + head, factor, mask=head < H)


@pytest.mark.parametrize("heads_of_program", [1, 2, 4, 8])
@pytest.mark.parametrize("heads", [1, 3, 4, 8, 12])
def test_edges_beyond_32_bits_and_factors_in_double(heads, heads_of_program):
    edges = torch.tensor([0, 2**31 - 1, 2**31, 2**32 // 3, 2**32, 2**33 + 1, 2**40, 2**55], device=DEVICE)
    out = torch.empty(8, heads, dtype=torch.float64, device=DEVICE)
    seed, block = torch.tensor([99], device=DEVICE), min(triton.next_power_of_2(heads), heads_of_program)
    launch(
        far_kernel,
        (1, -(-heads // block)),
        1,
        OUT=out,
        EDGE_IDS=edges,
        H=heads,
        BLOCK_HEADS=block,
        **dropout_arguments(0.3, seed),
    )
    expected = [[is_retained(e, h, heads, 0.3, 99) / 0.7 for h in range(heads)] for e in edges.tolist()]
    assert torch.allclose(out.cpu(), torch.tensor(expected, dtype=torch.float64), rtol=1e-14)


def test_probabilities_at_the_ends():
    seed = torch.tensor([5], device=DEVICE)
    assert not keep_mask(40, 2, 1.0, seed).any()
    assert bool((keep_mask(40, 2, 1e-12, seed) == 1).all())
    assert dropout_arguments(0.0, None)["SEED"] is None


def test_the_share_that_is_kept():
    mask = keep_mask(20000, 4, 0.3, torch.tensor([1], device=DEVICE)) > 0
    # 80 000 draws: the standard error is 0.0016.
    assert abs(mask.double().mean().item() - 0.7) < 0.008
    assert abs((mask[:, 0] & mask[:, 1]).double().mean().item() - 0.49) < 0.018


def test_the_same_mask_as_in_plain_torch():
    seed = torch.tensor([2**61 + 3], device=DEVICE)
    plain = dropout_factors(seed, 64, 5, 0.25)
    assert torch.allclose(keep_mask(64, 5, 0.25, seed), plain.to(torch.float32))
