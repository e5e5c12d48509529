"""GraphLand's data sets, read by PyG's class from files in GraphLand's layout."""

from __future__ import annotations

import importlib.util
import shutil

import numpy as np
import pytest
import torch
from torch_geometric import datasets as pyg_datasets

from lcat.data import DatasetUnavailable, UnknownDataset, load, missing_files

pd = pytest.importorskip("pandas")
_NEEDS = pytest.mark.skipif(
    not hasattr(pyg_datasets, "GraphLandDataset")
    or any(importlib.util.find_spec(name) is None for name in ("yaml", "sklearn")),
    reason="needs a PyG with GraphLandDataset, PyYAML and scikit-learn",
)
NODES = 40


def write_graphland(root, name, task):
    folder = root / "GraphLandDataset" / name / "raw" / name
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"age": draw.normal(size=NODES), "share": draw.random(NODES), "kind": draw.integers(0, 3, NODES)}
    )
    frame.loc[3, "age"] = np.nan
    frame.to_csv(folder / "features.csv")
    target = draw.normal(size=NODES) if task == "regression" else np.arange(NODES) % (3 if task == "multi" else 2)
    target = target.astype(float)
    target[[5, 6]] = np.nan
    pd.DataFrame({"target": target}).to_csv(folder / "targets.csv")
    for split, sizes in (("RL", (4, 4)), ("RH", (20, 10)), ("TH", (20, 10))):
        part = np.repeat([0, 1, 2], [*sizes, NODES - sum(sizes)])
        part = part if split == "TH" else draw.permutation(part)
        masks = pd.DataFrame({key: part == number for number, key in enumerate(("train", "val", "test"))})
        masks.to_csv(folder / f"split_masks_{split}.csv")
    edges = draw.integers(0, NODES, (60, 2))
    pd.DataFrame(edges, columns=["source", "target"]).to_csv(folder / "edgelist.csv", index=False)
    (folder / "info.yaml").write_text(
        "task: " + {"regression": "regression"}.get(task, "classification") + "\ntarget_name: target\n"
        "numerical_features_names: [age, share]\nfraction_features_names: [share]\ncategorical_features_names: [kind]\n"
    )
    return target


@_NEEDS
@pytest.mark.filterwarnings("ignore")  # of scikit-learn, about few rows
@pytest.mark.parametrize(
    ("name", "task", "metric", "sizes"),
    [
        ("hm-categories", "multi", "accuracy", (4, 4)),
        ("tolokers-2,rh", "binary", "average-precision", (20, 10)),
        ("tolokers-2,th", "binary", "average-precision", (20, 10)),
        ("city-roads-M,RH", "regression", "r2", (20, 10)),
    ],
)
def test_data_sets_are_read(tmp_path, name, task, metric, sizes):
    target = write_graphland(tmp_path, name.partition(",")[0], task)
    own = load(f"graphland:{name}", tmp_path, download=False)
    assert own.metric == metric
    assert own.data.x.shape == (NODES, 5)
    split = own.split(0)
    known = ~torch.isnan(torch.tensor(target))
    assert not (split.train | split.val | split.test)[~known].any()
    assert sum(split.sizes) == NODES - 2
    assert abs(split.sizes[0] - sizes[0]) <= 2
    if task == "regression":
        assert own.task == "node-regression"
        assert own.data.y[split.train].mean().abs() < 0.5
        assert "targets scaled" in " ".join(own.steps)
    else:
        assert own.data.y.tolist() == [-1 if np.isnan(one) else int(one) for one in target]
    assert own.split_rule.startswith("GraphLand's ")
    row, col = own.data.edge_index
    assert {*zip(row.tolist(), col.tolist(), strict=True)} == {*zip(col.tolist(), row.tolist(), strict=True)}


@_NEEDS
@pytest.mark.filterwarnings("ignore")  # of scikit-learn, about few rows
@pytest.mark.parametrize(("name", "task"), [("tolokers-2", "binary"), ("avazu-ctr", "regression")])
def test_the_inductive_split_has_the_graphs_of_pyg(tmp_path, name, task):
    target = write_graphland(tmp_path, name, task)
    own = load(f"graphland:{name},thi", tmp_path, download=False)
    graphs = list(pyg_datasets.GraphLandDataset(str(tmp_path / "GraphLandDataset"), name, "THI"))
    assert [int(graph.num_nodes) for graph in graphs] == [20, 30, NODES]
    split = own.split(0)
    for stage, (graph, mask) in enumerate(zip(graphs, (split.train, split.val, split.test), strict=True)):
        ours = own.graph_at(stage)
        assert torch.equal(ours.n_id, graph.cross_snapshot_node_id)
        assert torch.equal(ours.x, graph.x)
        known = ~graph.y.isnan()
        assert torch.equal(ours.y[known].double(), graph.y[known].double())
        assert {*map(tuple, ours.edge_index.T.tolist())} == {*map(tuple, graph.edge_index.T.tolist())}
        assert torch.equal(mask[ours.n_id], graph.mask)
        assert int(mask.sum()) == int(graph.mask.sum())
    assert own.is_inductive
    assert "THI" in own.split_rule
    assert "training sees 20 nodes, validation 30, the test all 40" in own.steps
    assert "as learned from the training nodes" in own.steps[0]
    # What later nodes have is not in the features of earlier ones: PyG learns how to scale them from training nodes.
    table = tmp_path / "GraphLandDataset" / name / "raw" / name / "features.csv"
    frame = pd.read_csv(table, index_col=0)
    frame.loc[20:, "age"] *= 1000
    frame.to_csv(table)
    for folder in (tmp_path / "GraphLandDataset" / name / "processed").iterdir():
        shutil.rmtree(folder)
    again = load(f"graphland:{name},thi", tmp_path, download=False)
    assert torch.equal(again.graph_at(0).x, own.graph_at(0).x)
    assert not torch.equal(again.data.x, own.data.x)
    assert int(torch.isfinite(torch.tensor(target)).sum()) == sum(split.sizes)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        (
            "graphland:tolokers",
            r"no data set 'graphland:tolokers' \(did you mean tolokers-2\?\); GraphLand has",
        ),
        ("graphland:tolokers-2,xx", r"expected one of the splits rl, rh, th, thi, got 'xx'"),
        ("graphland:city-reviews,th", "it has no times, so no temporal split"),
        ("graphland:city-reviews,THI", "it has no times, so no temporal split"),
    ],
)
def test_wrong_names(name, match):
    with pytest.raises(UnknownDataset, match=match):
        load(name)


def test_missing_files_and_an_old_pyg(tmp_path, monkeypatch):
    assert missing_files("graphland:tolokers-2", tmp_path) == [tmp_path / "GraphLandDataset/tolokers-2/raw/tolokers-2"]
    with pytest.raises(DatasetUnavailable, match=r"is not under .*zenodo\.org"):
        load("graphland:tolokers-2", tmp_path, download=False)
    monkeypatch.delattr(pyg_datasets, "GraphLandDataset", raising=False)
    with pytest.raises(DatasetUnavailable, match="needs PyG's GraphLandDataset, which this version of PyG"):
        load("graphland:tolokers-2", tmp_path)
