"""A plan file for tests of ``lcat study``."""

from __future__ import annotations

import pytest

from tests.cli.study.support import PLAN


@pytest.fixture
def plan_file(tmp_path):
    """``plan.toml`` in the folder of the call."""
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path
