"""lcat study: plans from files, going on, dry runs, budgets, reports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import lcat.study as study_package
from lcat import cli
from lcat.cli.options import split_lists, split_spaces, weights
from lcat.data import csbm
from lcat.study import Study, StudyBusy
from lcat.study.store.lock import StudyLock

PLAN = """
datasets = ["csbm:easy,n=60"]
layers = ["gcn", "gat"]
seeds = 2
[overrides]
epochs = 3
[run]
engine = "inline"
"""


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "plan.toml").write_text(PLAN)

    def lcat(*arguments):
        monkeypatch.setattr(sys, "argv", ["lcat", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return lcat


def test_a_plan_file_runs_and_a_second_call_has_nothing_to_do(call, tmp_path):
    code, out, err = call("study", "plan.toml", "--quiet")
    assert (code, err) == (0, "")
    assert "Written to plan-study" in out
    before = Study.load(tmp_path / "plan-study").cell_results(history=True)
    assert len(before) == 4
    code, out, _ = call("study", "run", "plan.toml", "--quiet")
    assert code == 0
    assert Study.load(tmp_path / "plan-study").cell_results(history=True) == before


def test_options_go_before_the_file(call, tmp_path):
    arguments = ["plan.toml", "--seeds", 1, "--epochs", 2, "-l", "cat", "--split", "stratified:3", "--quiet"]
    assert call("study", *arguments, "--noise-edges", 0.2, "--grid", "lr=0.1,0.2", "--out", "o")[0] == 0
    plan = Study.load(tmp_path / "o").plan
    assert (plan.seeds, plan.layers, plan.split, plan.overrides.epochs) == ((0,), ("cat",), "stratified:3", 2)
    assert (plan.noise.edges, plan.grid) == ((0.2,), {"lr": (0.1, 0.2)})
    assert len(Study.load(tmp_path / "o").results()) == 3 * 2 * 2


@pytest.mark.parametrize("optimizer", ["pogo", "landing"])
@pytest.mark.parametrize("where", ["option", "plan"])
def test_orthogonal_optimizers_by_name(call, tmp_path, optimizer, where):
    """They run from an option and from a plan, and the report says which it was."""
    if where == "plan":
        told = f'optimizer = "{optimizer}"\nnum_layers = 3\n'
        (tmp_path / "plan.toml").write_text(PLAN.replace("epochs = 3\n", "epochs = 3\n" + told))
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


def test_a_mistyped_data_set_or_split_leaves_the_folder_free(call, tmp_path):
    rest = ["-l", "gcn", "--seeds", 1, "--epochs", 2, "--engine", "inline", "--quiet"]
    code, out, err = call("study", "-d", "csbm:easy,n=-5", *rest)
    assert (code, out, err.count("\n")) == (1, "", 1)
    code, out, err = call("study", "-d", "csbm:easy,n=60", "--split", "kfold:100", *rest)
    assert (code, out) == (1, "")
    assert "csbm:easy,n=60: folds must lie in 2 .. 60" in err
    assert call("study", "-d", "csbm:easy,n=60", *rest)[0] == 0
    assert len(Study.load(tmp_path / "lcat-study").results()) == 1


def test_the_folder_of_a_plan_is_beside_it(call, tmp_path):
    (tmp_path / "plans").mkdir()
    (tmp_path / "plan.toml").rename(tmp_path / "plans" / "p.toml")
    assert call("study", "plans/p.toml", "--quiet", "--max-cells", 1)[0] == 0
    assert (tmp_path / "plans" / "p-study" / "report.html").is_file()


def test_a_dry_run_prints_cells_and_an_estimate_and_writes_nothing(call, tmp_path):
    code, out, _ = call("study", "plan.toml", "--dry-run", "--quiet")
    assert code == 0
    assert "gat on csbm:easy,n=60, seed 1" in out
    assert "4 of 4 cells are left. Estimate: about" in out
    assert "from 8 epochs of 2 cells" in out
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]
    call("study", "plan.toml", "--quiet", "--max-cells", 3)
    code, out, _ = call("study", "plan.toml", "--dry-run", "--quiet")
    assert "1 of 4 cells are left" in out
    assert "from 3 finished cells" in out
    code, out, _ = call("study", "plan.toml", "--dry-run", "--quiet", "--no-resume")
    assert code == 0
    assert "4 of 4 cells are left" in out
    assert "from 3 finished cells" in out
    # What the run would refuse, the dry run refuses.
    code, _, err = call("study", "plan.toml", "--dry-run", "--quiet", "--lr", 0.5)
    assert code == 2
    assert "plan-study holds another study" in err
    assert err == call("study", "plan.toml", "--quiet", "--lr", 0.5)[2]


def test_a_budget_says_how_to_go_on(call, tmp_path):
    code, _, err = call("study", "plan.toml", "--quiet", "--max-cells", 3)
    assert code == 0
    assert err == "budget.cells = 3 (--max-cells) is used up: 1 cell is left; raise it and run again to go on\n"
    assert call("study", "plan.toml", "--quiet")[0] == 0
    assert len(Study.load(tmp_path / "plan-study").results()) == 4


def test_scores_under_noise_never_stand_for_clean_ones(call, monkeypatch):
    """Where all cells on the graph as it is failed, the table says so."""
    run_module = sys.modules["lcat.study.running.run"]  # the package exports a function of the same name
    real, calls = run_module.fit, []

    def fit(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:
            raise ArithmeticError("boom")
        return real(*arguments, **options)

    monkeypatch.setattr(run_module, "fit", fit)
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
    monkeypatch.setattr(study_package, "write_study", lambda *_: [Path("o[red]/cells.csv")])
    arguments = ["-d", name, "-d", "csbm:easy,n=60", "-l", "gcn", "--seeds", 1, "--epochs", 2, "--out", "o[red]"]
    arguments += ["--engine", "inline"]
    with monkeypatch.context() as patch:
        patch.setenv("FORCE_COLOR", "1")  # rich then draws as on a terminal
        code, *printed = call("study", *arguments)
    assert code == 0
    out, err = (re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text) for text in printed)
    assert f"gcn on {name}, seed 0" in err
    assert f"{name}   (own masks)" in out
    assert out.count(name) == 2  # its own table, and the overview
    assert "Written to o[red]: cells.csv" in out
    code, out, _ = call("study", *arguments, "--dry-run", "--no-resume", "--quiet")
    assert code == 0
    assert f"gcn on {name}, seed 0" in out
    assert out.count(name) == 2
    assert "Written to o[red]: cells.csv" in call("study", "report", "o[red]")[1]
    assert "under o[red])" in call("study", "--list-datasets", "--data", "o[red]")[1]


def test_a_report_is_made_again_from_the_store_alone(call, tmp_path):
    call("study", "plan.toml", "--quiet")
    folder = tmp_path / "plan-study"
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    (tmp_path / "plan.toml").unlink()
    for path in [*folder.glob("*.csv"), *folder.glob("*.html"), folder / "study.json"]:
        path.unlink()
    code, out, err = call("study", "report", "plan-study")
    assert (code, err) == (0, "")
    assert "report.html" in out
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == before
    assert (folder / "report.html").is_file()
    assert call("study", "report", "plan-study", "--out", "elsewhere")[0] == 0
    assert (tmp_path / "elsewhere/report.html").is_file()


def test_another_plan_in_the_same_folder_is_one_line(call, tmp_path):
    call("study", "plan.toml", "--quiet")
    code, out, err = call("study", "plan.toml", "--quiet", "--epochs", 4)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for word in ("plan-study holds another study", "overrides.epochs: 3 there, 4 here", "--out", "--no-resume"):
        assert word in err
    assert call("study", "plan.toml", "--quiet", "--epochs", 4, "--no-resume")[0] == 0
    assert len(list((tmp_path / "plan-study").glob("study-*.sqlite"))) == 1


def test_a_study_that_runs_elsewhere_is_one_line(call, tmp_path):
    (tmp_path / "plan-study").mkdir()
    with StudyLock(tmp_path / "plan-study"):
        code, _, err = call("study", "plan.toml", "--quiet")
    assert code == 1
    assert f"is being run by process {os.getpid()}" in err
    assert issubclass(StudyBusy, OSError)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone.toml"], 2, ["there is no plan file gone.toml"]),
        (["--split", "kfold"], 2, ["--split", "'kfold'"]),
        (["--grid", "lr"], 2, ["--grid", "NAME=VALUE", "'lr'"]),
        (["--grid", "lrr=1"], 2, ["--grid", "'lrr'", "did you mean lr"]),
        (["--search", "lr=0.1..0.01"], 2, ["--search", "low must be below high"]),
        (["--objective", "tiem=1"], 2, ["--objective", "'tiem'", "did you mean time"]),
        (["--objective", "time=x"], 2, ["--objective time", "valid number", "got 'x'"]),
        (["--objective", "time=-1"], 2, ["--objective", "time", "-1"]),
        (["--optimizer", "pogoo"], 2, ["--optimizer", "did you mean pogo", "'pogoo'"]),
        (["--engine", "threads"], 2, ["--engine", "'processes'", "'threads'"]),
        (["--workers", "0"], 2, ["--workers", "got 0"]),
        (["--noise-edges", "-1"], 2, ["--noise-edges", "-1"]),
        (["--max-cells", "0"], 2, ["--max-cells", "got 0"]),
        (
            ["-d", "csbm:easy,n=60", "--num-layers", "1", "--optimizer", "pogo"],
            2,
            ["pogo", "needs num_layers 2 or more"],
        ),
        (["report", "nowhere"], 2, ["there is no study in nowhere"]),
    ],
)
def test_bad_input_is_one_line(call, arguments, code, words):
    got, out, err = call("study", *arguments)
    assert (got, out) == (code, "")
    lines = [line for line in err.splitlines() if line.startswith("lcat: ")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def test_words_become_values():
    assert split_lists(["lr=0.1,1e-2", "weight-decay=0", "norm=none,batch"]) == {
        "lr": [0.1, 0.01],
        "weight_decay": [0],
        "norm": ["none", "batch"],
    }
    assert split_spaces(["lr=1e-4..0.1:log", "dropout=0..0.8:0.1", "hidden_channels=16,32"]) == {
        "lr": {"low": 1e-4, "high": 0.1, "log": True},
        "dropout": {"low": 0, "high": 0.8, "step": 0.1},
        "hidden_channels": [16, 32],
    }
    assert weights(["accuracy=2", "time"]) == {"accuracy": 2, "time": 1.0}


def test_sigterm_and_ctrl_c_end_cleanly_and_say_how_to_go_on(tmp_path):
    """A real process with workers: one line, results so far written, nobody left behind."""
    (tmp_path / "plan.toml").write_text(
        PLAN.replace("epochs = 3", "epochs = 400\npatience = 0").replace("2\n[", "9\n[")
    )
    command = [sys.executable, "-m", "lcat.cli", "study", "plan.toml", "--engine", "processes", "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(
            [*command, "--quiet"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell's background job ignores Ctrl-C and hands that on; this one must hear it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        log, start = tmp_path / "plan-study/study.log", time.monotonic()
        done = 1 if number == signal.SIGTERM else 2
        while not (log.is_file() and log.read_text().count('"event": "done"') >= done):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() - start < 120
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Written to plan-study" in out
        assert "of 18 cells had finished; the same command goes on from there" in err
        assert "Traceback" not in err
        assert json.loads(log.read_text().splitlines()[-1])["reason"] == "interrupted"
