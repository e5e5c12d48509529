"""How rows of any shape are read by the kernels of ``aggregate`` and ``extremes``."""

from __future__ import annotations

from torch import Tensor

__all__ = ["heads_and_width"]


def heads_and_width(x: Tensor, *, in_weight: bool) -> tuple[int, int]:
    """Numbers of heads and of features per head, [N, H, ...]; one head if ``in_weight`` has none of its own."""
    shape = x.shape
    if not in_weight:
        return 1, shape[1] if len(shape) == 2 else shape[1:].numel()
    return shape[1], shape[2:].numel()
