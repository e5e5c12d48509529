"""What the owner of graphs is told of them."""

import pytest
import torch
from torch_geometric.data import Data

from lcat.data import DataError, GraphDataset, from_graphs


def graphs(label, edges=1):
    edge_index = torch.tensor([[0], [1]])[:, :edges]
    return [Data(x=torch.ones(2, 1), edge_index=edge_index, y=label(number)) for number in range(20)]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (lambda number: 1 + number % 2, "3 classes (0 .. 2), of which 2 have graphs"),  # labels that begin with 1
        (lambda number: 2 * (number % 2), "3 classes (0 .. 2), of which 2 have graphs"),
    ],
)
def test_classes_without_a_graph_are_named(label, words):
    (line,) = from_graphs(graphs(label), "g").remarks()
    assert words in line
    assert f"without graphs: {0 if label(0) else 1} (torch.unique(" in line


@pytest.mark.parametrize("label", [lambda number: number % 2, lambda number: 1.0 + number % 2])
def test_classes_that_all_have_graphs_and_numbers_are_no_remark(label):
    assert from_graphs(graphs(label), "g").remarks() == []
    assert from_graphs(graphs(label, edges=0), "g").remarks() == ["20 of 20 graphs without an edge"]


def test_one_graph_is_no_list():
    with pytest.raises(DataError, match=r"g: expected a list of graphs, got one Data: pass \[data\]"):
        GraphDataset("g", Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]])), torch.tensor([0]))
