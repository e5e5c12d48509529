"""lcat study run --dry-run."""

from __future__ import annotations


def test_a_dry_run_prints_cells_and_an_estimate_and_writes_nothing(call, plan_file, tmp_path):
    code, out, _ = call("study", "plan.toml", "--dry-run", "--quiet")
    assert code == 0
    assert "gat on csbm:easy,n=60, seed 1" in out
    assert "4 of 4 cells left. Estimate: about" in out
    assert "from 8 epochs of 2 cells" in out
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]
    call("study", "plan.toml", "--quiet", "--max-cells", 3)
    code, out, _ = call("study", "plan.toml", "--dry-run", "--quiet")
    assert "1 of 4 cells left" in out
    assert "from 3 finished cells" in out
    code, out, _ = call("study", "plan.toml", "--dry-run", "--quiet", "--no-resume")
    assert code == 0
    assert "4 of 4 cells left" in out
    assert "from 3 finished cells" in out
    # What the run would refuse, the dry run refuses.
    code, _, err = call("study", "plan.toml", "--dry-run", "--quiet", "--lr", 0.5)
    assert code == 2
    assert "plan-study holds another study" in err
    assert err == call("study", "plan.toml", "--quiet", "--lr", 0.5)[2]


def test_layers_whose_epochs_fail_are_named_with_the_error(call, tmp_path):
    (tmp_path / "nets.py").write_text(
        "import torch\nclass Bad(torch.nn.Linear):\n    def forward(self, x, edge_index): raise KeyError('mine')\n"
    )
    options = ("-d", "csbm:easy,n=60", "--seeds", 1, "--epochs", 3, "--dry-run", "--quiet")
    code, out, _ = call("study", "-l", "gcn", "-l", "nets.py:Bad", *options)
    assert code == 0
    assert "failed: Bad on csbm:easy,n=60: KeyError: 'mine'" in out
    assert "cells of these fail in the study, too" in out
    assert "failed: gcn" not in out
    code, out, _ = call("study", "-l", "nets.py:Bad", *options)
    assert "failed: Bad on csbm:easy,n=60: KeyError: 'mine'" in out
