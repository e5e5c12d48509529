"""Values of options with a form of their own."""

from __future__ import annotations

from lcat.cli.study.values import read_grid, read_space, read_weights


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
