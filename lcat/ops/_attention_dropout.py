"""Attention dropout by counter in plain torch: what the fused kernels compute without storing it.

The rule is stated in :mod:`lcat.ops._fused`. Used where the naive path must reproduce a fused call (double
backward), and by tests.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LOW = 0xFFFFFFFF


def dropout_factors(seed: Tensor, num_edges: int, heads: int, dropout: float) -> Tensor:
    """``[E, H]`` float64: ``1 / (1 - dropout)`` where a coefficient is kept, 0 where it is dropped."""
    index = torch.arange(num_edges * heads, dtype=torch.int64, device=seed.device)
    words = philox(index // 4, seed)
    word = words.gather(0, (index % 4).unsqueeze(0)).squeeze(0)
    threshold = int(dropout * 2**32)
    scale = 1 / (1 - dropout) if dropout < 1 else 0.0
    return ((word >= threshold).double() * scale).view(num_edges, heads)


def philox(counter: Tensor, seed: Tensor) -> Tensor:
    """The four words (uint32 values in int64) of Philox 4x32-10 at each counter: ``[4, n]``."""
    a, b = counter & _LOW, (counter >> 32) & _LOW
    c = d = torch.zeros_like(counter)
    key0, key1 = seed & _LOW, (seed >> 32) & _LOW
    for _ in range(10):
        p_high, p_low = _multiply(a, 0xD2511F53)
        q_high, q_low = _multiply(c, 0xCD9E8D57)
        a, b, c, d = q_high ^ b ^ key0, q_low, p_high ^ d ^ key1, p_low
        key0, key1 = (key0 + 0x9E3779B9) & _LOW, (key1 + 0xBB67AE85) & _LOW
    return torch.stack([a, b, c, d])


def _multiply(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a product of 32-bit numbers, in halves that int64 can hold."""
    low = (x & 0xFFFF) * factor
    high = (x >> 16) * factor + (low >> 16)
    return high >> 16, ((high & 0xFFFF) << 16) | (low & 0xFFFF)
