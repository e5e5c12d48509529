"""Outputs of a model for all nodes of a graph, without samples: layer by layer in bounded memory, or from one call."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn.models.basic_gnn import BasicGNN

from lcat.data import CSCGraph
from lcat.study.models.classifier import NodeClassifier
from lcat.study.models.own_classifier import OwnClassifier
from lcat.study.models.recipe_model import RecipeModel
from lcat.study.models.sparse_input import with_sparse_features
from lcat.study.plan.batching import Evaluation
from lcat.study.tasks.base import check_outputs
from lcat.train import layerwise_inference
from lcat.train.layer_steps import layerwise_steps

__all__ = ["EvaluatedGraph", "call_on"]

#: Edges on which the layers of an own model are compared with its forward.
_SAMPLE = 512
#: Largest difference that rounding explains, relative to the largest output.
_ROUNDING = 1e-3

_Model = NodeClassifier | OwnClassifier


def call_on(model: nn.Module, graph: Data, columns: int) -> Tensor:
    """Outputs for the nodes of a graph, which may be another one in every call.

    Args:
        model: of nodes.
        graph: on the device of the model.
        columns: outputs per node.

    Raises:
        ValueError: for outputs of another shape.
    """
    assert isinstance(model, _Model)
    model.use_edge_values(graph)
    outputs: Tensor = model(graph.x, graph.edge_index)
    check_outputs(outputs, graph.x.size(0), columns, "nodes", "model(x, edge_index)")
    return outputs


class EvaluatedGraph:
    """A graph on the CPU that models are measured on, epoch by epoch.

    Args:
        data: the graph.
        columns: outputs per node.
        how: see :class:`lcat.study.Batching`.
        device: of the models.
    """

    def __init__(self, data: Data, columns: int, how: Evaluation, device: torch.device) -> None:
        self.data, self._columns, self._how, self._device = data, columns, how, device
        self._on_device: Data | None = None
        self._sorted: CSCGraph | None = None
        self._agrees = False

    def outputs(self, model: nn.Module) -> Tensor:
        """``[N, columns]`` on the CPU, of a model in evaluation mode.

        Raises:
            ValueError: if layers are asked for, and are not known or are not what the model computes.
        """
        assert isinstance(model, _Model)
        reason = "" if self._how == "whole" else _why_not_by_layers(model)
        if self._how == "layerwise" and reason:
            raise ValueError(
                f"evaluation by layers needs a model whose layers are known: {reason}. Give the model layer_steps(), "
                'or take evaluation = "whole", which computes the whole graph in one call'
            )
        if self._how == "whole" or reason:
            return self._whole(model)
        if isinstance(model, OwnClassifier) and not self._agrees:
            self._compare(model)
            self._agrees = True
        if self._sorted is None:
            self._sorted = CSCGraph.from_edges(self.data.edge_index, int(self.data.x.size(0)))
        return self._by_layers(model, self.data, self._sorted)

    def _whole(self, model: _Model) -> Tensor:
        if self._on_device is None:
            graph = self.data.clone().to(self._device)
            self._on_device = graph if isinstance(model, OwnClassifier) else with_sparse_features(graph)
        return call_on(model, self._on_device, self._columns).cpu()

    def _by_layers(self, model: _Model, data: Data, edges: CSCGraph | Tensor) -> Tensor:
        values = {key: data[key] for key in _edge_keys(model, data)}
        x = model.normalize(data.x) if isinstance(model, NodeClassifier) else data.x
        outputs = layerwise_inference(model.gnn, x, edges, device=self._device, **values)
        check_outputs(outputs, data.x.size(0), self._columns, "nodes", "layer_steps()")
        return outputs

    def _compare(self, model: OwnClassifier) -> None:
        """The layers of an own model compute what its forward computes, on a few edges.

        Raises:
            ValueError: if they do not: measured by layers, it would be another model than the one that is trained.
        """
        data, count = self.data, min(_SAMPLE, int(self.data.edge_index.size(1)))
        nodes, numbers = torch.unique(data.edge_index[:, :count].long(), return_inverse=True)
        if not count:
            nodes = torch.arange(min(2, int(data.x.size(0))))
        values = {key: data[key][:count] for key in model.edge_keys(data)}
        sample = Data(x=data.x[nodes], edge_index=numbers.view(2, count), **values)
        expected = call_on(model, sample.clone().to(self._device), self._columns).cpu()
        difference = (self._by_layers(model, sample, sample.edge_index) - expected).abs().max()
        if not float(difference) <= _ROUNDING * max(float(expected.abs().max()), 1.0):
            name = type(model.gnn).__name__
            raise ValueError(
                f"layer_steps() of {name} computes something else than its forward: outputs differ by up to "
                f'{float(difference):.3g} on {count} edges; correct it, or take evaluation = "whole"'
            )


def _why_not_by_layers(model: _Model) -> str:
    """Why a model cannot be computed layer by layer, in a line; empty if it can."""
    try:
        layerwise_steps(model.gnn)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def _edge_keys(model: _Model, data: Data) -> list[str]:
    """The values of edges that every layer of a model takes."""
    keys, gnn = model.edge_keys(data), model.gnn
    if isinstance(gnn, RecipeModel):
        return [key for key in keys if key in gnn.edge_values]
    if isinstance(gnn, BasicGNN) and not callable(getattr(gnn, "layer_steps", None)):
        takes = {"edge_weight": gnn.supports_edge_weight, "edge_attr": gnn.supports_edge_attr}
        return [key for key in keys if takes[key]]
    return keys
