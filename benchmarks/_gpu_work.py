"""What is measured on GPUs: graphs, steps of operators and layers, and the bytes that they must move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch_geometric.nn as pyg
from torch import Tensor

import lcat.nn
import lcat.ops
from lcat.graph import Graph, graph_view

__all__ = [
    "GRAPHS",
    "PRIMITIVES",
    "Shape",
    "bytes_moved",
    "difference",
    "layer_pairs",
    "layer_step",
    "operator_step",
    "primitives_of",
    "skewed_edges",
    "sparse_step",
    "view_of",
]

#: Nodes and edges. The icosphere is the graph "h_to_h" of https://github.com/ecmwf/anemoi-core/pull/631 (refinement 6,
#: edges of all levels); the last two have the sizes of data sets of GraphLand (arXiv 2409.14500).
GRAPHS: dict[str, tuple[int, int]] = {
    "20k": (20_000, 400_000),
    "170k": (170_000, 1_200_000),
    "icosphere": (40_962, 327_660),
    "twitch-views": (168_114, 6_797_557),
    "hm-prices": (46_563, 10_730_995),
}
PRIMITIVES = ("aggregate", "gat_attention", "gatv2_attention", "dot_attention", "maximum")
_WITHOUT_DROPOUT = ("aggregate", "maximum")


@dataclass(frozen=True)
class Shape:
    """Heads, features per head, type and attention dropout of one measurement."""

    heads: int
    features: int
    dtype: torch.dtype = torch.float32
    dropout: float = 0.0

    def facts(self) -> dict[str, Any]:
        """For a row of results."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {"heads": self.heads, "features": self.features, "dtype": dtype, "dropout": self.dropout}


def primitives_of(shape: Shape) -> list[str]:
    """Those that have what the shape asks for: sums and maxima have no dropout."""
    return [name for name in PRIMITIVES if not (shape.dropout and name in _WITHOUT_DROPOUT)]


def skewed_edges(nodes: int, edges: int, device: torch.device, seed: int = 0) -> Tensor:
    """``[2, E]``: degrees with a heavy tail (a few hubs), endpoints independent, unsorted. Made on the device."""
    generator = torch.Generator(device=device).manual_seed(seed)
    rows = []
    for _ in range(2):
        ends = torch.rand(edges, generator=generator, device=device, dtype=torch.float64).square_().mul_(nodes).long()
        rows.append(torch.randperm(nodes, generator=generator, device=device)[ends.clamp_(max=nodes - 1)])
    return torch.stack(rows)


def view_of(nodes: int, edges: int, device: torch.device) -> Graph:
    """A graph of :func:`skewed_edges`."""
    return graph_view(skewed_edges(nodes, edges, device), nodes, nodes)[0]


def bytes_moved(primitive: str, nodes: int, edges: int, shape: Shape) -> int:
    """What forward and backward must move if every gather comes from memory; indices of 4 bytes, true types.

    A gathered row has the input's type, and so have the output and its gradient. Normalizers are float32, and so is
    what the backward pass gets: the output before it was rounded, which is a second node tensor where the input is not
    float32. Numbers per node and head are left out.

    - aggregate: one row per edge and direction. Nodes: the output, and the gradient of the input.
    - gat_attention: one row per edge in the forward pass (the value) and one in the backward pass (the gradient).
      Nodes: the output, its gradient, the value and its gradient; in float32 the kept output and the part from edges
      with a positive score, written and read.
    - gatv2_attention: four rows per edge: the key, the key again in the pass by targets, query and gradient in the
      pass by sources. Nodes: the output, its gradient, the query twice and its gradient, the key and its gradient; in
      float32 the kept output.
    - dot_attention: six rows per edge: key and value, both again in the pass by targets, query and gradient in the
      pass by sources. Nodes: the output, its gradient, the query twice, key and value, and their three gradients; in
      float32 the kept output.
    - maximum: one row per edge in the forward pass, two in the backward pass (the maximum and the share of its
      gradient). Nodes: the output, its gradient, the input and its gradient; in float32 the kept maximum, how many
      edges reach it, and the share, written and read.
    """
    size = shape.dtype.itemsize
    row = shape.heads * shape.features * size
    row32 = shape.heads * shape.features * 4
    saved = row32 if size == 4 else 2 * row32  # read, and written if it is not the output itself
    if primitive == "aggregate":
        return 2 * edges * (row + 4) + 2 * nodes * row
    if primitive == "gat_attention":
        # per edge: score of the source, then state (score, normalizer, <grad, out>) of the target
        per_edge = 2 * (row + 4) + 16 * shape.heads
        return edges * per_edge + nodes * (4 * row + saved + 2 * row32)
    if primitive == "maximum":
        return edges * (row + row32 + max(row, row32) + 8) + nodes * (4 * row + saved + 4 * row32)
    rows_per_edge, rows_per_node = (6, 9) if primitive == "dot_attention" else (4, 7)
    per_edge = rows_per_edge * row + 12 + 8 * shape.heads
    return edges * per_edge + nodes * (rows_per_node * row + saved)


def operator_step(
    primitive: str, graph: Graph, shape: Shape, computed_in: torch.dtype | None = None
) -> Callable[[], list[Tensor]]:
    """One primitive, forward and backward: a call that returns its output and all gradients.

    Inputs are those of a layer: with bfloat16 everything is bfloat16, scores too. ``computed_in`` is another type for
    the same numbers.
    """
    device, nodes = graph.device, graph.num_targets
    generator = torch.Generator(device=device).manual_seed(1)

    def normal(*size: int) -> Tensor:
        x = torch.randn(size, generator=generator, device=device).to(shape.dtype)
        return x if computed_in is None else x.to(computed_in)

    x, query, grad = (normal(nodes, shape.heads, shape.features) for _ in range(3))
    if primitive == "aggregate":
        return _step(lambda x: lcat.ops.aggregate(x, graph), [x], grad)
    if primitive == "maximum":
        return _step(lambda x: lcat.ops.aggregate(x, graph, reduce="max"), [x], grad)
    if primitive == "dot_attention":
        scale = shape.features**-0.5
        return _step(
            lambda query, key, value: lcat.ops.dot_attention(
                query, key, value, graph, scale=scale, dropout=shape.dropout
            ),
            [query, x, normal(nodes, shape.heads, shape.features)],
            grad,
        )
    if primitive == "gat_attention":
        scores = [normal(nodes, shape.heads) for _ in range(2)]
        return _step(
            lambda source, target, x: lcat.ops.gat_attention(source, target, x, graph, dropout=shape.dropout),
            [*scores, x],
            grad,
        )
    return _step(
        lambda key, query, att: lcat.ops.gatv2_attention(key, query, key, att, graph, dropout=shape.dropout),
        [x, query, normal(shape.heads, shape.features)],
        grad,
    )


def _step(function: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> Callable[[], list[Tensor]]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]

    def step() -> list[Tensor]:
        out = function(*leaves)
        return [out.detach(), *torch.autograd.grad(out, leaves, grad)]

    return step


def layer_pairs(
    in_channels: int, shape: Shape, negative_slope: float = 0.2
) -> dict[str, tuple[torch.nn.Module, torch.nn.Module | None]]:
    """Ours and PyG's with the same weights, by name; ``None`` where PyG has no such layer."""
    width = shape.heads * shape.features
    options: dict[str, Any] = {"heads": shape.heads, "dropout": shape.dropout, "negative_slope": negative_slope}
    pairs: dict[str, tuple[torch.nn.Module, torch.nn.Module | None]] = {
        "GCNConv": (lcat.nn.GCNConv(in_channels, width), pyg.GCNConv(in_channels, width)),
        "GATConv": (
            lcat.nn.GATConv(in_channels, shape.features, **options),
            pyg.GATConv(in_channels, shape.features, **options),
        ),
        "GATv2Conv": (
            lcat.nn.GATv2Conv(in_channels, shape.features, **options),
            pyg.GATv2Conv(in_channels, shape.features, **options),
        ),
        "LCATConv": (lcat.nn.LCATConv(in_channels, shape.features, **options), None),
        "LCATv2Conv": (lcat.nn.LCATv2Conv(in_channels, shape.features, **options), None),
    }
    for ours, theirs in pairs.values():
        if theirs is not None:
            theirs.load_state_dict(ours.state_dict())
    return pairs


def layer_step(layer: Any, x: Tensor, edge_index: Tensor, grad: Tensor) -> Callable[[], list[Tensor]]:
    """One layer, forward and backward: a call that returns its output and the gradients of input and weights."""
    x = x.detach().clone().requires_grad_()
    leaves = [x, *layer.parameters()]

    def step() -> list[Tensor]:
        out = layer(x, edge_index)
        return [out.detach(), *torch.autograd.grad(out, leaves, grad, allow_unused=True, materialize_grads=True)]

    return step


def sparse_step(edge_index: Tensor, x: Tensor, grad: Tensor) -> Callable[[], list[Tensor]]:
    """The product with the adjacency matrix and with its transpose: what a GCN does between its linear maps."""
    nodes = x.shape[0]
    ones = torch.ones(edge_index.shape[1], device=x.device, dtype=x.dtype)
    forward = torch.sparse_coo_tensor(edge_index.flip(0), ones, (nodes, nodes)).coalesce().to_sparse_csr()
    backward = torch.sparse_coo_tensor(edge_index, ones, (nodes, nodes)).coalesce().to_sparse_csr()
    return lambda: [forward @ x, backward @ grad]


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference of a number, relative to the largest number of its tensor; infinite with NaN.

    A tensor of numbers that cancel (the gradient of a bias before a softmax) is measured by a hundredth of the largest
    number of all tensors.
    """
    smallest_scale = max([1e-4, *(float(b.abs().max()) for b in theirs if b.numel())]) / 100
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        scale = max(float(b.double().abs().max()), smallest_scale) if b.numel() else 1.0
        value = float((a.double() - b.double()).abs().max()) / scale if b.numel() else 0.0
        worst = max(worst, value if value == value else float("inf"))
    return worst
