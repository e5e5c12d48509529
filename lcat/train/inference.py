"""Exact outputs for a whole graph in bounded memory: layer by layer, block of rows by block of rows."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lcat._device import usable_device
from lcat._files import as_path, reserve
from lcat._numbers import read_bool
from lcat.data.storage.csc import CSCGraph
from lcat.train._checks import kind_of
from lcat.train.layer_steps import LayerStep, head_of, keeps_all_layers, source_statistic, steps_of
from lcat.train.ranges import check_ranges, whole

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
    """``model(x, edge_index)`` in evaluation mode, exactly, for graphs that are too large for one call.

    Memory holds the rows of one layer and the edges of one block. Every layer is computed for blocks of consecutive
    nodes, each with all of its in-edges. What a layer must know of the in-edges of *sources*, its
    :class:`~lcat.nn.NeighborhoodStatistic`, is collected in a separate pass before: the degrees for GCN, and for CAT
    and L-CAT the neighborhood averages that enter the scores (2 H numbers per node for v1; for v2 the narrower of input
    and projection). So the result is that of the whole graph at once, up to the rounding of sums in another order.

    Args:
        model: a model of :mod:`lcat.nn.models`, another of PyG's ``BasicGNN`` with layers that look one hop far, or a
            module with a method ``layer_steps()`` that returns a list of :class:`LayerStep`. Your own layers declare
            how far they look, see :class:`~lcat.nn.NeighborhoodStatistic`.
        x: ``[N, F]`` features: a tensor (perhaps memory-mapped, in half precision), or whatever returns rows as a
            tensor when indexed with one and has a ``shape``, such as :class:`lcat.data.FeatureFile`.
        edge_index: the edges in any format, or a :class:`lcat.data.CSCGraph` (perhaps memory-mapped).
        edge_attr: features of the edges, in the input's order, if the model takes them.
        edge_weight: weights of the edges, in the input's order, if the model takes them.
        rows: maximal number of targets per block.
        edges: maximal number of in-edges per block (a node with more in-edges than that is a block).
        device: where blocks are computed; by default the device of the model.
        folder: keep the layers' outputs in files there (deleted in the end) instead of in memory; the result is then
            backed by a file that vanishes with it.
        progress: show a progress bar with the time left on standard error.

    Returns:
        ``[N, C]`` on the CPU.

    Raises:
        TypeError: for a model or layer of which it is not known how far it looks, features that are no tensor, and a
            device that is none.
        ValueError: for layers with ``cached=True``, a ``folder`` that is a file, or sizes that do not fit.

    Complexity:
        The time of L layers, and the linear maps of sources once per block in which they occur. Memory: the rows
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
    check_ranges({"rows": rows, "edges": edges}, {"rows": whole(1), "edges": whole(1)})
    progress = read_bool("progress", progress)
    if isinstance(x, Tensor) and (x.layout != torch.strided or x.is_nested):
        kind = "nested" if x.is_nested else str(x.layout).removeprefix("torch.")
        raise ValueError(f"expected dense features as x, got a {kind} tensor: use x.to_dense()")
    if isinstance(x, np.ndarray) or not hasattr(x, "shape") or len(x.shape) == 0:
        raise TypeError(
            f"expected features in a tensor or a FeatureFile as x, got {kind_of(x)}: use torch.as_tensor(x), which "
            "also reads memory-mapped arrays"
        )
    if len(x.shape) != 2:
        raise ValueError(
            f"expected features [nodes, F] as x, got the shape {list(x.shape)}: call layerwise_inference once for each "
            "set of features"
        )
    for name, values in (("edge_attr", edge_attr), ("edge_weight", edge_weight)):
        if values is not None and (isinstance(values, np.ndarray) or not getattr(values, "shape", ())):
            raise TypeError(
                f"expected one row per edge in a tensor or a FeatureFile as {name}, got {kind_of(values)}: use "
                "torch.as_tensor(...)"
            )
    folder = None if folder is None else as_path("folder", folder)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder as 'folder', got the file {folder}: name a folder, existing or new")
    graph = edge_index if isinstance(edge_index, CSCGraph) else CSCGraph.from_edges(edge_index, x.shape[0])
    if graph.num_targets != x.shape[0] or graph.num_sources != x.shape[0]:
        raise ValueError(f"x has {x.shape[0]} rows and the graph is {graph}; they must agree")
    for name, values in (("edge_attr", edge_attr), ("edge_weight", edge_weight)):
        # A CSCGraph may hold some of the edges that the numbers of its edges refer to.
        if values is not None and graph is not edge_index and values.shape[0] != graph.num_edges:
            raise ValueError(
                f"expected {name} with one row per edge, {graph.num_edges}, got {values.shape[0]} rows: pass them in "
                "the order of edge_index"
            )
    steps = steps_of(model)
    features = x if isinstance(x, Tensor) else torch.empty(0)
    like: Tensor = next(model.parameters(), features)  # without parameters, what the features are
    work = _Work(
        graph,
        blocks=_blocks(graph, rows, edges),
        per_edge={"edge_attr": edge_attr, "edge_weight": edge_weight},
        device=usable_device(device) if device is not None else like.device,
        dtype=like.dtype,
    )
    training = model.training
    model.eval()
    passes = sum(1 + (source_statistic(step.conv) is not None) for step in steps)
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
        *,
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
        """Memory for rows like these for all nodes, or a file that is deleted with the last reference to it."""
        shape = (self.graph.num_targets, *like.shape[1:])
        if self.folder is None or like.numel() == 0:
            return torch.empty(shape, dtype=like.dtype)
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix="layer-", suffix=".bin") as file:
            count = shape[0] * (like.numel() // like.shape[0])
            reserve(Path(file.name), count * like.dtype.itemsize)
            rows: Tensor = torch.from_file(file.name, shared=True, size=count, dtype=like.dtype)
            return rows.view(shape)

    def cut(self, begin: int, end: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """A block: its nodes (targets first), its in-edges as positions among them, what belongs to the edges."""
        first, last = int(self.graph.indptr[begin]), int(self.graph.indptr[end])
        source, position = torch.unique(self.graph.sources_at(slice(first, last)), return_inverse=True)
        is_target = (source >= begin) & (source < end)
        numbers = torch.where(is_target, source - begin, end - begin - 1 + (~is_target).cumsum(0))
        nodes = torch.cat([torch.arange(begin, end), source[~is_target]])
        degree = self.graph.indptr[begin : end + 1].diff()
        targets = torch.arange(end - begin).repeat_interleave(degree, output_size=last - first)
        edge_index = torch.stack([numbers[position], targets])
        edge = self.graph.edge_numbers_at(slice(first, last)) if self.per_edge else slice(first, last)
        if isinstance(edge, Tensor) and edge.numel():
            for name, values in self.per_edge.items():
                if int(edge.max()) >= values.shape[0]:
                    raise IndexError(
                        f"edge_ids of the graph must be rows of {name}, 0 .. {values.shape[0] - 1}; "
                        f"got {int(edge.max())}"
                    )
        per_edge = {name: self.rows_of(values, edge) for name, values in self.per_edge.items()}
        return nodes, edge_index.to(self.device), per_edge


def _all_layers(model: nn.Module, steps: list[LayerStep], x: Any, work: _Work) -> Tensor:
    keeps_all = keeps_all_layers(model)
    outputs = []
    for step in steps:
        x = _one_layer(step, x, work)
        if keeps_all:
            outputs.append(x)
    head = head_of(model)
    if head is None:
        rows: Tensor = x
        return rows
    out = None
    for begin, end in work.blocks:
        parts = [work.rows_of(layer, slice(begin, end)) for layer in (outputs or [x])]
        rows = _rows(f"what {type(model).__name__} does after its last layer", head(parts), end - begin)
        out = work.store(rows) if out is None else out
        out[begin:end] = rows.cpu()
    assert out is not None
    return out


class _Input:
    """The input of a layer of a model, and what the layer itself gets: that, or what the model makes of it before."""

    def __init__(self, step: LayerStep, x: Any, work: _Work) -> None:
        self._step, self._x, self._work = step, x, work
        self._ready: Tensor | None = None
        if step.before_on_all is not None:
            count = work.graph.num_targets
            rows = step.before_on_all(work.rows_of(x, slice(0, count)))
            self._ready = _rows(f"'before_on_all' of the LayerStep of {type(step.conv).__name__}", rows, count).cpu()

    def of_layer(self, nodes: Any) -> Tensor:
        """The rows that the layer gets."""
        if self._ready is not None:
            return self._work.rows_of(self._ready, nodes)
        rows = self._work.rows_of(self._x, nodes)
        if self._step.before is None:
            return rows
        what = f"'before' of the LayerStep of {type(self._step.conv).__name__}"
        return _rows(what, self._step.before(rows), rows.shape[0])

    def of_model(self, nodes: Tensor, of_layer: Tensor) -> Tensor:
        """The rows as they were, for ``then``: the first ones of the layer, if they are the same."""
        is_same = self._ready is None and self._step.before is None
        return of_layer[: nodes.numel()] if is_same else self._work.rows_of(self._x, nodes)

    def zeros(self, nodes: Tensor) -> Tensor:
        """In the shape of what the layer gets."""
        if self._ready is None and self._step.before is None:
            width = self._x.shape[1]
        else:
            width = self.of_layer(slice(0, 1)).shape[1]
        row = torch.zeros((1, width), dtype=self._work.dtype, device=self._work.device)
        return row.expand(nodes.numel(), -1)


def _one_layer(step: LayerStep, x: Any, work: _Work) -> Tensor:
    inputs = _Input(step, x, work)
    statistic = _collect(step.conv, inputs, work)
    out = None
    for begin, end in work.blocks:
        nodes, edge_index, per_edge = work.cut(begin, end)
        features = inputs.of_layer(nodes)
        of_sources = {} if statistic is None else {"statistic": statistic[nodes].to(work.device)}
        computed = step.conv(features, edge_index, **per_edge, **of_sources)
        computed = _rows(f"the layer {type(step.conv).__name__}", computed, nodes.numel())
        rows = step.then(computed[: end - begin], inputs.of_model(nodes[: end - begin], features))
        rows = _rows(f"'then' of the LayerStep of {type(step.conv).__name__}", rows, end - begin)
        out = work.store(rows) if out is None else out
        out[begin:end] = rows.cpu()
        work.bar.update()
    assert out is not None, "a graph has at least one block"
    return out if step.on_all is None else step.on_all(out.to(work.device)).cpu()


def _collect(conv: nn.Module, inputs: _Input, work: _Work) -> Tensor | None:
    """The statistic of all nodes, if the layer needs one: every node is a target once, with all of its in-edges."""
    layer = source_statistic(conv)
    if layer is None:
        return None
    if conv._forward_pre_hooks:
        # Some compute the weights (pruning, weight_norm): a call on no nodes runs them before the statistic.
        nodes, edge_index, per_edge = work.cut(0, 0)
        conv(inputs.of_layer(nodes), edge_index, **per_edge)
    collected = None
    for begin, end in work.blocks:
        nodes, edge_index, per_edge = work.cut(begin, end)
        reads_features = layer.statistic_depends_on == "features"
        features = inputs.of_layer(nodes) if reads_features else inputs.zeros(nodes)
        statistic = layer.neighborhood_statistic(features, edge_index, **per_edge)
        if statistic is None:
            raise ValueError(
                f"'neighborhood_statistic' of {type(conv).__name__} returned None for a block of {nodes.numel()} "
                f"nodes; expected one row per node (or declare statistic_depends_on = None)"
            )
        statistic = _rows(f"'neighborhood_statistic' of {type(conv).__name__}", statistic, nodes.numel())
        rows = statistic[: end - begin]
        collected = work.store(rows) if collected is None else collected
        collected[begin:end] = rows.cpu()
        work.bar.update()
    return collected


def _rows(what: str, returned: Any, count: int) -> Tensor:
    """What a user's layer returned for a block: a tensor with one row per node."""
    if not isinstance(returned, Tensor):
        raise TypeError(
            f"{what} returned an object of type {type(returned).__name__} for a block of {count} nodes; expected a "
            f"tensor with one row per node"
        )
    if returned.dim() == 0 or returned.shape[0] != count:
        raise ValueError(
            f"{what} returned shape {list(returned.shape)} for a block of {count} nodes; expected one row per node"
        )
    return returned


def _blocks(graph: CSCGraph, rows: int, edges: int) -> list[tuple[int, int]]:
    """Ranges of at least one node with at most so many rows and in-edges; one empty range for no nodes."""
    blocks, begin = [], 0
    while begin < graph.num_targets:
        last = min(begin + rows, graph.num_targets)
        ends = graph.indptr[begin + 1 : last + 1]
        count = int(torch.searchsorted(ends, int(graph.indptr[begin]) + edges, right=True))
        end = begin + max(count, 1)
        blocks.append((begin, end))
        begin = end
    return blocks or [(0, 0)]
