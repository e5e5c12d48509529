"""The progress of a study."""

from __future__ import annotations

from tests.cli.study.support import FAST

SHOWN = [word for word in FAST if word != "--quiet"]


def test_progress_is_lines_on_standard_error_where_it_is_no_terminal(call):
    code, out, err = call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *SHOWN, "--seeds", "2")
    assert code == 0
    assert "Written to" not in err
    lines = err.splitlines()
    assert lines[0].startswith("lcat: 0 of 2 cells")
    assert lines[-1].startswith("lcat: 2 of 2 cells")
    assert "\x1b" not in err
    assert "of 2 cells" not in out


def test_quiet_is_quiet(call):
    assert call("study", "-d", "csbm:easy,n=60", "-l", "gcn", *FAST)[2] == ""
