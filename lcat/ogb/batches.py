"""What a training step sees: the whole graph, sampled neighborhoods, or random walks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat._seeds import derive_seed
from lcat.data import neighbor_loader, random_walk_loader
from lcat.ogb.labels import label_features, shown_labels
from lcat.ogb.model import exact_when_trimmed
from lcat.ogb.settings import Settings
from lcat.train.distributed import Processes

__all__ = ["Batch", "Batches"]


@dataclass(frozen=True)
class Batch:
    """One step's input.

    Attributes:
        x, edge_index, edge_attr: the graph of the step.
        y: labels of its nodes.
        learn: int64 ``[B]``, rows whose labels are learned.
        num_nodes, num_edges: numbers sampled in each hop, where layers may be trimmed.
    """

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor | None
    y: Tensor
    learn: Tensor
    num_nodes: list[int] | None = None
    num_edges: list[int] | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        """Itself: batches come on the device that they were asked for."""
        del device, non_blocking
        return self

    def through(self, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Logits and labels of the nodes that are learned."""
        logits = model(self.x, self.edge_index, self.edge_attr, self.num_nodes, self.num_edges)
        return logits[self.learn].float(), self.y[self.learn]


class Batches:
    """The batches of every epoch: a function of the seed, the epoch and the number of processes alone.

    Args:
        graph: as :func:`lcat.ogb.graph.node_graph` makes it.
        settings: what of it a step sees.
        seed: the source of randomness.
        num_outputs: classes or tasks, the width of labels as input.
        group: the processes that train together. Training nodes of a batch are distributed to them; in full batches
            every process sees the whole graph and learns from its share of the nodes.
    """

    def __init__(
        self,
        graph: Data,
        settings: Settings,
        seed: int,
        num_outputs: int,
        group: Processes,
    ) -> None:
        self.settings, self.seed, self.num_outputs, self.group = settings, seed, num_outputs, group
        self.loader: Any = None
        if settings.batching == "full":
            self.whole = graph.to(group.device)  # the edges stay one tensor, whose sorted view every step shares
        elif settings.batching == "neighbor":
            self.loader = neighbor_loader(
                graph, [settings.num_neighbors] * settings.num_layers, graph.train_mask, settings.batch_size,
                shuffle=True, seed=seed, rank=group.rank, world_size=group.world_size,
            )  # fmt: skip
        else:
            self.loader = random_walk_loader(
                graph, settings.batch_size, settings.walk_length, settings.num_steps,
                seed=seed, rank=group.rank, world_size=group.world_size,
            )  # fmt: skip

    def __len__(self) -> int:
        """Number of steps of an epoch."""
        return 1 if self.loader is None else len(self.loader)

    def signature(self) -> dict[str, int | bool | str]:
        """What the batches follow from, beside the settings; checkpoints keep it."""
        return {"seed": self.seed} if self.loader is None else self.loader.signature()

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from number ``batch`` on."""
        if self.loader is None:
            yield from [self._whole(self._generator(epoch, 0))][batch:]
            return
        for number, part in enumerate(self.loader.epoch(epoch, batch), start=batch):
            part = part.to(self.group.device)
            if self.settings.batching == "neighbor":
                yield self._neighborhood(part)
            else:
                yield self._walk(part, self._generator(epoch, number, self.group.rank))

    def _generator(self, *numbers: int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self.seed, "labels", *numbers))

    def features(self, graph: Data, shown: Tensor) -> Tensor:
        """What enters the model, with the labels of the nodes ``shown`` if labels are used."""
        if not self.settings.labels:
            x: Tensor = graph.x
            return x
        return label_features(graph.x, graph.y, shown, self.num_outputs)

    def _whole(self, generator: torch.Generator) -> Batch:
        graph, shown = self.whole, torch.zeros_like(self.whole.train_mask)
        if self.settings.labels:  # the same on all processes: they share the seed
            shown = shown_labels(graph.train_mask, self.settings.label_rate, generator)
        learn = (graph.train_mask & ~shown).nonzero().view(-1)
        x = self.features(graph, shown)
        return Batch(
            x, graph.edge_index, graph.get("edge_attr"), graph.y, learn[self.group.rank :: self.group.world_size]
        )

    def _neighborhood(self, batch: Data) -> Batch:
        shown = batch.train_mask.clone()
        shown[: batch.batch_size] = False  # the seed nodes, whose labels are learned
        trim = exact_when_trimmed(self.settings.layer)
        learn = torch.arange(batch.batch_size, device=batch.x.device)
        return Batch(
            self.features(batch, shown), batch.edge_index, batch.get("edge_attr"), batch.y, learn,
            batch.num_sampled_nodes if trim else None, batch.num_sampled_edges if trim else None,
        )  # fmt: skip

    def _walk(self, batch: Data, generator: torch.Generator) -> Batch:
        shown = torch.zeros_like(batch.train_mask)
        if self.settings.labels:
            shown = shown_labels(batch.train_mask, self.settings.label_rate, generator)
        learn = (batch.train_mask & ~shown).nonzero().view(-1)
        return Batch(self.features(batch, shown), batch.edge_index, batch.get("edge_attr"), batch.y, learn)
