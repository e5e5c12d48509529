"""What the contracts of :mod:`lcat.testing` share: their list of clauses, and two ways to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Contract", "same"]


def same(a: Any, b: Any) -> bool:
    """Whether two nested states hold the same values bit for bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


class Contract:
    """A suite of clauses, each a method ``test_...`` without arguments that raises an AssertionError."""

    @classmethod
    def clauses(cls) -> list[str]:
        """Names of all clauses."""
        return [name for name in dir(cls) if name.startswith("test_") and getattr(cls, name) is not None]

    def refuses(self, error: type[BaseException] | tuple[type[BaseException], ...], call: Callable[[], Any]) -> str:
        """Assert that a call raises one of the errors, with a message, which is returned."""
        message = None
        try:
            call()
        except error as raised:
            message = str(raised)
        assert message is not None, f"expected {error}, but the call was accepted"
        assert message, "an error without a message"
        return message
