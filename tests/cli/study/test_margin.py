"""What the terminal says of a margin that nobody named."""

from __future__ import annotations

import torch

from lcat.data import csbm

ERRORS = ("--task", "node-regression", "--metric", "mae", "--seeds", 1, "--epochs", 1)
ENGINE = ("-l", "gcn", "-l", "gat", "--engine", "inline", "-q")


def numbers(folder):
    data = csbm(n=40, seed=0)
    torch.save({"x": data.x, "edge_index": data.edge_index, "y": data.x.sum(dim=1)}, folder / "numbers.pt")
    return "numbers.pt"


def test_errors_without_a_margin(call, tmp_path):
    file = numbers(tmp_path)
    code, out, _ = call("study", "-d", file, *ERRORS, *ENGINE, "-o", "out")
    assert code == 0
    assert "No margin is named for MAE on numbers.pt." in out
    assert "No margin" not in call("study", "report", "out", "--margin", 0.5)[1]
    code, _, err = call("study", "out", "--until-decided", *ENGINE[4:])
    assert code == 2
    assert "margin: expected the largest difference that does not matter" in err
