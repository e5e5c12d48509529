"""The list of layers in the documentation is that of the registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lcat.nn.acceleration._registry import adapted_classes

PAGE = Path(__file__).parents[3] / "docs" / "accelerate.md"
README = PAGE.parents[1] / "README.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
def test_every_class_is_in_the_table():
    table = PAGE.read_text(encoding="utf-8").partition("## Which layers")[2].partition("Everything else")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(cls.__name__ for cls in adapted_classes())


@pytest.mark.skipif(not README.exists(), reason="the README is not here")
def test_numbers_of_classes():
    text = " ".join(README.read_text(encoding="utf-8").split())
    listed, others = re.search(r"PyG's classes: (.*?) and (\d+) others", text).groups()
    assert len(listed.split(", ")) + int(others) == len(adapted_classes())
