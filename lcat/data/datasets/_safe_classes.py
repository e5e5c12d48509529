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

    A pair ``(function, "collections.defaultdict")`` takes the place of the class of this name.

    ``torch.serialization.safe_globals`` alone would take away what others, such as PyG on import, had allowed for good.
    """
    before = torch.serialization.get_safe_globals()
    names = {entry[1] for entry in classes if isinstance(entry, tuple)}
    try:
        with torch.serialization.safe_globals([entry for entry in before if _name(entry) in names]):
            pass  # its end takes them away; of two entries of one name, torch uses either
        with torch.serialization.safe_globals(list(classes)):
            yield
    finally:
        torch.serialization.add_safe_globals(before)


def _name(entry: Any) -> str:
    return str(entry[1]) if isinstance(entry, tuple) else f"{entry.__module__}.{entry.__qualname__}"
