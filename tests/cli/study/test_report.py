"""lcat study report DIR."""

from __future__ import annotations

import pandas as pd

from tests.cli.study.support import PLAN


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


def test_a_reference_is_tested_against_each_other_layer(call, plan_file, tmp_path):
    plan_file.write_text(PLAN.replace('"gcn", "gat"', '"gcn", "gat", "cat"'))
    call("study", "plan.toml", "--quiet")
    pairs = tmp_path / "plan-study/tables/pairs.csv"

    def tested():
        frame = pd.read_csv(pairs)
        return set(zip(frame["first"], frame["second"], strict=True))

    everything = tested()
    assert len(everything) == 3
    code, _, err = call("study", "report", "plan-study", "--reference", "gat")
    assert (code, err) == (0, "")
    assert tested() == {("gat", "gcn"), ("gat", "cat")}
    assert "gat against every other layer" in (tmp_path / "plan-study/report.html").read_text(encoding="utf-8")
    call("study", "report", "plan-study")
    assert tested() == everything


def test_a_reference_without_results_is_refused(call, plan_file, tmp_path):
    call("study", "plan.toml", "--quiet")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    code, _, err = call("study", "report", "plan-study", "--reference", "gatt")
    assert code == 2
    assert "--reference: expected a layer of the report, gcn, gat; got 'gatt' (did you mean gat?)" in err
    code, _, err = call("study", "report", "plan-study", "-l", "gcn", "-o", "part", "--reference", "gat")
    assert code == 2
    assert "--reference: expected a layer of the report, gcn; got 'gat'" in err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
