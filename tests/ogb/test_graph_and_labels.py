"""Graphs as the protocols want them; noise; labels that are never both shown and learned."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.utils import is_undirected

pytest.importorskip("ogb")

from lcat.data import load_ogb, write_standin
from lcat.ogb import default_settings, node_graph
from lcat.ogb.batches import Batches
from lcat.ogb.labels import label_features, shown_labels
from lcat.ogb.training import _loss_of_classes, build_node_model
from lcat.train.distributed import Processes
from tests.ogb.ogb_support import random_graph


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    root = tmp_path_factory.mktemp("standins")
    names = ("ogbn-arxiv", "ogbn-mag", "ogbn-proteins", "ogbn-products", "ogbn-papers100M")
    for name in names:
        write_standin(name, root, nodes=200)
    return {name: load_ogb(name, root, download=False, progress=False) for name in names}


def graph_of(dataset, **changes):
    return node_graph(dataset, default_settings(dataset.name, **changes))


def test_graphs_of_all_data_sets(datasets):
    for name, dataset in datasets.items():
        graph = graph_of(dataset)
        assert is_undirected(graph.edge_index, num_nodes=200), name
        assert graph.x.dtype == torch.float32
        assert graph.num_nodes == 200
        assert graph.train_mask.nonzero().view(-1).tolist() == dataset.split["train"].sort().values.tolist()
    assert (graph.y[dataset.data.y.view(-1).isnan()] == -1).all()  # papers without a label


def test_mag_is_papers_and_citations(datasets):
    dataset = datasets["ogbn-mag"]
    cites = dataset.data.edge_index_dict["paper", "cites", "paper"]
    graph = graph_of(dataset)
    pairs = set(map(tuple, graph.edge_index.t().tolist()))
    assert pairs == {(a, b) for a, b in cites.t().tolist()} | {(b, a) for a, b in cites.t().tolist()}
    assert graph.x.equal(dataset.data.x_dict["paper"])


def test_proteins_nodes_sum_their_edges(datasets):
    dataset = datasets["ogbn-proteins"]
    graph = graph_of(dataset)
    into = graph.edge_index[1] == 7
    assert torch.allclose(graph.x[7], graph.edge_attr[into].sum(dim=0), atol=1e-5)
    assert graph.y.shape == (200, 112)
    assert graph.y.dtype == torch.float32
    assert "edge_attr" not in graph_of(dataset, edge_features=False)


def test_noise_keeps_features_with_edges(datasets):
    graph, clean = graph_of(datasets["ogbn-proteins"], noise=0.1), graph_of(datasets["ogbn-proteins"])
    edges = clean.edge_index.size(1)
    assert graph.edge_attr.size(0) == graph.edge_index.size(1) == edges + 2 * round(edges / 2 * 0.1)
    assert graph.edge_attr[:edges].equal(clean.edge_attr)
    assert graph.x.equal(clean.x)


def test_label_features_by_hand():
    x, shown = torch.zeros(3, 1), torch.tensor([True, False, True])
    classes = label_features(x, torch.tensor([2, 1, 0]), shown, 3)[:, 1:]
    assert classes.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    tasks = label_features(x, torch.tensor([[1.0, 0.0]] * 3), shown, 2)[:, 1:]
    assert tasks.tolist() == [[1, -1], [0, 0], [1, -1]]


def test_unknown_labels_are_shown_as_unknown():
    tasks = label_features(
        torch.zeros(2, 1), torch.tensor([[1.0, torch.nan], [torch.nan, 0.0]]), torch.tensor([1, 0]) > 0, 2
    )
    assert tasks.tolist() == [[0, 1, 0], [0, 0, 0]]


def test_shown_labels_leave_something_to_learn():
    train = torch.tensor([False, True, False])
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert not shown_labels(train, 0.999, generator).any()
    assert not shown_labels(torch.zeros(3, dtype=torch.bool), 0.5, generator).any()
    many = torch.ones(10_000, dtype=torch.bool)
    assert shown_labels(many, 0.3, generator).float().mean().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("batching", ["full", "neighbor", "walk"])
def test_no_label_is_both_shown_and_learned(batching):
    graph = random_graph()
    # A label shows in the input as a one in its column; this graph has no other features.
    graph.x = torch.zeros(40, 1)
    sizes = {"full": {}, "neighbor": {"batch_size": 5, "num_neighbors": 3}, "walk": {"batch_size": 5, "num_steps": 4}}
    settings = default_settings("ogbn-arxiv", labels=True, batching=batching, num_layers=2, **sizes[batching])
    shown_somewhere = torch.zeros(40)
    for epoch in range(5):
        for batch in Batches(graph, settings, 0, 5, Processes()).epoch(epoch):
            labels = batch.x[:, 1:]
            assert batch.learn.numel() > 0
            assert labels[batch.learn].abs().sum() == 0
            visible = labels.sum(dim=1) > 0
            assert labels[visible].argmax(dim=1).equal(batch.y[visible])
            if batching == "full":
                assert not (visible & ~graph.train_mask).any()
                shown_somewhere += visible
            elif batching == "neighbor":
                assert labels[: batch.learn.numel()].sum() == 0
    if batching == "full":
        assert (shown_somewhere[graph.train_mask] > 0).float().mean() > 0.8


def test_walks_that_meet_no_training_node_teach_nothing():
    graph = random_graph()
    graph.train_mask[:] = False
    settings = default_settings("ogbn-arxiv", labels=True, batching="walk", batch_size=1, walk_length=1, num_steps=2)
    model = build_node_model(settings, graph, 5)
    for batch in Batches(graph, settings, 0, 5, Processes()).epoch(0):
        total, count = _loss_of_classes(model, batch)
        total.backward()
        assert (total.item(), count) == (0.0, 0)
    assert all(bool((weight.grad == 0).all()) for weight in model.parameters())


def test_shares_of_processes_make_up_the_whole():
    graph, settings = random_graph(), default_settings("ogbn-arxiv", batching="full", labels=True)
    [whole] = Batches(graph, settings, 0, 5, Processes()).epoch(2)
    parts = [next(Batches(graph, settings, 0, 5, Processes(rank, 3)).epoch(2)) for rank in range(3)]
    assert torch.cat([part.learn for part in parts]).sort().values.equal(whole.learn)
    assert all(part.x.equal(whole.x) for part in parts)


def test_an_epoch_can_start_in_the_middle():
    graph, settings = random_graph(), default_settings("ogbn-arxiv", batching="neighbor", batch_size=5, num_neighbors=3)
    batches = Batches(graph, settings, 0, 5, Processes())
    whole, rest = list(batches.epoch(1)), list(batches.epoch(1, 2))
    assert len(whole) == len(batches) == len(rest) + 2
    assert all(a.x.equal(b.x) and a.edge_index.equal(b.edge_index) for a, b in zip(whole[2:], rest, strict=True))
