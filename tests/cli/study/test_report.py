"""lcat study report DIR."""

from __future__ import annotations


def test_a_report_is_made_again_from_the_store_alone(call, plan_file, tmp_path):
    call("study", "plan.toml", "--quiet")
    folder = tmp_path / "plan-study"
    before = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    plan_file.unlink()
    for path in [*folder.glob("*.csv"), *folder.glob("*.html"), folder / "study.json"]:
        path.unlink()
    code, out, err = call("study", "report", "plan-study")
    assert (code, err) == (0, "")
    assert "report.html" in out
    assert {path.name: path.read_bytes() for path in folder.glob("*.csv")} == before
    assert (folder / "report.html").is_file()
    assert call("study", "report", "plan-study", "--out", "elsewhere")[0] == 0
    assert (tmp_path / "elsewhere/report.html").is_file()
