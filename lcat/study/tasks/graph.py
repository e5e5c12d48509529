"""Labels of whole graphs, in batches of graphs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from lcat._seeds import derive_seed
from lcat.data import GraphDataset, Split
from lcat.study.models.hyper import HyperParameters
from lcat.study.tasks.base import PARTS, Part, Predictions, StudyTask, check_outputs, numbers_of_parts
from lcat.study.tasks.losses import losses_of

__all__ = ["GraphTask"]

_CALL = "model(x, edge_index, batch)"
_KEPT = ("x", "edge_index", "edge_weight", "edge_attr")


class GraphTask(StudyTask):
    """A step learns from ``hyper.batch_size`` training graphs, in a new order in every epoch.

    Args:
        dataset: graphs and labels, and the task.
        split: of the graphs.
        hyper: settings of the loss; ``batch_size``.
        device: of the training.
        seed: of the order.
    """

    def __init__(
        self, dataset: GraphDataset, split: Split, hyper: HyperParameters, *, device: torch.device, seed: int
    ) -> None:
        y = dataset.y[split.train].to(device)
        super().__init__(dataset.task, dataset.metric, losses_of(dataset.task, hyper, y, dataset.num_classes))
        self._columns, self._size, self._device, self._seed = dataset.num_classes, hyper.batch_size, device, seed
        masks = (split.train, split.val, split.test)
        self._dataset, self._masks = dataset, masks
        numbers = {name: mask.nonzero().view(-1) for name, mask in zip(PARTS, masks, strict=True)}
        self._graphs = {name: _labeled(dataset, rows) for name, rows in numbers.items()}
        # Batches that are measured are the same in every epoch, so that their edges are sorted once.
        self._measured = {
            name: [batch.to(device) for batch in DataLoader(graphs, batch_size=self._size)]
            for name, graphs in self._graphs.items()
        }

    def batches(self, epoch: int) -> Iterable[Any]:
        """All training graphs, in an order that follows from the seed and the epoch."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
        graphs = self._graphs["train"]
        order = torch.randperm(len(graphs), generator=generator).tolist()
        loader: Iterable[Any] = DataLoader([graphs[number] for number in order], batch_size=self._size)
        return loader

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Of the graphs of the batch."""
        batch = batch.to(self._device)
        outputs = model(batch)
        check_outputs(outputs, batch.num_graphs, self._columns, "graphs", _CALL)
        return self.losses.train(outputs, batch.y), int(batch.num_graphs)

    def parts(self, model: nn.Module) -> dict[str, Part]:
        """From all batches of each part."""
        made = {}
        for name, batches in self._measured.items():
            outputs = self._outputs(model, batches)
            made[name] = Part(outputs, torch.cat([batch.y for batch in batches]))
        return made

    def predictions(self, model: nn.Module) -> Predictions:
        """Of all graphs in their order, without a label as well."""
        graphs = _labeled(self._dataset, torch.arange(self._dataset.num_items))
        batches = (batch.to(self._device) for batch in DataLoader(graphs, batch_size=self._size))
        outputs = self.in_units(self._outputs(model, batches))
        return Predictions("graph", outputs, self._dataset.y, numbers_of_parts(self._masks))

    def _outputs(self, model: nn.Module, batches: Iterable[Any]) -> Tensor:
        outputs = []
        for batch in batches:
            outputs.append(model(batch))
            check_outputs(outputs[-1], batch.num_graphs, self._columns, "graphs", _CALL)
        return torch.cat(outputs)


def _labeled(dataset: GraphDataset, numbers: Tensor) -> list[Data]:
    """Graphs with their label in ``y``."""
    made = []
    for number in numbers.tolist():
        graph = dataset.graphs[number]
        attributes = {key: graph[key] for key in _KEPT if graph.get(key) is not None}
        made.append(Data(**attributes, y=dataset.y[number : number + 1]))
    return made
