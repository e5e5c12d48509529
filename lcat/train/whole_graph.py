"""Figures of a model on a whole graph, for loops that train on parts of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lcat._names import METRIC_NAMES
from lcat._text import hint
from lcat.data.storage.csc import CSCGraph
from lcat.train._checks import (
    call_loss,
    check_callable,
    check_graph,
    check_labels,
    check_logits,
    check_loss,
    check_module,
    kind_of,
)
from lcat.train.inference import layerwise_inference
from lcat.train.layer_steps import layerwise_steps
from lcat.train.metrics import metric_by_name
from lcat.train.objective import LossName, NodeObjective, edge_value_names, edge_values

__all__ = ["WholeGraph"]

Inference = Literal["auto", "layerwise", "whole"]
#: Options of layer-by-layer inference that are no part of the graph.
_OPTIONS = [
    name
    for name, parameter in inspect.signature(layerwise_inference).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and name not in ("edge_attr", "edge_weight")
]


class WholeGraph:
    """Measures a model on all nodes: the ``evaluate`` of :func:`fit_minibatch`.

    Args:
        data: ``x``, ``edge_index``, ``y``; and ``edge_attr`` or ``edge_weight`` if these are used.
        parts: masks or node numbers under the names of the figures, at least ``"val"`` and ``"test"``.
        measure: name of a metric, or ``f(logits, y) -> float``.
        loss: measured on ``"val"`` as ``"val_loss"``, a mean over nodes: a loss of :class:`NodeObjective`
            (``"cross-entropy"``, ``"binary"`` or ``f(logits, y) -> [B]``), or ``f(logits, y) -> scalar``; by default
            cross-entropy where labels are classes, else none.
        edge_attr: pass the edges' features to the model.
        edge_weight: pass the edges' weights to the model.
        inference: ``"layerwise"``: by :func:`layerwise_inference`, in bounded memory. ``"whole"``: one call
            ``model(x, edge_index)`` (and ``edge_attr=``, ``edge_weight=``) in evaluation mode, for any model, with all
            of the graph on its device. ``"auto"``: the first for models of which it is known how far they look,
            else the second.
        **options: of :func:`layerwise_inference`.

    Raises:
        TypeError: parts without names, or data of another kind.
        ValueError: parts, labels or options that cannot be used.

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
        loss: LossName | Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        edge_attr: bool = False,
        edge_weight: bool = False,
        inference: Inference = "auto",
        **options: Any,
    ) -> None:
        if inference not in get_args(Inference):
            raise ValueError(f"inference must be one of {', '.join(get_args(Inference))}; got {inference!r}")
        for option in options:
            if option not in _OPTIONS:
                known = ["edge_attr", "edge_weight", "inference", *_OPTIONS]
                raise TypeError(
                    f"WholeGraph has no {option!r}{hint(option, known)}; its options are {', '.join(known)}"
                )
        check_graph(data)
        check_labels(data.y)
        if not isinstance(parts, Mapping):
            raise TypeError(
                "expected masks or node numbers by name as the parts, {'val': ..., 'test': ...}, got "
                f"{kind_of(parts)}: pass {{'val': data.val_mask, 'test': data.test_mask}}"
            )
        if not isinstance(measure, str):
            check_callable("measure", measure, "the name of a metric, or a function (logits, y) -> float,")
        if loss is not None:
            check_loss(loss, get_args(LossName))
        self.measure = metric_by_name(measure) if isinstance(measure, str) else measure
        self._name = measure if isinstance(measure, str) else ""
        self.x, self.y = data.x, data.y.cpu()
        if self.y.dim() == 2 and self.y.shape[1] == 1:
            self.y = self.y.squeeze(1)
        self.parts = {name: _nodes(name, part, self.y.shape[0]) for name, part in parts.items()}
        if measure in METRIC_NAMES:
            self._check_labels()
        if loss is None and self.y.dim() == 1 and not self.y.is_floating_point():
            loss = "cross-entropy"
        self.loss = loss
        self.edge_values = edge_value_names(edge_attr, edge_weight)
        self._edges = {name: edge_values(data, name, "data") for name in self.edge_values}
        self.edge_index = data.edge_index
        self.graph = CSCGraph.from_edges(data.edge_index, data.num_nodes)
        self.inference = inference
        self.options = options
        self._on_device: dict[torch.device, tuple[Any, ...]] = {}

    @property
    def metric(self) -> str:
        """The name of what is measured; of a function its own."""
        return self._name or getattr(self.measure, "__qualname__", type(self.measure).__qualname__)

    def signature(self) -> dict[str, Any]:
        """What decides which epoch is best; a resumed training is refused another one."""
        val = self.parts.get("val")
        count = 0 if val is None else int(val.sum()) if val.dtype == torch.bool else val.numel()
        return {"measure": self.metric, "validation nodes": count}

    def check_model(self, model: nn.Module) -> None:
        """Refuse a model that cannot be measured; :func:`fit_minibatch` asks before it trains.

        Raises:
            TypeError: its layers are needed one by one, and it is not known how far they look.
            ValueError: a part that the training needs is missing, or a layer keeps the normalization of one graph.
        """
        missing = [repr(name) for name in ("val", "test") if name not in self.parts]
        if missing:
            raise ValueError(
                f"WholeGraph needs the parts 'val' and 'test' for a training; {', '.join(missing)} is missing"
            )
        self._is_layerwise(model)

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """The figures of the model as it is now.

        Raises:
            TypeError, ValueError: ``model`` is none, or does not return what can be measured.
        """
        check_module(model, "the WholeGraph with a model")
        if self._is_layerwise(model):
            logits = layerwise_inference(
                model,
                self.x,
                self.graph,
                edge_attr=self._edges.get("edge_attr"),
                edge_weight=self._edges.get("edge_weight"),
                **self.options,
            )
        else:
            logits = self._whole(model)
        if logits.shape[0] != self.y.shape[0]:
            raise ValueError(f"expected one row per node from the model, {self.y.shape[0]}, got {list(logits.shape)}")
        figures = {name: self.measure(logits[part], self.y[part]) for name, part in self.parts.items()}
        if self.loss is not None and "val" in self.parts:
            figures["val_loss"] = self._loss(logits[self.parts["val"]], self.y[self.parts["val"]])
        return figures

    def _is_layerwise(self, model: nn.Module) -> bool:
        if self.inference == "whole":
            return False
        try:
            layerwise_steps(model)
        except TypeError as error:
            declared = callable(getattr(model, "layer_steps", None))  # then the model wants to be computed so
            if self.inference == "auto" and isinstance(self.x, Tensor) and not declared:
                return False
            raise TypeError(
                f"{error}. Other ways: WholeGraph(..., inference='whole') calls the model on the whole graph, for "
                "features in memory; and any function of the model that returns {'val': ..., 'test': ...} can be the "
                "'evaluate' of fit_minibatch"
            ) from None
        return True

    @torch.no_grad()
    def _whole(self, model: nn.Module) -> Tensor:
        """The logits by one call, on the CPU."""
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        if device not in self._on_device:  # kept, so that the edges are checked and sorted once
            parts = (self.x[:], self.edge_index, *self._edges.values())
            self._on_device[device] = tuple(part.to(device) for part in parts)
        x, edge_index, *of_edges = self._on_device[device]
        dtype = next((parameter.dtype for parameter in model.parameters()), x.dtype)
        options = {name: values.to(dtype) for name, values in zip(self._edges, of_edges, strict=True)}
        training = model.training
        model.eval()
        try:
            logits: Tensor = model(x.to(dtype), edge_index, **options)
        finally:
            model.train(training)
        check_logits(logits)
        return logits.cpu()

    def _loss(self, logits: Tensor, y: Tensor) -> float:
        if callable(self.loss):
            losses = call_loss(self.loss, logits, y)
            if not isinstance(losses, Tensor) or losses.shape not in (y.shape[:1], torch.Size(())):
                got = list(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
                raise ValueError(
                    f"expected one loss per node, {list(y.shape[:1])}, or their mean from 'loss', got {got}"
                )
            return float(losses.mean())
        assert self.loss is not None
        total, count = NodeObjective(self.loss).total(logits.float(), y)
        return float(total) / max(count, 1)

    def _check_labels(self) -> None:
        """Labels that are no class would count as wrong answers."""
        if self.y.dim() != 1:
            raise ValueError(
                f"a metric by name needs labels [nodes]; got {list(self.y.shape)}: pass a function instead"
            )
        for name, part in self.parts.items():
            unknown = int((~(self.y[part] >= 0)).sum())  # also nan
            if unknown:
                raise ValueError(
                    f"the part {name!r} holds {unknown} nodes without a label (negative or nan); leave them out"
                )


def _nodes(name: str, part: Any, count: int) -> Tensor:
    """A mask or numbers of nodes, checked."""
    nodes = torch.as_tensor(part).cpu()
    if nodes.dtype == torch.bool and list(nodes.shape) != [count]:
        raise ValueError(f"the part {name!r} is a mask {list(nodes.shape)}, and the graph has {count} nodes")
    if nodes.dim() != 1 or nodes.is_floating_point() or nodes.is_complex():
        raise ValueError(
            f"the part {name!r} must be a mask or a vector of node numbers; got {nodes.dtype} {list(nodes.shape)}"
        )
    if nodes.dtype != torch.bool:
        nodes = nodes.long()
        if nodes.numel() and not 0 <= int(nodes.min()) <= int(nodes.max()) < count:
            raise ValueError(
                f"the part {name!r} must name nodes 0 .. {count - 1}; got {int(nodes.min())} .. {int(nodes.max())}"
            )
    if not bool(nodes.numel() if nodes.dtype != torch.bool else nodes.any()):
        raise ValueError(f"the part {name!r} holds no node")
    return nodes
