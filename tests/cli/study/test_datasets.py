"""lcat study datasets."""

from __future__ import annotations

from lcat.data import dataset_table, missing_files


def rows_with_files(out):
    """Names of the data sets whose last column says that their files are available."""
    cells = [line.split("│") for line in out.splitlines() if line.count("│") == 6]
    return [row[1].strip() for row in cells if row[5].strip() == "available"]


def test_public_data_sets_are_listed_and_the_old_spelling_works(call, tmp_path):
    code, out, _ = call("study", "datasets", "--data", tmp_path)
    assert code == 0
    for word in ("minesweeper", "roc-auc"):
        assert word in out
    assert rows_with_files(out) == []
    assert call("study", "--list-datasets", "--data", tmp_path) == (0, out, "")
    assert call("study", "run", "--data", tmp_path, "--list-datasets") == (0, out, "")


def test_files_that_are_here_are_available(call, tmp_path):
    assert {row["name"] for row in dataset_table()} >= {"cora", "photo"}
    for file in missing_files("photo", tmp_path):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    assert rows_with_files(call("study", "datasets", "--data", tmp_path)[1]) == ["photo"]
