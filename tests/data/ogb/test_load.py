"""OGB's data sets through OGB's own classes: read safely, offline, without questions, and nothing is deleted."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch_geometric.transforms import ToUndirected

pytest.importorskip("ogb")

from lcat.data import DataError, DatasetUnavailable, UnknownDataset, load_ogb, ogb_names, write_standin
from lcat.data.ogb import load as ogb_module
from lcat.data.ogb.load import MARKER
from tests.data.ogb.support import Evil, nothing_lost, shut_off, snapshot

NAMES = ["ogbn-arxiv", "ogbn-products", "ogbn-proteins", "ogbn-mag", "ogbn-papers100M"]
TASKS = {"ogbn-arxiv": (40, 1), "ogbn-products": (47, 1), "ogbn-proteins": (2, 112), "ogbn-mag": (349, 1)}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    shut_off(monkeypatch)


@pytest.fixture(scope="module")
def standins(tmp_path_factory):
    root = tmp_path_factory.mktemp("standins")
    for name in NAMES:
        write_standin(name, root, nodes=200)
    return root


@pytest.fixture
def root(standins, tmp_path):
    """A copy of all stand-ins that a test may spoil."""
    return Path(shutil.copytree(standins, tmp_path / "ogb"))


def load(name, root):
    return load_ogb(name, root, download=False, progress=False)


@pytest.mark.parametrize("name", NAMES)
def test_reads_and_reads_again(name, root, monkeypatch):
    before = snapshot(root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = load(name, root)
        assert nothing_lost(before, root)
        processed = first.folder / "processed" / "geometric_data_processed.pt"
        stamp = processed.stat().st_mtime_ns
        monkeypatch.setattr(ogb_module.import_ogb().PygNodePropPredDataset, "process", lambda _: pytest.fail("again"))
        second = load(name, root)
    assert processed.stat().st_mtime_ns == stamp
    assert (first.num_classes, first.num_tasks) == TASKS.get(name, (172, 1))
    assert first.y.nan_to_num(-1).equal(second.y.nan_to_num(-1))
    assert {part: nodes.tolist() for part, nodes in first.split.items()} == {
        part: nodes.tolist() for part, nodes in second.split.items()
    }
    assert first.generated["dataset"] == name
    assert not processed.with_suffix(".pt.part").exists()


def rows_of(path):
    return gzip.decompress(path.read_bytes()).decode().split()


def test_numbers_are_those_of_the_files(root):
    dataset = load("ogbn-arxiv", root)
    rows = rows_of(root / "ogbn_arxiv/raw/edge.csv.gz")
    assert dataset.data.edge_index.t().tolist() == [[int(end) for end in row.split(",")] for row in rows]
    labels = rows_of(root / "ogbn_arxiv/raw/node-label.csv.gz")
    assert dataset.y.view(-1).tolist() == [int(label) for label in labels]
    dataset.split["train"][0] = 0  # the numbers are our own, not memory that pandas locked


def test_mag_and_proteins_hold_what_the_official_ones_hold(root):
    mag = load("ogbn-mag", root)
    assert mag.node_type == "paper"
    assert ("paper", "cites", "paper") in mag.data.edge_index_dict
    proteins = load("ogbn-proteins", root)
    assert proteins.data.edge_attr.shape == (proteins.data.edge_index.size(1), 8)
    assert "x" not in proteins.data
    # Both directions of an edge, with the same features.
    assert proteins.data.edge_attr[0::2].equal(proteins.data.edge_attr[1::2])


def test_splits_as_ogb_returns_them(root):
    arxiv = load_ogb("ogbn-arxiv", root, download=False)
    assert arxiv.get_idx_split().keys() == {"train", "valid", "test"}
    assert torch.equal(arxiv.get_idx_split()["valid"], arxiv.split["valid"])
    mag = load_ogb("ogbn-mag", root, download=False)
    assert torch.equal(mag.get_idx_split()["test"]["paper"], mag.split["test"])
    with pytest.raises(TypeError, match="expected 'part' as one of 'train', 'valid', 'test', got Tensor"):
        arxiv.evaluate("test", torch.zeros(3))


def test_evaluator_is_ogbs(root):
    dataset = load("ogbn-arxiv", root)
    logits = torch.nn.functional.one_hot(dataset.y.view(-1), 40).to(torch.bfloat16)
    assert dataset.evaluate(logits, "test") == 1.0
    logits[dataset.split["valid"][0]] = logits[dataset.split["valid"][0]].roll(1)
    assert dataset.evaluate(logits, "valid") == pytest.approx(1 - 1 / dataset.split["valid"].numel())
    proteins = load("ogbn-proteins", root)
    assert proteins.evaluate(proteins.y.float(), "test") == 1.0
    assert proteins.evaluate(-proteins.y.float(), "test") == 0.0
    assert proteins.evaluate(torch.zeros(proteins.y.shape), "test") == 0.5
    # What is no logits of all nodes and classes has no score that looks like one.
    classes = logits.argmax(dim=1, keepdim=True)
    for wrong in (classes, logits[:, :5], logits[:-1], logits[None]):
        with pytest.raises(ValueError, match=r"expected logits of all nodes, \[nodes, classes\] = .*, got \["):
            dataset.evaluate(wrong, "test")
    with pytest.raises(ValueError, match=r"\[nodes, tasks\]"):
        proteins.evaluate(proteins.y[:, 0].float(), "test")
    unknown = logits.float().clone()
    unknown[dataset.split["test"][:3], 1] = torch.nan
    with pytest.raises(ValueError, match="got nan for 3 of"):
        dataset.evaluate(unknown, "test")
    assert dataset.evaluate(unknown, "train") == 1.0
    with pytest.raises(ValueError, match="'part' is 'val'; expected one of"):
        dataset.evaluate(logits, "val")


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ogbn-arxiv", "processed/geometric_data_processed.pt"),
        ("ogbn-arxiv", "processed/pre_transform.pt"),
        ("ogbn-arxiv", "processed/pre_filter.pt"),
        ("ogbn-arxiv", "split/time/split_dict.pt"),
        ("ogbn-papers100M", "split/time/split_dict.pt"),
    ],
)
def test_a_pickle_with_code_is_refused(name, file, forced, root, tmp_path, monkeypatch):
    if forced:  # a variable that switches torch's protection off
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    load(name, root)
    path = root / name.replace("-", "_") / file
    torch.save({"train": Evil(tmp_path / "was-here")}, path)
    before = snapshot(root)
    with pytest.raises(DatasetUnavailable, match=r"posix.system, which is no plain value and is not run") as caught:
        load(name, root)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "was-here").exists()
    assert nothing_lost(before, root)
    assert ("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" in os.environ) == forced
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
    torch.load(path, weights_only=False)  # the test is worth something only if it would have run
    assert (tmp_path / "was-here").exists()


@pytest.mark.parametrize("content", [b"garbage", b"PK\x03\x04 a half"])
def test_a_file_that_is_none_of_torch_is_told_in_a_few_words(content, root):
    load("ogbn-arxiv", root)
    (root / "ogbn_arxiv/processed/pre_filter.pt").write_bytes(content)
    with pytest.raises(
        DatasetUnavailable, match=r"pre_filter.pt cannot be read as a plain value \(it is no whole file"
    ):
        load("ogbn-arxiv", root)


@pytest.mark.parametrize("content", [b"", b"[1]", b"[" * 100_000, b"\xff"])
def test_a_damaged_marker_of_a_stand_in_is_one_line(content, root):
    load("ogbn-arxiv", root)
    (root / "ogbn_arxiv/GENERATED_STAND_IN.json").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read .*; it marks the folder as generated: move .* away"):
        load("ogbn-arxiv", root)


def test_a_plain_pickle_is_refused(root, tmp_path):
    """Not even a zip file, as torch wrote until 1.6."""
    load("ogbn-arxiv", root)
    path = root / "ogbn_arxiv/processed/geometric_data_processed.pt"
    torch.save(Evil(tmp_path / "was-here"), path, _use_new_zipfile_serialization=False)
    with pytest.raises(DatasetUnavailable, match="is damaged"):
        load("ogbn-arxiv", root)
    assert not (tmp_path / "was-here").exists()


def spoil(path, how):
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "one bit":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    else:
        path.write_bytes(b"")


@pytest.mark.parametrize("how", ["truncated", "one bit", "empty"])
def test_a_damaged_processed_file_is_told(how, root):
    load("ogbn-arxiv", root)
    spoil(root / "ogbn_arxiv/processed/geometric_data_processed.pt", how)
    before = snapshot(root)
    with pytest.raises(DatasetUnavailable, match=r"geometric_data_processed\.pt is damaged .*move .*processed away"):
        load("ogbn-arxiv", root)
    assert nothing_lost(before, root)
    (root / "ogbn_arxiv/processed").rename(root / "away")  # what the message says
    assert load("ogbn-arxiv", root).num_classes == 40


@pytest.mark.parametrize("how", ["truncated", "empty"])
def test_a_damaged_raw_file_is_told(how, root):
    spoil(root / "ogbn_arxiv/raw/edge.csv.gz", how)
    before = snapshot(root)
    with pytest.raises(DatasetUnavailable, match=r"the files in .*ogbn_arxiv cannot be read \(.*\); move"):
        load("ogbn-arxiv", root)
    assert nothing_lost(before, root)


def test_a_run_killed_while_processing_leaves_nothing_half(root, monkeypatch):
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        load("ogbn-arxiv", root)
    monkeypatch.undo()
    shut_off(monkeypatch)
    assert load("ogbn-arxiv", root).num_classes == 40


def test_another_pre_transform_is_told(root):
    import ogb.nodeproppred

    with pytest.raises(Exception, match=r"weights_only|Weights only"):  # OGB as it is cannot read its own copy
        ogb.nodeproppred.PygNodePropPredDataset("ogbn-arxiv", str(root), pre_transform=ToUndirected())
    before = snapshot(root)
    with pytest.raises(DatasetUnavailable, match=r"made with pre_transform 'ToUndirected\(\)', another data set; move"):
        load("ogbn-arxiv", root)
    assert nothing_lost(before, root)


def change_rows(path, rows):
    with gzip.open(path, "wt") as file:
        file.write("\n".join(map(str, rows)) + "\n")


@pytest.mark.parametrize(
    ("file", "rows", "words"),
    [
        ("raw/node-label", [40] * 200, r"labels must lie in 0 \.\. 39; got 40 \.\. 40"),
        ("raw/node-label", [-1] * 200, r"labels must lie in 0 \.\. 39; got -1"),
        ("raw/node-label", ["1,2"] * 200, r"labels must be \[nodes, 1\]; got \[200, 2\]"),
        ("split/time/train", [200], r"train split must name nodes 0 \.\. 199; got 200"),
        ("split/time/train", [3, 3], r"train split names nodes twice"),
        ("split/time/valid", range(200), r"valid split names nodes twice, or nodes of another part"),
        ("raw/edge", ["0,200"] * 2000, r"edge_index names nodes beyond the \[200, 200\]"),
    ],
)
def test_files_that_contradict_each_other_are_told(file, rows, words, root):
    change_rows(root / f"ogbn_arxiv/{file}.csv.gz", rows)
    before = snapshot(root)
    with pytest.raises(DataError, match=words) as caught:
        load("ogbn-arxiv", root)
    assert "\n" not in str(caught.value)
    assert nothing_lost(before, root)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ogbn-arxiv", "raw/node-feat.csv.gz"),
        ("ogbn-proteins", "raw/edge-feat.csv.gz"),
        ("ogbn-proteins", "split/species/test.csv.gz"),
        ("ogbn-mag", "raw/relations/paper___cites___paper/edge.csv.gz"),
        ("ogbn-papers100M", "raw/node-label.npz"),
    ],
)
def test_a_missing_file_is_named(name, file, root):
    folder = root / name.replace("-", "_")
    (folder / file).unlink()
    with pytest.raises(DatasetUnavailable, match=rf"generated stand-in and lacks {file}; move it away"):
        load(name, root)
    (folder / MARKER).unlink()  # as OGB's own files, which have none
    with pytest.raises(DatasetUnavailable, match=rf"lacks {file}; put http.*zip into"):
        load(name, root)


def test_without_a_release_note_it_warns_and_reads(root):
    (root / "ogbn_mag/RELEASE_v2.txt").unlink()
    before = snapshot(root)
    with pytest.warns(UserWarning, match=r"has no file RELEASE_v2\.txt"):
        load("ogbn-mag", root)
    assert nothing_lost(before, root)


def test_another_release_is_told(root):
    (root / "ogbn_mag/RELEASE_v2.txt").rename(root / "ogbn_mag/RELEASE_v1.txt")
    before = snapshot(root)
    with pytest.raises(DatasetUnavailable, match=r"holds RELEASE_v1\.txt and OGB's current release is v2"):
        load("ogbn-mag", root)
    assert nothing_lost(before, root)


def test_wrong_roots_are_told(root, tmp_path):
    with pytest.raises(DatasetUnavailable, match=r"there is no folder .*nowhere/ogbn_arxiv; put http"):
        load("ogbn-arxiv", tmp_path / "nowhere")
    with pytest.raises(DatasetUnavailable, match="seems to be the folder of a data set itself; name the folder above"):
        load("ogbn-arxiv", root / "ogbn_arxiv")
    with pytest.raises(DatasetUnavailable, match="is a file; expected the folder"):
        load("ogbn-arxiv", root / "ogbn_arxiv" / "RELEASE_v1.txt")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ogbl-collab", "is a data set for link property prediction"),
        ("ogbg-molhiv", "is a data set for graph property prediction"),
        ("ogbn-arxvi", "did you mean ogbn-arxiv"),
        ("cora", "known are ogbn-proteins, ogbn-products"),
    ],
)
def test_other_names_are_told(name, words, tmp_path):
    with pytest.raises(UnknownDataset, match=words):
        load(name, tmp_path)


def test_names(root):
    assert set(ogb_names()) == set(NAMES)
    assert load("Papers100m", root).name == "ogbn-papers100M"


def test_a_marker_that_cannot_be_read_does_not_pass_for_real_data(root):
    (root / "ogbn_arxiv/GENERATED_STAND_IN.json").write_text("{")
    with pytest.raises(DataError, match="it marks the folder as generated"):
        load("ogbn-arxiv", root)


def test_importing_ogb_starts_no_thread_and_asks_nobody():
    code = (
        "import threading, socket\n"
        "socket.socket.connect = lambda *_: print('CONNECTED')\n"
        "from lcat.data import ogb_names\n"
        "ogb_names()\n"
        "import ogb, sys\n"
        "print(threading.active_count(), ogb.version.check_outdated, 'outdated' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n")[0] == "1 None False"


def test_without_ogb_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(ogb_module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DatasetUnavailable, match=r"pip install 'lcat-gnn\[ogb\]'"):
        load("ogbn-arxiv", tmp_path)


def change(path, edit):
    """Change the lines of a raw file."""
    rows = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress(("\n".join(edit(rows)) + "\n").encode()))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ogbn-arxiv", "raw/node-feat"),
        ("ogbn-arxiv", "raw/node-label"),
        ("ogbn-arxiv", "raw/node_year"),
        ("ogbn-arxiv", "raw/edge"),
        ("ogbn-products", "raw/edge"),
        ("ogbn-proteins", "raw/edge-feat"),
        ("ogbn-proteins", "raw/node_species"),
        ("ogbn-mag", "raw/node-feat/paper/node-feat"),
        ("ogbn-mag", "raw/node-label/paper/node-label"),
        ("ogbn-mag", "raw/relations/author___writes___paper/edge"),
    ],
)
@pytest.mark.parametrize("edit", [lambda rows: rows[:-1], lambda rows: rows[:10], lambda rows: [*rows, rows[0]]])
def test_files_of_other_lengths_are_told(name, file, edit, root):
    """OGB takes as many rows as another file states, and does not look whether there are fewer or more."""
    path = root / name.replace("-", "_") / f"{file}.csv.gz"
    rows = len(rows_of(path))
    change(path, edit)
    words = rf"{path.name} must have {rows} rows; got \d+: move|there are 200 nodes and 201 rows of labels"
    for _ in range(2):  # also where the first call has left a processed copy
        with pytest.raises(DataError, match=words):
            load(name, root)


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn-products", "ogbn-proteins", "ogbn-mag"])
def test_processed_copies_of_shorter_files_are_told(name, root, monkeypatch):
    """Made by OGB itself, or before this was checked."""
    folder = root / name.replace("-", "_")
    relation = "raw/relations/paper___cites___paper/edge" if name == "ogbn-mag" else "raw/edge"
    rows = gzip.decompress((folder / f"{relation}.csv.gz").read_bytes())
    change(folder / f"{relation}.csv.gz", lambda rows: rows[:20])
    with monkeypatch.context() as patch:
        patch.setattr(ogb_module, "check_counts", lambda meta, folder: None)
        with pytest.raises(DataError, match=r"num-edge-list says \d+|rows of edge features"):
            load(name, root)
    (folder / f"{relation}.csv.gz").write_bytes(gzip.compress(rows))
    with pytest.raises(DataError, match=r"num-edge-list says \d+|rows of edge features"):
        load(name, root)


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_checked_for_every_data_set(name, root):
    dataset = load(name, root)
    columns = dataset.num_classes if dataset.metric == "acc" else dataset.num_tasks
    y = dataset.y.nan_to_num(0).long()
    perfect = torch.nn.functional.one_hot(y.view(-1), columns).float() if dataset.metric == "acc" else y.float()
    for part in ("train", "valid", "test"):
        for logits in (perfect, perfect.numpy(), perfect.bfloat16()):
            assert dataset.evaluate(logits, part) == 1.0
        spoiled = perfect.clone()
        spoiled[dataset.split[part][0], 0] = torch.nan
        with pytest.raises(ValueError, match=f"got nan for 1 of {len(dataset.split[part])} nodes of '{part}'"):
            dataset.evaluate(spoiled, part)
    for wrong in (perfect.argmax(1), perfect.argmax(1, keepdim=True), perfect[:, :-1], perfect[1:], perfect[None]):
        with pytest.raises(ValueError, match=rf"= \[200, {columns}\], got"):
            dataset.evaluate(wrong, "test")
    for part in ("val", "all", ""):
        with pytest.raises(ValueError, match=f"'part' is '{part}'; expected one of 'train', 'valid', 'test'"):
            dataset.evaluate(perfect, part)
    if dataset.metric == "rocauc":
        with pytest.raises(ValueError, match="expected finite numbers as scores of 'test', got inf"):
            dataset.evaluate(torch.full_like(perfect, torch.inf), "test")


def test_a_metric_that_cannot_be_computed_is_one_line(root):
    path = root / "ogbn_proteins/raw/node-label.csv.gz"
    change(path, lambda rows: [",".join("0" * 112)] * len(rows))
    dataset = load("ogbn-proteins", root)
    with pytest.raises(DataError, match=r"ogbn-proteins: rocauc of 'valid' cannot be computed \(No positively"):
        dataset.evaluate(torch.rand(200, 112), "valid")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs permissions that bind the user")
def test_a_folder_that_may_not_be_read_is_one_line(root):
    root.chmod(0)
    try:
        with pytest.raises(DatasetUnavailable, match=r"ogbn-arxiv: cannot look into .*\(Permission denied\)"):
            load("ogbn-arxiv", root)
    finally:
        root.chmod(0o755)


def test_a_folder_that_cannot_be_asked_is_one_line(root, monkeypatch):
    def refuse(self, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(DatasetUnavailable, match=r"ogbn-arxiv: cannot look into .*\(Permission denied\)"):
        load("ogbn-arxiv", root)


@pytest.mark.parametrize("name", [None, 3])
def test_a_name_is_a_string(name):
    with pytest.raises(UnknownDataset, match=f"expected the name of a data set.*got {name}"):
        load_ogb(name)


def test_a_full_disk_is_no_damaged_data_set(root, small_files):
    with (
        pytest.raises(DatasetUnavailable, match=r"cannot write its processed copy to .*MB are free"),
        small_files(4000),
    ):
        load("ogbn-arxiv", root)
    assert not list((root / "ogbn_arxiv" / "processed").glob("*.pt*"))
    load("ogbn-arxiv", root)
