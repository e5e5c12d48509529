"""The model of a task: layers with what the task puts around them, freshly made or for weights that were kept."""

from __future__ import annotations

from torch import nn

from lcat._measures import TaskName
from lcat.study.models.classifier import NodeClassifier
from lcat.study.models.graph_model import GraphPredictor
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.layers import build_model
from lcat.study.models.own_classifier import OwnClassifier
from lcat.study.models.own_model import OwnModel

__all__ = ["build_predictor"]


def build_predictor(
    task: TaskName,
    layer: str,
    hyper: HyperParameters,
    *,
    in_channels: int,
    num_classes: int,
    edge_dim: int | None = None,
    own: OwnModel | None = None,
) -> nn.Module:
    """The model of a layer for a task, with freshly drawn weights.

    On nodes: outputs of the layers. On graphs: ``hidden_channels`` features from the layers, pooled, then a linear map;
    an own model makes the outputs of nodes, which are pooled, or, if its forward takes ``batch``, those of graphs. On
    links: vectors of ``hidden_channels`` numbers, from own models as well.

    Args:
        task: what is predicted.
        layer: name of the layer.
        hyper: its settings.
        in_channels: number of features.
        num_classes: of classes, labels or targets.
        edge_dim: number of features of an edge; ``None`` without any.
        own: an own model that has been found already.

    Raises:
        ValueError: for an unknown layer.

    Example:
        >>> from lcat.study.models.hyper import HyperParameters
        >>> from lcat.study.models.predictor import build_predictor
        >>> hyper = HyperParameters(hidden_channels=32, heads=4)
        >>> build_predictor(
        ...     "graph-regression", "gat", hyper, in_channels=5, num_classes=2
        ... ).head
        Linear(in_features=32, out_features=2, bias=True)
    """
    on_graphs = task.startswith("graph-")
    hidden = task == "link-prediction" or (on_graphs and own is None)
    outputs = hyper.hidden_channels if hidden else num_classes
    model = build_model(layer, in_channels, outputs, hyper, edge_dim=edge_dim, own=own)
    if not on_graphs:
        return model
    assert isinstance(model, (NodeClassifier, OwnClassifier))
    head = nn.Linear(outputs, num_classes) if own is None else None
    return GraphPredictor(model, hyper.pooling, head, hyper.dropout)
