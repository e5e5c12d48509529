"""Classes that torch may make while it reads a file with ``weights_only=True``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["allowed"]


@contextmanager
def allowed(classes: Sequence[Any]) -> Iterator[None]:
    """Allow ``classes`` inside the ``with`` block; afterwards exactly those are allowed that were before.

    ``torch.serialization.safe_globals`` alone would take away what others, such as PyG on import, had allowed for good.
    """
    before = torch.serialization.get_safe_globals()
    try:
        with torch.serialization.safe_globals(list(classes)):
            yield
    finally:
        torch.serialization.add_safe_globals(before)
