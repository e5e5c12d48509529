"""Attention dropout by counter: the mask is computed where it is needed and never stored.

The coefficient of edge ``e`` and head ``h`` belongs to ``i = e * H + h`` (``e`` is the edge's position in the graph's
edge order, so every pass, whichever way it sorts the edges, finds the same mask). Word ``i % 4`` of Philox 4x32-10
with counter ``(lo32(i // 4), hi32(i // 4), 0, 0)`` and key ``(lo32(seed), hi32(seed))`` decides: the coefficient
stays, times ``1 / (1 - p)``, if the word is at least ``floor(p * 2**32)``. The CPU kernels compute the same mask.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.ops._triton.launch import launch, padded

__all__ = ["dropout_arguments", "keep_factor", "keep_mask"]

_SIGN = tl.constexpr(0x80000000)


@triton.jit
def keep_factor(
    seed, edge_id, first_head, keep_threshold, keep_scale, keep_scale_rest, H: tl.constexpr, BLOCK_HEADS: tl.constexpr,
    ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """``1 / (1 - p)`` where a coefficient is kept, 0 where it is dropped: ``[R, B, BLOCK_HEADS]`` for ``[R, B]`` edges.

    ``keep_threshold`` is ``floor(p * 2**32) - 2**31``, so that it fits a signed 32-bit argument whatever ``p`` is, and
    ``keep_scale + keep_scale_rest`` is ``1 / (1 - p)``: kernels take float arguments as float32, two of them carry a
    float64. Where the number of heads is a multiple of 4, the four words of a block belong to four heads of one edge; a
    program with fewer heads than that (of very many features) draws a block for each.
    """
    edge = edge_id.to(tl.int64)[:, :, None]
    by_four: tl.constexpr = H % 4 == 0 and BLOCK_HEADS % 4 == 0
    if by_four:
        group = first_head // 4 + tl.arange(0, BLOCK_HEADS // 4)
        block = edge * (H // 4) + group[None, None, :]
    else:
        index = edge * H + (first_head + tl.arange(0, BLOCK_HEADS))[None, None, :]
        block = index >> 2
    low = (block & 0xFFFFFFFF).to(tl.uint32)
    high = (block >> 32).to(tl.uint32)
    zero = low * 0
    word0, word1, word2, word3 = tl.philox(seed, low, high, zero, zero)
    if by_four:
        words = tl.join(tl.join(word0, word2), tl.join(word1, word3))  # [R, B, H / 4, 2, 2]: word 2 i + j at i, j
        word = tl.reshape(words, (edge_id.shape[0], edge_id.shape[1], BLOCK_HEADS))
    else:
        which = index & 3
        word = tl.where(which < 2, tl.where(which == 0, word0, word1), tl.where(which == 2, word2, word3))
    # Flipping the highest bit turns the signed order of the argument into the unsigned one of the words.
    keep = word >= (keep_threshold.to(tl.uint32, bitcast=True) ^ _SIGN)
    factor = tl.full(keep.shape, 0.0, ACC_DTYPE) + keep_scale
    if tl.float64 == ACC_DTYPE:
        factor += keep_scale_rest
    return tl.where(keep, factor, 0.0)


def dropout_arguments(dropout: float, seed: Tensor | None) -> dict[str, Any]:
    """The arguments that tell a kernel its dropout; ``SEED`` is ``None`` where there is none."""
    if dropout <= 0.0 or seed is None:
        return {"SEED": None, "keep_threshold": 0, "keep_scale": 1.0, "keep_scale_rest": 0.0}
    if dropout >= 1.0:  # the threshold would be 2**32, which no word reaches: a factor of 0 says the same
        return {"SEED": seed, "keep_threshold": 2**31 - 1, "keep_scale": 0.0, "keep_scale_rest": 0.0}
    factor = 1.0 / (1.0 - dropout)
    keep_scale = ctypes.c_float(factor).value  # rounded to float32 without a tensor
    keep_threshold = int(dropout * 2**32) - 2**31
    return {
        "SEED": seed,
        "keep_threshold": keep_threshold,
        "keep_scale": keep_scale,
        "keep_scale_rest": factor - keep_scale,
    }


@triton.jit(do_not_specialize=["count", "keep_threshold"])
def _mask_kernel(
    OUT,
    SEED,
    count,
    keep_threshold,
    keep_scale,
    keep_scale_rest,
    H: tl.constexpr,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_EDGES: tl.constexpr,
):
    edge_id = tl.program_id(0).to(tl.int64) * BLOCK_EDGES + tl.arange(0, BLOCK_EDGES)
    head = tl.arange(0, BLOCK_HEADS)[None, None, :]
    edge = edge_id[None, :]
    seed = tl.load(SEED)
    factor = keep_factor(seed, edge, 0, keep_threshold, keep_scale, keep_scale_rest, H, BLOCK_HEADS, tl.float32)
    tl.store(OUT + edge[:, :, None] * H + head, factor, mask=(edge < count)[:, :, None] & (head < H))


def keep_mask(num_edges: int, heads: int, dropout: float, seed: Tensor) -> Tensor:
    """The factors ``[E, H]`` (float32) that the attention kernels apply, written out: for tests and inspection."""
    out = torch.empty(num_edges, heads, device=seed.device)
    launch(
        _mask_kernel,
        (triton.cdiv(num_edges, 128),),
        4,
        OUT=out,
        count=num_edges,
        H=heads,
        BLOCK_HEADS=padded(heads),
        BLOCK_EDGES=128,
        **dropout_arguments(dropout, seed),
    )
    return out
