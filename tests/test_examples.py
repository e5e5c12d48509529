"""Every example runs, and does what its text says."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from tests.support.figures import only_these_formats

__all__ = ["only_these_formats"]

FOLDER = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def figure_formats():
    return ("png",)


def load(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    tests = "".join(path.read_text() for path in FOLDER.parent.glob("tests/**/test_example*.py"))
    missing = [path.name for path in FOLDER.glob("*.py") if path.stem not in tests]
    assert missing == []


def test_drop_in(capsys):
    figures = load("drop_in").main()
    assert figures["difference"] < 1e-5
    assert figures["LCATConv"] > 0.8
    assert "conv2: lambda1" in capsys.readouterr().out


def test_train_by_hand():
    figures = load("train_by_hand").main()
    assert figures["test"] == pytest.approx(1.0)
    assert figures["lambda1"] > 0.9
    assert figures["lambda2"] < 0.05


def test_own_dataset_study(tmp_path):
    summary = load("own_dataset_study").main(tmp_path).compare().summary
    assert summary["layer"].tolist() == ["gcn", "gat", "cat", "lcat"]
    assert summary["runs"].tolist() == [2] * 4
    assert (summary["test"] > 0.5).all()
    assert {path.name for path in tmp_path.iterdir()} == {
        "cells.csv", "summary.csv", "study.json", "accuracy.png", "lambda.png", "report.html", "tables", "figures",
        "study.sqlite", "study.log", "study.lock", "splits",
    }  # fmt: skip


def test_minibatch(tmp_path, capsys):
    module = load("minibatch")
    result = module.main(tmp_path / "run.ckpt")
    assert result.test > 0.9
    assert "1 process(es)" in capsys.readouterr().out
    assert module.main(tmp_path / "run.ckpt").history == result.history  # from the checkpoint


def test_graph_classification():
    # Processors round otherwise: after 15 epochs some have 57 of 60.
    assert load("graph_classification").main(epochs=20)["test"] > 0.95


@pytest.mark.skipif("LCAT_TEST_DATA" not in os.environ, reason="LCAT_TEST_DATA is not set")
def test_graph_classification_of_molecules(tmp_path):
    shutil.copytree(Path(os.environ["LCAT_TEST_DATA"]) / "TUDataset" / "MUTAG", tmp_path / "MUTAG")
    assert load("graph_classification").main(str(tmp_path), epochs=10)["test"] > 0.7


def test_link_prediction():
    # The classes of the nodes, which the edges depend on, give about 0.72.
    assert load("link_prediction").main()["test"] > 0.65


@pytest.mark.filterwarnings("ignore")  # Lightning's of its own dependencies
def test_lightning_module(tmp_path):
    pytest.importorskip("lightning")
    assert load("lightning_module").main(tmp_path)["test"] > 0.9
    assert len(list(tmp_path.glob("*.ckpt"))) == 1


def test_own_model():
    figures = load("own_model").main(epochs=20, seeds=2)
    assert set(figures) == {"gcn", "MyNet"}
    assert figures["MyNet"] > 0.9
