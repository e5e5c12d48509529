"""Numbers of README and pages are those of the committed results."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUMBERS = runpy.run_path(str(ROOT / "docs" / "figures" / "claims.py"))


@pytest.mark.parametrize("claim", NUMBERS["CLAIMS"], ids=lambda claim: f"{claim.page}: {claim.sentence[:50]}")
def test_a_page_says_what_the_results_say(claim):
    page = " ".join((ROOT / claim.page).read_text(encoding="utf-8").split())
    assert claim.text() in page


def test_other_numbers_are_noticed(tmp_path):
    claim = NUMBERS["Claim"]("page.md", "it takes {} to {} times as long", lambda: ["1.2", "3.4"])
    assert claim.text() == "it takes 1.2 to 3.4 times as long"
    assert claim.pattern().search("it takes 9.9 to\n3.4 times as long").groups() == ("9.9", "3.4")
    assert claim.pattern().search("it takes long") is None
