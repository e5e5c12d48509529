"""Runs that stop early, go on, fail or are refused: one line says it."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lcat.cli.study.running import _signals
from lcat.study import OutputError, StoreError, Study, StudyBusy
from lcat.study.running import training
from lcat.study.store.lock import StudyLock
from tests.cli.study.support import FAST, PLAN
from tests.support.long import long


def test_a_budget_says_how_to_go_on(call, plan_file, tmp_path):
    code, _, err = call("study", "plan.toml", "--quiet", "--max-cells", 3)
    assert code == 0
    assert err == "budget.cells = 3 (--max-cells) is used up: 1 cell left; raise it and run again to continue\n"
    assert call("study", "plan.toml", "--quiet")[0] == 0
    assert len(Study.load(tmp_path / "plan-study").results()) == 4


def test_another_plan_in_the_same_folder_is_one_line(call, plan_file, tmp_path):
    call("study", "plan.toml", "--quiet")
    code, out, err = call("study", "plan.toml", "--quiet", "--epochs", 4)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for word in ("plan-study holds another study", "overrides.epochs: 3 there, 4 here", "--out", "--no-resume"):
        assert word in err
    assert call("study", "plan.toml", "--quiet", "--epochs", 4, "--no-resume")[0] == 0
    assert len(list((tmp_path / "plan-study").glob("study-*.sqlite"))) == 1


def test_a_study_that_runs_elsewhere_is_one_line(call, plan_file, tmp_path):
    (tmp_path / "plan-study").mkdir()
    with StudyLock(tmp_path / "plan-study"):
        code, _, err = call("study", "plan.toml", "--quiet")
    assert code == 1
    assert f"is being run by process {os.getpid()}" in err
    assert issubclass(StudyBusy, OSError)


def test_a_mistyped_data_set_or_split_leaves_the_folder_free(call, tmp_path):
    rest = ["-l", "gcn", "--seeds", 1, "--epochs", 2, "--engine", "inline", "--quiet"]
    code, out, err = call("study", "-d", "csbm:easy,n=-5", *rest)
    assert (code, out, err.count("\n")) == (1, "", 1)
    code, out, err = call("study", "-d", "csbm:easy,n=60", "--split", "kfold:100", *rest)
    assert (code, out) == (1, "")
    assert "csbm:easy,n=60: folds must lie in 2 .. 60" in err
    assert call("study", "-d", "csbm:easy,n=60", *rest)[0] == 0
    assert len(Study.load(tmp_path / "lcat-study").results()) == 1


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], long([signal.SIGTERM, signal.SIGINT])], ids=["Ctrl-C", "SIGTERM, Ctrl-C"]
)
def test_signals_end_cleanly_and_say_how_to_go_on(signals, tmp_path):
    """A real process with workers: one line, results so far written, nobody left behind."""
    (tmp_path / "plan.toml").write_text(
        PLAN.replace("epochs = 3", 'epochs = 400\npatience = "none"').replace("2\n[", "9\n[")
    )
    command = [sys.executable, "-m", "lcat.cli", "study", "plan.toml", "--engine", "processes", "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    for done, number in enumerate(signals, 1):
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
        while not (log.is_file() and log.read_text().count('"event": "done"') >= done):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() - start < 120
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Written to plan-study" in out
        assert "of 18 cells had finished; the same command continues from there" in err
        assert "Traceback" not in err
        assert json.loads(log.read_text().splitlines()[-1])["reason"] == "interrupted"


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
    assert "1 of 1 cell failed" in err
    assert "Traceback" in json.loads((tmp_path / "lcat-study/study.json").read_text())["cells"][0]["error"]


def test_ctrl_c_reports_what_there_is(call, tmp_path, monkeypatch):
    real, calls = training.fit_task, []

    def fit(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(training, "fit_task", fit)
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST, "--seeds", "5")
    assert code == 130
    assert "interrupted: 2 of 5 cells had finished" in err
    assert "Written to" in out
    assert len(json.loads((tmp_path / "lcat-study/study.json").read_text())["cells"]) == 2


def test_a_full_disk_for_the_report_leaves_the_scores(call, monkeypatch):
    import lcat.study

    def full(*_):
        raise OutputError("cannot write lcat-study/cells.csv: No space left on device")

    monkeypatch.setattr(lcat.study, "write_study", full)
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST)
    assert code == 2
    assert "test accuracy %" in out
    assert "gcn" in out
    assert "No space left on device; lcat study report lcat-study writes the report" in err
    assert err.count("\n") == 1


def test_a_store_that_cannot_be_read_for_the_report_is_no_interruption(call, monkeypatch):
    def broken(*_, **__):
        raise StoreError("the store cannot be read")

    monkeypatch.setattr(Study, "cell_results", broken)
    code, _, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST)
    assert (code, err) == (1, "lcat: the store cannot be read\n")


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_runs_with_a_note(call, monkeypatch, number, tmp_path):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST)
    assert code == 0
    assert "Written to" in out
    assert err.startswith("lcat: the file system of lcat-study has no locks")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("encoding", "backend"),
    [("ascii", "module://no.such.backend"), long("cp1252", "Agg"), long("utf-8", "nonsense")],
)
def test_surroundings(encoding, backend, tmp_path):
    """Encodings that lack characters, backends that do not exist, no home directory."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "MPLBACKEND": backend}
    environment.pop("HOME", None)
    words = ["study", "-d", "csbm:easy,n=60", "-l", "gcn", "-l", "lcat", *FAST, "--out", "out"]
    done = subprocess.run(
        [sys.executable, "-m", "lcat", *words], env=environment, capture_output=True, cwd=tmp_path, check=False
    )
    out, err = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert done.returncode == 0, err
    assert "Traceback" not in err
    assert ("lambda1, lambda2" if encoding != "utf-8" else "λ1, λ2") in out
    assert (tmp_path / "out/report.html").is_file()


def test_a_second_ctrl_c_ends_as_the_first():
    with _signals() as signals:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # while the study ends
        signals.ends_at_once = True
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is not signals
