"""dot_attention on GPUs: one pass over the edges forward, two backward, nothing of size E H F in between.

Forward goes along the in-edges of each target with an online softmax and keeps only its results and its
log-sum-exp. Backward goes once along the in-edges (gradients of the queries and of per-edge tensors) and once along
the out-edges (gradients of keys and values), recomputing scores from rows that it gathers anyway; no atomics, so
results are the same bits on every run. The interface is described in :mod:`lcat.ops._fused`, the kernels are in
:mod:`lcat.ops._dot_attention.triton_kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dot_attention.triton_kernels import forward_kernel, source_kernel, target_kernel
from lcat.ops._dtypes import compute_dtype, result_dtype
from lcat.ops._triton.dropout import dropout_arguments
from lcat.ops._triton.launch import accumulator, blocks, launch, padded, tile_shape
from lcat.ops._triton.schedule import Schedule, schedule_of
from lcat.ops._triton.tiles import merge_softmax_parts, parts_like, schedule_arguments, sum_parts

__all__ = ["backward", "forward"]


def forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_attr: Tensor | None,
    query_edge: Tensor | None,
    edge_weight: Tensor | None,
    by_target: SortedEdges,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    keep_unrounded: bool,
) -> tuple[Tensor | None, ...]:
    """The attention of the Transformer: ``(out, attended, lse, unrounded, unrounded_attended)``.

    Complexity:
        O(E H (F + D)) time; O(N H (F + D)) memory.
    """
    tensors = (query, key, value, edge_attr, query_edge, edge_weight)
    dtype, out_dtype = compute_dtype(*tensors), result_dtype(*tensors)
    out, lse = _empty(query, out_dtype), torch.empty(query.shape[:2], dtype=dtype, device=query.device)
    keep = keep_unrounded and out_dtype is not dtype
    unrounded = _empty(query, dtype) if keep else None
    attended = unrounded_attended = None
    if query_edge is not None:
        attended, unrounded_attended = _empty(query_edge, out_dtype), _empty(query_edge, dtype) if keep else None
    if out.numel() == 0:
        return out, attended, lse.zero_(), unrounded, unrounded_attended
    tile, tile_arguments = _tile("dot_forward", query, edge_attr, dtype)
    schedule = schedule_of(by_target, tile.rows)
    part_out, part_lse = parts_like(out, schedule, dtype), parts_like(lse, schedule)
    part_attended = parts_like(attended, schedule, dtype)
    launch(
        forward_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        OUT=out,
        ATTENDED=attended,
        UNROUNDED=unrounded,
        UNROUNDED_ATTENDED=unrounded_attended,
        LSE=lse,
        PART_OUT=part_out,
        PART_ATTENDED=part_attended,
        PART_LSE=part_lse,
        **tile_arguments,
        **_inputs(tensors, scale, dropout, seed),
        **_edges(by_target, schedule, edge_attr, edge_weight, dropout),
    )
    merge_softmax_parts(part_lse, lse, part_out, out, schedule, unrounded=unrounded)
    if attended is not None and attended.numel() > 0:  # of another width: a launch of its own
        merge_softmax_parts(part_lse, lse, part_attended, attended, schedule, unrounded=unrounded_attended)
    return out, attended, lse, unrounded, unrounded_attended


def backward(
    grad: Tensor,
    grad_attended: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    edge_attr: Tensor | None,
    query_edge: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    attended: Tensor | None,
    lse: Tensor,
    by_target: SortedEdges,
    by_source: SortedEdges,
    scale: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of all inputs in their order, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H (F + D)) time; O(N H (F + D)) memory and the gradients themselves.
    """
    tensors = (query, key, value, edge_attr, query_edge, edge_weight)
    need = [n and x is not None for n, x in zip(needs, tensors, strict=True)]
    if out.numel() == 0 or key.numel() == 0:
        return tuple(torch.zeros_like(x) if n and x is not None else None for n, x in zip(need, tensors, strict=True))
    if query_edge is not None and grad_attended is None:
        grad_attended = torch.zeros_like(query_edge)
    both = {"GRAD": grad, "GRAD_ATTENDED": grad_attended, **_inputs(tensors, scale, dropout, seed)}
    heads, dtype = query.shape[1], out.dtype
    factory: dict[str, Any] = {"dtype": dtype, "device": out.device}

    tile, tile_arguments = _tile("dot_target", query, edge_attr, dtype)
    schedule = schedule_of(by_target, tile.rows)
    num_edges = by_target.indices.shape[0]
    state = torch.empty(query.shape[0], 2, heads, **factory)
    d_query, d_query_edge = torch.empty_like(query), None if query_edge is None else torch.empty_like(query_edge)
    part_dq, part_du = parts_like(d_query, schedule, dtype), parts_like(d_query_edge, schedule, dtype)
    # Zeros, because no program visits dead edges; a block of heads writes its own share of a sum over heads.
    d_edge_attr = d_edge_weight = None
    if need[3] and edge_attr is not None:
        d_edge_attr = torch.zeros(tile.head_blocks, *edge_attr.shape, **factory)
    if need[5]:
        d_edge_weight = torch.zeros(tile.head_blocks, num_edges, **factory)
    launch(
        target_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        OUT=out,
        ATTENDED=attended if edge_attr is not None else None,
        LSE=lse,
        STATE=state,
        DQ=d_query,
        PART_DQ=part_dq,
        DU=d_query_edge,
        PART_DU=part_du,
        D_EDGE_ATTR=d_edge_attr,
        D_EDGE_WEIGHT=d_edge_weight,
        num_edges=num_edges,
        **tile_arguments,
        **both,
        **_edges(by_target, schedule, edge_attr, edge_weight, dropout),
    )
    sum_parts([(part_dq, d_query), (part_du, d_query_edge)], schedule)

    d_key = d_value = None
    if need[1] or need[2]:
        tile, tile_arguments = _tile("dot_source", query, edge_attr, dtype)
        schedule = schedule_of(by_source, tile.rows)
        d_key, d_value = (torch.empty_like(x) if n else None for n, x in ((need[1], key), (need[2], value)))
        part_dk, part_dv = parts_like(d_key, schedule, dtype), parts_like(d_value, schedule, dtype)
        launch(
            source_kernel,
            (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
            tile.warps,
            STATE=state,
            DK=d_key,
            DV=d_value,
            PART_DK=part_dk,
            PART_DV=part_dv,
            **tile_arguments,
            **both,
            **_edges(by_source, schedule, edge_attr, edge_weight, dropout),
        )
        sum_parts([(part_dk, d_key), (part_dv, d_value)], schedule)

    if d_edge_attr is not None and edge_attr is not None:
        d_edge_attr = d_edge_attr.sum(0).to(edge_attr.dtype)
    if d_edge_weight is not None and edge_weight is not None:
        d_edge_weight = d_edge_weight.sum(0).to(edge_weight.dtype)
    made = (d_query, d_key, d_value, d_edge_attr, d_query_edge, d_edge_weight)
    return tuple(x if n else None for n, x in zip(need, made, strict=True))


def _empty(like: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(like.shape, dtype=dtype, device=like.device)


def _tile(kernel: str, query: Tensor, edge_attr: Tensor | None, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """The tile of a kernel, and the arguments that state it."""
    heads, features = query.shape[1:]
    components = 0 if edge_attr is None else edge_attr.shape[1]
    tile = tile_shape(kernel, heads, max(features, components), dtype)
    return tile, {
        "BLOCK_ROWS": tile.rows,
        "BLOCK_EDGES": tile.edges,
        "BLOCK_HEADS": tile.heads,
        "BLOCK_FEATURES": padded(features),
        "BLOCK_COMPONENTS": padded(components),
    }


def _edges(
    edges: SortedEdges, schedule: Schedule, edge_attr: Tensor | None, edge_weight: Tensor | None, dropout: float
) -> dict[str, Any]:
    """The arguments by which a kernel walks over the edges, with their numbers where there are per-edge tensors."""
    return schedule_arguments(edges, schedule, edge_attr is not None or edge_weight is not None or dropout > 0)


def _inputs(tensors: Sequence[Any], scale: float, dropout: float, seed: Tensor | None) -> dict[str, Any]:
    """The arguments that forward and both backward passes share."""
    query, _, _, edge_attr, _, _ = tensors
    return {
        **dict(zip(("Q", "K", "V", "EDGE_ATTR", "U", "EDGE_WEIGHT"), tensors, strict=True)),
        "SCALE": scale,
        "H": query.shape[1],
        "F": query.shape[2],
        "D": 0 if edge_attr is None else edge_attr.shape[1],
        "ACC_DTYPE": accumulator(compute_dtype(*tensors)),
        **dropout_arguments(dropout, seed),
    }
