"""Small graphs run PyG's steps in layers where these are as fast; in these tests they are fused."""

from __future__ import annotations

import pytest

from lcat.nn import acceleration


@pytest.fixture(autouse=True)
def of_any_size(monkeypatch):
    monkeypatch.setattr(acceleration._pna, "_WORTHWHILE", 0)
    for name in ("_WORTHWHILE", "_WORTHWHILE_WEIGHTED", "_NARROW"):
        monkeypatch.setattr(acceleration._difference, name, 0)
