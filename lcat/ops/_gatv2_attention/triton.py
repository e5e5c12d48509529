"""gatv2_attention on GPUs: one pass over the edges forward, two backward, nothing of size E H F in between.

Forward goes along the in-edges of each target with an online softmax and keeps only its result and its
log-sum-exp. Backward goes once along the in-edges (gradients of the queries, att and per-edge tensors) and once along
the out-edges (gradients of keys and values), recomputing scores from rows that it gathers anyway; no atomics, so
results are the same bits on every run. The interface is described in :mod:`lcat.ops._fused`, the kernels are in
:mod:`lcat.ops._gatv2_attention.triton_kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._dtypes import compute_dtype, result_dtype
from lcat.ops._gatv2_attention.triton_kernels import forward_kernel, matrix_kernel, source_kernel, target_kernel
from lcat.ops._triton.dropout import dropout_arguments
from lcat.ops._triton.launch import accumulator, blocks, launch, padded, tile_shape
from lcat.ops._triton.schedule import schedule_of
from lcat.ops._triton.tiles import merge_softmax_parts, parts_like, schedule_arguments, sum_parts

__all__ = ["backward", "forward"]

# Programs of the pass that sums the gradient of att (or edge_matrix): enough to fill any GPU with several waves,
# and the same number on every GPU, so that the order of that sum does not depend on the machine.
_PROGRAMS = 4096
_MATRIX_PROGRAMS = 1024
_MATRIX_COMPONENTS = 4  # of edge_attr that one program of that pass takes at once

# Registers per thread (see launch): all of them where there are edge attributes; in the pass along the in-edges what
# the widest rows need, several rows side by side, and rows that are not read in pieces of 16 bytes. No limit elsewhere:
# the assembler would use all it may and leave room for fewer warps.
_ALL_REGISTERS = 255
_WIDE_REGISTERS = 184


def forward(
    key: Tensor,
    query: Tensor,
    value: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    by_target: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    keep_unrounded: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Attention with GATv2's score: ``(out, lse, unrounded)``, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time (times D for edge attributes); O(N H F) memory.
    """
    _, heads, features = key.shape
    dtype = compute_dtype(key, query, value, att, edge_attr, edge_matrix, edge_weight)
    out_dtype = result_dtype(key, query, value, att, edge_attr, edge_matrix, edge_weight)
    out = torch.empty(query.shape, dtype=out_dtype, device=key.device)
    lse = torch.empty(query.shape[:2], dtype=dtype, device=key.device)
    unrounded = None
    if keep_unrounded and out_dtype is not dtype:
        unrounded = torch.empty(query.shape, dtype=dtype, device=key.device)
    if out.numel() == 0:
        return out, lse.zero_(), unrounded
    tile = tile_shape("gatv2_forward", heads, features, dtype)
    schedule = schedule_of(by_target, tile.rows)
    part_out, part_lse = parts_like(out, schedule, dtype), parts_like(lse, schedule)
    launch(
        forward_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        registers=_registers(edge_attr),
        OUT=out,
        UNROUNDED=unrounded,
        LSE=lse,
        PART_OUT=part_out,
        PART_LSE=part_lse,
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        **_inputs(key, query, value, att, edge_attr, edge_matrix, edge_weight, slope, dropout, seed),
        **schedule_arguments(by_target, schedule, _per_edge(edge_attr, edge_weight, dropout)),
    )
    merge_softmax_parts(part_lse, lse, part_out, out, schedule, unrounded=unrounded)
    return out, lse, unrounded


def backward(
    grad: Tensor,
    key: Tensor,
    query: Tensor,
    value: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    by_target: SortedEdges,
    by_source: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of all inputs in their order, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time (times D for edge attributes); O(N H F) memory and the gradients themselves; the gradient
        of ``edge_matrix`` takes O(E H) memory more.
    """
    arguments = (key, query, value, att, edge_attr, edge_matrix, edge_weight)
    need = [n and x is not None for n, x in zip(needs, arguments, strict=True)]
    if out.numel() == 0 or key.numel() == 0:
        return tuple(torch.zeros_like(x) if n and x is not None else None for n, x in zip(need, arguments, strict=True))
    inputs = _inputs(key, query, value, att, edge_attr, edge_matrix, edge_weight, slope, dropout, seed)
    per_edge = _per_edge(edge_attr, edge_weight, dropout)
    state, d_query, d_att, d_edge_attr, d_edge_matrix, d_edge_weight = _target_pass(
        grad, query, att, edge_attr, edge_matrix, edge_weight, out, lse, by_target, inputs, per_edge, need
    )
    d_key = d_value = None
    if need[0] or need[2]:
        d_key, d_value = _source_pass(grad, key, value, state, by_source, inputs, per_edge)
    made = (d_key, d_query, d_value, d_att, d_edge_attr, d_edge_matrix, d_edge_weight)
    return tuple(x if n else None for n, x in zip(need, made, strict=True))


def _target_pass(
    grad: Tensor,
    query: Tensor,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    by_target: SortedEdges,
    inputs: dict[str, Any],
    per_edge: bool,
    need: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Along the in-edges: ``(state [N_target, 2, H], dq, datt, d_edge_attr, d_edge_matrix, d_edge_weight)``."""
    num_targets, heads, features = query.shape
    tile = tile_shape("gatv2_target", heads, features, out.dtype)
    schedule = schedule_of(by_target, tile.rows)
    groups, num_edges = blocks(schedule.num_segments, tile.rows), by_target.indices.shape[0]
    programs = min(groups, _PROGRAMS)
    factory: dict[str, Any] = {"dtype": out.dtype, "device": out.device}
    state = torch.empty(num_targets, 2, heads, **factory)
    d_query = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    part_dq = parts_like(d_query, schedule, out.dtype)
    d_att = torch.empty(programs, heads, features, **factory)
    # Zeros, because no program visits dead edges; a block of heads writes its own share of a sum over heads.
    d_edge_attr = d_edge_matrix = d_edge_weight = d_score = None
    if need[4] and edge_attr is not None:
        d_edge_attr = torch.zeros(tile.head_blocks, *edge_attr.shape, **factory)
    if need[5]:
        d_score = torch.empty(num_edges, heads, **factory)
    if need[6]:
        d_edge_weight = torch.zeros(tile.head_blocks, num_edges, **factory)
    launch(
        target_kernel,
        (programs, tile.head_blocks),
        tile.warps,
        registers=_registers(edge_attr, _WIDE_REGISTERS if tile.warps > 1 or tile.rows > 1 or features % 4 else None),
        GRAD=grad,
        OUT=out,
        LSE=lse,
        STATE=state,
        DQ=d_query,
        PART_DQ=part_dq,
        D_ATT=d_att,
        D_EDGE_WEIGHT=d_edge_weight,
        D_EDGE_ATTR=d_edge_attr,
        D_SCORE=d_score,
        groups=groups,
        num_edges=num_edges,
        PREFETCH=tile.warps == 1,  # wider rows leave no registers for it
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        **inputs,
        **schedule_arguments(by_target, schedule, per_edge),
    )
    sum_parts([(part_dq, d_query)], schedule)
    if d_edge_attr is not None and edge_attr is not None:
        d_edge_attr = d_edge_attr.sum(0).to(edge_attr.dtype)
    if d_score is not None and edge_matrix is not None:
        d_edge_matrix = _matrix_grad(d_score, edge_matrix, by_target, inputs)
    if d_edge_weight is not None and edge_weight is not None:
        d_edge_weight = d_edge_weight.sum(0).to(edge_weight.dtype)
    return state, d_query, d_att.sum(0).to(att.dtype), d_edge_attr, d_edge_matrix, d_edge_weight


def _matrix_grad(d_score: Tensor, edge_matrix: Tensor, by_target: SortedEdges, inputs: dict[str, Any]) -> Tensor:
    """``d_edge_matrix`` from the gradient of the scores, ``[E, H]``."""
    heads, features, components = inputs["H"], inputs["F"], inputs["D"]
    tile = tile_shape("gatv2_matrix", heads, features, d_score.dtype)
    schedule = schedule_of(by_target, tile.rows)
    programs = min(schedule.num_segments, _MATRIX_PROGRAMS)
    shares = torch.empty(programs, components, heads * features, dtype=d_score.dtype, device=d_score.device)
    at_once = min(padded(components), _MATRIX_COMPONENTS)
    names = ("K", "Q", "ATT", "EDGE_ATTR", "EDGE_MATRIX", "SLOPE", "H", "F", "D", "K_STRIDE", "Q_STRIDE")
    launch(
        matrix_kernel,
        (programs, tile.head_blocks, blocks(components, at_once)),
        tile.warps,
        registers=_ALL_REGISTERS,
        D_SCORE=d_score,
        D_EDGE_MATRIX=shares,
        BLOCK_COMPONENTS=at_once,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        **{name: inputs[name] for name in (*names, "components", "ACC_DTYPE")},
        **schedule_arguments(by_target, schedule, per_edge=True),
    )
    return shares.sum(0).t().to(edge_matrix.dtype).contiguous()


def _source_pass(
    grad: Tensor,
    key: Tensor,
    value: Tensor | None,
    state: Tensor,
    by_source: SortedEdges,
    inputs: dict[str, Any],
    per_edge: bool,
) -> tuple[Tensor, Tensor | None]:
    """Along the out-edges: ``(dk, dv)``; ``dk`` is all of it where the keys are the values."""
    _, heads, features = key.shape
    tile = tile_shape("gatv2_source", heads, features, state.dtype)
    schedule = schedule_of(by_source, tile.rows)
    d_key = torch.empty(key.shape, dtype=key.dtype, device=key.device)
    d_value = None if value is None else torch.empty_like(value)
    part_dk, part_dv = parts_like(d_key, schedule, state.dtype), parts_like(d_value, schedule, state.dtype)
    launch(
        source_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        registers=_registers(inputs["EDGE_ATTR"]),
        GRAD=grad,
        STATE=state,
        DK=d_key,
        DV=d_value,
        PART_DK=part_dk,
        PART_DV=part_dv,
        BLOCK_ROWS=tile.rows,
        BLOCK_EDGES=tile.edges,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        **inputs,
        **schedule_arguments(by_source, schedule, per_edge),
    )
    sum_parts([(part_dk, d_key), (part_dv, d_value)], schedule)
    return d_key, d_value


def _row_stride(x: Tensor) -> int:
    """How many numbers the rows of ``x`` are apart; a single row may have any stride."""
    return x.stride(0) if x.shape[0] > 1 else x.shape[1] * x.shape[2]


def _registers(edge_attr: Tensor | None, otherwise: int | None = None) -> int | None:
    """The number of registers that a thread may have."""
    return otherwise if edge_attr is None else _ALL_REGISTERS


def _per_edge(edge_attr: Tensor | None, edge_weight: Tensor | None, dropout: float) -> bool:
    """Whether the kernels must know which edge a slot is."""
    return edge_attr is not None or edge_weight is not None or dropout > 0


def _inputs(
    key: Tensor,
    query: Tensor,
    value: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    slope: float,
    dropout: float,
    seed: Tensor | None,
) -> dict[str, Any]:
    """The arguments that forward and both backward passes share."""
    return {
        "K": key,
        "Q": query,
        "V": value,
        "ATT": att,
        "EDGE_ATTR": edge_attr,
        "EDGE_MATRIX": None if edge_matrix is None else edge_matrix.t().contiguous(),
        "EDGE_WEIGHT": edge_weight,
        "SLOPE": slope,
        "H": key.shape[1],
        "F": key.shape[2],
        "D": 0 if edge_attr is None else edge_attr.shape[1],
        "K_STRIDE": _row_stride(key),
        "Q_STRIDE": _row_stride(query),
        "components": 0 if edge_attr is None else edge_attr.shape[1],
        "ACC_DTYPE": accumulator(compute_dtype(key, query, value, att, edge_attr, edge_matrix, edge_weight)),
        **dropout_arguments(dropout, seed),
    }
