"""Exact outputs for a whole graph in bounded memory: layer by layer, block of rows by block of rows."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lcat.data.storage.csc import CSCGraph
from lcat.train._recording import far_method, record, replaying, takes_features
from lcat.train.layer_steps import LayerStep, head_of, steps_of

__all__ = ["layerwise_inference"]


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
    the neighborhood averages that enter the scores (2 H numbers a node for v1; for v2 the narrower of input and
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
    steps = steps_of(model)
    parameter = next(model.parameters())
    work = _Work(
        graph, _blocks(graph, rows, edges), {"edge_attr": edge_attr, "edge_weight": edge_weight},
        torch.device(device) if device is not None else parameter.device, parameter.dtype,
    )  # fmt: skip
    training = model.training
    model.eval()
    passes = sum(1 + (far_method(step.conv) is not None) for step in steps)
    with contextlib.ExitStack() as stack:
        stack.callback(model.train, training)
        work.bar = stack.enter_context(
            tqdm(total=passes * len(work.blocks), desc="inference", unit="block", disable=not progress, leave=False)
        )
        work.folder = None if folder is None else Path(folder)
        return _all_layers(model, steps, x, work)


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
    head = head_of(model)
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
        with replaying(step.conv, recorded, nodes):
            rows = step.conv(features, edge_index, **per_edge)[: end - begin]
        rows = step.then(rows, features[: end - begin])
        out = work.store(rows) if out is None else out
        out[begin:end] = rows.cpu()
        work.bar.update()
    assert out is not None, "a graph has one block at least"
    return out if step.on_all is None else step.on_all(out.to(work.device)).cpu()


def _collect(conv: nn.Module, x: Any, work: _Work) -> Tensor | None:
    """What a layer needs of the in-edges of sources: every node is a target once, in a block with its in-edges."""
    name = far_method(conv)
    if name is None:
        return None
    collected = None
    for begin, end in work.blocks:
        nodes, edge_index, per_edge = work.cut(begin, end)
        features = work.rows_of(x, nodes) if takes_features(name) else _no_features(x, nodes, work)
        rows = record(conv, name, features, edge_index, per_edge)[: end - begin]
        collected = work.store(rows) if collected is None else collected
        collected[begin:end] = rows.cpu()
        work.bar.update()
    return collected


def _no_features(x: Any, nodes: Tensor, work: _Work) -> Tensor:
    return torch.zeros((1, x.shape[1]), dtype=work.dtype, device=work.device).expand(nodes.numel(), -1)


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
