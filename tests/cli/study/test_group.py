"""lcat study: the commands, and run where none is named."""

from __future__ import annotations

import pytest

from lcat.study import Study
from tests.cli.study.support import FAST

SMALL = ["-d", "csbm:easy,n=60", "-l", "gcn", *FAST]


@pytest.mark.parametrize("command", [[], ["run"]])
@pytest.mark.parametrize("arguments", [["plan.toml", *FAST], [*FAST, "plan.toml"]])
def test_run_is_the_default_and_options_stand_on_both_sides_of_the_file(call, plan_file, tmp_path, command, arguments):
    assert call("study", *command, *arguments, "-o", "o")[0] == 0
    assert len(Study.load(tmp_path / "o").results()) == 2


def test_a_file_with_the_name_of_a_command_is_a_plan_with_its_folder(call, plan_file):
    plan_file.rename("report")
    assert call("study", "run", "report", "--dry-run", "-q")[0] == 0
    assert call("study", "./report", "--dry-run", "-q")[0] == 0
    code, _, err = call("study", "report")
    assert code == 2
    assert "DIR" in err


def test_the_help_of_the_group_names_its_commands(call):
    code, out, _ = call("study", "--help")
    assert code == 0
    for word in ("run", "report", "datasets", "defaults", "lcat study plan.toml", "lcat study report DIR"):
        assert word in out
    assert "--epochs" not in out


def test_help_after_other_options_is_that_of_run(call):
    assert call("study", "-d", "cora", "--help") == call("study", "run", "--help")


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("reprot", ["'reprot' (did you mean report or export?)"]),
        ("Datasets", ["'Datasets' (did you mean datasets?)"]),
        ("frobnicate", ["'frobnicate';"]),
    ],
)
@pytest.mark.parametrize("rest", [[], ["DIR"], ["-q"]])
def test_a_mistyped_command_is_one_line_with_a_hint(call, word, words, rest):
    code, out, err = call("study", word, *rest)
    assert (code, out, err.count("\n")) == (2, "", 1)
    for part in [
        "no command and no plan file",
        *words,
        "commands are run, add, report, export, model, datasets, defaults",
        "a data set is named with -d, as in lcat study -d cora",
    ]:
        assert part in err


@pytest.mark.parametrize("arguments", [["gone.toml"], ["--seeds", "2", "gone.toml"], ["run", "gone"], ["-q", "gone"]])
def test_a_plan_file_that_does_not_exist_is_said_to_be_missing(call, arguments):
    code, out, err = call("study", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lcat: there is no plan file gone")


@pytest.mark.parametrize("command", [[], ["run"]])
def test_the_folder_of_a_study_goes_on_with_its_plan(call, plan_file, tmp_path, command):
    folder = str(tmp_path / "o")
    call("study", str(plan_file), "--out", folder, *FAST)
    call(
        "study",
        *command,
        folder,
        "--until-decided",
        "--margin",
        "0.99",
        "--max-cells",
        "6",
        "--quiet",
        "--engine",
        "inline",
    )
    assert len(Study.load(folder).results()) > 2


def test_a_folder_without_a_study_is_one_line(call, tmp_path):
    code, out, err = call("study", tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "there is no study in" in err
