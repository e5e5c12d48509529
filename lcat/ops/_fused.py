"""What the fused implementations share, and the contract: the functions that each of them offers.

``native.py`` (compiled CPU kernels) and ``triton.py`` (GPU kernels) in the folder of a primitive offer the
same functions, so that one ``torch.library`` operator can stand on both:

``aggregate``::

    forward(x, weight, by_target, num_targets, source_scale, target_scale) -> out
    weight_grad(grad, x, by_target, heads_in_weight) -> d_weight

``extremes`` (``aggregate`` with a minimum or maximum)::

    forward(x, weight, by_target, largest, for_gradients) -> (out, ties, unrounded)
    backward(grad, x, weight, out, ties, by_source, needs) -> (d_x, d_weight)

``gat_attention``::

    forward(source_score, target_score, value, edge_score, edge_weight, by_target, slope, dropout, seed,
            keep_positive, keep_unrounded) -> (out, lse, positive, positive_mass, unrounded)
    backward(grad, source_score, target_score, value, edge_score, edge_weight, out, lse, positive, positive_mass,
             by_target, by_source, slope, dropout, seed, needs)
        -> (d_source_score, d_target_score, d_value, d_edge_score, d_edge_weight)

    scores(value, att_source, att_target) -> (source_score, target_score)
    scores_backward(value, att_source, att_target, d_source_score, d_target_score, d_value, needs)
        -> (d_value, d_att_source, d_att_target)

``gatv2_attention``::

    forward(key, query, value, att, edge_attr, edge_matrix, edge_weight, by_target, slope, dropout, seed,
            keep_unrounded) -> (out, lse, unrounded)
    backward(grad, key, query, value, att, edge_attr, edge_matrix, edge_weight, out, lse, by_target, by_source,
             slope, dropout, seed, needs)
        -> (d_key, d_query, d_value, d_att, d_edge_attr, d_edge_matrix, d_edge_weight)

``dot_attention``::

    forward(query, key, value, edge_attr, query_edge, edge_weight, by_target, scale, dropout, seed, keep_unrounded)
        -> (out, attended, lse, unrounded, unrounded_attended)
    backward(grad, grad_attended, query, key, value, edge_attr, query_edge, edge_weight, out, attended, lse, by_target,
             by_source, scale, dropout, seed, needs)
        -> (d_query, d_key, d_value, d_edge_attr, d_query_edge, d_edge_weight)

Arguments, all contiguous, all on one device:

- ``x`` is ``[N_source, ...]`` (``[N_source, H, ...]`` where ``weight`` is ``[E, H]``); ``key``, ``value`` are
  ``[N_source, H, F]``; ``query``, ``grad``, ``out``, ``unrounded`` and ``positive``
  ``[N_target, H, F]``; ``source_score`` is ``[N_source, H]``; ``target_score``, ``lse`` and ``positive_mass``
  ``[N_target, H]``; ``att`` is ``[H, F]``; ``weight`` is ``[E]`` or ``[E, H]``; ``edge_score`` ``[E, H]``;
  ``edge_weight`` ``[E]``; ``source_scale`` ``[N_source]``; ``target_scale`` ``[N_target]``; ``edge_attr`` ``[E, D]``
  and ``edge_matrix`` ``[H * F, D]`` with ``D <= 16`` (``edge_attr @ edge_matrix.T`` is added to
  ``key_j + query_i``). Of ``target_score``, ``edge_score``, ``weight``, ``edge_weight``, the scales and the pair
  ``edge_attr``, ``edge_matrix`` each may be ``None``.
- In ``dot_attention``, ``edge_attr`` has any number D of features, which are added to nothing, but have a product of
  their own with ``query_edge``, ``[N_target, H, D]``, and a sum of their own, ``attended`` (with its gradient
  ``grad_attended``, where ``None`` means 0), of that shape; all of them are ``None``, or none.
- In ``gatv2_attention``, ``value=None`` means that the keys are the values: one gather serves both, ``d_key`` is the
  whole gradient of that tensor and ``d_value`` is ``None``. Otherwise ``value`` has the shape of ``key``.
- ``by_target`` and ``by_source`` are :class:`lcat.graph.SortedEdges`. ``indices`` and ``edge_ids`` are int32
  where all counts are below 2**31 and the call is not traced, else int64; ``indptr`` is int64. Slots from
  ``indptr[-1]`` on are dead: no kernel may count on them, and per-edge gradients of dead edges are 0. The transposed
  ``aggregate.forward(grad, weight, by_source, num_sources, target_scale, source_scale)`` is the gradient of ``x``.
- ``dropout`` is a float in [0, 1]. Its mask depends on ``seed`` (int64 tensor of one element; ``None`` if
  ``dropout`` is 0), on the edge and on the head only, so that no pass needs to store it: with
  ``i = edge_id * H + h`` (``edge_id`` is a value of ``edge_ids``, that is the row of per-edge tensors),
  take word ``i % 4`` of Philox 4x32-10 with counter words ``(lo32(i // 4), hi32(i // 4), 0, 0)`` and key words
  ``(lo32(seed), hi32(seed))``; the coefficient is kept, and multiplied by ``1 / (1 - dropout)``, if that uint32
  is at least ``floor(dropout * 2**32)``. ``dropout == 1`` drops all.
- ``keep_positive`` asks for ``positive`` (the part of ``out`` from edges whose score before the LeakyReLU is
  above 0) and ``positive_mass`` (the softmax mass of these edges, before dropout and weight), from which the
  backward pass gets ``d_target_score = (1 - slope) * (<grad, positive> - <grad, out> * positive_mass)`` without
  visiting the edges by target. Without ``keep_positive`` both are ``None``, and ``d_target_score`` is the sum of the
  scores' gradients over the edges by target (native), or an error (Triton).
- ``keep_unrounded`` asks for ``unrounded``, which is ``out`` before it was rounded to the type of the result, in the
  same pass. It is ``None`` where nobody asks for it, and where ``out`` is not rounded. A backward pass takes it as its
  ``out`` (:func:`for_backward`). ``unrounded_attended`` is the same for ``attended``.
- ``ties`` is what a gradient of ``out`` is divided by, of its shape and in the type of the sums: the number of edges
  that reach it, and one more where it is 0; NaN where it is. ``for_gradients`` asks for it and for ``unrounded``.
- ``scores`` are ``<att_source, value>`` and ``<att_target, value>``; a vector is ``[H, F]`` or ``[1, H, F]``, or
  ``None``, which gives ``None``. In ``scores_backward`` the gradient of ``value`` is added to ``d_value``, in place,
  and to nothing if ``d_value`` is ``None``; a gradient of scores may be ``None``, and that of its vector is so then.
  It need not be contiguous: those of two scores may lie side by side.
  The compiled CPU kernels take tensors of one type here, float32 or float64. Scores have the type to which those of
  ``value`` and their vector promote.
- ``needs`` has one bool for each gradient returned, in their order; where it is False, ``None`` is returned.

Types: floating point arguments may be of different types. Sums are made in float32, or float64 if any argument
is float64 (:func:`lcat.ops._dtypes.compute_dtype`). ``aggregate`` returns the type of ``x`` (``weight_grad``
likewise). The attentions return ``out`` in the type to which the types of all their arguments promote
(:func:`lcat.ops._dtypes.result_dtype`), so that no operation of its own casts it, and its gradient comes back in that
type: ``grad`` may be of any type. ``lse``, ``positive``, ``positive_mass``, ``unrounded`` and the ``out`` of a backward
pass are float32 (float64 for float64 input) also for half-precision input, because a backward pass from a rounded
``out`` is wrong in the third digit. Gradients have the type of their argument. Rows without in-edges give ``out = 0``
and ``lse = 0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lcat.graph import Graph
from lcat.ops import _native
from lcat.ops._dtypes import FLOAT_DTYPES
from lcat.ops.dispatch import Call, Feature

__all__ = [
    "MAX_EDGE_FEATURES",
    "absent",
    "draw_seed",
    "for_backward",
    "has_triton",
    "native_objection",
    "needs_gradient",
    "too_large",
    "triton_objection",
]

MAX_EDGE_FEATURES = 16  # D, beyond which projecting edge features in the kernel is slower than a matrix product

_LARGE = 2**31
_HAS_TRITON = find_spec("triton") is not None

# What keeps every fused implementation from serving a call.
_REASONS = {
    Feature.EDGE_KEY: "it takes edge features as edge_attr and edge_matrix, an edge_key is of size [E, H, F] anyway",
    Feature.WIDE_EDGE_ATTR: f"it projects at most {MAX_EDGE_FEATURES} edge features",
    Feature.OTHER_VALUE_WIDTH: "it needs keys and values of one shape",
    Feature.LARGE_GRAPH: "it counts nodes and edges in 31 bits",
    Feature.TRANSFORM: "functorch transforms, forward-mode differentiation and torch.jit.trace take the naive path",
}


def native_objection(call: Call) -> str | None:
    """Why the compiled CPU kernels cannot serve a call, or ``None``."""
    if call.device.type != "cpu":
        return "it runs on the CPU"
    if _native.STATUS.instruction_set is None:
        return f"the compiled kernels are missing: {_native.STATUS.problem}"
    return _common_objection(call)


def triton_objection(call: Call) -> str | None:
    """Why the Triton kernels cannot serve a call, or ``None``."""
    if call.device.type != "cuda":
        return "it runs on GPUs"
    if not _HAS_TRITON:
        return "triton is not installed: pip install triton (it comes with torch for CUDA and ROCm)"
    return _common_objection(call)


def has_triton() -> bool:
    """Whether kernels for GPUs can be compiled."""
    return _HAS_TRITON


def _common_objection(call: Call) -> str | None:
    if call.dtype not in FLOAT_DTYPES:
        return f"it takes float16, bfloat16, float32 and float64, not {call.dtype}".replace("torch.", "")
    if not call.features:
        return None
    return next((reason for feature, reason in _REASONS.items() if feature.value & call.features.value), None)


def too_large(graph: Graph) -> bool:
    """Whether nodes or edges cannot be counted in 31 bits."""
    if torch.compiler.is_compiling():
        return False
    return graph.source.shape[0] >= _LARGE or graph.num_sources >= _LARGE or graph.num_targets >= _LARGE


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether a backward pass may follow a call with these tensors."""
    if torch.is_grad_enabled():
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                return True
    return False


def draw_seed(dropout: float, device: torch.device) -> Tensor | None:
    """A seed for the dropout of one call, from torch's generator; ``None`` without dropout."""
    if dropout <= 0:
        return None
    return torch.randint(0, 2**62, (1,), dtype=torch.int64, device=device)


def for_backward(results: Sequence[Any]) -> tuple[Any, ...]:
    """What a backward pass needs of the results of an attention: ``out`` in the type of the sums, and the others."""
    out, lse, *others, unrounded = results
    return (out if out.dtype is lse.dtype else unrounded, lse, *others)


def absent(like: Tensor) -> Tensor:
    """What an operator returns in place of ``None``."""
    return like.new_empty(0)
