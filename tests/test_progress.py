"""Progress: when a log gets a line, and what is in it."""

from __future__ import annotations

import io
import sys

import pytest

from lcat._progress import Pace, duration, progress_bar


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (7300, "2 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds, words):
    assert duration(seconds) == words


def test_a_line_every_tenth_or_every_thirty_seconds():
    now = [0.0]
    pace = Pace(clock=lambda: now[0])
    due = []
    for step in range(1001):
        now[0] = step * 1.0
        if pace.is_due(step, 1000):
            due.append(step)
    assert due == list(range(0, 1001, 30))
    quick = Pace(clock=lambda: 0.0)
    assert [step for step in range(1001) if quick.is_due(step, 1000)] == list(range(0, 1001, 100))
    assert [quick.is_due(5, None) for _ in range(3)] == [False] * 3


def test_lines_where_there_is_no_terminal(monkeypatch):
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    with progress_bar(1000, "arxiv gat", "epoch") as bar:
        for step in range(1000):
            bar.set_postfix(seed=3, refresh=False)
            bar.update(1)
            assert bar.n == step + 1
    lines = err.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("lcat: arxiv gat: 1 of 1,000 epochs, seed 3, about ")
    assert "\r" not in err.getvalue()
    with progress_bar(1000, "arxiv gat", "epoch", show=False) as bar:
        bar.update(1)
    assert err.getvalue().splitlines() == lines


def test_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    err = Terminal()
    monkeypatch.setattr(sys, "stderr", err)
    with progress_bar(10, "arxiv gat", "epoch") as bar:
        bar.update(3)
        bar.refresh()
    assert "\r" in err.getvalue()
