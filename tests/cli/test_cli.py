"""The command lcat: light, helpful, and one line and an exit code for everything that is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

import lcat.study
from lcat import cli, ops
from lcat._version import __version__
from lcat.cli.doctor import doctor_tables
from lcat.data import csbm

FAST = ["--epochs", "2", "--seeds", "1", "--quiet", "--engine", "inline"]


def lcat(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of the command, in this process."""
    monkeypatch.setattr(sys, "argv", ["lcat", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    return caught.value.code or 0, out, err


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: lcat(monkeypatch, capsys, *arguments)


def test_help_and_version(call):
    code, out, _ = call("--help")
    assert code == 0
    assert "study" in out
    assert "doctor" in out
    assert call("--version") == (0, f"lcat {__version__}\n", "")
    code, out, err = call()
    assert (code, err) == (2, "")
    assert "doctor" in out


def test_help_is_light():
    """Neither torch nor anything of the study is imported to answer --help."""
    heavy = ["torch", "torch_geometric", "ogb", "pandas", "matplotlib", "scipy", "pydantic", "numpy", "sklearn"]
    script = (
        "import sys; sys.argv = ['lcat', '--help']\n"
        "from lcat import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_without_typer_one_line_says_what_to_install():
    script = "import sys; sys.modules['typer'] = None\nfrom lcat import cli\ncli.main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "lcat: the command lcat needs a few more packages: pip install 'lcat-gnn[study]'\n"


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


def test_progress_is_on_standard_error(call):
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *(word for word in FAST if word != "--quiet"))
    assert code == 0
    assert "Written to" not in err
    assert "loading" not in out


def test_lists(call, tmp_path):
    code, out, _ = call("study", "--list-datasets", "--data", tmp_path)
    assert code == 0
    assert "minesweeper" in out
    assert "roc-auc" in out
    code, out, _ = call("study", "--list-defaults")
    assert code == 0
    assert "weight_decay" in out


def test_doctor(call):
    code, out, _ = call("doctor")
    assert code == 0
    for word in (
        torch.__version__,
        "gat_attention",
        "gatv2_attention",
        "aggregate",
        "CUDA devices",
        "torch-scatter",
        "because",
    ):
        assert word in out


def test_doctor_says_a_reason_once():
    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    rows = [row for device in devices for row in ops.explain(device)]
    reasons = {(row.device, row.implementation, row.reason, str(row.unavailable)) for row in rows}
    assert doctor_tables()[-1].row_count == len(reasons) < len(rows)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-l", "gta"], 2, ["--layer", "'gta'", "did you mean gat"]),
        (["-d", "coraa"], 2, ["'coraa'", "did you mean cora"]),
        (["-d", "csbm:easy,q=a"], 2, ["q must be a number", "'a'"]),
        (["-d", "gone.pt"], 2, ["there is no file gone.pt"]),
        (["-d", "cora", "--data", "nowhere"], 2, ["--data", "there is no folder nowhere"]),
        (["-d", "cora", "--data", "."], 1, ["ind.cora.x", "Planetoid/Cora/raw"]),
        (["--seeds", "0"], 2, ["--seeds", "at least 1", "0"]),
        (["--seeds", "-3"], 2, ["--seeds", "-3"]),
        (["--seeds", "three"], 2, ["--seeds", "integer"]),
        (["--epochs", "-1"], 2, ["--epochs", "greater than or equal to 1", "-1"]),
        (["--lr", "-0.1"], 2, ["--lr", "greater than 0", "-0.1"]),
        (["--weight-decay", "-1"], 2, ["--weight-decay", "-1"]),
        (["--dropout", "1.5"], 2, ["--dropout", "less than 1", "1.5"]),
        (["--hidden-channels", "-8"], 2, ["--hidden-channels", "-8"]),
        (["--heads", "0"], 2, ["--heads", "got 0"]),
        (["--num-layers", "0"], 2, ["--num-layers", "got 0"]),
        (["--hidden-channels", "9", "--heads", "2", "--num-layers", "2"], 2, ["hidden_channels 9", "heads 2"]),
        (["--optimizer", "adamm"], 2, ["--optimizer", "adam, adamw, "]),
        (["--schedule", "cos"], 2, ["--schedule", "cosine"]),
        (["--norm", "group"], 2, ["--norm", "'batch'"]),
        (["--metric", "f1"], 2, ["--metric", "roc-auc", "'f1'"]),
        (["--device", "warp"], 2, ["--device warp"]),
        (["--out", "file/sub"], 2, ["--out", "file/sub"]),
        (["--color", "red"], 2, ["--color"]),
    ],
)
def test_bad_input_is_one_line(call, tmp_path, monkeypatch, arguments, code, words):
    def offline(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("socket.getaddrinfo", offline)
    (tmp_path / "file").write_text("")
    got, out, err = call("study", *arguments)
    assert got == code
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("lcat: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_output(call, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    code, _, err = call("study", "--out", "locked/sub")
    assert code == 2
    assert "locked/sub" in err


def test_failed_cells_are_told_and_exit_with_one(call, tmp_path):
    code, out, err = call(
        "study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST, "--optimizer", "sgd", "--lr", "1e38", "--num-layers", "2"
    )
    assert code == 1
    assert "NonFiniteLoss" in out
    assert "1 of 1 cells failed" in err
    assert "Traceback" in json.loads((tmp_path / "lcat-study/study.json").read_text())["cells"][0]["error"]


def test_ctrl_c_reports_what_there_is(call, tmp_path, monkeypatch):
    run_module = sys.modules["lcat.study.running.run"]  # the package exports a function of the same name
    real, calls = run_module.fit, []

    def fit(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(run_module, "fit", fit)
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST, "--seeds", "5")
    assert code == 130
    assert "interrupted: 2 of 5 cells had finished" in err
    assert "Written to" in out
    assert len(json.loads((tmp_path / "lcat-study/study.json").read_text())["cells"]) == 2
