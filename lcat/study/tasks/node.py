"""Labels of the nodes of one graph: classes, several labels, or numbers; from the whole graph or from batches of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.models.basic_gnn import BasicGNN

from lcat.data import METRIC_NAMES, NodeDataset, Split, neighbor_loader, partition_loader
from lcat.study.models.classifier import NodeClassifier
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.own_classifier import OwnClassifier
from lcat.study.plan.batching import Batching
from lcat.study.tasks.base import PARTS, Part, StudyTask, check_outputs
from lcat.study.tasks.losses import losses_of
from lcat.train import Figures, NodeClasses, layerwise_inference

__all__ = ["NodeBatches", "NodeTask"]

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

    def measure(self, model: nn.Module) -> Figures:
        """The metric of all parts."""
        return super().measure(model) if self._plain is None else self._plain.measure(model)

    def _whole(self, model: nn.Module) -> Tensor:
        outputs: Tensor = model(self._data.x, self._data.edge_index)
        check_outputs(outputs, self._data.x.size(0), self._columns, "nodes", "model(x, edge_index)")
        return outputs


class NodeBatches(StudyTask):
    """A step learns from the training nodes of a batch: sampled neighborhoods, or parts of a partition.

    Args:
        dataset: the graph on the CPU, labels, and the task.
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
        data = dataset.data
        super().__init__(
            dataset.task, dataset.metric, losses_of(dataset.task, hyper, data.y[split.train], dataset.num_classes)
        )
        self._data, self._columns, self._device, self._batching = data, dataset.num_classes, device, batching
        masks = (split.train, split.val, split.test)
        self._nodes = {name: mask.nonzero().view(-1) for name, mask in zip(PARTS, masks, strict=True)}
        self._y = {name: data.y[nodes] for name, nodes in self._nodes.items()}
        self._on_device: Data | None = None
        if batching.kind == "neighbor":
            neighbors = batching.neighbors_of(None if is_own else hyper.num_layers)
            self._loader: Any = neighbor_loader(data, neighbors, split.train, hyper.batch_size, shuffle=True, seed=seed)
        else:
            attributes = {key: data[key] for key in _KEPT if data.get(key) is not None}
            graph = Data(**attributes, train_mask=split.train)
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
        outputs = self._of(model, batch)
        check_outputs(outputs, batch.x.size(0), self._columns, "nodes", "model(x, edge_index)")
        return self.losses.train(outputs[rows], y), int(y.size(0))

    def parts(self, model: nn.Module) -> dict[str, Part]:
        """Without samples: layer by layer in bounded memory, or from one call of the model."""
        outputs = self._by_layers(model) if self._evaluates_by_layers(model) else self._whole(model)
        return {name: Part(outputs.index_select(0, nodes), self._y[name]) for name, nodes in self._nodes.items()}

    def _evaluates_by_layers(self, model: nn.Module) -> bool:
        known = isinstance(model, NodeClassifier) and isinstance(model.gnn, BasicGNN)
        if self._batching.evaluation == "layerwise" and not known:
            raise ValueError(
                "evaluation by layers needs to know the layers of a model, which are those of lcat without a recipe "
                '(residual, linear_in, ...): take evaluation = "whole"'
            )
        return known and self._batching.evaluation != "whole"

    def _by_layers(self, model: Any) -> Tensor:
        values = {key: self._data[key] for key in model.edge_keys(self._data)}
        return layerwise_inference(model.gnn, self._data.x, self._data.edge_index, device=self._device, **values)

    def _whole(self, model: nn.Module) -> Tensor:
        if self._on_device is None:
            self._on_device = self._data.clone().to(self._device)
        outputs = self._of(model, self._on_device)
        check_outputs(outputs, self._data.x.size(0), self._columns, "nodes", "model(x, edge_index)")
        return outputs.cpu()

    @staticmethod
    def _of(model: Any, graph: Data) -> Tensor:
        assert isinstance(model, (NodeClassifier, OwnClassifier))
        model.use_edge_values(graph)
        outputs: Tensor = model(graph.x, graph.edge_index)
        return outputs
