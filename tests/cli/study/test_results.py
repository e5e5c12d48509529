"""What a study prints at the end."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import lcat.study as study_package
from lcat.data import csbm
from lcat.study.running import training
from tests.cli.study.support import FAST


def test_scores_under_noise_never_stand_for_clean_ones(call, monkeypatch):
    """Where all cells on the graph as it is failed, the table says so."""
    real, calls = training.fit_task, []

    def fit(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise ArithmeticError("boom")
        return real(*arguments, **options)

    monkeypatch.setattr(training, "fit_task", fit)
    monkeypatch.setattr(study_package, "write_study", lambda *_: [])
    arguments = ["-d", "csbm:easy,n=60", "-l", "gcn", "--seeds", 1, "--epochs", 2, "--noise-edges", 0.5]
    code, out, _ = call("study", *arguments, "--engine", "inline", "--quiet")
    assert (code, len(calls)) == (1, 2)
    [row] = [line for line in out.splitlines() if line.startswith("│ gcn")]
    assert row.split("│")[2].strip() == "failed"
    assert "ArithmeticError: boom" in out


def test_names_and_paths_are_shown_as_they_are(call, tmp_path, monkeypatch):
    """What rich would take for markup or an emoji, in the progress, tables and lines of a study."""
    name = "a[/b]/runs[v2]:smile:.pt"
    (tmp_path / name).parent.mkdir(parents=True)
    torch.save(csbm(n=60, seed=0).to_dict(), tmp_path / name)
    # The files themselves take long and are not looked at.
    monkeypatch.setattr(study_package, "write_study", lambda *_, **__: [Path("o[red]/cells.csv")])
    arguments = ["-d", name, "-d", "csbm:easy,n=60", "-l", "gcn", "--seeds", 1, "--epochs", 2, "--out", "o[red]"]
    arguments += ["--engine", "inline"]
    with monkeypatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")  # rich then draws as on a terminal
        code, *printed = call("study", *arguments)
    assert code == 0
    out, err = (re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text) for text in printed)
    assert f"gcn on {name}, seed 0" in err
    assert f"{name} (60 nodes, " in out
    assert out.count(name) == 2  # its own table, and the overview
    assert "Written to o[red]: cells.csv" in out
    code, out, _ = call("study", *arguments, "--dry-run", "--no-resume", "--quiet")
    assert code == 0
    assert f"gcn on {name}, seed 0" in out
    assert out.count(name) == 2
    assert "Written to o[red]: cells.csv" in call("study", "report", "o[red]")[1]
    assert "under o[red])" in call("study", "--list-datasets", "--data", "o[red]")[1]


def test_what_was_read_is_shown(call, tmp_path):
    data = csbm(n=60, seed=0)
    data.y[:3] = -1
    for part in ("train", "val", "test"):
        data[f"{part}_mask"][:3] = False
    torch.save(data, tmp_path / "mine.pt")
    code, out, err = call("study", "-d", "mine.pt", "-l", "gcn", *FAST)
    assert (code, err) == (0, "")
    edges = f"{data.num_edges:,} edges (both directions of each)"
    features = f"{data.num_features} features, 2 classes, 3 nodes without a label; own masks)"
    assert f"mine.pt (60 nodes, {edges}, {features}" in out
