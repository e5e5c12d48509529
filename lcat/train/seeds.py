"""Seeds and reproducible runs."""

from __future__ import annotations

import random

import numpy as np
import torch

__all__ = ["seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices).

    With the same seed, the same versions and one device, :func:`lcat.train.fit` repeats its result bit for
    bit on the CPU; on a GPU also call ``torch.use_deterministic_algorithms(True)``.

    Args:
        seed: a whole number in ``0 .. 2^32 - 1``.

    Raises:
        ValueError: for any other number.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number in 0 .. 2^32 - 1; got {seed!r}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
