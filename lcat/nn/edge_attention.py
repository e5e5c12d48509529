"""Attention where the user looks for it: at the edges of the input, and in all layers of a model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["attention_of_edges"]


def attention_of_edges(edge_index: Tensor, attention: tuple[Tensor, Tensor]) -> Tensor:
    """The attention of each edge of the input, in the order of the input.

    ``layer(x, edge_index, return_attention_weights=True)`` returns the edges that the layer used, which are others than
    those of the input where the layer adds self-loops: the input's without its self-loops, and then one loop per node.
    This puts the weights back to the edges where they belong.

    Args:
        edge_index: ``[2, E]``, what the layer got.
        attention: ``(edges, alpha)``, what the layer returned beside its output: ``[2, E']`` and ``[E', H]``, or
            ``[B, E', H]`` for a static graph. Layers of PyG return the same.

    Returns:
        ``[E, H]`` or ``[B, E, H]``. A self-loop of the input has the attention of the loop that took its place; loops
        that the layer added to other nodes are left out.

    Raises:
        TypeError: ``edge_index`` is no tensor, or ``attention`` no pair of tensors; node numbers are no integers.
        ValueError: ``edge_index`` has another shape, or the attention is that of other edges.

    Complexity:
        O(E H).

    Example:
        >>> import torch
        >>> from lcat.nn import GATConv, attention_of_edges
        >>> edge_index = torch.tensor([[0, 1, 1, 2], [1, 1, 2, 0]])
        >>> out, attention = GATConv(8, 4, heads=2)(
        ...     torch.randn(3, 8), edge_index, return_attention_weights=True
        ... )
        >>> attention[1].shape, attention_of_edges(edge_index, attention).shape
        (torch.Size([6, 2]), torch.Size([4, 2]))
    """
    if not isinstance(edge_index, Tensor) or edge_index.layout is not torch.strided or edge_index.dim() != 2:
        raise TypeError(
            f"'edge_index' is of type {type(edge_index).__name__}; attention_of_edges takes a tensor of shape [2, E], "
            f"and layers that got one"
        )
    if edge_index.shape[0] != 2:
        swapped = ": transpose it with .t()" if edge_index.shape[1] == 2 else ""
        raise ValueError(f"'edge_index' has shape {list(edge_index.shape)}; it takes [2, E]{swapped}")
    _check_whole("'edge_index' is", edge_index)
    is_pair = isinstance(attention, (tuple, list)) and len(attention) == 2
    if not is_pair or not all(isinstance(part, Tensor) and part.layout is torch.strided for part in attention):
        raise TypeError(
            "'attention' is no pair of tensors; it takes (edges, alpha), the second of what a layer returns with "
            "return_attention_weights=True for an edge_index of shape [2, E]"
        )
    edges, alpha = attention
    _check_whole("'attention' has edges", edges)
    source, target = edge_index.as_subclass(Tensor).long()
    edges = edges.as_subclass(Tensor).long()
    if alpha.dim() < 2 or edges.dim() != 2 or alpha.shape[-2] != edges.shape[1]:
        raise ValueError(
            f"'attention' has edges of shape {list(edges.shape)} and alpha of shape {list(alpha.shape)}; it takes "
            f"[2, E'] and [E', H], as a layer returns them"
        )
    if edges.shape[1] == source.shape[0] and torch.equal(edges, torch.stack([source, target])):
        return alpha
    is_edge = source != target
    num_edges = int(is_edge.sum())
    num_loops = edges.shape[1] - num_edges
    expected = torch.arange(max(num_loops, 0), device=edges.device).expand(2, -1)
    without_loops = torch.stack([source[is_edge], target[is_edge]])
    if num_loops < 0 or not torch.equal(edges, torch.cat([without_loops, expected], dim=1)):
        raise ValueError(
            f"'attention' is that of {edges.shape[1]} edges that are not those of 'edge_index', {source.shape[0]} "
            f"edges, nor these with one self-loop per node: pass the edge_index that the layer got"
        )
    row = torch.empty_like(source)
    row[is_edge] = torch.arange(num_edges, device=row.device)
    row[~is_edge] = num_edges + source[~is_edge]
    # In a bipartite graph the layer has as many loops as the smaller kind has nodes.
    missing = row >= edges.shape[1]
    selected = alpha.index_select(-2, row.masked_fill(missing, 0))
    return selected.masked_fill(missing.unsqueeze(-1), 0.0)


def _check_whole(name: str, edges: Tensor) -> None:
    """Raise a TypeError for node numbers of another type: rounded, they would be those of other nodes."""
    if edges.is_floating_point() or edges.is_complex() or edges.dtype == torch.bool:
        raise TypeError(f"{name} of dtype {edges.dtype}; node numbers are integers: convert them with .long()")


class _Recording(nn.Module):
    """Stands for a layer in one call of a model."""

    def __init__(self, conv: nn.Module, seen: list[Any]) -> None:
        super().__init__()
        self.conv = conv
        self.seen = seen

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        out: Tensor
        out, *attention = self.conv(*args, **kwargs, return_attention_weights=True)
        self.seen.append(attention[0])
        return out


@torch.compiler.disable  # Dynamo cannot trace modules that are made in a call
def call_with_attention(model: nn.Module, *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
    """``model.forward(...)`` and what each of ``model.convs`` returned as its attention, in order.

    A copy of the model that shares all of its parts runs, so that nothing is changed, also for other threads. In a
    compiled model it runs eagerly.
    """
    seen: list[Any] = []
    recording = copy.copy(model)
    layers = [_Recording(conv, seen) for conv in model.convs]  # type: ignore[union-attr]
    convs = nn.ModuleList([layer.train(layer.conv.training) for layer in layers])
    recording.__dict__["_modules"] = {**model._modules, "convs": convs}
    return recording.forward(*args, **kwargs), seen
