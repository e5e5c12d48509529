"""Stand-ins: the official names and files, plainly marked, repeatable, and never over something else."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("ogb")

from lcat.data import DataError, DatasetUnavailable, load_ogb, write_standin
from lcat.data.ogb.files import missing_raw, raw_files
from lcat.data.ogb.load import _master
from lcat.data.ogb.standin import STANDINS, communities
from tests.data.ogb.support import snapshot


@pytest.mark.parametrize("name", STANDINS)
def test_files_are_those_of_the_official_archive(name, tmp_path):
    folder = write_standin(name, tmp_path, nodes=200)
    meta = _master()[name]
    assert missing_raw(meta, folder) == []
    assert len(raw_files(meta)) >= 3
    assert (folder / f"RELEASE_v{meta['version']}.txt").exists()
    assert "not OGB's data" in json.loads((folder / "GENERATED_STAND_IN.json").read_text())["note"]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_repeats_by_seed_and_never_overwrites(tmp_path):
    one, two, three = (write_standin("ogbn-arxiv", tmp_path / str(n), nodes=200, seed=n // 2) for n in (0, 1, 2))
    features = "raw/node-feat.csv.gz"
    assert (one / features).read_bytes()[20:] == (two / features).read_bytes()[20:]  # but for gzip's time stamp
    assert snapshot(one)["raw/edge.csv.gz"][20:] != snapshot(three)["raw/edge.csv.gz"][20:]
    before = snapshot(tmp_path)
    with pytest.raises(DataError, match="exists already; a stand-in never overwrites"):
        write_standin("ogbn-arxiv", tmp_path / "0")
    assert snapshot(tmp_path) == before


def test_bad_arguments(tmp_path):
    with pytest.raises(DataError, match=r"there is a stand-in for ogbn-arxiv, .*; got 'ogbl-collab'"):
        write_standin("ogbl-collab", tmp_path)
    with pytest.raises(DataError, match=r"needs a whole number of nodes, at least 200 .*; got 10"):
        write_standin("ogbn-arxiv", tmp_path, nodes=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_what_a_killed_writer_left_is_gone_after_the_next(tmp_path):
    code = """
import os, sys
from lcat.data.ogb import standin
usual = standin.STANDINS["ogbn-arxiv"]
def write(folder, nodes, seed):
    usual[2](folder, nodes, seed)
    os._exit(9)
standin.STANDINS["ogbn-arxiv"] = (*usual[:2], write)
standin.write_standin("ogbn-arxiv", sys.argv[1], nodes=200)
"""
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 9
        [left] = tmp_path.iterdir()
        assert left.name.startswith(".writing-")
    folder = write_standin("ogbn-arxiv", tmp_path, nodes=200)
    assert list(tmp_path.iterdir()) == [folder]


def test_communities_have_signal_in_features_and_more_in_neighbors():
    graph = communities(2000, 20_000, classes=8, features=32, inside=0.8, noise=1.5, seed=1)
    assert (graph.edges[0] != graph.edges[1]).all()
    assert len({frozenset(pair) for pair in graph.edges.T.tolist()}) == graph.edges.shape[1] == 20_000
    same = (graph.y[graph.edges[0]] == graph.y[graph.edges[1]]).mean()
    assert same == pytest.approx(0.8 + 0.2 / 8, abs=0.03)
    means = np.stack([graph.x[graph.y == label].mean(axis=0) for label in range(8)])

    def accuracy(x):
        return (((x[:, None] - means) ** 2).sum(axis=-1).argmin(axis=1) == graph.y).mean()

    summed = graph.x.copy()
    np.add.at(summed, graph.edges[1], graph.x[graph.edges[0]])
    degree = 1 + np.bincount(graph.edges[1], minlength=2000)
    assert 0.4 < accuracy(graph.x) < accuracy(summed / degree[:, None])


@pytest.mark.parametrize("missing", ["raw/edge.csv.gz", "split/time/train.csv.gz", "raw/node-feat.csv.gz"])
@pytest.mark.parametrize("download", [True, False])
def test_one_that_lacks_files_is_made_again_and_not_downloaded(missing, download, tmp_path):
    folder = write_standin("ogbn-arxiv", tmp_path)
    (folder / missing).unlink()
    with pytest.raises(DatasetUnavailable, match=r"is a generated stand-in and lacks .*; move it away, and --stand-in"):
        load_ogb("ogbn-arxiv", tmp_path, download=download, progress=False)
