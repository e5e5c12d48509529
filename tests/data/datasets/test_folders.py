"""A file where the folder of data sets is expected."""

import pytest

from lcat.data import DataError, default_root, load, load_ogb, load_tu


@pytest.mark.parametrize(
    "read",
    [
        lambda root: load("cora", root),
        lambda root: load("cora", root, download=False),
        lambda root: load_tu("MUTAG", root),
    ],
)
def test_a_file_is_no_folder_of_data_sets(read, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataError, match=r"expected a folder, existing or new, as root, got the file .*file$"):
        read(file)
    monkeypatch.setenv("LCAT_DATA", str(file))
    for call in (default_root, lambda: load("cora"), lambda: load_ogb("ogbn-arxiv")):
        with pytest.raises(DataError, match=r"expected a folder, existing or new, as LCAT_DATA, got the file .*file$"):
            call()


@pytest.mark.parametrize("name", [3, None, "", "tu:", "MU TAG"])
def test_names_that_are_none_of_tu_dortmund(name, tmp_path):
    with pytest.raises(DataError, match="expected a name of TU Dortmund after tu:, as in tu:MUTAG"):
        load_tu(name, tmp_path)
