"""The registry loads through PyG's own classes from files, without network, and says what is missing."""

from __future__ import annotations

import inspect
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric import datasets as pyg_datasets

from lcat.data import CATALOG, DatasetUnavailable, UnknownDataset, dataset_table, default_root, load, missing_files
from tests.data.datasets.raw_files import write_amazon, write_photo_split, write_planetoid

REAL = os.environ.get("LCAT_TEST_DATA")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to reach the network fails the way it does on a machine without one."""

    def refuse(*args, **kwargs):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_planetoid_from_files(tmp_path):
    features = write_planetoid(tmp_path)
    assert missing_files("cora", tmp_path) == []
    dataset = load("Cora", tmp_path)
    assert dataset.split(0).sizes == (4, 500, 4)
    data = dataset.data
    expected = features / np.maximum(features.sum(1, keepdims=True), 1)
    np.testing.assert_allclose(data.x.numpy(), expected, rtol=1e-6)
    assert data.y.tolist() == [0, 1] * 260
    assert data.edge_index.size(1) == 1040


def test_amazon_from_files_with_and_without_the_fixed_split(tmp_path):
    features = write_amazon(tmp_path)
    random = load("photo", tmp_path)
    np.testing.assert_array_equal(random.data.x.numpy(), features)  # as stored, not normalized
    assert random.split_rule.startswith("random stratified")
    assert random.split(0).sizes == (12, 4, 4)
    write_photo_split(tmp_path)
    fixed = load("photo", tmp_path)
    assert fixed.split_rule == "fixed 60/20/20 of amazon-photo_split.npz"
    assert fixed.split(0).train.nonzero().view(-1).tolist() == [0, 1, 2]
    assert torch.equal(fixed.split(0).train, fixed.split(5).train)


def test_heterophilous_masks_are_taken_in_turn(tmp_path):
    raw = tmp_path / "HeterophilousGraphDataset" / "tolokers" / "raw"
    raw.mkdir(parents=True)
    part = np.stack([np.roll(np.arange(10) % 3, shift) for shift in range(10)])
    np.savez(
        raw / "tolokers.npz",
        node_features=np.ones((10, 3), np.float32),
        node_labels=np.arange(10) % 2,
        edges=np.array([[0, 1], [1, 2]]),
        train_masks=part == 0,
        val_masks=part == 1,
        test_masks=part == 2,
    )
    dataset = load("tolokers", tmp_path)
    assert dataset.metric == "roc-auc"
    assert dataset.data.num_edges == 4
    assert dataset.split(3).train.tolist() == (part[3] == 0).tolist()
    assert dataset.split(13).test.tolist() == (part[3] == 2).tolist()


def test_directed_sets_are_made_undirected(tmp_path):
    raw = tmp_path / "LastFMAsia" / "raw"
    raw.mkdir(parents=True)
    np.savez(raw / "lastfm_asia.npz", features=np.ones((4, 2)), target=[0, 1, 0, 1], edges=[[0, 1], [2, 3]])
    data = load("lastfm-asia", tmp_path).data
    assert sorted(map(tuple, data.edge_index.t().tolist())) == [(0, 1), (1, 0), (2, 3), (3, 2)]


def test_missing_files_are_named_in_one_line_and_nothing_is_deleted(tmp_path):
    write_planetoid(tmp_path)
    gone = tmp_path / "Planetoid/Cora/raw/ind.cora.ally"
    gone.unlink()
    for download in (True, False):
        with pytest.raises(DatasetUnavailable) as caught:
            load("cora", tmp_path, download=download)
        message = str(caught.value)
        assert "\n" not in message
        assert "put ind.cora.ally into" in message
        assert str(gone.parent) in message
        assert "github.com/kimiyoung/planetoid" in message
    assert len(list(gone.parent.iterdir())) == 7


def test_nothing_there_and_no_network(tmp_path):
    with pytest.raises(DatasetUnavailable, match="could not be downloaded") as caught:
        load("photo", tmp_path / "empty")
    assert "amazon_electronics_photo.npz" in str(caught.value)


def test_unreadable_files_are_reported_with_the_way_out(tmp_path):
    write_amazon(tmp_path)
    (tmp_path / "Amazon/Photo/raw/amazon_electronics_photo.npz").write_text("<html>not found</html>")
    with pytest.raises(DatasetUnavailable, match="cannot be read") as caught:
        load("photo", tmp_path)
    assert "move" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    write_amazon(tmp_path)
    (tmp_path / "Amazon/Photo").chmod(0o555)
    with pytest.raises(DatasetUnavailable, match="cannot write"):
        load("photo", tmp_path)


@pytest.mark.parametrize(("name", "close"), [("coraa", "cora"), ("citeser", "citeseer"), ("twitch-uk", "twitch-")])
def test_unknown_names_get_suggestions(name, close):
    with pytest.raises(UnknownDataset, match=f"did you mean .*{close}"):
        load(name)


@pytest.mark.parametrize("name", sorted(name for name, spec in CATALOG.items() if spec.pyg_class))
def test_catalog_agrees_with_pyg(name, tmp_path):
    """The arguments fit the class, and the raw files are those that the class itself looks for."""
    spec = CATALOG[name]
    cls = getattr(pyg_datasets, spec.pyg_class)
    names = () if spec.pyg_name is None else (spec.pyg_name,)
    inspect.signature(cls).bind(str(tmp_path), *names, **dict(spec.kwargs))
    seen = []

    class Probe(cls):
        def download(self):
            seen.extend(self.raw_paths)
            raise FileNotFoundError("stop here")

    with pytest.raises(FileNotFoundError, match="stop here"):
        Probe(str(tmp_path / spec.folder), *names, **dict(spec.kwargs))
    assert {str(tmp_path / file) for file in spec.raw} == set(seen)


def test_table_states_everything():
    for row in dataset_table():
        assert row["metric"] in ("accuracy", "roc-auc")
        assert all(row[key] for key in ("name", "class", "split", "preprocessing", "homepage")), row


def test_default_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("LCAT_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("LCAT_DATA")
    assert default_root().parts[-3:] == (".cache", "lcat", "data")


@pytest.mark.real_data
@pytest.mark.skipif(not REAL, reason="LCAT_TEST_DATA is not set")
@pytest.mark.parametrize(
    ("name", "nodes", "edges", "features", "classes", "sizes"),
    [
        ("cora", 2708, 10556, 1433, 7, (140, 500, 1000)),
        ("citeseer", 3327, 9104, 3703, 6, (120, 500, 1000)),
        ("photo", 7650, 238162, 745, 8, (4590, 1530, 1530)),
        ("tolokers", 11758, 1038000, 10, 2, (5879, 2939, 2940)),
        ("minesweeper", 10000, 78804, 7, 2, (5000, 2500, 2500)),
        ("cora-ml", 2995, 16316, 2879, 7, (1796, 598, 601)),
        ("blogcatalog", 5196, 343486, 8189, 6, (3118, 1039, 1039)),
        ("twitch-en", 7126, 77774, 128, 2, (4276, 1426, 1424)),
    ],
)
def test_real_files(name, nodes, edges, features, classes, sizes):
    dataset = load(name, REAL, download=False)
    data = dataset.data
    assert (data.num_nodes, data.num_edges, data.num_features) == (nodes, edges, features)
    assert dataset.num_classes == classes
    assert data.is_undirected()
    assert dataset.split(0).sizes == sizes


def test_without_a_home_directory_the_way_out_is_named(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("lcat.data.datasets.load.Path.home", no_home)
    monkeypatch.delenv("LCAT_DATA", raising=False)
    with pytest.raises(DatasetUnavailable, match="set LCAT_DATA to a folder, or name one with --data"):
        default_root()
    monkeypatch.setenv("LCAT_DATA", "/data")
    assert default_root() == Path("/data")


@pytest.mark.parametrize("name", [None, 3])
def test_a_name_is_a_string(name):
    with pytest.raises(UnknownDataset, match=f"expected the name of a data set.*got {name}"):
        load(name)


def test_a_synthetic_graph_is_not_loaded():
    with pytest.raises(UnknownDataset, match=r"lcat\.data\.csbm\(\.\.\.\) makes such graphs"):
        load("csbm:easy,n=50")
