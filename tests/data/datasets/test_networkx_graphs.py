"""Own data sets from NetworkX graphs."""

from __future__ import annotations

import networkx
import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.utils import to_networkx

from lcat.data import DataError, csbm, from_data, from_networkx


def graph_of(kind=networkx.Graph):
    graph = kind()
    graph.add_node("a", label="red", age=1.0, place=[0.5, 2.0], split="train")
    graph.add_node("b", label="blue", age=2, place=(1.5, 3.0), split="val")
    graph.add_node("c", age=3, place=[2.5, 4.0])
    graph.add_node("d", label="red", age=4, place=[3.5, 5.0], split="test")
    graph.add_edge("b", "a", weight=0.5, kind=1)
    graph.add_edge("c", "c", weight=1.0, kind=2)
    graph.add_edge("c", "d", weight=2.0, kind=3)
    return graph


def test_an_undirected_graph_has_both_directions():
    own = from_networkx(graph_of())
    data = own.data
    assert data.x.tolist() == [[1, 0.5, 2], [2, 1.5, 3], [3, 2.5, 4], [4, 3.5, 5]]
    assert data.y.tolist() == [1, 0, -1, 1]
    edges = dict(zip(map(tuple, data.edge_index.T.tolist()), data.edge_weight.tolist(), strict=True))
    assert edges == {(0, 1): 0.5, (1, 0): 0.5, (2, 2): 1.0, (2, 3): 2.0, (3, 2): 2.0}
    assert sorted(data.edge_attr.view(-1).tolist()) == [1, 1, 2, 3, 3]
    assert own.split(0).sizes == (1, 1, 1)
    assert own.steps[-1] == "every edge in both directions"


def test_a_directed_graph_and_parallel_edges_stay():
    assert from_networkx(graph_of(networkx.DiGraph)).data.edge_index.tolist() == [[1, 2, 2], [0, 2, 3]]
    graph = graph_of(networkx.MultiDiGraph)
    graph.add_edge("c", "d", weight=4.0, kind=3)
    own = from_networkx(graph)
    assert own.data.edge_index.tolist() == [[1, 2, 2, 2], [0, 2, 3, 3]]
    assert own.data.edge_weight.tolist() == [0.5, 1, 2, 4]


def test_attributes_called_like_the_ends_of_edges():
    graph = graph_of()
    networkx.set_edge_attributes(graph, 7, "source")
    assert from_networkx(graph).data.edge_attr.size(1) == 2


def test_a_graph_of_a_data_set_comes_back():
    from torch_geometric.utils import to_networkx

    data = csbm(n=40, seed=0)
    graph = to_networkx(data, node_attrs=["x", "y"])
    own = from_networkx(graph)
    assert own.data.x.tolist() == data.x.tolist()
    assert own.data.y.tolist() == data.y.tolist()
    assert sorted(own.data.edge_index.T.tolist()) == sorted(data.edge_index.T.tolist())
    assert own.num_classes == from_data(data).num_classes


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda graph: graph.nodes["b"].pop("age"), "expected a number as attribute 'age' of node 'b', got nothing"),
        (lambda graph: graph.nodes["b"].update(age="old"), "attribute 'age' of node 'b', got 'old': set it"),
        (lambda graph: graph.nodes["b"].update(place=[1]), "2 numbers as attribute 'place' of node 'b', got \\[1\\]"),
        (lambda graph: graph.nodes["b"].update(age=float("nan")), "attribute 'age' of node 'b', got nan"),
        (lambda graph: graph["c"]["d"].pop("kind"), "attribute 'kind' of edge \\('c', 'd'\\), got nothing"),
        (lambda graph: graph.clear_edges(), "expected a graph with edges, got none"),
        (lambda graph: graph.clear(), "expected a graph with nodes, got none"),
        (lambda graph: [graph.nodes[n].pop("label", 0) for n in graph], "attribute label, or .*age, place, split"),
    ],
)  # fmt: skip
def test_wrong_graphs(change, match):
    graph = graph_of()
    change(graph)
    with pytest.raises(DataError, match=match):
        from_networkx(graph)


def test_without_features_the_way_out_is_said():
    graph = networkx.karate_club_graph()
    with pytest.raises(DataError, match=r"networkx\.set_node_attributes\(graph, dict\(graph\.degree\), 'degree'\)"):
        from_networkx(graph, label="club")
    with pytest.raises(DataError, match="expected nodes with the attribute 'klub'; attributes are club"):
        from_networkx(graph, label="klub")
    with pytest.raises(DataError, match="expected a NetworkX graph, got dict"):
        from_networkx({})


def several(**changed):
    graph = networkx.path_graph(4)
    for node in graph:
        graph.nodes[node].update({"size": float(node), "height": node / 2, "both": [node / 4, 3 - node], **changed})
    return graph


def test_several_labels_are_several_attributes_or_a_list():
    graph = several()
    del graph.nodes[1]["height"]
    graph.nodes[2]["both"] = None
    two = from_networkx(graph, label=["height", "both"])
    nan = float("nan")
    expected = torch.tensor([[0, 0, 3], [nan, 0.25, 2], [1, nan, nan], [1.5, 0.75, 0]])
    assert two.data.y.nan_to_num(-1).tolist() == expected.nan_to_num(-1).tolist()
    assert two.task == "node-regression"
    assert two.data.x.tolist() == [[0], [1], [2], [3]]


def test_lists_of_labels_have_one_length():
    graph = several()
    graph.nodes[2]["both"] = [1.0]
    with pytest.raises(DataError, match=r"expected 2 numbers as attribute 'both' of node 2, got \[1\.0\]"):
        from_networkx(graph, label="both")
    with pytest.raises(DataError, match=r"expected nodes with the attribute 'wight'; attributes are size, height"):
        from_networkx(graph, label=["height", "wight"])


@pytest.mark.parametrize(
    "values",
    [
        pd.to_datetime(["2020", "2021", "2022", "2023"]),
        pd.to_timedelta([1, 2, 3, 4]),
        np.array([1j, 2, 3, 4]),
    ],
)
def test_attributes_that_only_look_like_numbers(values):
    graph = networkx.path_graph(4)
    networkx.set_node_attributes(graph, {node: node % 2 for node in graph}, "label")
    networkx.set_node_attributes(graph, {node: np.asarray(values)[node] for node in graph}, "when")
    with pytest.raises(DataError, match="attribute 'when'"):
        from_networkx(graph)


def labeled_path(**attributes):
    graph = networkx.path_graph(4)
    networkx.set_node_attributes(graph, {node: node % 2 for node in graph}, "label")
    networkx.set_node_attributes(graph, {node: float(node) for node in graph}, "x")
    for name, values in attributes.items():
        networkx.set_node_attributes(graph, dict(zip(graph, values, strict=True)), name)
    return graph


@pytest.mark.parametrize("ids", [[2, 0, 3, 1], [10, 11, 12, 13], ["a", "b", "c", "d"]])
@pytest.mark.parametrize("name", ["id", "ID", "node", "node_id"])
def test_an_attribute_with_names_does_not_rename_the_nodes(name, ids):
    own = from_networkx(labeled_path(**{name: ids}))
    assert own.data.edge_index.tolist() == [[0, 1, 2, 1, 2, 3], [1, 2, 3, 0, 1, 2]]
    assert own.data.x.tolist() == [[0], [1], [2], [3]]
    assert own.steps[-1] == f"not used: {name}, as the graph has names of nodes itself"


def test_masks_of_pyg_are_the_split():
    data = csbm(n=60, seed=0)
    graph = to_networkx(data, node_attrs=["x", "y", "train_mask", "val_mask", "test_mask"])
    own = from_networkx(graph)
    assert torch.equal(own.data.x, data.x)
    assert torch.equal(own.split(0).test, data.test_mask)


def test_of_two_attributes_with_labels_none_is_a_feature():
    graph = labeled_path(y=[0, 1, 0, 1])
    with pytest.raises(DataError, match="own: expected labels once, got label, y: name them"):
        from_networkx(graph)
    assert from_networkx(graph, drop=["y"]).data.num_features == 1
