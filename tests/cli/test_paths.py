"""Options that name folders: what is no folder is refused in words, and so is an empty text."""

from __future__ import annotations

import pytest

from tests.cli.study.support import FAST

_SMALL = ["study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST]


@pytest.mark.parametrize(
    "arguments",
    [
        (*_SMALL, "--out", ""),
        (*_SMALL, "-o", " "),
        (*_SMALL, "--data", ""),
        ("study", "run", "--data="),
        ("study", "--list-datasets", "--data", ""),
        ("study", "datasets", "--data", ""),
        ("study", "report", "there", "--out", ""),
        ("study", "report", ""),
        ("study", "run", ""),
        ("study", ""),
        ("ogb", "arxiv", "--data", ""),
        ("ogb", "arxiv", "--out", ""),
    ],
)
def test_an_empty_text_is_no_folder(call, tmp_path, arguments):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert "got an empty text" in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_an_empty_data_folder_in_a_plan_is_refused(call, tmp_path):
    for folder in (tmp_path, tmp_path / "inner"):
        folder.mkdir(exist_ok=True)
        (folder / "plan.toml").write_text('datasets = ["csbm:easy,n=60"]\nlayers = ["gcn"]\n[run]\ndata = ""\n')
        code, _, err = call("study", folder / "plan.toml", *FAST)
        assert code == 2
        assert "run.data: expected a path, got an empty text" in err


@pytest.mark.parametrize("more", [(), ("--dry-run",)], ids=["run", "dry-run"])
@pytest.mark.parametrize(
    ("name", "kind"), [("file", "a file"), ("file/inner", "a file"), ("link", "a link to something")]
)
def test_the_name_of_a_study_is_taken(call, tmp_path, name, kind, more):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("missing")
    code, _, err = call(*_SMALL, "--out", name, *more)
    assert code == 2
    assert err.startswith(f"lcat: --out: {name.split('/')[0]} is {kind}")
    assert "choose another folder" in err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", [("study", "datasets"), ("study", "--list-datasets"), ("study", "-d", "cora")])
def test_a_file_is_no_folder_of_data(call, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    assert call(*command, "--data", "file") == (2, "", "lcat: --data: file is a file; expected a folder\n")
    assert call(*command, "--data", "nothing") == (2, "", "lcat: --data: there is no folder nothing\n")


def test_the_last_of_two_options_counts(call):
    """As in most commands; docs/studies.md says it."""
    code, out, _ = call(*_SMALL, "--seeds", "2", "--seeds", "3", "--dry-run")
    assert code == 0
    assert "3 of 3 cells" in out
