"""The primitive ``extremes``: maxima and minima of weighted rows. :func:`lcat.ops.aggregate` is what users call."""

from __future__ import annotations

from torch import Tensor

from lcat.graph import Graph
from lcat.ops._check import Arguments
from lcat.ops._extremes import fused, naive
from lcat.ops._fused import native_objection, too_large, triton_objection
from lcat.ops._transforms import is_transformed
from lcat.ops.dispatch import PLAIN, Call, Feature, Implementation, Primitive

__all__ = ["extremes"]

# torch-scatter's kernels give the gradient to one of several equal edges, so that there is none of its own here.
_PRIMITIVE = Primitive(
    "extremes",
    [
        Implementation("triton", fused.extremes, triton_objection),
        Implementation("native", fused.extremes, native_objection),
        Implementation("naive", naive.extremes),
    ],
)


def extremes(x: Tensor, graph: Graph, edge_weight: Tensor | None, *, largest: bool, arguments: Arguments) -> Tensor:
    r""":math:`y_i = \max_{j \to i} w_{ij} x_j`, or the minimum; 0 where there is no in-edge.

    Args:
        x: ``[N_source, ...]``.
        graph: the edges.
        edge_weight: ``[E]``, ``[E, H]`` (then x is ``[N_source, H, ...]``) or ``None``.
        largest: the maximum, else the minimum.
        arguments: the tensors, checked.
    """
    features = Feature.LARGE_GRAPH if too_large(graph) else Feature.NONE
    if is_transformed(x, edge_weight, graph.source):
        features |= Feature.TRANSFORM
    implementation = _PRIMITIVE.choose(Call(x.device, arguments.unusual_dtype or x.dtype, features))
    if implementation.name in PLAIN:
        arguments.check_memory()
    result: Tensor = implementation.function(x, graph, edge_weight, largest)
    return result
