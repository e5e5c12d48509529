"""Exact outputs for a whole graph in bounded memory: layer by layer, block of rows by block of rows."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import conv as pyg_conv
from torch_geometric.nn import norm as pyg_norm
from torch_geometric.nn.models.basic_gnn import BasicGNN
from tqdm import tqdm

from lcat.data.csc import CSCGraph
from lcat.nn import GATConv, GATv2Conv, GCNConv
from lcat.nn._lcat import LCATMixin
from lcat.train.metrics import metric_by_name

__all__ = ["LayerStep", "WholeGraph", "layerwise_inference"]

# Layers whose output at a node depends on nothing but the node, its in-edges and their sources.
_ONE_HOP = (
    GATConv, GATv2Conv, pyg_conv.GATConv, pyg_conv.GATv2Conv, pyg_conv.SAGEConv, pyg_conv.GINConv, pyg_conv.GINEConv,
    pyg_conv.GraphConv, pyg_conv.TransformerConv,
)  # fmt: skip
_BATCH_NORMS = (nn.BatchNorm1d, pyg_norm.BatchNorm)


@dataclass(frozen=True)
class LayerStep:
    """One layer of a model, for :func:`layerwise_inference`.

    Args:
        conv: the layer.
        then: what the model does with the layer's rows, each by itself: ``then(out, x)`` with the layer's output and
            its input for the same rows.
        on_all: what it does with all rows at once, after ``then``; it must fit into memory.

    Example:
        >>> from lcat.nn import GATConv
        >>> from lcat.train import LayerStep
        >>> step = LayerStep(GATConv(8, 8), then=lambda out, x: out.relu() + x)
    """

    conv: nn.Module
    then: Callable[[Tensor, Tensor], Tensor] = lambda out, x: out
    on_all: Callable[[Tensor], Tensor] | None = None


@torch.no_grad()
def layerwise_inference(
    model: nn.Module,
    x: Any,
    edge_index: Any,
    *,
    edge_attr: Any = None,
    edge_weight: Any = None,
    rows: int = 65_536,
    edges: int = 1_048_576,
    device: str | torch.device | None = None,
    folder: str | Path | None = None,
    progress: bool = False,
) -> Tensor:
    """``model(x, edge_index)`` in evaluation mode without ever holding more than one layer's rows and one block's
    edges.

    Every layer is computed for blocks of consecutive nodes, each with all of its in-edges. What a layer needs to know
    of the in-edges of *sources* is collected in a pass of its own before: the degrees for GCN, and for CAT and L-CAT
    the neighbourhood averages that enter the scores (2 H numbers a node for v1; for v2 the narrower of input and
    projection). So the result is that of the whole graph at once, up to the rounding of sums in another order.

    Args:
        model: a model of :mod:`lcat.nn.models`, another of PyG's ``BasicGNN`` with layers that look one hop far, or a
            module with a method ``layer_steps()`` that returns a list of :class:`LayerStep`.
        x: ``[N, F]`` features: a tensor (perhaps memory-mapped, in half precision), or whatever returns rows as a
            tensor when indexed with one and has a ``shape``, such as :class:`lcat.data.FeatureFile`.
        edge_index: the edges in any format, or a :class:`lcat.data.CSCGraph` (perhaps memory-mapped).
        edge_attr, edge_weight: features and weights of the edges, in the input's order, if the model takes them.
        rows, edges: at most so many targets and in-edges a block (a node with more in-edges than that is a block).
        device: where blocks are computed; by default where the model is.
        folder: keep the layers' outputs in files there (deleted in the end) instead of in memory; the result is then
            backed by a file that vanishes with it.
        progress: show a progress bar with the time left on standard error.

    Returns:
        ``[N, C]`` on the CPU.

    Raises:
        TypeError: for a model or layer of which it is not known how far it looks.
        ValueError: for layers with ``cached=True``, or sizes that do not fit.

    Complexity:
        The time of L layers, and the linear maps of sources once for every block that they occur in. Memory: the rows
        of two layers, ``N (F_in + F_out)`` numbers, and for v2 the averages (none with ``folder``); and a block,
        O((rows + edges) F).

    Example:
        >>> import torch
        >>> from lcat.data import csbm
        >>> from lcat.nn.models import LCAT
        >>> from lcat.train import layerwise_inference
        >>> data = csbm(n=300, seed=0)
        >>> model = LCAT(data.num_features, 8, num_layers=2, out_channels=2, heads=2).eval()
        >>> out = layerwise_inference(model, data.x, data.edge_index, rows=64)
        >>> torch.allclose(out, model(data.x, data.edge_index), atol=1e-5)
        True
    """
    if rows < 1 or edges < 1:
        raise ValueError(f"rows and edges must be 1 or more; got {rows} and {edges}")
    graph = edge_index if isinstance(edge_index, CSCGraph) else CSCGraph.from_edges(edge_index, x.shape[0])
    if graph.num_targets != x.shape[0] or graph.num_sources != x.shape[0]:
        raise ValueError(f"x has {x.shape[0]} rows and the graph is {graph}; they must agree")
    steps = _steps_of(model)
    parameter = next(model.parameters())
    work = _Work(
        graph, _blocks(graph, rows, edges), {"edge_attr": edge_attr, "edge_weight": edge_weight},
        torch.device(device) if device is not None else parameter.device, parameter.dtype,
    )  # fmt: skip
    training = model.training
    model.eval()
    passes = sum(1 + (_recorded_step(step.conv) is not None) for step in steps)
    with contextlib.ExitStack() as stack:
        stack.callback(model.train, training)
        work.bar = stack.enter_context(
            tqdm(total=passes * len(work.blocks), desc="inference", unit="block", disable=not progress, leave=False)
        )
        work.folder = None if folder is None else Path(folder)
        return _all_layers(model, steps, x, work)


class WholeGraph:
    """Measures a model on all nodes by :func:`layerwise_inference`: the ``evaluate`` of :func:`fit_minibatch`.

    Args:
        data: ``x``, ``edge_index``, ``y``; and ``edge_attr`` if ``edge_attr=True``.
        parts: masks or node numbers under the names of the figures, ``"val"`` and ``"test"`` at least.
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


# What is done in which order #########################################################################


class _Work:
    """What all layers share."""

    bar: Any = None
    folder: Path | None = None

    def __init__(
        self,
        graph: CSCGraph,
        blocks: list[tuple[int, int]],
        per_edge: dict[str, Any],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.graph, self.blocks, self.device, self.dtype = graph, blocks, device, dtype
        self.per_edge = {name: values for name, values in per_edge.items() if values is not None}

    def rows_of(self, x: Any, index: Any) -> Tensor:
        rows: Tensor = x[index]
        return rows.to(self.device, self.dtype)

    def store(self, like: Tensor) -> Tensor:
        """Room for rows like these for all nodes, in memory or in a file that is gone when nobody holds it."""
        shape = (self.graph.num_targets, *like.shape[1:])
        if self.folder is None or like.numel() == 0:
            return torch.empty(shape, dtype=like.dtype)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="layer-", suffix=".bin") as file:
            count = shape[0] * (like.numel() // like.shape[0])
            return torch.from_file(file.name, shared=True, size=count, dtype=like.dtype).view(shape)

    def cut(self, begin: int, end: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """A block: its nodes (targets first), its in-edges between their places, what belongs to the edges."""
        first, last = int(self.graph.pointer[begin]), int(self.graph.pointer[end])
        source, place = torch.unique(self.graph.source[first:last].long(), return_inverse=True)
        inside = (source >= begin) & (source < end)
        numbers = torch.where(inside, source - begin, end - begin - 1 + (~inside).cumsum(0))
        nodes = torch.cat([torch.arange(begin, end), source[~inside]])
        degree = self.graph.pointer[begin : end + 1].diff()
        targets = torch.arange(end - begin).repeat_interleave(degree, output_size=last - first)
        edge_index = torch.stack([numbers[place], targets])
        edge = slice(first, last) if self.graph.edge is None else self.graph.edge[first:last].long()
        per_edge = {name: self.rows_of(values, edge) for name, values in self.per_edge.items()}
        return nodes, edge_index.to(self.device), per_edge


def _all_layers(model: nn.Module, steps: list[LayerStep], x: Any, work: _Work) -> Tensor:
    jumping = getattr(model, "jk", None)
    kept = []
    for step in steps:
        x = _one_layer(step, x, work)
        if jumping is not None:
            kept.append(x)
    head = _head_of(model)
    if head is None:
        return x
    out = None
    for begin, end in work.blocks:
        parts = [work.rows_of(layer, slice(begin, end)) for layer in (kept or [x])]
        rows = head(parts)
        out = work.store(rows) if out is None else out
        out[begin:end] = rows.cpu()
    assert out is not None
    return out


def _one_layer(step: LayerStep, x: Any, work: _Work) -> Tensor:
    recorded = _collect(step.conv, x, work)
    out = None
    for begin, end in work.blocks:
        nodes, edge_index, per_edge = work.cut(begin, end)
        features = work.rows_of(x, nodes)
        with _replaying(step.conv, recorded, nodes):
            rows = step.conv(features, edge_index, **per_edge)[: end - begin]
        rows = step.then(rows, features[: end - begin])
        out = work.store(rows) if out is None else out
        out[begin:end] = rows.cpu()
        work.bar.update()
    assert out is not None, "a graph has one block at least"
    return out if step.on_all is None else step.on_all(out.to(work.device)).cpu()


# What a layer needs of the in-edges of sources ########################################################


class _Recorded(Exception):
    """Ends a layer's call when what was wanted of it is there."""


def _recorded_step(conv: nn.Module) -> str | None:
    """The method of a layer whose result for *all* nodes of a block takes in-edges of all of them."""
    if isinstance(conv, GCNConv):
        if conv.cached:
            raise ValueError("a layer with cached=True keeps the normalisation of one graph: make it with cached=False")
        return "_scale" if conv.normalize else None
    if isinstance(conv, LCATMixin):
        lambda2 = conv._lambda("lambda2")
        return None if isinstance(lambda2, float) and lambda2 == 0.0 else "_averaged"
    if isinstance(conv, _ONE_HOP):
        return None
    known = ", ".join(sorted({layer.__name__ for layer in _ONE_HOP}))
    raise TypeError(
        f"it is not known how far a {type(conv).__module__}.{type(conv).__name__} looks; layerwise_inference knows the "
        f"layers of lcat.nn, and of PyG {known}: run the model on the whole graph instead"
    )


def _collect(conv: nn.Module, x: Any, work: _Work) -> Tensor | None:
    """That method's result for every node, block by block: rows of a block have all their in-edges in it."""
    name = _recorded_step(conv)
    if name is None:
        return None
    collected = None
    for begin, end in work.blocks:
        nodes, edge_index, per_edge = work.cut(begin, end)
        # The degrees of GCN do not depend on features: no need to fetch them.
        features = work.rows_of(x, nodes) if name == "_averaged" else _no_features(x, nodes, work)
        rows = _record(conv, name, features, edge_index, per_edge)[: end - begin]
        collected = work.store(rows) if collected is None else collected
        collected[begin:end] = rows.cpu()
        work.bar.update()
    return collected


def _no_features(x: Any, nodes: Tensor, work: _Work) -> Tensor:
    return torch.zeros((1, x.shape[1]), dtype=work.dtype, device=work.device).expand(nodes.numel(), -1)


def _record(conv: nn.Module, name: str, features: Tensor, edge_index: Tensor, per_edge: dict[str, Tensor]) -> Tensor:
    method = getattr(conv, name)
    found: list[Tensor] = []

    def recorder(*arguments: Any) -> Tensor:
        found.append(method(*arguments))
        raise _Recorded

    with _standing_in(conv, name, recorder), contextlib.suppress(_Recorded):
        conv(features, edge_index, **per_edge)
    return found[0]


def _replaying(conv: nn.Module, recorded: Tensor | None, nodes: Tensor) -> contextlib.AbstractContextManager[None]:
    """The layer's method answers with what was recorded for these nodes."""
    if recorded is None:
        return contextlib.nullcontext()
    name = _recorded_step(conv)
    assert name is not None
    device = next(conv.parameters()).device
    return _standing_in(conv, name, lambda *arguments: recorded[nodes].to(device))


@contextlib.contextmanager
def _standing_in(conv: nn.Module, name: str, function: Callable[..., Tensor]) -> Iterator[None]:
    conv.__dict__[name] = function
    try:
        yield
    finally:
        del conv.__dict__[name]


# Reading models #######################################################################################


def _steps_of(model: nn.Module) -> list[LayerStep]:
    steps = getattr(model, "layer_steps", None)
    if callable(steps):
        own: list[LayerStep] = steps()
        return own
    if not isinstance(model, BasicGNN):
        raise TypeError(
            f"layerwise_inference takes a model of lcat.nn.models or another BasicGNN, or one with a method "
            f"layer_steps() that returns LayerSteps; got {type(model).__name__}"
        )
    return [_step_of(model, number) for number in range(model.num_layers)]


def _step_of(model: BasicGNN, number: int) -> LayerStep:
    conv, norm, act = model.convs[number], model.norms[number], model.act
    if number == model.num_layers - 1 and model.jk_mode is None:
        return LayerStep(conv)
    before = act if act is not None and model.act_first else nn.Identity()
    after = act if act is not None and not model.act_first else nn.Identity()
    if _is_row_wise(norm):
        return LayerStep(conv, lambda out, x: after(norm(before(out))))
    return LayerStep(conv, lambda out, x: before(out), lambda out: after(norm(out)))


def _is_row_wise(norm: nn.Module) -> bool:
    """Whether a norm in evaluation mode treats each row by itself."""
    if isinstance(norm, _BATCH_NORMS):
        module = getattr(norm, "module", norm)
        return module.running_mean is not None
    if isinstance(norm, pyg_norm.LayerNorm):
        return bool(norm.mode == "node")
    return isinstance(norm, (nn.Identity, nn.LayerNorm))


def _head_of(model: nn.Module) -> Callable[[list[Tensor]], Tensor] | None:
    """What a BasicGNN does after its last layer."""
    if not isinstance(model, BasicGNN):
        return None
    jumping, linear = getattr(model, "jk", None), getattr(model, "lin", None)
    if jumping is None and linear is None:
        return None

    def head(layers: list[Tensor]) -> Tensor:
        x = layers[-1] if jumping is None else jumping(layers)
        return x if linear is None else linear(x)

    return head


def _blocks(graph: CSCGraph, rows: int, edges: int) -> list[tuple[int, int]]:
    """Ranges of nodes with at most so many rows and in-edges, one node at least; one empty range for no nodes."""
    blocks, begin = [], 0
    while begin < graph.num_targets:
        last = min(begin + rows, graph.num_targets)
        ends = graph.pointer[begin + 1 : last + 1]
        fit = int(torch.searchsorted(ends, int(graph.pointer[begin]) + edges, right=True))
        end = begin + max(fit, 1)
        blocks.append((begin, end))
        begin = end
    return blocks or [(0, 0)]
