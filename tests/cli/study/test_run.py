"""lcat study run: from options and plan files to results."""

from __future__ import annotations

import json
import re
from typing import get_args, get_type_hints

import pytest
import torch

from lcat.cli.study.run import run
from lcat.data import csbm
from lcat.study import LAYERS, HyperParameters, RunSettings, Study
from lcat.study.models.layers import THEORY_LAYERS
from lcat.train import METRICS, SCHEDULES, optimizer_names
from tests.cli.study.support import FAST, PLAN


@pytest.fixture(scope="module")
def figure_formats():
    return ("png",)


def test_study_writes_and_prints(call, tmp_path):
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", "-l", "lcat", *FAST)
    assert (code, err) == (0, "")
    assert "gcn" in out
    assert "Written to lcat-study: cells.csv, summary.csv, study.json, accuracy.png, lambda.png" in out
    document = json.loads((tmp_path / "lcat-study/study.json").read_text())
    assert [cell["cell"]["layer"] for cell in document["cells"]] == ["gcn", "lcat"]
    assert {cell["cell"]["hyper"]["epochs"] for cell in document["cells"]} == {2}


def test_options_reach_the_cells(call, tmp_path):
    options = {
        "hidden_channels": 12,
        "heads": 3,
        "num_layers": 3,
        "dropout": 0.1,
        "norm": "layer",
        "optimizer": "sgd",
        "lr": 0.5,
    }
    options |= {"weight_decay": 0.25, "schedule": "linear", "patience": 7}
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
    code, _, err = call("study", "-d", "csbm:easy,n=60", "-l", "gat", "--out", "o", *FAST, *flags)
    assert (code, err) == (0, "")
    hyper = json.loads((tmp_path / "o/study.json").read_text())["cells"][0]["cell"]["hyper"]
    assert {key: hyper[key] for key in options} == options


def test_own_file(call, tmp_path):
    torch.save({**csbm(n=60, seed=0).to_dict()}, tmp_path / "mine.pt")
    code, out, _ = call("study", "-d", "mine.pt", "--metric", "roc-auc", "-l", "gcn", *FAST)
    assert code == 0
    assert "test roc-auc %" in out


def test_demo_is_the_default(call, tmp_path):
    code, out, _ = call("study", "-l", "gcn", *FAST)
    assert code == 0
    for name in ("easy,q=0.1", "easy,q=0.5", "hard,q=0.1", "hard,q=0.3"):
        assert name in out
    assert len(json.loads((tmp_path / "lcat-study/study.json").read_text())["cells"]) == 4


def test_a_plan_file_runs_and_a_second_call_has_nothing_to_do(call, plan_file, tmp_path):
    code, out, err = call("study", "plan.toml", "--quiet")
    assert (code, err) == (0, "")
    assert "Written to plan-study" in out
    before = Study.load(tmp_path / "plan-study").cell_results(history=True)
    assert len(before) == 4
    code, out, _ = call("study", "run", "plan.toml", "--quiet")
    assert code == 0
    assert Study.load(tmp_path / "plan-study").cell_results(history=True) == before


def test_options_go_before_the_file(call, plan_file, tmp_path):
    arguments = ["plan.toml", "--seeds", 1, "--epochs", 2, "-l", "cat", "--split", "stratified:3", "--quiet"]
    assert call("study", *arguments, "--noise-edges", 0.2, "--grid", "lr=0.1,0.2", "--out", "o")[0] == 0
    plan = Study.load(tmp_path / "o").plan
    assert (plan.seeds, plan.layers, plan.split, plan.overrides.epochs) == ((0,), ("cat",), "stratified:3", 2)
    assert (plan.noise.edges, plan.grid) == ((0.2,), {"lr": (0.1, 0.2)})
    assert len(Study.load(tmp_path / "o").results()) == 3 * 2 * 2


@pytest.mark.parametrize("optimizer", ["pogo", "landing"])
@pytest.mark.parametrize("where", ["option", "plan"])
def test_orthogonal_optimizers_by_name(call, plan_file, tmp_path, optimizer, where):
    """They run from an option and from a plan, and the report says which it was."""
    if where == "plan":
        settings = f'optimizer = "{optimizer}"\nnum_layers = 3\n'
        plan_file.write_text(PLAN.replace("epochs = 3\n", "epochs = 3\n" + settings))
        arguments = ["plan.toml"]
    else:
        arguments = ["plan.toml", "--optimizer", optimizer, "--num-layers", 3]
    code, _, err = call("study", *arguments, "--out", "o", "--quiet")
    assert (code, err) == (0, "")
    cells = Study.load(tmp_path / "o").results()
    assert len(cells) == 4
    assert set(cells["status"]) == {"done"}
    assert set(cells["hyper.optimizer"]) == {optimizer}
    assert f"optimizer {optimizer}" in (tmp_path / "o" / "report.html").read_text()


def test_the_orthogonal_part_of_a_study_is_chosen_and_has_its_own_rate(call, tmp_path):
    arguments = [
        "-d",
        "csbm:easy,n=60",
        "-l",
        "gat",
        "--seeds",
        1,
        "--epochs",
        2,
        "--num-layers",
        3,
        "--optimizer",
        "pogo",
    ]
    arguments += ["--orthogonal-include", "*.convs.0.lin.weight *.convs.1.lin.weight", "--engine", "inline", "--quiet"]
    code, _, err = call("study", *arguments, "--grid", "orthogonal_lr=0.1,0.3")
    assert (code, err) == (0, "")
    results = Study.load(tmp_path / "lcat-study").results()
    assert list(results["hyper.orthogonal_lr"]) == [0.1, 0.3]
    assert results["test"].notna().all()
    code, out, _ = call("study", *arguments[:-1], "--orthogonal-include", "*.lin_left.weight", "--out", "o", "--quiet")
    assert code == 1
    assert "no parameter is called '*.lin_left.weight'" in " ".join(out.split())


def test_the_folder_of_a_plan_is_beside_it(call, plan_file, tmp_path):
    (tmp_path / "plans").mkdir()
    plan_file.rename(tmp_path / "plans" / "p.toml")
    assert call("study", "plans/p.toml", "--quiet", "--max-cells", 1)[0] == 0
    assert (tmp_path / "plans" / "p-study" / "report.html").is_file()


def names_in_help(parameter):
    """What the help of an option enumerates."""
    hint = get_type_hints(run, include_extras=True)[parameter]
    if not hasattr(hint, "__metadata__"):  # Python 3.10 makes an Optional of an argument whose default is None
        hint = get_args(hint)[0]
    return set(re.findall(r"[\w-]+", hint.__metadata__[0].help))


def test_help_names_every_choice():
    """The lists stand in the help in words, so that it needs no torch; here they are compared with the registries."""
    assert names_in_help("layer") >= set(LAYERS) - set(THEORY_LAYERS)
    assert names_in_help("metric") >= set(METRICS)
    assert names_in_help("optimizer") >= set(optimizer_names())
    assert names_in_help("schedule") >= set(SCHEDULES)
    assert names_in_help("norm") == set(get_args(HyperParameters.model_fields["norm"].annotation)) | {"or"}
    assert names_in_help("engine") >= set(get_args(RunSettings.model_fields["engine"].annotation))
