"""Seeds in words."""

from __future__ import annotations

import pytest

from lcat._seed_list import parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("3", [0, 1, 2]),
        ("1", [0]),
        ("0,", [0]),
        ("0-0", [0]),
        ("3,", [3]),
        ("3-3", [3]),
        ("0,3,5", [0, 3, 5]),
        ("0-2, 7", [0, 1, 2, 7]),
        ("7,0-2", [7, 0, 1, 2]),
        ("4294967295,", [4294967295]),
        (" 2 ", [0, 1]),
    ],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "-3", "three", "1.5", "3-1", "1,1", "0-2,1", ",", "4294967296,", "0-99999999999", "2000000", "1,,2"]
)
def test_what_is_none(text):
    with pytest.raises(ValueError, match=r"expected .*got"):
        parse_seeds(text)
