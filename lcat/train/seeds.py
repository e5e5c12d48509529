"""Seeds and reproducible runs."""

from __future__ import annotations

import operator
import random

import numpy as np
import torch

from lcat._seeds import Purpose, derive_seed

__all__ = ["seed_everything", "seed_for"]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices), as PyG's function of this name does.

    Only this function starts the global generators from the seed itself. Everything else of the library that takes a
    seed derives its own from it, so ``seed_everything(0)`` and ``csbm(seed=0)`` share no random numbers.

    With the same seed, the same versions and one device, :func:`lcat.train.fit` repeats its result bit for
    bit on the CPU; on a GPU also call ``torch.use_deterministic_algorithms(True)``.

    Args:
        seed: a whole number in ``0 .. 2^32 - 1``.

    Raises:
        ValueError: for any other number.

    Example:
        >>> import torch
        >>> from lcat.train import seed_everything
        >>> seed_everything(0)
        >>> first = torch.rand(3)
        >>> seed_everything(0)
        >>> torch.equal(torch.rand(3), first)
        True
    """
    seed = _checked(seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_for(seed: int, purpose: Purpose, *numbers: int) -> None:
    """Seed the global generators for one purpose: what is drawn for another has nothing to do with it.

    Args:
        seed, purpose, numbers: as in :func:`lcat._seeds.derive_seed`; the seed in ``0 .. 2^32 - 1``.

    Raises:
        ValueError: for another seed.
    """
    seed_everything(derive_seed(_checked(seed), purpose, *numbers) % 2**32)


def _checked(seed: int) -> int:
    try:
        whole = None if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        whole = None
    if whole is None or not 0 <= whole < 2**32:
        raise ValueError(f"seed must be a whole number in 0 .. 2^32 - 1; got {seed!r}")
    return whole
