"""The progress of a study."""

from __future__ import annotations

import pytest

from lcat.cli.progress import duration
from tests.cli.study.support import FAST


def test_progress_is_on_standard_error(call):
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *(word for word in FAST if word != "--quiet"))
    assert code == 0
    assert "Written to" not in err
    assert "loading" not in out


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
