"""From a data set and the settings of a cell to its task and its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

from lcat.data import GraphDataset, LinkDataset, NodeDataset, Split
from lcat.study.models.classifier import NodeClassifier
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.layers import layer_spec
from lcat.study.models.own_classifier import OwnClassifier
from lcat.study.models.own_model import OwnModel
from lcat.study.models.predictor import build_predictor
from lcat.study.models.sparse_input import with_sparse_features
from lcat.study.plan.batching import Batching
from lcat.study.tasks.base import StudyTask
from lcat.study.tasks.graph import GraphTask
from lcat.study.tasks.link import LinkTask
from lcat.study.tasks.node import InductiveNodes, NodeBatches, NodeTask

__all__ = ["Work", "make_model", "make_task"]

Dataset = NodeDataset | GraphDataset | LinkDataset


@dataclass(frozen=True)
class Work:
    """What a cell works on.

    Attributes:
        dataset: the graph or graphs.
        split: of its items.
        data: the graph on the device of the training, if there is one that every step sees.
        hyper: all settings.
        device: of the training.
        seed: of batches and pairs without a link.
        batching: of a graph that steps see parts of; ``None`` for all others.
        own: an own model.
    """

    dataset: Dataset
    split: Split
    data: Data | None
    hyper: HyperParameters
    device: torch.device
    seed: int
    batching: Batching | None = None
    own: OwnModel | None = None

    def sizes(self) -> dict[str, Any]:
        """What of the data set a model depends on, by the names of :func:`build_predictor`."""
        dataset = self.dataset
        return {
            "in_channels": dataset.num_features,
            "num_classes": dataset.num_classes,
            "edge_dim": dataset.num_edge_features or None,
        }


def make_task(work: Work) -> StudyTask:
    """The task of a cell.

    Raises:
        ValueError: for settings that the task does not have.
    """
    dataset, split, hyper, data = work.dataset, work.split, work.hyper, work.data
    if data is not None and work.own is None:
        data = with_sparse_features(data)
    if work.batching is not None and not isinstance(dataset, NodeDataset):
        raise ValueError(f"batching is for tasks on nodes; got {dataset.task}: leave it out")
    if isinstance(dataset, GraphDataset):
        return GraphTask(dataset, split, hyper, device=work.device, seed=work.seed)
    if isinstance(dataset, LinkDataset):
        assert data is not None
        return LinkTask(dataset, split, data, hyper, seed=work.seed)
    if work.batching is not None:
        return NodeBatches(
            dataset, split, hyper,
            batching=work.batching, is_own=work.own is not None, device=work.device, seed=work.seed,
        )  # fmt: skip
    if dataset.is_inductive:
        return InductiveNodes(dataset, split, hyper, is_own=work.own is not None, device=work.device)
    assert data is not None
    return NodeTask(dataset, split, data, hyper)


def make_model(work: Work, layer: str) -> nn.Module:
    """The model of a cell, with freshly drawn weights; see :func:`lcat.study.models.predictor.build_predictor`.

    Args:
        work: what the cell works on.
        layer: name of the layer.

    Raises:
        ValueError: for a layer that the task cannot have.
    """
    dataset = work.dataset
    if layer_spec(layer).variant == "theory" and (dataset.task != "node-classification" or work.batching is not None):
        raise ValueError(f"{layer} has closed-form scores for classes of nodes, and no others; got {dataset.task}")
    model = build_predictor(dataset.task, layer, work.hyper, own=work.own, **work.sizes())
    model = model.to(work.device)
    if work.data is not None and isinstance(model, (NodeClassifier, OwnClassifier)):
        model.use_edge_values(work.data)  # the closed form is for graphs without either
    return model
