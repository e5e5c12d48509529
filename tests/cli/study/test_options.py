"""Options of lcat study run: what is wrong is said in one line that names the option."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lcat.cli.study.options import PLAN_KEYS, explain_plan_error, option_of
from lcat.cli.study.run import run
from lcat.study import PlanError, Study, StudyPlan, load_plan, make_plan


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-l", "gta"], 2, ["--layer", "'gta'", "did you mean gat"]),
        (["-d", "coraa"], 2, ["'coraa'", "did you mean cora"]),
        (["-d", "csbm:easy,q=a"], 2, ["q must be a number", "'a'"]),
        (["-d", "gone.pt"], 2, ["there is no file gone.pt"]),
        (["-d", "cora", "--data", "nowhere"], 2, ["--data", "there is no folder nowhere"]),
        (["-d", "cora", "--data", "."], 1, ["ind.cora.x", "Planetoid/Cora/raw"]),
        (["--seeds", "1,1"], 2, ["--seeds", "each seed once", "1,1"]),
        (["--seeds", "0"], 2, ["--seeds", "at least 1", "'0'", "'0,'"]),
        (["--seeds", "-3"], 2, ["--seeds", "-3"]),
        (["--seeds", "three"], 2, ["--seeds", "0,3,5 or 0-9", "'three'"]),
        (["--epochs", "-1"], 2, ["--epochs", "at least 1", "-1"]),
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
        (["--device", "warp"], 2, ["--device: there is no device 'warp'; expected cpu, "]),
        (["--out", "file/sub"], 2, ["--out", "file is a file"]),
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


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["gone.toml"], 2, ["there is no plan file gone.toml"]),
        (["--split", "kfold"], 2, ["--split", "'kfold'"]),
        (["--grid", "lr"], 2, ["--grid", "NAME=VALUE", "'lr'"]),
        (["--grid", "lrr=1"], 2, ["--grid", "'lrr'", "did you mean lr"]),
        (["--search", "lr=0.1..0.01"], 2, ["--search", "low must be below high"]),
        (["--objective", "tiem=1"], 2, ["--objective", "'tiem'", "did you mean time"]),
        (["--objective", "time=x"], 2, ["--objective time", "must be a number", "got 'x'"]),
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
        *(
            ([f"--{name}", wrong], 2, [f"--{name}: must be a whole number; got {wrong!r}"])
            for name in ("epochs", "num-layers", "hidden-channels", "heads", "workers", "threads", "max-cells")
            for wrong in ("abc", "1.5", "true")
        ),
        *(
            ([f"--{name}", wrong], 2, [f"--{name}: ", "must be a number; got ", repr(wrong)])
            for name in (
                "lr",
                "dropout",
                "weight-decay",
                "orthogonal-lr",
                "max-seconds",
                "noise-edges",
                "noise-features",
            )
            for wrong in ("abc", "true", "")
        ),
        (["--search", "lr=0.1..0.2", "--trials", "x"], 2, ["--trials: must be a whole number; got 'x'"]),
        (["--depth", "x"], 2, ["--num-layers: must be a whole number; got 'x'"]),
        (["report", "nowhere"], 2, ["there is no study in nowhere"]),
    ],
)
def test_bad_plans_are_one_line(call, arguments, code, words):
    got, out, err = call("study", *arguments)
    assert (got, out) == (code, "")
    lines = [line for line in err.splitlines() if line.startswith("lcat: ")]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]


def test_every_key_belongs_to_a_parameter_and_to_a_plan():
    assert set(PLAN_KEYS) < set(inspect.signature(run).parameters)
    document = StudyPlan.model_json_schema()
    for first, *rest in PLAN_KEYS.values():
        field = document["properties"][first]
        for key in rest:
            text = str(field)
            [name] = re.findall(r"#/\$defs/(\w+)", text)
            field = document["$defs"][name]["properties"][key]


def test_options_are_named_after_their_keys():
    assert option_of(("overrides", "weight_decay")) == "--weight-decay"
    assert option_of(("search", "space")) == "--search"
    assert option_of(("search", "trials")) == "--trials"
    assert option_of(("objectives", "time")) == "--objective time"
    assert option_of(("run", "retries")) is None
    assert option_of(()) is None


def test_options_are_blamed_for_what_they_say_and_the_file_for_the_rest(call, tmp_path):
    (tmp_path / "plan.toml").write_text('datasets = ["cora"]\nlayers = ["gta"]\n[overrides]\nlr = 0\nheads = 0\n')
    code, out, err = call("study", "plan.toml", "--lr", "-1", "--workers", "0")
    assert (code, out, err.count("\n")) == (2, "", 1)
    parts = err.removeprefix("lcat: ").rstrip().split(" | ")
    assert [part.split(": ")[:2] for part in parts] == [
        ["plan.toml", "layers"],
        ["plan.toml", "overrides.heads"],
        ["--lr", "must be greater than 0; got -1.0"],
        ["--workers", "must be at least 1; got 0"],
    ]


def test_values_that_read_like_keys_stay_as_they_are():
    """Options are rendered from paths, and no text is replaced."""
    with pytest.raises(PlanError) as caught:
        make_plan(datasets=["cora"], layers=["gcn"], seeds=1, metric="grid: overrides.lr: layers:")
    line = explain_plan_error(caught.value, None, {"metric"})
    assert line.startswith("--metric: must be one of")
    assert line.endswith("got 'grid: overrides.lr: layers:'")


def test_an_error_without_a_key_is_told_as_it_is():
    with pytest.raises(PlanError) as caught:
        load_plan("gone.toml")
    assert explain_plan_error(caught.value, Path("gone.toml"), ()) == "there is no plan file gone.toml"


def test_short_spellings_are_accepted(call):
    """The error names the option as the help does."""
    _, _, err = call("study", "--hidden", 7, "--heads", 2, "--depth", 2, "-l", "gat")
    assert "got hidden_channels 7 and heads 2" in err
    assert "--hidden-channels: " in call("study", "--hidden=-1")[2]
    assert "--num-layers: " in call("study", "--depth", 0)[2]
    assert "--num-layers" in call("study", "run", "--depth", "three")[2]


def help_of(*words):
    """As on a narrow terminal."""
    return subprocess.run(
        [sys.executable, "-m", "lcat", *words, "--help"],
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_help_groups_the_options_and_is_readable_on_80_columns():
    text = help_of("study", "run")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text  # what is cut off
    titles = ["What to compare", "Training", "Grid and search", "Running", "Output"]
    starts = [text.index(f"─ {title} ─") for title in titles]
    assert starts == sorted(starts)
    panels = dict(zip(titles, (text[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)), strict=True))
    options = {
        "What to compare": ["--dataset", "-d", "--layer", "-l", "--seeds", "--split", "--noise-edges", "--data"],
        "Training": ["--epochs", "--num-layers", "--hidden-channels", "--optimizer", "--orthogonal-lr"],
        "Grid and search": ["--grid", "--search", "--trials"],
        "Running": ["--engine", "--workers", "--device", "--max-cells", "--no-resume", "--dry-run"],
        "Output": ["--out", "-o", "--objective", "--quiet", "-q"],
    }
    for title, names in options.items():
        for name in names:
            assert re.search(rf"│ .*(?<![\w-]){name}(?![\w-])", panels[title]), (title, name)
    assert text.index("lcat study -d cora") < starts[0]
    assert "--list-d" not in text
    for key in PLAN_KEYS.values():
        assert option_of(key) in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "gpu"], ["--device", "did you mean cuda?", "'gpu'"]),
        (["--device", "cudda"], ["--device", "did you mean cuda?"]),
        (["--device", "meta"], ["--device", "meta holds no numbers"]),
        (["--device", "cuda:x"], ["--device", "'cuda:x'"]),
        (["--trials", "5"], ["--trials", "add --search"]),
        (["--hidden", "8", "--hidden-channels", "16"], ["--hidden is another name of --hidden-channels"]),
        (["--depth=2", "--num-layers=3"], ["--depth is another name of --num-layers"]),
        (
            ["-l", "gat", "--depth", "2", "--search", "hidden=7", "--search", "heads=2,3"],
            ["no point of the search fits", "heads", "gat"],
        ),
        (["-l", "gat", "--depth", "2", "--grid", "hidden=7", "--heads", "2"], ["hidden_channels 7", "heads 2"]),
        (["-d", "caf\udce9.pt"], ["UTF-8", "rename the file"]),
        (["-d", "csbm:easy,n=60.pt"], ["n must be a number"]),
    ],
)
def test_slips_are_one_line(call, arguments, words):
    code, out, err = call("study", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    for word in words:
        assert word in err


def test_a_mistyped_command_and_a_folder_are_no_plan(call, tmp_path):
    assert "did you mean report or export?" in call("study", "reprot", "DIR")[2]
    (tmp_path / "results").mkdir()
    code, out, err = call("study", "results")
    assert (code, out) == (2, "")
    assert "there is no study in results: study.sqlite is missing" in err


def test_seeds_of_one_form_everywhere(call, tmp_path):
    for words, seeds in ((["--seeds", "2"], {0, 1}), (["--seeds", "3,5"], {3, 5}), (["--seeds", "4-5"], {4, 5})):
        options = ["-d", "csbm:easy,n=60", "-l", "gcn", "--epochs", 1, "--engine", "inline", "-q", "-o", words[1]]
        assert call("study", *options, *words)[0] == 0
        assert set(Study.load(tmp_path / words[1]).results()["seed"]) == seeds
