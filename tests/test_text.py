"""What was probably meant, in one form for all messages."""

from __future__ import annotations

import pytest

from lcat._text import counted, error_line, hint

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


FRAMES = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n    ^^^\n'


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FRAMES + "ValueError: boom\n", "ValueError: boom"),
        (FRAMES + "RuntimeError: out of luck\nCompile with this.\n", "RuntimeError: out of luck"),
        (FRAMES + "RuntimeError: no luck\n  second\nthird", "RuntimeError: no luck"),
        (FRAMES + "RuntimeError: \n\nthe shapes\ndiffer", "RuntimeError: the shapes"),
        (FRAMES + "KeyError: 'a'\n\nDuring the handling\n\n" + FRAMES + "m.Mine", "m.Mine"),
        ("the worker was killed\nby the system", "by the system"),
        ("", ""),
    ],
)
def test_the_line_of_an_error(error, line):
    assert error_line(error) == line
