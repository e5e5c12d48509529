"""Drawing in-edges of many nodes at once."""

from __future__ import annotations

import torch
from torch import Tensor


def pick_slots(degree: Tensor, count: int, replace: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For every node, which of its ``degree`` in-edges are taken.

    Args:
        degree: ``[n]`` int64.
        count: how many to take of each node; -1 takes all.
        replace: draw with replacement: exactly ``count`` of every node that has at least one in-edge. Without
            replacement it is ``min(degree, count)``, and all subsets of that size are equally likely.
        generator: where random numbers come from.

    Returns:
        ``(owner, slot)``: of every edge taken, whose it is (rising, in ``0 .. n - 1``) and its number
        in ``0 .. degree - 1``.

    Complexity:
        O(edges taken), and O(n count^2) comparisons for drawing without replacement.
    """
    if count < 0:
        taken = degree
    elif replace:
        taken = torch.where(degree > 0, count, 0)
    else:
        taken = degree.clamp(max=count)
    total = int(taken.sum())
    owner = torch.arange(degree.numel()).repeat_interleave(taken, output_size=total)
    if replace and count >= 0:
        return owner, _below(degree.index_select(0, owner), generator)
    begin = taken.cumsum(0) - taken
    slot = torch.arange(total) - begin.index_select(0, owner)
    crowded = (degree > taken).nonzero().flatten()
    if crowded.numel() > 0 and count > 0:
        places = begin.index_select(0, crowded).unsqueeze(1) + torch.arange(count)
        slot[places.flatten()] = _subsets(degree.index_select(0, crowded), count, generator).flatten()
    return owner, slot


def _below(bound: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform integers in ``0 .. bound - 1``; of bounds below 2^40 the bias is less than one in 10^4 of a draw's."""
    return (torch.rand(bound.shape, dtype=torch.float64, generator=generator) * bound).long()


def _subsets(degree: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``[n, count]``: of every row, a uniform subset of ``0 .. degree - 1``, by Floyd's algorithm in all rows at once.

    For j = count, ..., 1 draw t in ``0 .. degree - j``; take t, or ``degree - j`` where t was taken before.
    (R. W. Floyd, in J. Bentley's "Programming pearls: a sample of brilliance", 1987.)
    """
    last = degree.unsqueeze(1) - torch.arange(count, 0, -1)
    drawn = _below(last + 1, generator).t().contiguous()  # one row a round: rounds read whole rows
    last = last.t().contiguous()
    for j in range(1, count):
        seen = (drawn[:j] == drawn[j]).any(dim=0)
        torch.where(seen, last[j], drawn[j], out=drawn[j])
    return drawn.t()
