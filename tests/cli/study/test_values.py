"""Values of options with a form of their own."""

from __future__ import annotations

import pytest

from lcat.cli.study.values import read_grid, read_number, read_space, read_weights, read_whole


def test_words_become_values():
    assert read_grid(["lr=0.1,1e-2", "weight-decay=0", "norm=none,batch"]) == {
        "lr": [0.1, 0.01],
        "weight_decay": [0],
        "norm": ["none", "batch"],
    }
    assert read_space(["lr=1e-4..0.1:log", "dropout=0..0.8:0.1", "hidden_channels=16,32"]) == {
        "lr": {"low": 1e-4, "high": 0.1, "log": True},
        "dropout": {"low": 0, "high": 0.8, "step": 0.1},
        "hidden_channels": [16, 32],
    }
    assert read_weights(["accuracy=2", "time"]) == {"accuracy": 2, "time": 1.0}


def test_what_is_no_number_stays_text():
    assert [read_whole(text) for text in ("3", "-1", "1.5", "abc", "")] == [3, -1, "1.5", "abc", ""]
    assert [read_number(text) for text in ("3", "1e-2", "abc", "true")] == [3.0, 0.01, "abc", "true"]


@pytest.mark.parametrize(
    ("read", "words", "line"),
    [
        (read_grid, ["lr=1", "lr=2"], "--grid: lr is given twice; give it once"),
        (read_grid, ["hidden=8", "hidden-channels=4"], "--grid: hidden_channels is given twice"),
        (read_space, ["lr=1..2", "lr=3,4"], "--search: lr is given twice"),
        (read_space, ["depth=1,2", "num_layers=1..2"], "--search: num_layers is given twice"),
        (read_weights, ["time", "time=2"], "--objective: time is given twice"),
    ],
)
def test_a_name_that_comes_twice_is_refused(capsys, read, words, line):
    with pytest.raises(SystemExit) as caught:
        read(words)
    assert caught.value.code == 2
    assert line in capsys.readouterr().err
