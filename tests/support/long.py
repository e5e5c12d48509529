"""Cases of parametrized tests that only ``pytest -m long`` runs: a few of each kind are enough for every run."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest

__all__ = ["long", "quick_or_long"]


def long(*values: Any) -> Any:
    """A case that is long."""
    return pytest.param(*values, marks=pytest.mark.long)


def quick_or_long(cases: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """All cases, those that are not ``quick`` as long ones."""
    return [case if case in quick else long(*case) if isinstance(case, tuple) else long(case) for case in cases]
