"""Models and predictions of every task load in one line, and give the figures of their cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from lcat.data import GraphDataset, LinkDataset, NodeDataset, csbm, from_graphs, random_splits, splits_from_masks
from lcat.study import load_model, make_plan, run_study, train_best_model
from lcat.study.tasks.metrics import metric_value

OWN = """
import torch
from torch_geometric.nn import global_add_pool

class MyNet(torch.nn.Module):
    def __init__(self, in_channels, num_classes, width=4):
        super().__init__()
        self.first, self.last = torch.nn.Linear(in_channels, width), torch.nn.Linear(width, num_classes)

    def forward(self, x, edge_index):
        return self.last(self.first(x).relu())

class MyGraphNet(MyNet):
    def forward(self, x, edge_index, batch):
        return global_add_pool(super().forward(x, edge_index), batch)
"""
EDGE = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def nodes(y, task):
    data = csbm(n=60, seed=0)
    graph = Data(x=data.x, edge_index=data.edge_index, y=y(data), edge_weight=torch.rand(data.num_edges) + 0.5)
    return NodeDataset("mine", graph, random_splits(data.y), task=task)


def graphs(label):
    made = []
    for number in range(30):
        x = torch.full((3, 2), float(number % 3))
        made.append(Data(x=x, edge_index=EDGE, edge_attr=torch.rand(4, 2), y=label(number % 3)))
    return from_graphs(made, "mine")


def with_gaps(data):
    y = torch.stack([5 * data.x[:, 0] + 100, data.x[:, 1]], dim=1)
    y[::7, 1] = math.nan
    return y


DATASETS = {
    "numbers": lambda: nodes(lambda data: 10 * data.x.sum(dim=1) + 3, "node-regression"),
    "targets": lambda: nodes(with_gaps, "node-regression"),
    "labels": lambda: nodes(lambda data: torch.stack([data.y, 1 - data.y], dim=1).float(), "node-multilabel"),
    "classes of graphs": lambda: graphs(lambda third: third),
    "numbers of graphs": lambda: graphs(lambda third: 7.0 * third + 50),
    "targets of graphs": lambda: graphs(lambda third: torch.tensor([[7.0 * third + 50, -1.0 * third]])),
    "links": lambda: LinkDataset("mine", csbm(n=60, q=0.05, seed=1)),
}


@pytest.fixture(autouse=True)
def _in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(OWN)


def run(dataset, layers, keep=("models", "predictions"), **change):
    settings = {"overrides": {"epochs": 4}, "seeds": 1, **change}
    plan = make_plan(datasets=["mine"], own=["mine"], layers=layers, **settings)
    study = run_study(plan, "study", engine="inline", keep=keep, own={"mine": dataset}).study
    assert study.failures().empty, study.failures()["traceback"][0]
    return study


def said_by(model, dataset, frame):
    """What a loaded model says of the items of a frame of predictions."""
    with torch.no_grad():
        if isinstance(dataset, GraphDataset):
            outputs = model(Batch.from_data_list(list(dataset.graphs)))
            assert torch.allclose(model(dataset.graphs[4]), outputs[4:5], atol=1e-5)
            return outputs
        if isinstance(dataset, NodeDataset):
            model.use_edge_values(dataset.data)
            return model(dataset.data.x, dataset.data.edge_index)
        graph = dataset.visible(dataset.split(0))
        vectors = model(graph.x, graph.edge_index)
    first, second = (torch.tensor(frame[f"node.{end}"].to_numpy()) for end in (0, 1))
    return (vectors[first] * vectors[second]).sum(dim=1, keepdim=True)


def check(study, dataset, layer):
    result = study.best_result("mine", layer)
    frame = study.predictions(result.cell.key)
    outputs = said_by(load_model(study.best_model("mine", layer)), dataset, frame)
    stored = torch.tensor(frame.filter(regex=r"^output\.").to_numpy())
    assert torch.allclose(outputs, stored, rtol=1e-4, atol=1e-4)
    labels = torch.tensor(frame.filter(regex="^label").to_numpy())
    for part, value in (("validation", result.fit.val), ("test", result.fit.test)):
        rows = torch.tensor((frame["part"] == part).tolist())
        said, truth = outputs[rows], labels[rows]
        if truth.size(1) == 1:
            truth = truth[:, 0]
        if truth.dim() == 1 and not dataset.task.endswith("classification"):
            said = said.squeeze(1)
        assert metric_value(dataset.metric, dataset.task, said, truth) == pytest.approx(value, rel=1e-4), part
    return frame


@pytest.mark.parametrize("name", DATASETS)
def test_files_give_the_figures_of_their_cells(name):
    dataset = DATASETS[name]()
    own = "MyGraphNet" if isinstance(dataset, GraphDataset) else "MyNet"
    study = run(dataset, ["gat", f"models.py:{own}"])
    for layer in ("gat", own):
        frame = check(study, dataset, layer)
    assert frame.columns[0] == ("graph" if "graphs" in name else "node.0" if name == "links" else "node")
    assert ("prediction" in frame.columns) == (name == "classes of graphs")


@pytest.mark.parametrize("batching", ["neighbor", "cluster"])
@pytest.mark.parametrize("name", ["labels", "targets"])
def test_mini_batches_leave_the_same_files(name, batching):
    dataset = DATASETS[name]()
    study = run(dataset, ["lcat", "models.py:MyNet"], batching=batching, overrides={"epochs": 3, "batch_size": 16})
    assert len(check(study, dataset, "lcat")) == len(check(study, dataset, "MyNet")) == 60


def test_items_without_a_label_are_predicted_too():
    dataset = graphs(lambda third: third)
    dataset.y[[0, 5]] = -1
    frame = check(run(dataset, ["gcn"]), dataset, "gcn")
    assert frame["graph"].tolist() == list(range(30))
    assert (frame["part"] == "").to_numpy().nonzero()[0].tolist() == [0, 5]
    assert frame.loc[[0, 5], "label"].tolist() == [-1, -1]


def test_pairs_are_those_that_are_measured():
    dataset = DATASETS["links"]()
    frame = check(run(dataset, ["gcn"]), dataset, "gcn")
    linked = frame[frame["label"] == 1]
    pairs = {tuple(pair) for pair in dataset.pairs.T.tolist()}
    assert {tuple(pair) for pair in linked[["node.0", "node.1"]].to_numpy().tolist()} == pairs
    others = frame[(frame["label"] == 0) & (frame["part"] != "train")]
    assert not pairs & {tuple(pair) for pair in others[["node.0", "node.1"]].to_numpy().tolist()}
    split = dataset.split(0)
    masks = {"train": split.train, "validation": split.val, "test": split.test}
    sizes = {name: int(2 * mask.sum()) for name, mask in masks.items()}
    assert frame.groupby("part").size().to_dict() == sizes


@pytest.mark.parametrize("name", ["targets", "numbers of graphs", "links"])
def test_models_that_were_not_kept_are_trained_once_more(name):
    dataset = DATASETS[name]()
    study = run(dataset, ["gcn"], keep=("predictions",))
    frame = study.predictions(study.best_result("mine", "gcn").cell.key)
    model = load_model(train_best_model(study, "mine", "gcn", "best.pt", own={"mine": dataset}))
    stored = frame.filter(regex=r"^output\.").to_numpy()
    assert np.allclose(said_by(model, dataset, frame).numpy(), stored, rtol=1e-4, atol=1e-4)


def test_own_data_of_any_kind_are_taken_by_the_second_training():
    data = csbm(n=60, seed=0)
    plan = make_plan(datasets=["mine"], own=["mine"], layers=["gcn"], seeds=1, overrides={"epochs": 3})
    study = run_study(plan, "study", engine="inline", own={"mine": data}).study
    assert load_model(train_best_model(study, "mine", "gcn", "best.pt", own={"mine": data})) is not None


def test_files_of_earlier_versions_load():
    dataset = nodes(lambda data: data.y, "node-classification")
    study = run(dataset, ["gcn"])
    path = study.best_model("mine", "gcn")
    values = torch.load(path, weights_only=True)
    del values["task"]
    torch.save({**values, "format": 1}, path)
    check(study, dataset, "gcn")
    key = study.best_result("mine", "gcn").cell.key
    file = study.folder / "predictions" / f"{key}.npz"
    with np.load(file) as arrays:
        older = {name: arrays[name] for name in ("outputs", "y", "part")}
    before = study.predictions(key)
    np.savez_compressed(file, **older)
    assert study.predictions(key).equals(before)


@pytest.mark.parametrize("batching", [None, "cluster"])
def test_nodes_of_an_inductive_split_are_predicted_as_they_are_measured(batching):
    stages = torch.arange(60) % 4 // 2  # training and validation do not see all
    stages[:5] = 2
    data = csbm(n=60, seed=0)
    numbers = torch.arange(60)
    rule = splits_from_masks((stages == 0) & (numbers > 7), stages == 1, stages == 2)
    dataset = NodeDataset("mine", data, rule, stages=stages)
    study = run(dataset, ["gcn"], batching=batching)
    result = study.best_result("mine", "gcn")
    frame = study.predictions(result.cell.key)
    assert frame["label"].tolist() == data.y.tolist()
    right = (frame["prediction"] == frame["label"]).groupby(frame["part"]).mean()
    assert right["train"] == pytest.approx(result.fit.train)
    assert right["validation"] == pytest.approx(result.fit.val)
    assert right["test"] == pytest.approx(result.fit.test)
    model = load_model(study.best_model("mine", "gcn"))
    graph = dataset.graph_at(1)
    with torch.no_grad():
        outputs = model(graph.x, graph.edge_index)
    rows = (frame["part"] == "validation").to_numpy()[graph.n_id.numpy()]
    stored = frame.filter(regex=r"^output\.").to_numpy()[frame["part"] == "validation"]
    assert np.allclose(outputs.numpy()[rows], stored, atol=1e-5)
    assert (frame["part"] == "").any()
