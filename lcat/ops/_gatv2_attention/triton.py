"""gatv2_attention on GPUs: one pass over the edges forward, two backward, nothing of size E H F in between.

Forward goes along the in-edges of each target with an online softmax and keeps only its result and its
log-sum-exp. Backward goes once along the in-edges (gradients of q, att and per-edge tensors) and once along the
out-edges (gradients of k and v), recomputing scores from rows that it gathers anyway; no atomics, so results are
the same bits on every run. The interface is described in :mod:`lcat.ops._fused`, the kernels are in
:mod:`lcat.ops._gatv2_attention.triton_kernels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lcat.graph import SortedEdges
from lcat.ops._fused import compute_type
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

# Registers a thread (see launch): all there are where edge attributes come in; what the widest rows need in the pass
# along the in-edges. No limit elsewhere: the assembler would use it up and leave room for fewer warps.
_ALL_REGISTERS = 255
_WIDE_REGISTERS = 184


def forward(
    k: Tensor,
    q: Tensor,
    v: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    csr: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Attention with GATv2's score: ``(out, lse)``, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time (times D for edge attributes); O(N H F) memory.
    """
    _, heads, features = k.shape
    wide = compute_type(k, q, v, att, edge_attr, edge_matrix, edge_weight)
    out = torch.empty(q.shape, dtype=wide, device=k.device)
    lse = torch.empty(q.shape[:2], dtype=wide, device=k.device)
    if out.numel() == 0:
        return out, lse.zero_()
    schedule = schedule_of(csr)
    part_out, part_lse = parts_like(out, schedule), parts_like(lse, schedule)
    tile = tile_shape("v2_forward", heads, features, wide)
    launch(
        forward_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        registers=_registers(edge_attr),
        OUT=out,
        LSE=lse,
        PART_OUT=part_out,
        PART_LSE=part_lse,
        R=tile.rows,
        B=tile.edges,
        HB=tile.heads,
        FB=tile.features,
        **_inputs(k, q, v, att, edge_attr, edge_matrix, edge_weight, slope, dropout, seed),
        **schedule_arguments(csr, schedule, _per_edge(edge_attr, edge_weight, dropout)),
    )
    merge_softmax_parts(part_lse, lse, [(part_out, out)], schedule)
    return out, lse


def backward(
    grad: Tensor,
    k: Tensor,
    q: Tensor,
    v: Tensor | None,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    csr: SortedEdges,
    csc: SortedEdges,
    slope: float,
    dropout: float,
    seed: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Gradients of ``(k, q, v, att, edge_attr, edge_matrix, edge_weight)``, see :mod:`lcat.ops._fused`.

    Complexity:
        O(E H F) time (times D for edge attributes); O(N H F) memory and the gradients themselves; the gradient
        of ``edge_matrix`` takes O(E H) memory more.
    """
    arguments = (k, q, v, att, edge_attr, edge_matrix, edge_weight)
    need = [n and x is not None for n, x in zip(needs, arguments, strict=True)]
    if out.numel() == 0 or k.numel() == 0:
        return tuple(torch.zeros_like(x) if n and x is not None else None for n, x in zip(need, arguments, strict=True))
    inputs = _inputs(k, q, v, att, edge_attr, edge_matrix, edge_weight, slope, dropout, seed)
    per_edge = _per_edge(edge_attr, edge_weight, dropout)
    state, dq, datt, d_attr, d_matrix, d_weight = _target_pass(
        grad, q, att, edge_attr, edge_matrix, edge_weight, out, lse, csr, inputs, per_edge, need
    )
    dk = dv = None
    if need[0] or need[2]:
        dk, dv = _source_pass(grad, k, v, state, csc, inputs, per_edge)
    made = (dk, dq, dv, datt, d_attr, d_matrix, d_weight)
    return tuple(x if n else None for n, x in zip(need, made, strict=True))


def _target_pass(
    grad: Tensor,
    q: Tensor,
    att: Tensor,
    edge_attr: Tensor | None,
    edge_matrix: Tensor | None,
    edge_weight: Tensor | None,
    out: Tensor,
    lse: Tensor,
    csr: SortedEdges,
    inputs: dict[str, Any],
    per_edge: bool,
    need: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Along the in-edges: ``(state [N_target, H, 2], dq, datt, d_edge_attr, d_edge_matrix, d_edge_weight)``."""
    num_targets, heads, features = q.shape
    schedule, tile = schedule_of(csr), tile_shape("v2_target", heads, features, out.dtype)
    groups, num_edges = blocks(schedule.num_segments, tile.rows), csr.indices.shape[0]
    programs = min(groups, _PROGRAMS)
    wide: dict[str, Any] = {"dtype": out.dtype, "device": out.device}
    state = torch.empty(num_targets, heads, 2, **wide)
    dq = torch.empty_like(q)
    part_dq = parts_like(dq, schedule, out.dtype)
    datt = torch.empty(programs, heads, features, **wide)
    # Zeros, because no program visits dead edges; a block of heads writes its own share of a sum over heads.
    d_attr = d_matrix = d_weight = d_score = None
    if need[4] and edge_attr is not None:
        d_attr = torch.zeros(tile.head_blocks, *edge_attr.shape, **wide)
    if need[5]:
        d_score = torch.empty(num_edges, heads, **wide)
    if need[6]:
        d_weight = torch.zeros(tile.head_blocks, num_edges, **wide)
    launch(
        target_kernel,
        (programs, tile.head_blocks),
        tile.warps,
        registers=_registers(edge_attr, _WIDE_REGISTERS if tile.warps > 1 else None),
        GRAD=grad,
        OUT=out,
        LSE=lse,
        STATE=state,
        DQ=dq,
        PART_DQ=part_dq,
        DATT=datt,
        DWEIGHT=d_weight,
        DATTR=d_attr,
        DSCORE=d_score,
        groups=groups,
        num_edges=num_edges,
        R=tile.rows,
        B=tile.edges,
        HB=tile.heads,
        FB=tile.features,
        **inputs,
        **schedule_arguments(csr, schedule, per_edge),
    )
    sum_parts(part_dq, dq, schedule)
    if d_attr is not None and edge_attr is not None:
        d_attr = d_attr.sum(0).to(edge_attr.dtype)
    if d_score is not None and edge_matrix is not None:
        d_matrix = _matrix_grad(d_score, edge_matrix, csr, inputs)
    if d_weight is not None and edge_weight is not None:
        d_weight = d_weight.sum(0).to(edge_weight.dtype)
    return state, dq, datt.sum(0).to(att.dtype), d_attr, d_matrix, d_weight


def _matrix_grad(d_score: Tensor, edge_matrix: Tensor, csr: SortedEdges, inputs: dict[str, Any]) -> Tensor:
    """``d_edge_matrix`` from the gradient of the scores, ``[E, H]``."""
    heads, features, components = inputs["H"], inputs["F"], inputs["D"]
    schedule, tile = schedule_of(csr), tile_shape("v2_matrix", heads, features, d_score.dtype)
    programs = min(schedule.num_segments, _MATRIX_PROGRAMS)
    shares = torch.empty(programs, components, heads * features, dtype=d_score.dtype, device=d_score.device)
    at_once = min(padded(components), _MATRIX_COMPONENTS)
    names = ("K", "Q", "ATT", "ATTR", "MATRIX", "SLOPE", "H", "F", "D", "components", "ACC")
    launch(
        matrix_kernel,
        (programs, tile.head_blocks, blocks(components, at_once)),
        tile.warps,
        registers=_ALL_REGISTERS,
        DSCORE=d_score,
        DMATRIX=shares,
        DB=at_once,
        B=tile.edges,
        HB=tile.heads,
        FB=tile.features,
        **{name: inputs[name] for name in names},
        **schedule_arguments(csr, schedule, per_edge=True),
    )
    return shares.sum(0).t().to(edge_matrix.dtype).contiguous()


def _source_pass(
    grad: Tensor, k: Tensor, v: Tensor | None, state: Tensor, csc: SortedEdges, inputs: dict[str, Any], per_edge: bool
) -> tuple[Tensor, Tensor | None]:
    """Along the out-edges: ``(dk, dv)``; ``dk`` is all of it where the keys are the values."""
    _, heads, features = k.shape
    schedule, tile = schedule_of(csc), tile_shape("v2_source", heads, features, state.dtype)
    dk = torch.empty_like(k)
    dv = None if v is None else torch.empty_like(v)
    part_dk, part_dv = parts_like(dk, schedule, state.dtype), parts_like(dv, schedule, state.dtype)
    launch(
        source_kernel,
        (blocks(schedule.num_segments, tile.rows), tile.head_blocks),
        tile.warps,
        registers=_registers(inputs["ATTR"]),
        GRAD=grad,
        STATE=state,
        DK=dk,
        DV=dv,
        PART_DK=part_dk,
        PART_DV=part_dv,
        R=tile.rows,
        B=tile.edges,
        HB=tile.heads,
        FB=tile.features,
        **inputs,
        **schedule_arguments(csc, schedule, per_edge),
    )
    sum_parts(part_dk, dk, schedule)
    if dv is not None:
        sum_parts(part_dv, dv, schedule)
    return dk, dv


def _registers(edge_attr: Tensor | None, otherwise: int | None = None) -> int | None:
    """The registers a thread may have."""
    return otherwise if edge_attr is None else _ALL_REGISTERS


def _per_edge(edge_attr: Tensor | None, edge_weight: Tensor | None, dropout: float) -> bool:
    """Whether the kernels must know which edge a slot is."""
    return edge_attr is not None or edge_weight is not None or dropout > 0


def _inputs(
    k: Tensor,
    q: Tensor,
    v: Tensor | None,
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
        "K": k,
        "Q": q,
        "V": v,
        "ATT": att,
        "ATTR": edge_attr,
        "MATRIX": None if edge_matrix is None else edge_matrix.t().contiguous(),
        "WEIGHT": edge_weight,
        "SLOPE": slope,
        "H": k.shape[1],
        "F": k.shape[2],
        "D": 0 if edge_attr is None else edge_attr.shape[1],
        "components": 0 if edge_attr is None else edge_attr.shape[1],
        "ACC": accumulator(compute_type(k, q, v, att, edge_attr, edge_matrix, edge_weight)),
        **dropout_arguments(dropout, seed),
    }
