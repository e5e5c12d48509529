"""Own data sets: from Data objects, .pt and .npz files, without running what is in them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from lcat.data import DataError, NodeDataset, as_dataset, csbm, from_data, load_file, random_splits


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
        (
            {"edge_index": torch.zeros(5, 2).long()},
            r"edge_index must be int64 or int32 \[2, edges\]; got torch.int64 \[5, 2\]: pass edge_index\.T",
        ),
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
        with pytest.raises(DataError, match=r"mine: (train and val share|the test mask selects none of)"):
            dataset.split(0)


def test_unlabeled_nodes_may_not_be_split_on(graph):
    graph.y[graph.train_mask.nonzero()[0]] = -1
    with pytest.raises(DataError, match="1 node without a label"):
        from_data(graph).split(0)


def test_metric_must_fit_the_labels(graph):
    with pytest.raises(DataError, match=r"accuracy, .*roc-auc.*; got 'f1'"):
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
    (tmp_path / "a.txt").write_text("1,2")
    with pytest.raises(DataError, match=r"\.pt, \.npz or \.csv file; got \.txt"):
        load_file(tmp_path / "a.txt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(DataError, match="got a list of 2"):
        load_file(tmp_path / "list.pt")


def test_weights_and_features_of_edges_are_kept(graph, tmp_path):
    num_edges = graph.num_edges
    torch.save(
        {**graph.to_dict(), "edge_weight": torch.ones(num_edges, 1).int(), "edge_attr": torch.arange(num_edges)},
        tmp_path / "a.pt",
    )
    dataset = load_file(tmp_path / "a.pt")
    assert torch.equal(dataset.data.edge_weight, torch.ones(num_edges))
    assert torch.equal(dataset.data.edge_attr, torch.arange(num_edges).float().view(-1, 1))
    assert dataset.num_edge_features == 1
    attr, weight = dataset.remarks()
    assert "gcn and gcn-mean have no scores and do not use it" in attr
    assert weight == "edge_weight weighs the messages of all layers"
    assert from_data(graph).remarks() == []
    assert from_data(graph).num_edge_features == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"edge_weight": torch.ones(3)}, r"edge_weight must have the shape \[\d+\], .*; got \[3\]"),
        ({"edge_attr": torch.ones(3, 2)}, r"edge_attr must have the shape \[\d+, features\], .*; got \[3, 2\]"),
        ({"edge_weight": lambda count: torch.ones(count, 2)}, r"edge_weight must have the shape \[\d+\]"),
        ({"edge_attr": lambda count: torch.ones(count, 0)}, r"edge_attr must have the shape"),
        ({"edge_weight": lambda count: -torch.ones(count)}, "edge_weight must be 0 or more.*got -1: .*edge_attr"),
        ({"edge_attr": lambda count: torch.full((count,), torch.nan)}, "edge_attr holds nan or inf"),
        ({"edge_attr": lambda count: ["a"] * count}, "edge_attr must be a dense tensor of floats .*; got list"),
        (
            {"y": torch.tensor([-50, 50, 150]).repeat(20)},
            r"y must hold class .*; got -50, 50, 150: torch\.unique",
        ),
        ({"y": torch.tensor([-2, 0, 1]).repeat(20)}, "got -2, 0, 1"),
        ({"num_nodes": 61}, "num_nodes is 61, and x has 60 rows"),
    ],
)
def test_nothing_is_dropped_that_does_not_fit(graph, change, match):
    change = {key: value(graph.num_edges) if callable(value) else value for key, value in change.items()}
    with pytest.raises(DataError, match=match):
        from_data(Data(**{**graph.to_dict(), **change}), "mine")


def test_what_looks_like_a_slip_is_remarked(graph):
    values = graph.to_dict()
    once = graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]]
    [line] = from_data(Data(**{**values, "edge_index": once})).remarks()
    assert "listed in one direction only" in line
    both_but_one = graph.edge_index[:, 1:]
    assert from_data(Data(**{**values, "edge_index": both_but_one})).remarks() == []
    loops = torch.arange(60).repeat(2, 1)
    assert from_data(Data(**{**values, "edge_index": loops})).remarks() == []
    [line] = from_data(Data(**{**values, "y": torch.tensor([0, 3, -1]).repeat(20)}), "mine").remarks()
    assert line.startswith("y names 4 classes (0 .. 3), of which 2 have nodes")
    assert "without nodes: 1, 2 (" in line
    [line] = from_data(Data(**values, pos=torch.ones(60, 2), year=torch.ones(60))).remarks()
    assert line == "not used: pos, year"


def test_files_of_something_else_are_named(graph, tmp_path):
    hetero = HeteroData()
    hetero["a"].x = graph.x
    hetero["a", "to", "a"].edge_index = graph.edge_index
    values = {
        "a HeteroData: heterogeneous graphs are not supported": hetero,
        r"or a list of such Data, got a list of 2 \(Data, Tensor\)": [graph, graph.x],
        r"a tuple of 2 \(dict, NoneType\)": (graph.to_dict(), None),
        "a Tensor": graph.x,
        "got ndata, edges: rename edges to edge_index": {"ndata": {"feat": graph.x}, "edges": graph.edge_index},
    }
    for match, value in values.items():
        torch.save(value, tmp_path / "a.pt")
        with pytest.raises(DataError, match=match):
            load_file(tmp_path / "a.pt")
    with pytest.raises(DataError, match="HeteroData"):
        from_data(hetero)
    np.savez(tmp_path / "a.npz", features=graph.x, label=graph.y, edges=graph.edge_index)
    with pytest.raises(DataError, match="edges: rename features to x, edges to edge_index, label to y"):
        load_file(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", graph.x)
    (tmp_path / "a.npy").rename(tmp_path / "b.npz")
    with pytest.raises(DataError, match="holds a single array"):
        load_file(tmp_path / "b.npz")


def test_files_that_cannot_be_read_say_why_in_one_line(graph, tmp_path):
    for suffix in ("pt", "npz"):
        path = tmp_path / f"a.{suffix}"
        for content, match in (
            (b"", "it is empty"),
            ("node,label\n1,\u00e4\n".encode(), "it is a text file"),
            (b"\0" * 99, "cannot be read"),
        ):
            path.write_bytes(content)
            with pytest.raises(DataError, match=match) as caught:
                load_file(path)
            assert len(str(caught.value)) < 300
            assert "weights_only" not in str(caught.value)
    for protocol in (4, 5):
        torch.save(graph, tmp_path / "b.pt", pickle_protocol=protocol)
        with pytest.raises(DataError, match=f"pickle protocol {protocol}"):
            load_file(tmp_path / "b.pt")
        (tmp_path / "c.pt").write_bytes(pickle.dumps({"x": 1}, protocol=protocol))
        with pytest.raises(DataError, match=f"pickle protocol {protocol}"):
            load_file(tmp_path / "c.pt")


def test_the_rule_names_the_splits_of_any_mask(graph):
    masks = {name: graph[name] for name in ("train_mask", "val_mask", "test_mask")}
    for wide in masks:
        values = {**graph.to_dict(), wide: masks[wide].view(-1, 1).expand(-1, 3)}
        assert from_data(Data(**values)).split_rule == "own 3 masks, seed s takes number s mod 3"


@pytest.mark.parametrize("dtype", [torch.int16, torch.uint8, torch.int32])
def test_edges_of_any_whole_numbers(graph, dtype):
    values = {**graph.to_dict(), "edge_index": graph.edge_index.to(dtype)}
    assert torch.equal(from_data(Data(**values)).data.edge_index, graph.edge_index)


def test_class_numbers_far_beyond_the_nodes_are_refused():
    data = csbm(n=60, seed=0)
    for largest in (10_000, 10**9):
        data.y[0] = largest
        with pytest.raises(DataError, match=rf"got {largest} as the largest of 60 nodes.*torch.unique"):
            from_data(data, "mine")


def test_npz_of_the_other_byte_order(graph, tmp_path):
    values = {key: value.numpy() for key, value in graph.to_dict().items()}
    swapped = {key: array.astype(array.dtype.newbyteorder("S")) for key, array in values.items()}
    np.savez(tmp_path / "mine.npz", **swapped)
    data = load_file(tmp_path / "mine.npz").data
    for key in ("x", "y", "edge_index"):
        assert torch.equal(data[key], graph[key])


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.zeros(60, "datetime64[s]"), r"an array of datetime64\[s\]"),
        (np.zeros(60, [("a", "f4")]), "an array of .*'a'.*"),
        (np.array([None] * 60), "an array of Python's objects"),
    ],
)
def test_npz_with_an_array_of_another_kind(graph, array, kind, tmp_path):
    values = {key: value.numpy() for key, value in graph.to_dict().items()}
    np.savez(tmp_path / "mine.npz", **{**values, "when": array})
    with pytest.raises(DataError, match=rf"plain arrays \(when is {kind}; save numbers, .* or leave it out\)"):
        load_file(tmp_path / "mine.npz")


@pytest.mark.parametrize("key", ["x", "y", "edge_index", "edge_weight", "edge_attr", "train_mask"])
def test_tensors_without_numbers(graph, key):
    edges = graph.edge_index.size(1)
    graph.edge_weight, graph.edge_attr = torch.ones(edges), torch.ones(edges, 2)
    graph[key] = graph[key].to("meta")
    with pytest.raises(DataError, match=rf"{key.replace('_mask', ' mask')} is on the device meta, which holds shapes"):
        from_data(graph)


def test_data_that_a_loader_or_a_transform_has_asked(graph, tmp_path):
    """PyG keeps the kinds of the attributes that were asked for in the Data, and torch.save writes them."""
    data = Data(x=graph.x, edge_index=graph.edge_index, y=graph.y)
    assert data.is_node_attr("x")
    assert data.is_edge_attr("edge_index")
    torch.save(data, tmp_path / "asked.pt")
    assert torch.equal(load_file(tmp_path / "asked.pt").data.x, graph.x)
    torch.save([data], tmp_path / "list.pt")
    assert torch.equal(load_file(tmp_path / "list.pt").data.x, graph.x)


def test_a_folder_in_the_place_of_the_file(tmp_path):
    with pytest.raises(DataError, match="is a folder; name the file"):
        load_file(tmp_path)


def test_several_graphs_become_one(graph, tmp_path):
    other = csbm(n=60, seed=1)
    own = from_data([graph, other], "both")
    assert own.data.x.size(0) == 120
    assert torch.equal(own.data.edge_index[:, graph.num_edges :], other.edge_index + 60)
    assert torch.equal(own.split(0).train, torch.cat([graph.train_mask, other.train_mask]))
    assert own.steps == ("2 graphs joined to one, without edges between them",)
    torch.save([graph, other], tmp_path / "both.pt")
    assert torch.equal(load_file(tmp_path / "both.pt").data.edge_index, own.data.edge_index)
    assert from_data([graph]).steps == ()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"y": torch.tensor([1])}, r"mine: expected a label per node, y of 60 in graph 1, got \[1\]; graphs with one"),
        ({"x": torch.ones(60, 3)}, r"mine: expected x of \[nodes, \d+\] in graph 1, as in graph 0, got \[60, 3\]"),
        ({"edge_weight": torch.ones(7)}, "expected graphs with the same tensors, .* got .*edge_weight.* in graph 1"),
        ({"test_mask": None}, "expected graphs with the same tensors, .* in graph 1"),
        ({"x": [1.0]}, "x must be a tensor"),
    ],
)
def test_several_graphs_that_do_not_fit(graph, change, match):
    values = {**graph.to_dict(), **change}
    other = Data(**{key: value for key, value in values.items() if value is not None})
    with pytest.raises(DataError, match=match):
        from_data([graph, other], "mine")


def heterophilous(tmp_path, **change):
    generator = np.random.default_rng(0)
    part = generator.integers(0, 3, size=(4, 6))
    part[:, :3] = [0, 1, 2]
    arrays = {
        "node_features": generator.normal(size=(6, 3)),
        "node_labels": np.array([0, 1, 2, 0, 1, 2]),
        "edges": np.array([[0, 1], [1, 2], [5, 3], [1, 0]]),
        **{f"{name}_masks": part == number for number, name in enumerate(("train", "val", "test"))},
        **change,
    }
    np.savez(tmp_path / "own_filtered.npz", **arrays)
    return arrays


def test_the_layout_of_the_heterophilous_data_sets(tmp_path):
    arrays = heterophilous(tmp_path)
    own = load_file(tmp_path / "own_filtered.npz")
    assert own.data.edge_index.T.tolist() == [[0, 1], [1, 0], [1, 2], [2, 1], [3, 5], [5, 3]]
    assert np.allclose(own.data.x.numpy(), arrays["node_features"])
    for number in range(4):
        assert np.array_equal(own.split(number).test.numpy(), arrays["test_masks"][number])
    assert own.steps == ("2 reverses of edges added",)
    assert own.split_rule == "own 4 masks, seed s takes number s mod 4"


def test_the_layout_of_the_heterophilous_data_sets_has_numbers_too(tmp_path):
    heterophilous(tmp_path, node_labels=np.linspace(0.5, 3, 6))
    assert load_file(tmp_path / "own_filtered.npz", task="node-regression").task == "node-regression"
    heterophilous(tmp_path, node_labels=np.linspace([0.5, 1], [3, 9], 6), task="node-regression")
    assert load_file(tmp_path / "own_filtered.npz").num_classes == 2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"edges": np.zeros((2, 5), dtype=int)}, r"whole numbers \[edges, 2\], got torch.int64 \[2, 5\]"),
        ({"edges": np.zeros((5, 2))}, r"whole numbers \[edges, 2\], got torch.float64"),
        ({"val_masks": np.ones((4, 5), bool)}, r"expected val_masks as \[splits, 6\], got \[4, 5\]"),
        ({"val_masks": np.ones(6, bool)}, r"expected val_masks as \[splits, 6\], got \[6\]"),
        ({"edges": np.array([[0, 6]])}, r"must name nodes 0 \.\. 5; got 0 \.\. 6"),
        ({"node_features": np.ones(6)}, r"val_masks|train_masks|x must be floats"),
    ],
)  # fmt: skip
def test_wrong_arrays_in_that_layout(tmp_path, change, match):
    heterophilous(tmp_path, **change)
    with pytest.raises(DataError, match=match):
        load_file(tmp_path / "own_filtered.npz")


@pytest.mark.parametrize("value", ["cora", Path("nodes.csv")])
def test_a_name_in_place_of_data_says_what_takes_it(value):
    with pytest.raises(DataError, match=rf"got the text '{value}': lcat.data.load takes names of data sets, load_file"):
        as_dataset(value)
