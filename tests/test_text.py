"""What was probably meant, in one form for all messages."""

from __future__ import annotations

import pytest

from lcat._text import counted, hint

LAYERS = ("gcn", "gat", "gatv2", "cat", "lcat", "ogbn-papers100M")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("gatt", " (did you mean gat or gatv2?)"),
        ("GCN", " (did you mean gcn?)"),
        ("OGBN-PAPERS100m", " (did you mean ogbn-papers100M?)"),
        ("transformer", ""),
        ("", ""),
        (17, ""),
    ],
)
def test_closest_names_first(value, expected):
    assert hint(value, LAYERS) == expected


def test_three_names_at_most():
    assert hint("lr_0", [f"lr_{number}" for number in range(1, 10)]).count("lr_") == 3


def test_the_beginning_of_a_name_is_enough():
    assert hint("hidden", ["hidden_channels", "heads"]) == " (did you mean hidden_channels?)"
    assert hint("x", ["xenon_lamp"]) == ""


def test_no_names():
    assert hint("gat", []) == ""


def test_how_names_are_written():
    rules = {"own": "own", "stratified": "stratified:5"}
    assert hint("stratifed", rules, show=rules.__getitem__) == " (did you mean stratified:5?)"
    assert hint("frist", ["first"], show=repr) == " (did you mean 'first'?)"


@pytest.mark.parametrize(
    ("count", "what", "expected"),
    [
        (0, "node", "0 nodes"),
        (1, "node", "1 node"),
        (2, "data set", "2 data sets"),
        (1234, "class", "1,234 classes"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
        (1, "class", "1 class"),
        (2, "box", "2 boxes"),
    ],
)
def test_one_and_several(count, what, expected):
    assert counted(count, what) == expected
