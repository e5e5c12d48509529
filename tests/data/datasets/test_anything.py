"""The links of one graph, whatever it is in: labels are not needed, and not looked at."""

from __future__ import annotations

import networkx
import pandas as pd
import pytest
import torch
from torch_geometric.data import Data, HeteroData

from lcat.data import DataError, LinkDataset, NodeDataset, as_dataset, from_data
from lcat.data.datasets.files import read_links

X = torch.tensor([[0.5], [1.5], [2.5], [3.5]])
EDGES = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])


def in_frames(label):
    nodes = pd.DataFrame({"id": range(4), "size": X[:, 0].tolist()} | ({"label": [1] * 4} if label else {}))
    return nodes, pd.DataFrame({"source": EDGES[0].tolist(), "target": EDGES[1].tolist()})


def in_networkx(label):
    graph = networkx.Graph(EDGES.T.tolist())
    networkx.set_node_attributes(graph, {node: float(X[node, 0]) for node in range(4)}, "size")
    if label:
        networkx.set_node_attributes(graph, 1, "label")
    return graph


def in_data(label):
    return Data(x=X, edge_index=EDGES, **({"y": torch.ones(4, dtype=torch.long)} if label else {}))


KINDS = {
    "data": in_data,
    "list": lambda label: [in_data(label)],
    "tensors": lambda label: in_data(label).to_dict(),
    "arrays": lambda label: {key: value.numpy() for key, value in in_data(label).to_dict().items()},
    "networkx": in_networkx,
    "frames": in_frames,
}


@pytest.mark.parametrize("label", [False, True], ids=["no label", "one class"])
@pytest.mark.parametrize("kind", KINDS)
def test_links_of_every_kind(kind, label):
    links = as_dataset(KINDS[kind](label), "mine", task="link-prediction")
    assert isinstance(links, LinkDataset)
    assert links.name == "mine"
    assert links.pairs.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert links.data.x.tolist() == X.tolist()
    said = any("not used: label" in step for step in links.steps)
    assert said == (label and kind in ("networkx", "frames"))


@pytest.mark.parametrize("label", [False, True], ids=["no label", "one class"])
def test_links_of_files(tmp_path, label):
    nodes, edges = in_frames(label)
    nodes.to_csv(tmp_path / "nodes.csv", index=False)
    edges.to_csv(tmp_path / "edges.csv", index=False)
    torch.save([in_data(label)], tmp_path / "list.pt")
    for name in ("nodes.csv", "list.pt"):
        links = read_links(tmp_path / name, "mrr")
        assert (links.pairs.tolist(), links.metric) == ([[0, 1, 2], [1, 2, 3]], "mrr")
        assert links.data.x.tolist() == X.tolist()


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
@pytest.mark.parametrize("entries", ["ones", "weights", "features"])
def test_edges_of_a_matrix(entries, layout):
    """``adj_t`` as PyG's ``ToSparseTensor`` makes it; its rows are targets."""
    source, target = torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3])
    values = {"ones": torch.ones(3), "weights": torch.tensor([1.0, 2.0, 3.0]), "features": torch.rand(3, 2)}[entries]
    matrix = torch.sparse_coo_tensor(torch.stack([target, source]), values, (4, 4, *values.shape[1:])).coalesce()
    if entries == "features" and layout != torch.sparse_coo:
        pytest.skip("torch has no such matrix")
    data = Data(x=X, y=torch.tensor([0, 1, 0, 1]), adj_t=matrix.to_sparse(layout=layout))
    sets = [from_data(data).data, as_dataset(data.to_dict()).data, as_dataset(data, task="link-prediction").data]
    sets.append(from_data([data, data]).data.subgraph(torch.arange(4)))
    graphs = [Data(x=X, adj_t=data.adj_t, y=torch.tensor([number % 2])) for number in range(4)]
    sets.append(as_dataset(graphs).graphs[0])
    for graph in sets:
        assert graph.edge_index.tolist() == [[0, 1, 2], [1, 2, 3]]
        key = {"ones": None, "weights": "edge_weight", "features": "edge_attr"}[entries]
        assert [name for name in ("edge_weight", "edge_attr") if graph.get(name) is not None] == ([key] if key else [])
        if key:
            torch.testing.assert_close(graph[key], values)


@pytest.mark.parametrize(("adj_t", "words"), [(EDGES, "must be a sparse matrix"), ("edges", "is of type str")])
def test_what_is_no_matrix(adj_t, words):
    with pytest.raises(DataError, match=f"own: '?adj_t'? {words}"):
        from_data(Data(x=X, y=torch.tensor([0, 1, 0, 1]), adj_t=adj_t))


def test_links_of_several_graphs_are_refused(tmp_path):
    torch.save([in_data(False)] * 2, tmp_path / "list.pt")
    for make in (
        lambda: as_dataset([in_data(False)] * 2, task="link-prediction"),
        lambda: read_links(tmp_path / "list.pt"),
    ):
        with pytest.raises(DataError, match=r"links are predicted in one graph, got 2: .*from_data_list"):
            make()


@pytest.mark.parametrize("value", [HeteroData(), "mine.pt", 3, ()])
def test_what_is_no_graph_has_no_links(value):
    with pytest.raises(DataError, match="expected one graph"):
        as_dataset(value, task="link-prediction")


def test_links_are_no_task_of_nodes():
    with pytest.raises(DataError, match=r"got 'link-prediction': LinkDataset is for links"):
        from_data(in_data(True), task="link-prediction")


def test_a_data_set_stays_what_it_is():
    data = in_data(False)
    data.y = torch.tensor([0, 1, 0, 1])
    assert isinstance(as_dataset(from_data(data), task="link-prediction"), NodeDataset)
