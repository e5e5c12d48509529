"""Figures of a model on a whole graph, for loops that train on parts of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lcat.data.storage.csc import CSCGraph
from lcat.train.inference import layerwise_inference
from lcat.train.metrics import metric_by_name

__all__ = ["WholeGraph"]


class WholeGraph:
    """Measures a model on all nodes by :func:`layerwise_inference`: the ``evaluate`` of :func:`fit_minibatch`.

    Args:
        data: ``x``, ``edge_index``, ``y``; and ``edge_attr`` if ``edge_attr=True``.
        parts: masks or node numbers under the names of the figures, at least ``"val"`` and ``"test"``.
        measure: name of a metric, or ``f(logits, y) -> float``.
        loss: ``f(logits, y) -> scalar``, measured on ``"val"`` as ``"val_loss"``; by default cross-entropy where labels
            are classes, else none.
        edge_attr: pass the edges' features to the model.
        **options: of :func:`layerwise_inference`.

    Example:
        >>> from lcat.data import csbm
        >>> from lcat.nn.models import GCN
        >>> from lcat.train import WholeGraph
        >>> data = csbm(n=100, seed=0)
        >>> evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask})
        >>> sorted(evaluate(GCN(data.num_features, 8, num_layers=1, out_channels=2)))
        ['test', 'val', 'val_loss']
    """

    def __init__(
        self,
        data: Any,
        parts: Mapping[str, Tensor],
        measure: str | Callable[[Tensor, Tensor], float] = "accuracy",
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        edge_attr: bool = False,
        **options: Any,
    ) -> None:
        self.parts = dict(parts)
        self.measure = metric_by_name(measure) if isinstance(measure, str) else measure
        self.x, self.y = data.x, data.y.cpu()
        if self.y.dim() == 2 and self.y.shape[1] == 1:
            self.y = self.y.squeeze(1)
        if loss is None and self.y.dim() == 1 and not self.y.is_floating_point():
            loss = F.cross_entropy
        self.loss = loss
        self.edge_attr = data.edge_attr if edge_attr else None
        self.graph = CSCGraph.from_edges(data.edge_index, data.num_nodes)
        self.options = options

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The figures of the model as it is now."""
        logits = layerwise_inference(model, self.x, self.graph, edge_attr=self.edge_attr, **self.options)
        figures = {name: self.measure(logits[part], self.y[part]) for name, part in self.parts.items()}
        if self.loss is not None and "val" in self.parts:
            figures["val_loss"] = float(self.loss(logits[self.parts["val"]], self.y[self.parts["val"]]))
        return figures
