"""Studies with own models: on any engine the same, refused where the model is another one, one cell's failure."""

from __future__ import annotations

import importlib

import pytest

from lcat.study import EngineError, PlanError, Study, make_plan, register_model, run_study, write_study
from lcat.study.models import own_model
from tests.study.models.test_own_models import NET, Plain

BAD = """
import torch
from torch import nn

class Plain(nn.Linear):
    def forward(self, x, edge_index): return super().forward(x)

class Shape(nn.Linear):
    def __init__(self, i, c): super().__init__(i, 1)
    def forward(self, x, edge_index): return super().forward(x)

class NotANumber(nn.Linear):
    def forward(self, x, edge_index): return super().forward(x) * float("nan")

class Writes(nn.Linear):
    def forward(self, x, edge_index): return super().forward(x.mul_(0))

class WritesUnseen(nn.Linear):
    def forward(self, x, edge_index):
        x.numpy()[:] = 0
        return super().forward(x)

class Raises(nn.Linear):
    def forward(self, x, edge_index): raise KeyError("mine")

class Exits(nn.Linear):
    def forward(self, x, edge_index): raise SystemExit(3)

class ExitsWhenMade(nn.Linear):
    def __init__(self, i, c): exit("no licence")
    def forward(self, x, edge_index): return x

class Interrupts(nn.Linear):
    def forward(self, x, edge_index): raise KeyboardInterrupt
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NET)
    (tmp_path / "bad.py").write_text(BAD)
    return tmp_path


def plan_of(*layers, **change):
    settings = {"datasets": ["csbm:easy,n=60"], "layers": ["gcn", *layers], "seeds": 2, "overrides": {"epochs": 3}}
    return make_plan(**{**settings, **change})


def numbers(study):
    return [(result.cell, result.fit.history) for result in study.cell_results(history=True)]


def test_engines_give_the_same_numbers(folder, monkeypatch):
    """With a model of a file and one that was registered."""
    (folder / "registered_by_a_test.py").write_text(BAD)
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("registered_by_a_test")
    register_model("plain", module.Plain)
    try:
        plan = plan_of("nets.py:Net", "plain", grid={"width": [4, 8]})
        inline = run_study(plan, folder / "inline", engine="inline").study
        processes = run_study(plan, folder / "processes", engine="processes", workers=1).study
    finally:
        del own_model.REGISTERED["plain"]
    assert len(numbers(inline)) == 8
    assert numbers(inline) == numbers(processes)
    frame = inline.results()
    assert frame.groupby("layer")["hyper.width"].unique()["Net"].tolist() == [4, 8]
    assert set(frame["family"]) == {"gcn", "own"}
    models = inline.models()
    assert models["layer"].tolist() == ["Net", "plain"]
    assert models["source"][0] == NET
    # A report needs neither the file nor the registered class.
    (folder / "nets.py").unlink()
    written = write_study(Study.load(folder / "inline"))
    assert any(path.name == "report.html" for path in written)
    assert "plain" in (folder / "inline" / "report.html").read_text()


def test_another_model_of_the_same_name_is_refused(folder):
    run_study(plan_of("nets.py:Net"), "out", engine="inline")
    assert run_study(plan_of("nets.py:Net"), "out", engine="inline").ran == 0
    (folder / "nets.py").write_text(NET.replace("width=16", "width=17"))
    with pytest.raises(
        PlanError, match=r"not the Net that out has results of: .*nets.py has changed .*Net2=nets.py:Net"
    ):
        run_study(plan_of("nets.py:Net"), "out", engine="inline")
    with pytest.raises(PlanError, match="has changed"):
        run_study(plan_of("p=nets.py:Net", "Net=bad.py:Raises"), "out", engine="inline")
    # As the message says: under its own name it extends the study.
    (folder / "other.py").write_text((folder / "nets.py").read_text())
    (folder / "nets.py").write_text(NET)
    more = run_study(plan_of("nets.py:Net", "Net2=other.py:Net"), "out", engine="inline")
    assert (more.ran, more.done) == (2, 6)
    (folder / "nets.py").write_text(NET.replace("width=16", "width=17"))
    assert run_study(plan_of("nets.py:Net"), "out", engine="inline", resume=False).ran == 4


def test_a_model_that_never_worked_is_replaced(folder):
    (folder / "nets.py").write_text("import no_such_package\n")
    failed = run_study(plan_of("nets.py:Net"), "out", engine="inline")
    assert (failed.done, failed.failed) == (2, 2)
    errors = failed.study.failures()["error"]
    assert errors.str.contains("nets.py:Net cannot be imported: ModuleNotFoundError: No module named").all()
    assert "no_such_package" in failed.study.failures()["traceback"][0]
    (folder / "nets.py").write_text(NET)
    mended = run_study(plan_of("nets.py:Net"), "out", engine="inline")
    assert (mended.ran, mended.done, mended.failed) == (2, 4, 0)


def test_a_file_that_changes_in_mid_study_fails_its_cells(folder):
    def change(status):
        if status.done == 2:
            (folder / "nets.py").write_text(NET + "\n")

    outcome = run_study(plan_of("nets.py:Net", seeds=3), "out", engine="inline", on_status=change)
    assert outcome.failed == 2
    assert outcome.study.failures()["error"].str.contains("has changed since this study went on").all()
    (folder / "nets.py").write_text(NET)
    assert run_study(plan_of("nets.py:Net", seeds=3), "out", engine="inline", retry_failed=True).failed == 0


def test_errors_are_failures_of_cells(folder):
    layers = ["bad.py:Shape", "bad.py:NotANumber", "bad.py:Raises"]
    study = run_study(plan_of(*layers, seeds=1), engine="inline").study
    results = {result.cell.layer: result for result in study.cell_results()}
    assert results["gcn"].ok
    assert "must return logits [N, C] of N = 60 nodes and C = 2 classes" in results["Shape"].error_line
    assert "loss became nan" in results["NotANumber"].error_line
    assert results["Raises"].error_line == "KeyError: 'mine'"
    assert "bad.py" in results["Raises"].error


def test_what_cannot_be_sent_is_told_before_a_worker_starts(folder):
    class Local(Plain):
        """Has no import path."""

    register_model("local", Local)
    try:
        with pytest.raises(EngineError, match=r"local cannot be sent to other processes .* local=models.py:MyNet"):
            run_study(plan_of("local"), "out", engine="processes", workers=1)
        assert run_study(plan_of("local"), "out", engine="inline").failed == 0
    finally:
        del own_model.REGISTERED["local"]


def test_a_search_over_settings_of_its_own(folder):
    pytest.importorskip("optuna")
    space = {"depth": {"low": 1, "high": 3}, "width": [4, 8], "lr": {"low": 0.01, "high": 0.1, "log": True}}
    plan = plan_of("nets.py:Net", seeds=1, search={"space": space, "trials": 3})
    trials = run_study(plan, engine="inline").study.trials()
    own = trials[trials["layer"] == "Net"]
    assert len(own) == 3
    assert set(own["params.depth"]) <= {1, 2, 3}
    assert own["validation"].notna().all()
    assert trials.loc[trials["layer"] == "gcn", "params.width"].isna().all()


@pytest.mark.parametrize("name", ["Writes", "WritesUnseen"])
def test_a_model_that_writes_into_the_graph_does_not_reach_other_layers(folder, name):
    alone = run_study(plan_of(seeds=1), engine="inline").study
    beside = run_study(plan_of(seeds=1, layers=[f"bad.py:{name}", "gcn"]), engine="inline").study
    first, second = beside.cell_results(history=True)
    assert [(second.cell, second.fit.history)] == numbers(alone)
    if name == "Writes":
        assert "Writes.forward must leave its inputs as they are, and wrote into x" in first.error


@pytest.mark.parametrize("engine", ["inline", "processes"])
def test_a_model_that_exits_ends_its_cell_and_not_the_study(folder, engine):
    plan = plan_of("bad.py:Exits", "bad.py:ExitsWhenMade", seeds=1)
    outcome = run_study(plan, "out", engine=engine, workers=1)
    assert (outcome.done, outcome.failed) == (1, 2)
    assert sorted(outcome.study.failures()["error"]) == ["SystemExit: 3", "SystemExit: no licence"]


def test_ctrl_c_in_a_model_ends_the_study(folder):
    with pytest.raises(KeyboardInterrupt):
        run_study(plan_of("bad.py:Interrupts", seeds=1), "out", engine="inline")
    assert Study.load("out").failures().empty
