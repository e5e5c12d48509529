"""lcat study datasets."""

from __future__ import annotations

from lcat.data import dataset_table, missing_files


def test_public_data_sets_are_listed_and_the_old_spelling_works(call, tmp_path):
    code, out, _ = call("study", "datasets", "--data", tmp_path)
    assert code == 0
    for word in ("minesweeper", "roc-auc"):
        assert word in out
    assert "available" not in out
    assert call("study", "--list-datasets", "--data", tmp_path) == (0, out, "")
    assert call("study", "run", "--data", tmp_path, "--list-datasets") == (0, out, "")


def test_files_that_are_here_are_available(call, tmp_path):
    assert {row["name"] for row in dataset_table()} >= {"cora", "photo"}
    for file in missing_files("photo", tmp_path):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    out = call("study", "datasets", "--data", tmp_path)[1]
    [row] = [line for line in out.splitlines() if "available" in line]
    assert row.split("│")[1].strip() == "photo"
