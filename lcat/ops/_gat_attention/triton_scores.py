"""The scores of GAT from its values on GPUs: one pass over the values forward, one backward.

A fixed number of programs goes along the rows in strides. Backward each of them adds up its share of the gradients of
the two vectors, and writes it once; the sum of these shares is the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from lcat.ops._dtypes import as_type, compute_dtype, result_dtype
from lcat.ops._triton.launch import accumulator, blocks, launch, tile_shape
from lcat.ops._triton.tiles import gather_heads, gather_rows

__all__ = ["scores", "scores_backward"]

_PROGRAMS = 2048  # that share the rows: one warp each, about 16 on every multiprocessor
_PARTS = 1024  # likewise, where each of them also leaves two rows to add up
_FEATURE_LIMIT = 1024  # numbers of a head that one program holds


@triton.jit(do_not_specialize=["count"])
def _scores_kernel(
    V, ATT_SOURCE, ATT_TARGET, SOURCE_SCORE, TARGET_SCORE, count, H: tl.constexpr, F: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    while first < count:
        row = first + tl.arange(0, BLOCK_ROWS)
        row_mask = row < count
        source_score = tl.zeros((BLOCK_ROWS, 1, BLOCK_HEADS), ACC_DTYPE)
        target_score = tl.zeros((BLOCK_ROWS, 1, BLOCK_HEADS), ACC_DTYPE)
        for block in range((F + BLOCK_FEATURES - 1) // BLOCK_FEATURES):
            feature = block * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
            offset = head[:, None] * F + feature[None, :]
            valid = (head < H)[:, None] & (feature < F)[None, :]
            v = gather_rows(V, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
            if ATT_SOURCE is not None:
                att = tl.load(ATT_SOURCE + offset, mask=valid, other=0.0).to(ACC_DTYPE)
                source_score += tl.sum(v * att[None, None, :, :], axis=3)
            if ATT_TARGET is not None:
                att = tl.load(ATT_TARGET + offset, mask=valid, other=0.0).to(ACC_DTYPE)
                target_score += tl.sum(v * att[None, None, :, :], axis=3)
        tile_mask = row_mask[:, None, None] & (head < H)[None, None, :]
        if ATT_SOURCE is not None:
            base = SOURCE_SCORE + row[:, None, None] * H
            tl.store(base + head[None, None, :], source_score.to(SOURCE_SCORE.dtype.element_ty), mask=tile_mask)
        if ATT_TARGET is not None:
            base = TARGET_SCORE + row[:, None, None] * H
            tl.store(base + head[None, None, :], target_score.to(TARGET_SCORE.dtype.element_ty), mask=tile_mask)
        first += tl.num_programs(0).to(tl.int64) * BLOCK_ROWS


@triton.jit(do_not_specialize=["count"])
def _scores_backward_kernel(
    V, ATT_SOURCE, ATT_TARGET, D_SOURCE_SCORE, D_TARGET_SCORE, DV, PARTS, count, ADD: tl.constexpr,
    STRIDE: tl.constexpr, NEED_SOURCE: tl.constexpr, NEED_TARGET: tl.constexpr, H: tl.constexpr, F: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_HEADS: tl.constexpr, BLOCK_FEATURES: tl.constexpr, ACC_DTYPE: tl.constexpr,
):  # fmt: skip
    """``DV`` gets ``d_source_score * att_source + d_target_score * att_target``, or with ``ADD`` that much more.

    ``PARTS`` [programs, 1 or 2, H, F] gets this program's share of the gradients of the vectors that need one.
    """
    head = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    feature = tl.program_id(2) * BLOCK_FEATURES + tl.arange(0, BLOCK_FEATURES)
    offset = head[:, None] * F + feature[None, :]
    valid = (head < H)[:, None] & (feature < F)[None, :]
    if DV is not None:
        if D_SOURCE_SCORE is not None:
            att_source = tl.load(ATT_SOURCE + offset, mask=valid, other=0.0).to(ACC_DTYPE)[None, None, :, :]
        if D_TARGET_SCORE is not None:
            att_target = tl.load(ATT_TARGET + offset, mask=valid, other=0.0).to(ACC_DTYPE)[None, None, :, :]
    sum_source = tl.zeros((BLOCK_ROWS, 1, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    sum_target = tl.zeros((BLOCK_ROWS, 1, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
    first = tl.program_id(0).to(tl.int64) * BLOCK_ROWS
    while first < count:
        row = first + tl.arange(0, BLOCK_ROWS)
        row_mask = row < count
        if D_SOURCE_SCORE is not None:
            ds = gather_heads(D_SOURCE_SCORE, row[:, None], row_mask[:, None], head, STRIDE, H, ACC_DTYPE)[
                :, :, :, None
            ]
        if D_TARGET_SCORE is not None:
            dt = gather_heads(D_TARGET_SCORE, row[:, None], row_mask[:, None], head, STRIDE, H, ACC_DTYPE)[
                :, :, :, None
            ]
        if NEED_SOURCE or NEED_TARGET:
            v = gather_rows(V, row[:, None], row_mask[:, None], offset, valid, H * F, ACC_DTYPE)
            if NEED_SOURCE:
                sum_source += ds * v
            if NEED_TARGET:
                sum_target += dt * v
        if DV is not None:
            address = (DV + row[:, None, None, None] * (H * F)) + offset[None, None, :, :]
            tile_mask = row_mask[:, None, None, None] & valid[None, None, :, :]
            if ADD:
                dv = tl.load(address, mask=tile_mask, other=0.0).to(ACC_DTYPE)
            else:
                dv = tl.zeros((BLOCK_ROWS, 1, BLOCK_HEADS, BLOCK_FEATURES), ACC_DTYPE)
            if D_SOURCE_SCORE is not None:
                dv += ds * att_source
            if D_TARGET_SCORE is not None:
                dv += dt * att_target
            tl.store(address, dv.to(DV.dtype.element_ty), mask=tile_mask)
        first += tl.num_programs(0).to(tl.int64) * BLOCK_ROWS
    if PARTS is not None:
        part = PARTS + tl.program_id(0).to(tl.int64) * ((NEED_SOURCE + NEED_TARGET) * H * F)
        if NEED_SOURCE:
            tl.store(part + offset, tl.sum(tl.sum(sum_source, axis=0), axis=0), mask=valid)
        if NEED_TARGET:
            tl.store((part + NEED_SOURCE * H * F) + offset, tl.sum(tl.sum(sum_target, axis=0), axis=0), mask=valid)


def scores(value: Tensor, att_source: Tensor | None, att_target: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """``<att_source, value>`` and ``<att_target, value>``, see :mod:`lcat.ops._fused`, in one pass over ``value``."""
    rows, heads, features = value.shape
    source_score, target_score = (
        None if att is None else torch.empty(rows, heads, dtype=result_dtype(value, att), device=value.device)
        for att in (att_source, att_target)
    )
    if source_score is None and target_score is None:
        return None, None
    acc_dtype = compute_dtype(value, att_source, att_target)
    tile = tile_shape("gat_scores", heads, min(features, _FEATURE_LIMIT), acc_dtype)
    block_rows = tile.rows * tile.edges
    launch(
        _scores_kernel,
        (min(blocks(rows, block_rows), _PROGRAMS), tile.head_blocks),
        tile.warps,
        V=value,
        ATT_SOURCE=att_source,
        ATT_TARGET=att_target,
        SOURCE_SCORE=source_score,
        TARGET_SCORE=target_score,
        count=rows,
        H=heads,
        F=features,
        BLOCK_ROWS=block_rows,
        BLOCK_HEADS=tile.heads,
        BLOCK_FEATURES=tile.features,
        ACC_DTYPE=accumulator(acc_dtype),
    )
    return source_score, target_score


def scores_backward(
    value: Tensor,
    att_source: Tensor | None,
    att_target: Tensor | None,
    d_source_score: Tensor | None,
    d_target_score: Tensor | None,
    d_value: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of ``(value, att_source, att_target)`` in :func:`scores`, see :mod:`lcat.ops._fused`."""
    rows, heads, features = value.shape
    need_value, need_source, need_target = needs
    if att_source is None or d_source_score is None:
        d_source_score, need_source = None, False
    if att_target is None or d_target_score is None:
        d_target_score, need_target = None, False
    add = d_value is not None
    if not need_value:
        d_value = None
    elif d_value is None:
        d_value = torch.empty_like(value)
    if d_source_score is None and d_target_score is None:
        return d_value if add or d_value is None else d_value.zero_(), None, None
    strides = {d.stride() for d in (d_source_score, d_target_score) if d is not None}
    stride, step = next(iter(strides))
    if len(strides) > 1 or step != 1:
        d_source_score, d_target_score = (
            None if d is None else d.contiguous() for d in (d_source_score, d_target_score)
        )
        stride = heads
    acc_dtype = compute_dtype(value, att_source, att_target, d_source_score, d_target_score)
    tile = tile_shape("gat_scores_backward", heads, min(features, _FEATURE_LIMIT), acc_dtype)
    block_rows = tile.rows * tile.edges
    programs = min(blocks(rows, block_rows), _PARTS)
    parts = None
    if need_source or need_target:
        parts = torch.empty(programs, need_source + need_target, heads, features, dtype=acc_dtype, device=value.device)
    if parts is not None or d_value is not None:
        launch(
            _scores_backward_kernel,
            (programs, tile.head_blocks, blocks(features, tile.features)),
            tile.warps,
            V=value,
            ATT_SOURCE=att_source,
            ATT_TARGET=att_target,
            D_SOURCE_SCORE=d_source_score,
            D_TARGET_SCORE=d_target_score,
            DV=d_value,
            PARTS=parts,
            count=rows,
            ADD=add,
            STRIDE=stride,
            NEED_SOURCE=need_source,
            NEED_TARGET=need_target,
            H=heads,
            F=features,
            BLOCK_ROWS=block_rows,
            BLOCK_HEADS=tile.heads,
            BLOCK_FEATURES=tile.features,
            ACC_DTYPE=accumulator(acc_dtype),
        )
    if parts is None:
        return d_value, None, None
    sums = iter(parts.sum(0).unbind(0))
    d_att_source = _like(next(sums), att_source) if need_source else None
    return d_value, d_att_source, _like(next(sums), att_target) if need_target else None


def _like(gradient: Tensor, att: Tensor | None) -> Tensor:
    """The gradient of a vector, in the vector's type and shape."""
    assert att is not None
    gradient = as_type(gradient, att.dtype)
    return gradient if gradient.shape == att.shape else gradient.view(att.shape)
