"""Which pairs of nodes are linked: scores are dot products of what a model makes of the two nodes.

Messages pass through training edges alone: those of validation and test pairs are gone, in both directions. A pair
without a link is as likely as any other such pair. There are as many as linked pairs. For validation and test they are
drawn once for each split, among the pairs that are not linked at all; for training in every epoch, among those that are
not linked by a training edge, because the training may not know of other edges.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat.data import LinkDataset, Split, sample_no_links
from lcat.study.models.hyper import HyperParameters
from lcat.study.tasks.base import PARTS, Part, Predictions, StudyTask
from lcat.study.tasks.losses import losses_of

__all__ = ["LinkTask"]


class LinkTask(StudyTask):
    """A step learns from all training pairs, and as many pairs without a link.

    Args:
        dataset: the graph.
        split: of its linked pairs.
        graph: what messages pass through, :meth:`lcat.data.LinkDataset.visible`, on the device of the training.
        hyper: settings.
        seed: of the pairs without a link.
    """

    def __init__(self, dataset: LinkDataset, split: Split, graph: Data, hyper: HyperParameters, *, seed: int) -> None:
        super().__init__(
            dataset.task, dataset.metric, losses_of(dataset.task, hyper, torch.ones(1), dataset.num_classes)
        )
        self._graph, self._seed, self._num_nodes = graph, seed, int(graph.x.size(0))
        masks = (split.train, split.val, split.test)
        linked = {name: dataset.pairs[:, mask] for name, mask in zip(PARTS, masks, strict=True)}
        self._train = linked["train"]
        self._pairs = {
            name: self._with_others(pairs, self._train if name == "train" else dataset.pairs, name)
            for name, pairs in linked.items()
        }

    def batches(self, epoch: int) -> Iterable[Any]:
        """All training pairs, with new pairs without a link."""
        return (self._with_others(self._train, self._train, "epoch", epoch),)

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """Of all pairs of the batch."""
        pairs, y = batch
        return self.losses.train(_scores(self._embeddings(model), pairs), y), int(y.numel())

    def parts(self, model: nn.Module) -> dict[str, Part]:
        """From one call of the model."""
        embeddings = self._embeddings(model)
        return {name: Part(_scores(embeddings, pairs), y) for name, (pairs, y) in self._pairs.items()}

    def predictions(self, model: nn.Module) -> Predictions:
        """Of all pairs that are measured, with a link and without one."""
        embeddings = self._embeddings(model)
        pairs = torch.cat([pairs for pairs, _ in self._pairs.values()], dim=1)
        part = [torch.full_like(y, number) for number, (_, y) in enumerate(self._pairs.values(), start=1)]
        y = torch.cat([y for _, y in self._pairs.values()]).long()
        return Predictions("pair", _scores(embeddings, pairs).unsqueeze(1), y, torch.cat(part), pairs)

    def _with_others(self, linked: Tensor, known: Tensor, *purpose: int | str) -> tuple[Tensor, Tensor]:
        others = sample_no_links(self._num_nodes, known, linked.size(1), self._seed, *purpose)
        y = torch.cat([torch.ones(linked.size(1)), torch.zeros(others.size(1))])
        device = self._graph.x.device
        return torch.cat([linked, others], dim=1).to(device), y.to(device)

    def _embeddings(self, model: nn.Module) -> Tensor:
        out = model(self._graph.x, self._graph.edge_index)
        if not isinstance(out, Tensor) or out.dim() != 2 or out.size(0) != self._num_nodes:
            shape = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f"model(x, edge_index) must return [{self._num_nodes}, D], a vector for each node; got {shape}"
            )
        return out


def _scores(embeddings: Tensor, pairs: Tensor) -> Tensor:
    return (embeddings[pairs[0]] * embeddings[pairs[1]]).sum(dim=1)
