"""The example of orthogonal training runs and does what it says."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def test_orthogonal_training(capsys):
    path = Path(__file__).resolve().parents[2] / "examples" / "orthogonal_training.py"
    spec = importlib.util.spec_from_file_location("orthogonal_training", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = module.main(epochs=40)
    assert result["accuracy"] > 0.85
    assert result["error"] < 1e-4
    assert "hidden weight" in capsys.readouterr().out
