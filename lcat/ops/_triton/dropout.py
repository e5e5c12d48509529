"""Attention dropout by counter: the mask is computed where it is needed and never stored.

The coefficient of edge ``e`` and head ``h`` belongs to ``i = e * H + h`` (``e`` is the edge's place in the graph's edge
order, so every pass, whichever way it sorts the edges, finds the same mask). Word ``i % 4`` of Philox 4x32-10
with counter ``(lo32(i // 4), hi32(i // 4), 0, 0)`` and key ``(lo32(seed), hi32(seed))`` decides: the coefficient
stays, times ``1 / (1 - p)``, if the word is at least ``floor(p * 2**32)``. The CPU kernels compute the same mask.
"""

# mypy: disable-error-code="no-untyped-def", disallow-incomplete-defs=False

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.ops._triton.launch import launch, padded

__all__ = ["dropout_arguments", "keep_factor", "keep_mask"]

_SIGN = tl.constexpr(0x80000000)


@triton.jit
def keep_factor(seed, edge, head, threshold, scale, scale_rest, H: tl.constexpr, ACC: tl.constexpr):
    """``1 / (1 - p)`` where a coefficient is kept and 0 where it is dropped, of the shape of ``edge + head``.

    ``threshold`` is ``floor(p * 2**32) - 2**31``, so that it fits a signed 32-bit argument whatever ``p`` is, and
    ``scale + scale_rest`` is ``1 / (1 - p)``: kernels take float arguments as float32, two of them carry a float64.
    """
    index = edge.to(tl.int64) * H + head
    block = index >> 2
    low = (block & 0xFFFFFFFF).to(tl.uint32)
    high = (block >> 32).to(tl.uint32)
    zero = low * 0
    word0, word1, word2, word3 = tl.philox(seed, low, high, zero, zero)
    which = index & 3
    word = tl.where(which < 2, tl.where(which == 0, word0, word1), tl.where(which == 2, word2, word3))
    # Flipping the highest bit turns the unsigned order into the signed one.
    kept = (word ^ _SIGN).to(tl.int32, bitcast=True) >= threshold
    factor = tl.full(kept.shape, 0.0, ACC) + scale
    if tl.float64 == ACC:
        factor += scale_rest
    return tl.where(kept, factor, 0.0)


def dropout_arguments(dropout: float, seed: Tensor | None) -> dict[str, Any]:
    """The arguments by which a kernel knows its dropout; ``SEED`` is ``None`` where there is none."""
    if dropout <= 0.0 or seed is None:
        return {"SEED": None, "threshold": 0, "scale": 1.0, "scale_rest": 0.0}
    if dropout >= 1.0:  # the threshold would be 2**32, which no word reaches: a factor of 0 says the same
        return {"SEED": seed, "threshold": 2**31 - 1, "scale": 0.0, "scale_rest": 0.0}
    factor = 1.0 / (1.0 - dropout)
    scale = float(torch.tensor(factor, dtype=torch.float32))
    threshold = int(dropout * 2**32) - 2**31
    return {"SEED": seed, "threshold": threshold, "scale": scale, "scale_rest": factor - scale}


@triton.jit(do_not_specialize=["count", "threshold"])
def _mask_kernel(OUT, SEED, count, threshold, scale, scale_rest, H: tl.constexpr, HP: tl.constexpr, B: tl.constexpr):
    edge = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    head = tl.arange(0, HP)[None, :]
    seed = tl.load(SEED)
    factor = keep_factor(seed, edge[:, None], head, threshold, scale, scale_rest, H, tl.float32)
    there = (edge < count)[:, None] & (head < H)
    tl.store(OUT + edge[:, None] * H + head, factor, mask=there)


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
        HP=padded(heads),
        B=128,
        **dropout_arguments(dropout, seed),
    )
    return out
