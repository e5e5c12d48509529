"""Dropout of whole edges: which ones stay follows from a seed, by the rule of attention dropout with one head.

The rule is stated in :mod:`lcat.ops._fused`. The mask, one byte per edge, is an operator of its own, so that a compiler
draws it as eager mode does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lcat._tracing import is_exporting
from lcat.graph import Graph
from lcat.ops import _fused, _native
from lcat.ops._attention_dropout import dropout_factors
from lcat.ops._check import Arguments, check_probability

__all__ = ["draw_kept_edges", "kept_edges"]

# The CPU kernel of feature dropout draws blocks of 64 entries: four words of 16 counters.
_COUNTERS, _WORDS = 16, 4
_BLOCK = _COUNTERS * _WORDS

_library = torch.library.Library("lcat", "FRAGMENT")
_library.define("kept_edges(Tensor seed, SymInt num_edges, float p) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,))


def draw_kept_edges(graph: Graph, p: float) -> Tensor:
    """Which edges of a graph stay if each is dropped with probability ``p``, for :meth:`lcat.graph.Graph.keeping`.

    A seed is drawn from torch's generator of the graph's device; the rest follows from the seed, in the same way on all
    devices.

    Args:
        graph: the edges.
        p: the probability of dropping an edge, in [0, 1].

    Returns:
        ``[E]`` of bool.

    Raises:
        TypeError: ``graph`` is no Graph, or ``p`` no number.
        ValueError: ``p`` is outside [0, 1].

    Complexity:
        O(E) time and memory.

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> from lcat.ops import draw_kept_edges
        >>> graph, _ = graph_view(torch.randint(100, (2, 1000)), 100, 100)
        >>> keep = draw_kept_edges(graph, 0.5)
        >>> keep.shape, keep.dtype
        (torch.Size([1000]), torch.bool)
    """
    Arguments(graph)
    p = check_probability("p", p)
    seed = _fused.draw_seed(p, graph.device)
    if seed is None:
        return torch.ones(graph.num_edges, dtype=torch.bool, device=graph.device)
    return kept_edges(seed, graph.num_edges, p)


def kept_edges(seed: Tensor, num_edges: int, p: float) -> Tensor:
    """:func:`draw_kept_edges` from a seed, int64 of one element."""
    if is_exporting():  # the program may run without lcat
        return _by_formula(seed, num_edges, p)
    mask: Tensor = torch.ops.lcat.kept_edges(seed, num_edges, p)
    return mask


def _by_formula(seed: Tensor, num_edges: int, p: float) -> Tensor:
    return dropout_factors(seed, num_edges, 1, p).squeeze(1) > 0


def _on_cpu(seed: Tensor, num_edges: int, p: float) -> Tensor:
    if _native.STATUS.instruction_set is None:
        return _by_formula(seed, num_edges, p)
    blocks = -(-num_edges // _BLOCK)
    factors = torch.ones(blocks * _BLOCK)
    _native.call("dropout", factors.dtype, factors, factors, factors.numel(), p, _native.seed_value(seed))
    by_word = factors.view(blocks, _WORDS, _COUNTERS)
    return (by_word.transpose(1, 2) > 0).reshape(-1)[:num_edges].clone()


def _on_gpu(seed: Tensor, num_edges: int, p: float) -> Tensor:
    if not _fused.has_triton():
        return _by_formula(seed, num_edges, p)
    from lcat.ops._triton.dropout import keep_mask

    return keep_mask(num_edges, 1, p, seed).squeeze(1) > 0


def _fake(seed: Tensor, num_edges: int, p: float) -> Tensor:
    del p
    return seed.new_empty(num_edges, dtype=torch.bool)


_library.impl("kept_edges", _on_cpu, "CPU")
_library.impl("kept_edges", _on_gpu, "CUDA")
torch.library.register_fake("lcat::kept_edges", _fake, lib=_library)
