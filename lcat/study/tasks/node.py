"""Labels of the nodes of one graph: classes, several labels, or numbers; from the whole graph or from batches of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat.data import METRIC_NAMES, NodeDataset, Split, neighbor_loader, partition_loader
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.sparse_input import with_sparse_features
from lcat.study.plan.batching import Batching
from lcat.study.tasks.base import PARTS, Part, Predictions, StudyTask, check_outputs, numbers_of_parts
from lcat.study.tasks.evaluation import EvaluatedGraph, call_on
from lcat.study.tasks.losses import losses_of
from lcat.study.tasks.snapshots import Snapshot, snapshots
from lcat.train import Figures, NodeClasses

__all__ = ["InductiveNodes", "NodeBatches", "NodeTask"]

_KEPT = ("x", "edge_index", "edge_weight", "edge_attr", "y")


class NodeTask(StudyTask):
    """Every step learns from all training nodes of the whole graph.

    Args:
        dataset: labels, and the task.
        split: of the nodes.
        data: the graph on the device of the training.
        hyper: settings of the loss.
    """

    def __init__(self, dataset: NodeDataset, split: Split, data: Data, hyper: HyperParameters) -> None:
        y = data.y
        super().__init__(
            dataset.task,
            dataset.metric,
            losses_of(dataset.task, hyper, y[split.train.to(y.device)], dataset.num_classes),
        )
        self._data, self._columns = data, dataset.num_classes
        self._plain: NodeClasses | None = None
        if dataset.task == "node-classification" and dataset.metric in METRIC_NAMES:  # which need no scikit-learn
            self._plain = NodeClasses(data, split, dataset.metric, self.losses.train)
        masks = (split.train, split.val, split.test)
        self._nodes = {name: mask.nonzero().view(-1).to(y.device) for name, mask in zip(PARTS, masks, strict=True)}
        self._y = {name: y[nodes] for name, nodes in self._nodes.items()}
        self._masks = masks

    def batches(self, epoch: int) -> Iterable[Any]:
        """The whole graph."""
        return (epoch,)

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Of all training nodes."""
        if self._plain is not None:
            return self._plain.loss(model, batch)
        outputs = self._whole(model)
        nodes = self._nodes["train"]
        return self.losses.train(outputs.index_select(0, nodes), self._y["train"]), nodes.numel()

    def parts(self, model: nn.Module) -> dict[str, Part]:
        """From one call of the model."""
        outputs = self._whole(model)
        return {name: Part(outputs.index_select(0, nodes), self._y[name]) for name, nodes in self._nodes.items()}

    def predictions(self, model: nn.Module) -> Predictions:
        """From one call of the model."""
        return Predictions("node", self.in_units(self._whole(model)), self._data.y, numbers_of_parts(self._masks))

    def measure(self, model: nn.Module) -> Figures:
        """The metric of all parts."""
        return super().measure(model) if self._plain is None else self._plain.measure(model)

    def _whole(self, model: nn.Module) -> Tensor:
        outputs: Tensor = model(self._data.x, self._data.edge_index)
        check_outputs(outputs, self._data.x.size(0), self._columns, "nodes", "model(x, edge_index)")
        return outputs


class InductiveNodes(StudyTask):
    """Every step learns from all training nodes, in the graph of the training alone; each part has its own graph.

    Args:
        dataset: labels, the task, and which nodes appear when.
        split: of the nodes.
        hyper: settings of the loss.
        is_own: the model is one of the user, and gets no sparse features.
        device: of the training.
    """

    def __init__(
        self, dataset: NodeDataset, split: Split, hyper: HyperParameters, *, is_own: bool, device: torch.device
    ) -> None:
        y = dataset.data.y[split.train].to(device)
        super().__init__(dataset.task, dataset.metric, losses_of(dataset.task, hyper, y, dataset.num_classes))
        self._columns = dataset.num_classes
        self._y, self._masks = dataset.data.y, (split.train, split.val, split.test)
        self._snapshots = {}
        for name, (graph, nodes) in snapshots(dataset, split).items():
            copied = graph.clone().to(device)
            self._snapshots[name] = Snapshot(copied if is_own else with_sparse_features(copied), nodes.to(device))

    def batches(self, epoch: int) -> Iterable[Any]:
        """The graph of the training."""
        del epoch  # all see the same
        return (self._snapshots["train"],)

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Of all training nodes."""
        outputs, y = self._part(model, batch)
        return self.losses.train(outputs, y), int(y.size(0))

    def parts(self, model: nn.Module) -> dict[str, Part]:
        """From one call of the model for each graph."""
        return {name: self._part(model, one) for name, one in self._snapshots.items()}

    def predictions(self, model: nn.Module) -> Predictions:
        """As all parts are measured; nodes in no part in the graph of the test, which has all nodes."""
        whole = call_on(model, self._snapshots["test"].graph, self._columns)
        outputs = _as_measured(whole, self.parts(model), self._masks)
        return Predictions("node", self.in_units(outputs), self._y, numbers_of_parts(self._masks))

    def _part(self, model: nn.Module, snapshot: Snapshot) -> Part:
        graph, nodes = snapshot
        return Part(call_on(model, graph, self._columns).index_select(0, nodes), graph.y[nodes])


class NodeBatches(StudyTask):
    """A step learns from the training nodes of a batch: sampled neighborhoods, or parts of a partition.

    Args:
        dataset: the graph on the CPU, labels, and the task. If its split is inductive, batches are of the graph of the
            training, and each part has its own graph.
        split: of the nodes.
        hyper: settings of the loss; ``batch_size``.
        batching: how batches are made and models evaluated.
        is_own: the model is one of the user, whose depth is not known.
        device: of the training.
        seed: of the batches.
    """

    def __init__(
        self,
        dataset: NodeDataset,
        split: Split,
        hyper: HyperParameters,
        *,
        batching: Batching,
        is_own: bool,
        device: torch.device,
        seed: int,
    ) -> None:
        y = dataset.data.y[split.train].to(device)
        super().__init__(dataset.task, dataset.metric, losses_of(dataset.task, hyper, y, dataset.num_classes))
        self._y, self._masks = dataset.data.y, (split.train, split.val, split.test)
        self._columns, self._device, self._batching = dataset.num_classes, device, batching
        self._snapshots = snapshots(dataset, split)
        graphs = {id(one.graph): one.graph for one in self._snapshots.values()}
        self._evaluated = {
            key: EvaluatedGraph(graph, self._columns, batching.evaluation, device) for key, graph in graphs.items()
        }
        data, nodes = self._snapshots["train"]
        train = torch.zeros(int(data.x.size(0)), dtype=torch.bool)
        train[nodes] = True
        if batching.kind == "neighbor":
            neighbors = batching.neighbors_of(None if is_own else hyper.num_layers)
            self._loader: Any = neighbor_loader(data, neighbors, train, hyper.batch_size, shuffle=True, seed=seed)
        else:
            attributes = {key: data[key] for key in _KEPT if data.get(key) is not None}
            graph = Data(**attributes, train_mask=train)
            self._loader = partition_loader(
                graph, batching.num_parts, batching.parts_per_batch, shuffle=True, seed=seed
            )

    def batches(self, epoch: int) -> Iterable[Any]:
        """A function of the seed and the epoch."""
        return self._loader.epoch(epoch)  # type: ignore[no-any-return]

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Of the training nodes of the batch."""
        batch = batch.to(self._device)
        rows = slice(0, batch.batch_size) if self._batching.kind == "neighbor" else batch.train_mask
        y = batch.y[rows]
        if y.size(0) == 0:
            return batch.x.new_zeros(()), 0
        return self.losses.train(call_on(model, batch, self._columns)[rows], y), int(y.size(0))

    def parts(self, model: nn.Module) -> dict[str, Part]:
        """Without samples: layer by layer in bounded memory, or from one call of the model, once for each graph."""
        outputs = {key: graph.outputs(model) for key, graph in self._evaluated.items()}
        return {
            name: Part(outputs[id(one.graph)].index_select(0, one.nodes), one.graph.y[one.nodes])
            for name, one in self._snapshots.items()
        }

    def predictions(self, model: nn.Module) -> Predictions:
        """Without samples, as all parts are measured; nodes in no part in the graph of the test."""
        whole = self._evaluated[id(self._snapshots["test"].graph)].outputs(model)
        outputs = _as_measured(whole, self.parts(model), self._masks)
        return Predictions("node", self.in_units(outputs), self._y, numbers_of_parts(self._masks))


def _as_measured(whole: Tensor, parts: Mapping[str, Part], masks: Iterable[Tensor]) -> Tensor:
    """Outputs for all nodes: those of the whole graph, in which those of each part are replaced by what is measured."""
    outputs = whole.clone()
    for part, mask in zip(parts.values(), masks, strict=True):
        outputs[mask.to(outputs.device)] = part.outputs
    return outputs
