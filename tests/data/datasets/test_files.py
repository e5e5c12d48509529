"""Own data sets: from Data objects, .pt and .npz files, without running what is in them."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from lcat.data import DataError, NodeDataset, csbm, from_data, load_file, random_splits


@pytest.fixture
def graph():
    return csbm(n=60, seed=0)


def test_pt_of_data_and_of_a_dictionary_and_npz_are_read_alike(graph, tmp_path):
    torch.save(graph, tmp_path / "one.pt")
    torch.save(graph.to_dict(), tmp_path / "two.pt")
    np.savez(tmp_path / "three.npz", **{key: value.numpy() for key, value in graph.to_dict().items()})
    for name in ("one.pt", "two.pt", "three.npz"):
        dataset = load_file(tmp_path / name)
        assert dataset.name == name.split(".")[0]
        assert dataset.split_rule == "own masks"
        assert dataset.metric == "accuracy"
        for key in ("x", "y", "edge_index"):
            assert torch.equal(dataset.data[key], graph[key])
        assert torch.equal(dataset.split(4).train, graph.train_mask)


def test_metric_of_the_file_and_of_the_caller(graph, tmp_path):
    torch.save({**graph.to_dict(), "metric": "roc-auc"}, tmp_path / "a.pt")
    assert load_file(tmp_path / "a.pt").metric == "roc-auc"
    assert load_file(tmp_path / "a.pt", metric="accuracy").metric == "accuracy"


def test_without_masks_every_seed_draws_a_split(graph):
    dataset = from_data(Data(x=graph.x, edge_index=graph.edge_index, y=graph.y), "mine")
    assert dataset.split(0).sizes == (36, 12, 12)
    assert not torch.equal(dataset.split(0).train, dataset.split(1).train)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_file_that_would_run_code_is_refused(tmp_path):
    torch.save({"x": Evil(tmp_path / "pwned")}, tmp_path / "evil.pt")
    np.savez(tmp_path / "evil.npz", x=np.array([Evil(tmp_path / "pwned")], dtype=object))
    for name in ("evil.pt", "evil.npz"):
        with pytest.raises(DataError, match="cannot be read"):
            load_file(tmp_path / name)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x": torch.ones(60, 4).cfloat()}, "x must be floats"),
        ({"x": torch.ones(60, 4).to_sparse()}, r"x must be a dense tensor; got torch.sparse_coo.*\.to_dense\(\)"),
        ({"x": torch.full((60, 4), float("nan"))}, "nan or inf"),
        ({"x": None}, "there is no x; a data set has x, edge_index and y, got .*edge_index"),
        ({"x": [1.0]}, "x must be a tensor"),
        ({"y": torch.zeros(60)}, r"y must be int64.*\.long\(\)"),
        ({"y": torch.zeros(60, dtype=torch.long)}, "two classes"),
        ({"y": torch.zeros(59, dtype=torch.long)}, "y must be int64 labels \\[60\\]"),
        ({"edge_index": torch.zeros(5, 2).long()}, "edge_index must be integers \\[2, edges\\]"),
        ({"edge_index": torch.tensor([[0], [60]])}, "0 .. 59; got 0 .. 60"),
        ({"val_mask": None}, "together or not at all; got only train, test"),
        ({"train_mask": torch.ones(59).bool()}, "mine: the masks must agree"),
        ({"val_mask": [True] * 60}, r"mine: the val mask must be a boolean tensor; got list.*torch\.as_tensor"),
        ({"y": ["cat", "dog"] * 30}, r"data\.y must be a tensor; got list; encode labels that are words as numbers"),
    ],
)
def test_unusable_data_is_named(graph, change, match):
    values = {**graph.to_dict(), **change}
    with pytest.raises(DataError, match=match):
        from_data(Data(**{key: value for key, value in values.items() if value is not None}), "mine")


def test_types_of_numpy_and_of_ogb_are_converted(graph, tmp_path):
    values = {"edge_index": graph.edge_index.numpy(), "y": graph.y.numpy().astype(np.int32)[:, None]}
    for x in (graph.x.numpy().astype(np.float64), (graph.x > 0).numpy(), (graph.x > 0).numpy().astype(np.int16)):
        np.savez(tmp_path / "mine.npz", x=x, **values)
        data = load_file(tmp_path / "mine.npz").data
        assert (data.x.dtype, data.y.dtype, list(data.y.shape)) == (torch.float32, torch.int64, [60])
        assert np.array_equal(data.x.numpy(), x.astype(np.float32))
    assert torch.equal(data.y, graph.y)


def test_labels_that_are_words_in_npz(graph, tmp_path):
    words = np.array(["cat", "dog"] * 30)
    np.savez(tmp_path / "mine.npz", x=graph.x.numpy(), edge_index=graph.edge_index.numpy(), y=words)
    with pytest.raises(DataError, match=r"mine: data\.y must be a tensor; got ndarray; encode labels that are words"):
        load_file(tmp_path / "mine.npz")
    np.savez(tmp_path / "mine.npz", x=graph.x.numpy(), edge_index=graph.edge_index.numpy(), y=graph.y, words=words)
    assert load_file(tmp_path / "mine.npz").num_classes == 2


def test_masks_that_overlap_or_select_nothing_are_data_errors(graph):
    for change in ({"val_mask": graph.train_mask}, {"test_mask": torch.zeros(60).bool()}):
        dataset = from_data(Data(**{**graph.to_dict(), **change}), "mine")
        with pytest.raises(DataError, match=r"mine: (train and val share|the test mask selects no node)"):
            dataset.split(0)


def test_unlabeled_nodes_may_not_be_split_on(graph):
    graph.y[graph.train_mask.nonzero()[0]] = -1
    with pytest.raises(DataError, match="1 nodes without a label"):
        from_data(graph).split(0)


def test_metric_must_fit_the_labels(graph):
    with pytest.raises(DataError, match="accuracy, roc-auc; got 'f1'"):
        NodeDataset("mine", graph, random_splits(graph.y), metric="f1")
    graph.y[0] = 2
    with pytest.raises(DataError, match="two classes; y holds 3"):
        NodeDataset("mine", graph, random_splits(graph.y), metric="roc-auc")


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        load_file(tmp_path / "gone.pt")
    for number, text in enumerate(("hello", "", "x", "PK")):
        path = tmp_path / f"text{number}.pt"
        path.write_text(text)
        with pytest.raises(DataError, match=rf"text{number}.pt cannot be read as tensors only"):
            load_file(path)
    (tmp_path / "a.csv").write_text("1,2")
    with pytest.raises(DataError, match=r"\.pt or \.npz"):
        load_file(tmp_path / "a.csv")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(DataError, match="holds a list"):
        load_file(tmp_path / "list.pt")
