"""The view of a graph that every layer works on: checked once, sorted once, shared by all layers of a model.

:func:`graph_view` turns whatever a user passes as ``edge_index`` (a ``[2, E]`` tensor, a
``torch_geometric.EdgeIndex``, a ``torch.sparse`` matrix in COO, CSR or CSC layout, a
``torch_sparse.SparseTensor``) into one :class:`Graph` of edges ``source -> target``. Checking indices and
sorting them costs about as much as a layer, so views are remembered for as long as the edge tensor lives:
see :mod:`lcat._graph_cache`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from lcat import _graph_cache
from lcat._edge_formats import EdgeList, read_edges

__all__ = ["Graph", "SortedEdges", "graph_view"]

_T = TypeVar("_T")


class SortedEdges(NamedTuple):
    """Edges grouped by one endpoint.

    Row ``i`` owns the slots ``indptr[i]:indptr[i + 1]``; inside a row the slots are ordered by the other
    endpoint, and equal edges by their position in the input, so the layout does not depend on the order
    in which distinct edges were given.

    Args:
        indptr: ``[N + 1]`` int64, where each row begins.
        indices: ``[E]`` int64, the endpoint at the other side of each slot.
        edge_ids: ``[E]`` int64, the position of each slot's edge in ``Graph.source`` and ``Graph.target``, that
            is the row of per-edge tensors that belongs to it.
    """

    indptr: Tensor
    indices: Tensor
    edge_ids: Tensor


class Graph:
    """Directed edges ``source[e] -> target[e]`` between ``num_sources`` and ``num_targets`` nodes.

    A message goes from the source to the target, whatever ``flow`` the caller used. Instances are never
    changed after they are made (derived views are computed when first asked for, and kept), so that layers,
    threads and autograd can share them.

    Args:
        source: ``[E]`` int64 indices in ``[0, num_sources)``.
        target: ``[E]`` int64 indices in ``[0, num_targets)``; see ``padded``.
        num_sources: number of nodes that send messages.
        num_targets: number of nodes that receive messages.
        kept: for a graph made by dropping edges, ``[E_kept]`` positions of the edges kept in the input;
            ``None`` if none was dropped.
        num_loops: how many self-loops (0, 1, ..., num_loops - 1) were appended at the end.
        padded: when True, edges with ``target == num_targets`` are dead: they send their message to an
            extra row that is cut off. Dead edges take the place of dropped ones where the number of edges
            may not depend on values (``torch.compile``, ``torch.export``, meta tensors, ``vmap``).

    Complexity:
        A view holds O(E) indices; :attr:`by_target` and :attr:`by_source` sort once in O(E log E).
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        num_sources: int,
        num_targets: int,
        *,
        kept: Tensor | None = None,
        num_loops: int = 0,
        padded: bool = False,
    ) -> None:
        self.source = source
        self.target = target
        self.num_sources = num_sources
        self.num_targets = num_targets
        self.kept = kept
        self.num_loops = num_loops
        self.padded = padded
        self._derived: dict[Any, Any] = {}
        self._loopless: weakref.ref[Graph] | None = None
        self._brought: dict[str, tuple[Tensor, Tensor, Tensor]] = {}

    def __repr__(self) -> str:
        return f"Graph({self.num_sources} -> {self.num_targets} nodes, {self.num_edges} edges)"

    @property
    def num_edges(self) -> int:
        """Number of edges, self-loops added by :meth:`with_self_loops` included."""
        return self.source.shape[0]

    @property
    def device(self) -> torch.device:
        """The device that holds the indices."""
        return self.source.device

    def remember(self, key: Any, make: Callable[[], _T]) -> _T:
        """The value of ``make()``, computed when ``key`` is first asked for and kept with the graph.

        Nothing is kept while ``torch.compile``, ``torch.export``, ``torch.jit.trace``, a functorch transform or a
        dispatch mode is at work: what is made there (traced tensors, graphs with dead edges) must not reach later,
        ordinary calls.
        """
        if is_traced():
            return make()
        if key not in self._derived:
            with to_keep():
                self._derived[key] = make()
        value: _T = self._derived[key]
        return value

    def remembers(self, key: Any) -> bool:
        """Whether a value is kept under ``key``."""
        return key in self._derived

    def loopless(self) -> Graph | None:
        """For a graph made by :meth:`with_self_loops`, the one without, if it is still there."""
        return None if self._loopless is None else self._loopless()

    def brought(self, side: str) -> tuple[Tensor, Tensor, Tensor] | None:
        """Pointer, other endpoint and edge of ``"by_target"`` or ``"by_source"``, if the input came with them.

        Inside a row the slots are in the input's order.
        """
        return self._brought.get(side)

    @property
    def by_target(self) -> SortedEdges:
        """The edges grouped by target: slots of row ``i`` are the in-edges of node ``i``."""
        return self.remember("by_target", lambda: _sort(self.target, self.source, self.num_targets))

    @property
    def by_source(self) -> SortedEdges:
        """The edges grouped by source: slots of row ``j`` are the out-edges of node ``j``."""

        def make() -> SortedEdges:
            dead = self.target == self.num_targets if self.padded else None
            source = self.source if dead is None else self.source.masked_fill(dead, self.num_sources)
            return _sort(source, self.target, self.num_sources)

        return self.remember("by_source", make)

    @property
    def in_degree(self) -> Tensor:
        """``[num_targets]`` int64: number of in-edges of every target, parallel edges counted."""

        def make() -> Tensor:
            rows = self.num_targets + int(self.padded)
            if self.device.type == "cpu" and not self.padded and not _needs_static_shape(self.target):
                return torch.bincount(self.target, minlength=rows)
            count = torch.zeros(rows, dtype=torch.long, device=self.device)
            count = count.scatter_add(0, self.target, torch.ones_like(self.target))
            return count[: self.num_targets]

        return self.remember("in_degree", make)

    def without_self_loops(self, *, dynamic: bool = False) -> Graph:
        """The same graph without edges ``i -> i``.

        Args:
            dynamic: drop edges also where the shape should not depend on values (see ``padded``).
        """
        return self.remember(("without_self_loops", dynamic), lambda: self._without_self_loops(dynamic))

    def _without_self_loops(self, dynamic: bool) -> Graph:
        loop = self.source == self.target
        if _needs_static_shape(loop) and not dynamic:
            target = self.target.masked_fill(loop, self.num_targets)
            return Graph(self.source, target, self.num_sources, self.num_targets, padded=True)
        if not dynamic and not bool(loop.any()):
            same = Graph(self.source, self.target, self.num_sources, self.num_targets)
            same._brought = self._brought
            return same
        kept = (~loop).nonzero().flatten()
        return Graph(self.source[kept], self.target[kept], self.num_sources, self.num_targets, kept=kept)

    def with_self_loops(self, num_loops: int, *, dynamic: bool = False) -> Graph:
        """The graph without its own self-loops, and one new loop for each of the first ``num_loops`` nodes.

        The order is PyG's: the edges that stay, in their order, then the loops 0, 1, ..., num_loops - 1.

        Raises:
            ValueError: there are fewer sources or targets than loops.
        """
        most = min(self.num_sources, self.num_targets)
        if num_loops > most:
            raise ValueError(
                f"'num_loops' is {num_loops}, but the graph has {self.num_sources} source and {self.num_targets} "
                f"target nodes: a loop needs a node on both sides, so at most {most}"
            )
        return self.remember(("with_self_loops", num_loops, dynamic), lambda: self._with_self_loops(num_loops, dynamic))

    def _with_self_loops(self, num_loops: int, dynamic: bool) -> Graph:
        bare = self.without_self_loops(dynamic=dynamic)
        loops = torch.arange(num_loops, device=self.device, dtype=self.source.dtype)
        graph = Graph(
            torch.cat([bare.source, loops]),
            torch.cat([bare.target, loops]),
            self.num_sources,
            self.num_targets,
            kept=bare.kept,
            num_loops=num_loops,
            padded=bare.padded,
        )
        graph._loopless = weakref.ref(bare)  # weak: the other one remembers this one
        return graph

    def pick(self, per_edge: Tensor) -> Tensor:
        """The rows of a per-edge tensor of the input (first dimension E) that belong to the kept edges."""
        return per_edge if self.kept is None else per_edge.index_select(0, self.kept)


def graph_view(
    edge_index: Any,
    num_sources: int | None,
    num_targets: int | None,
    *,
    flow: str = "source_to_target",
    name: str = "edge_index",
) -> tuple[Graph, EdgeList]:
    """The checked view of ``edge_index``, and the edge list it was read from.

    Args:
        edge_index: ``[2, E]`` integer tensor, EdgeIndex, torch.sparse matrix ``adj_t`` (rows are targets,
            columns are sources) in COO, CSR or CSC layout, or torch_sparse.SparseTensor.
        num_sources: number of nodes that messages come from; ``None`` takes a sparse matrix's own.
        num_targets: number of nodes that messages go to; ``None`` takes a sparse matrix's own.
        flow: ``"source_to_target"`` (row 0 sends to row 1) or ``"target_to_source"`` (the reverse).
        name: what the errors call the argument.

    Returns:
        the graph, and the :class:`~lcat._edge_formats.EdgeList` with the input's layout and values.

    Raises:
        TypeError: ``edge_index`` is none of the accepted types.
        ValueError: wrong dtype, shape or matrix size.
        IndexError: an index is negative or too large.
    """
    edges = read_edges(edge_index, flow=flow, name=name)
    if num_sources is None:
        num_sources = edges.num_sources
    if num_targets is None:
        num_targets = edges.num_targets
    if num_sources is None or num_targets is None:
        known = num_targets if num_sources is None else num_sources
        num_sources = num_targets = known
    if num_sources is None or num_targets is None:
        raise ValueError(f"the number of nodes is unknown: '{name}' does not tell it, so pass 'size'")
    edges.check_size(num_sources, num_targets)

    # A trace keeps what it saw computed: a view from memory would be a constant in it, and what it makes is its own.
    if is_traced() or _needs_static_shape(edges.key) or edges.is_inference:
        return _build(edges, num_sources, num_targets), edges
    place, fingerprint = (num_sources, num_targets, flow), edges.fingerprint
    graph = _graph_cache.lookup(edges.key, fingerprint, place)
    if graph is None:
        with to_keep():
            graph = _build(edges, num_sources, num_targets)
        # The fingerprint from before: edges that another thread has changed meanwhile are then read again.
        _graph_cache.store(edges.key, fingerprint, place, graph)
    return graph, edges


def to_keep() -> AbstractContextManager[None]:
    """Where tensors are made that outlive the call: those of inference mode can never be saved for a backward pass."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext()


def _build(edges: EdgeList, num_sources: int, num_targets: int) -> Graph:
    source, target = edges.endpoints()
    if not _needs_static_shape(source) and not torch.jit.is_tracing():
        edges.check_range(source, target, num_sources, num_targets)
    graph = Graph(source, target, num_sources, num_targets)
    if not is_traced():
        graph._brought = edges.groupings()
    return graph


def _sort(row: Tensor, other: Tensor, num_rows: int) -> SortedEdges:
    """Group by ``row``, order inside a row by ``other``; two stable sorts make a lexicographic one."""
    other_sorted, edge = torch.sort(other, stable=True)
    row_sorted, order = torch.sort(row.index_select(0, edge), stable=True)
    bounds = torch.arange(num_rows + 1, device=row.device, dtype=row.dtype)
    return SortedEdges(
        indptr=torch.searchsorted(row_sorted, bounds),
        indices=other_sorted.index_select(0, order),
        edge_ids=edge.index_select(0, order),
    )


def is_traced() -> bool:
    """True while something looks over torch's shoulder, so that results may not be plain tensors."""
    if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    if torch.jit.is_tracing():
        return True
    if torch._C._len_torch_dispatch_stack() == 0:
        return False
    # Selective checkpointing keeps some results and runs everything else as it is.
    modes = torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    return any(type(mode).__module__ != "torch.utils.checkpoint" for mode in modes)


def _needs_static_shape(tensor: Tensor) -> bool:
    """True where shapes must not depend on values and values cannot be looked at."""
    return (
        torch.compiler.is_compiling()
        or tensor.is_meta
        or isinstance(tensor, torch._subclasses.FakeTensor)
        or torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )
