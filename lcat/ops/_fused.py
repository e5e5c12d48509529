"""What the fused implementations share, and the functions that each of them offers.

``native.py`` (compiled CPU kernels) and ``triton.py`` (GPU kernels) in the folder of a primitive offer the
same functions, so that one ``torch.library`` operator can stand on both:

``aggregate``::

    forward(x, weight, csr, num_targets) -> out
    weight_grad(grad, x, csr, heads_in_weight) -> d_weight

``gat_attention``::

    forward(s, t, v, edge_score, edge_weight, csr, slope, dropout, seed, keep_positive)
        -> (out, lse, positive, positive_mass)
    backward(grad, s, t, v, edge_score, edge_weight, out, lse, positive, positive_mass, csr, csc, slope,
             dropout, seed, needs) -> (ds, dt, dv, d_edge_score, d_edge_weight)

``gatv2_attention``::

    forward(k, q, v, att, edge_attr, edge_matrix, edge_weight, csr, slope, dropout, seed) -> (out, lse)
    backward(grad, k, q, v, att, edge_attr, edge_matrix, edge_weight, out, lse, csr, csc, slope, dropout,
             seed, needs) -> (dk, dq, dv, datt, d_edge_attr, d_edge_matrix, d_edge_weight)

Arguments, all contiguous, all on one device:

- ``x``, ``k``, ``v`` are ``[N_source, H, F]``; ``q``, ``grad``, ``out`` and ``positive`` ``[N_target, H, F]``; ``s``
  is ``[N_source, H]``; ``t``, ``lse`` and ``positive_mass`` ``[N_target, H]``; ``att`` is ``[H, F]``; ``weight`` is
  ``[E]`` or ``[E, H]``; ``edge_score`` ``[E, H]``; ``edge_weight`` ``[E]``; ``edge_attr`` ``[E, D]`` and
  ``edge_matrix`` ``[H * F, D]`` with ``D <= 16`` (``edge_attr @ edge_matrix.T`` is added to ``k_j + q_i``). Of ``t``,
  ``edge_score``, ``weight``, ``edge_weight`` and the pair ``edge_attr``, ``edge_matrix`` each may be ``None``.
- In ``gatv2_attention``, ``v=None`` means that the keys are the values: one gather serves both, ``dk`` is the whole
  gradient of that tensor and ``dv`` is ``None``. Otherwise ``v`` has the shape of ``k``.
- ``csr`` and ``csc`` are :class:`lcat.graph.SortedEdges`, the graph grouped by target and by source. ``other`` and
  ``edge`` are int32 where all counts are below 2**31 and the call is not traced, else int64; ``pointer`` is
  int64. Slots from ``pointer[-1]`` on are dead: no kernel may count on them, and per-edge gradients of dead
  edges are 0. The transposed ``aggregate.forward(grad, weight, csc, num_sources)`` is the gradient of ``x``.
- ``dropout`` is a float in [0, 1]. Its mask depends on ``seed`` (int64 tensor of one element; ``None`` if
  ``dropout`` is 0), on the edge and on the head only, so that no pass needs to store it: with
  ``i = edge * H + h`` (``edge`` is the value of ``csr.edge_ids`` or ``csc.edge_ids``, that is the row of per-edge tensors),
  take word ``i % 4`` of Philox 4x32-10 with counter words ``(lo32(i // 4), hi32(i // 4), 0, 0)`` and key words
  ``(lo32(seed), hi32(seed))``; the coefficient is kept, and multiplied by ``1 / (1 - dropout)``, if that uint32
  is at least ``floor(dropout * 2**32)``. ``dropout == 1`` drops all.
- ``keep_positive`` asks for ``positive`` (the part of ``out`` from edges whose score before the LeakyReLU is
  above 0) and ``positive_mass`` (the softmax mass of these edges, before dropout and weight), from which the
  backward pass gets ``dt = (1 - slope) * (<grad, positive> - <grad, out> * positive_mass)`` without visiting
  the edges by target. Without ``keep_positive`` both are ``None``, and ``dt`` is the sum of the scores' gradients over
  the edges by target (native), or not to be had (Triton).
- ``needs`` has one bool for each gradient returned, in their order; where it is False, ``None`` is returned.

Types: floating point arguments may be of different types. Sums are made in float32, or float64 if ``x`` or
``v`` (``k``) is float64. ``aggregate`` returns the type of ``x`` (``weight_grad`` likewise); ``out``, ``lse``,
``positive`` and ``positive_mass`` are float32 (float64 for float64 input) also for half-precision input, because
a backward pass from a rounded ``out`` is wrong in the third digit; gradients have the type of their argument.
Rows without in-edges give ``out = 0`` and ``lse = 0``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import torch
from torch import Tensor

from lcat._edge_formats import Side
from lcat.graph import CacheKey, Graph, SortedEdges
from lcat.ops import _native
from lcat.ops.dispatch import Call

MOST_EDGE_FEATURES = 16  # D, beyond which projecting edge features in the kernel is slower than a matrix product

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_HAS_TRITON = find_spec("triton") is not None

# What keeps every fused implementation from serving a call.
_REASONS = {
    "edge_key": "it takes edge features as edge_attr and edge_matrix, an edge_key is of size [E, H, F] anyway",
    "wide edge_attr": f"it projects at most {MOST_EDGE_FEATURES} edge features",
    "other value width": "it needs keys and values of one shape",
    "slope above 1": "it computes LeakyReLU as a maximum, for slopes up to 1",
    "large graph": "it counts nodes and edges in 31 bits",
    "transform": "functorch transforms, forward-mode differentiation and torch.jit.trace take the naive path",
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


def _common_objection(call: Call) -> str | None:
    if call.dtype not in _FLOATS:
        return f"it takes float16, bfloat16, float32 and float64, not {call.dtype}".replace("torch.", "")
    for feature, reason in _REASONS.items():
        if feature in call.features:
            return reason
    return None


def too_large(graph: Graph) -> bool:
    """Whether nodes or edges cannot be counted in 31 bits."""
    if torch.compiler.is_compiling():
        return False
    return max(graph.num_edges, graph.num_sources, graph.num_targets) >= 2**31


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether a backward pass may follow a call with these tensors."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def sorted_edges(graph: Graph, backward: bool) -> tuple[Tensor | None, ...]:
    """``pointer, other, edge`` of the graph by target, then by source (``None`` three times unless ``backward``)."""
    csr = _sorted(graph, "by_target")
    if not backward:
        return csr.indptr, csr.indices, csr.edge_ids, None, None, None
    csc = _sorted(graph, "by_source")
    return csr.indptr, csr.indices, csr.edge_ids, csc.indptr, csc.indices, csc.edge_ids


_SORTED: CacheKey[SortedEdges] = CacheKey("edges for fused kernels")


def _sorted(graph: Graph, side: Side) -> SortedEdges:
    if torch.compiler.is_compiling():
        edges: SortedEdges = getattr(graph, side)
        return edges

    def make() -> SortedEdges:
        input_groups = graph.input_groups(side)
        if input_groups is not None:
            pointer, other, edge = input_groups
            nodes = graph.num_sources if side == "by_target" else graph.num_targets
            if other.device.type == "cpu" and other.numel() and not 0 <= int(other.min()) <= int(other.max()) < nodes:
                raise _native.changed_unseen(graph.num_sources, graph.num_targets)
            return SortedEdges(pointer.contiguous(), other.to(torch.int32), edge.to(torch.int32))
        if graph.device.type == "cpu" and type(graph.source) is Tensor and _native.STATUS.instruction_set is not None:
            return _grouped(graph, side)
        edges: SortedEdges = getattr(graph, side)
        return SortedEdges(edges.indptr, edges.indices.to(torch.int32), edges.edge_ids.to(torch.int32))

    return graph.cached(_SORTED, make, side)


def _grouped(graph: Graph, side: Side) -> SortedEdges:
    """The same as ``graph.by_target`` or ``graph.by_source``, by compiled counting sorts."""
    loop_free = None if graph.padded else graph.before_self_loops()
    if loop_free is not None and (side == "by_target" or loop_free.input_groups(side) is not None):
        known = loop_free.is_cached(_SORTED, side) or loop_free.input_groups(side) is not None
        groups = _sorted(loop_free, side) if known else _grouped(loop_free, side)
        return SortedEdges(*_native.insert_loops(groups.indptr, groups.indices, groups.edge_ids, graph.num_loops))
    if side == "by_source":
        csr = _sorted(graph, "by_target")
        return SortedEdges(*_native.transpose_groups(csr.indptr, csr.indices, csr.edge_ids, graph.num_sources))
    return SortedEdges(*_native.group_edges(graph.target, graph.source, graph.num_targets, graph.num_sources))


def compute_type(*tensors: Tensor | None) -> torch.dtype:
    """The type that sums are made in: float64 if any argument is float64, else float32."""
    wide = any(t is not None and t.dtype == torch.float64 for t in tensors)
    return torch.float64 if wide else torch.float32


def result_type(*tensors: Tensor | None) -> torch.dtype:
    """The type that plain torch would give the result: the widest of all arguments'."""
    types = [t.dtype for t in tensors if t is not None]
    widest = types[0]
    for dtype in types[1:]:
        widest = torch.promote_types(widest, dtype)
    return widest


def draw_seed(dropout: float, device: torch.device) -> Tensor | None:
    """A seed for the dropout of one call, from torch's generator; ``None`` without dropout."""
    if dropout <= 0:
        return None
    return torch.randint(0, 2**62, (1,), dtype=torch.int64, device=device)


def absent(like: Tensor) -> Tensor:
    """What an operator returns in place of ``None``."""
    return like.new_empty(0)


def graph_of(csr: SortedEdges, num_sources: int) -> Graph:
    """The graph that was sorted, with its edges in their own order."""
    num_edges, num_targets = csr.edge_ids.shape[0], csr.indptr.shape[0] - 1
    slots = torch.arange(num_edges, device=csr.edge_ids.device)
    edge = csr.edge_ids.long()
    # Slots beyond the last row are dead: they get the target num_targets.
    target = torch.searchsorted(csr.indptr, slots, right=True) - 1
    return Graph(
        torch.empty_like(edge).scatter(0, edge, csr.indices.long()),
        torch.empty_like(edge).scatter(0, edge, target),
        num_sources,
        num_targets,
        padded=True,
    )


def second_order(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    grad: Tensor,
    cotangents: Sequence[Tensor | None],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of a backward pass, by differentiating the naive implementation twice.

    Args:
        function: the naive implementation as a function of ``inputs``.
        inputs: the differentiable arguments of the forward pass; ``None`` where absent.
        grad: the gradient that the backward pass was given.
        cotangents: for each input, the gradient with respect to the gradient that the backward pass returned.
        needs: for ``grad`` and then each input, whether its gradient is wanted.

    Returns:
        the gradients with respect to ``grad`` and each input.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        outer, *variables = [None if x is None else _variable(x) for x in (grad, *inputs)]
        assert outer is not None
        out = function(*variables)
        asked = [x for x, c in zip(variables, cotangents, strict=True) if x is not None and c is not None]
        given = [c for x, c in zip(variables, cotangents, strict=True) if x is not None and c is not None]
        result: list[Tensor | None] = [None] * len(needs)
        if not asked:
            return result
        first = torch.autograd.grad(out, asked, outer.to(out.dtype), create_graph=True, materialize_grads=True)
        everything = (outer, *variables)
        wanted = [i for i, need in enumerate(needs) if need and everything[i] is not None]
        used = [(f, c) for f, c in zip(first, given, strict=True) if f.requires_grad]
        if not used or not wanted:
            return result
        sources = [everything[i] for i in wanted]
        second = torch.autograd.grad(
            [f for f, _ in used],
            sources,  # type: ignore[arg-type]
            [c.to(f.dtype) for f, c in used],
            create_graph=create_graph,
            allow_unused=True,
        )
    for i, gradient in zip(wanted, second, strict=True):
        result[i] = gradient
    return result


def _variable(x: Tensor) -> Tensor:
    """An alias of ``x`` to differentiate by: arguments that are one tensor must stay apart."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
