"""Every split rule travels to other processes: it pickles, and gives the same splits on the other side."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch
from torch_geometric import datasets as pyg_datasets
from torch_geometric.data import Data

from lcat.data import CATALOG, csbm, from_data, load, load_file, random_splits, splits_from_masks
from lcat.study.plan.sources import Sources

NODES = 60
SEEDS = (0, 1, 9, 10)


@pytest.fixture
def graph():
    return csbm(n=NODES, seed=0)


def masks(count=None):
    """Train, validation and test masks of one split, or of ``count``."""
    shape = (NODES,) if count is None else (NODES, count)
    part = torch.randint(3, shape, generator=torch.Generator().manual_seed(count or 0))
    return part == 0, part == 1, part == 2


def assert_travels(splits):
    copy = pickle.loads(pickle.dumps(splits))
    for seed in SEEDS:
        before, after = splits(seed), copy(seed)
        for part in ("train", "val", "test"):
            assert torch.equal(getattr(before, part), getattr(after, part))


def without_masks(data):
    return Data(x=data.x, edge_index=data.edge_index, y=data.y)


def with_masks(data, count):
    train, val, test = masks(count)
    return Data(x=data.x, edge_index=data.edge_index, y=data.y, train_mask=train, val_mask=val, test_mask=test)


def test_random_splits(graph):
    assert_travels(random_splits(graph.y))
    assert_travels(random_splits(graph.y, (0.2, 0.3, 0.5)))


@pytest.mark.parametrize("count", [None, 1, 10])
def test_splits_from_masks(count):
    assert_travels(splits_from_masks(*masks(count)))


@pytest.mark.parametrize("count", [None, 10])
def test_from_data_and_from_files(graph, tmp_path, count):
    for data in (without_masks(graph), with_masks(graph, count)):
        assert_travels(from_data(data, "mine").splits)
        torch.save(data, tmp_path / "mine.pt")
        assert_travels(load_file(tmp_path / "mine.pt").splits)
        np.savez(tmp_path / "mine.npz", **{key: value.numpy() for key, value in data.to_dict().items()})
        assert_travels(load_file(tmp_path / "mine.npz").splits)


@pytest.mark.parametrize(
    ("name", "split_file"),
    [(name, False) for name in sorted(CATALOG) if CATALOG[name].pyg_class]
    + [(name, True) for name, spec in sorted(CATALOG.items()) if spec.split_file],
)
def test_every_public_data_set(graph, tmp_path, monkeypatch, name, split_file):
    """The graph stands for what PyG's class would read: with ten masks where it has masks, else without."""
    spec = CATALOG[name]
    published = "masks" in spec.split or spec.split.startswith("public")
    data = with_masks(graph, 10) if published else without_masks(graph)
    monkeypatch.setattr(pyg_datasets, spec.pyg_class, lambda *_, **__: [data])
    if split_file:
        (tmp_path / "splits").mkdir()
        order = np.random.default_rng(0).permutation(NODES)
        np.savez(tmp_path / "splits" / spec.split_file, train=order[:36], valid=order[36:48], test=order[48:])
    for file in spec.raw:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    dataset = load(name, tmp_path, download=False)
    assert dataset.split_rule.startswith("fixed 60/20/20") == split_file
    assert_travels(dataset.splits)


def test_generated_data_sets():
    assert_travels(Sources().load(f"csbm:easy,n={NODES}", seed=1).splits)


def test_a_whole_data_set(graph):
    content = io.BytesIO()
    pickle.dump(from_data(with_masks(graph, 10), "mine", "roc-auc"), content)
    copy = pickle.loads(content.getvalue())
    assert (copy.name, copy.metric, copy.split_rule) == (
        "mine",
        "roc-auc",
        "own 10 masks, seed s takes number s mod 10",
    )
    assert torch.equal(copy.data.edge_index, graph.edge_index)
