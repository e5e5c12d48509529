"""The view of a graph that every layer works on: checked once, sorted once, shared by all layers of a model.

:func:`graph_view` turns whatever a user passes as ``edge_index`` (a ``[2, E]`` tensor, a
``torch_geometric.EdgeIndex``, a ``torch.sparse`` matrix in COO, CSR or CSC layout, a
``torch_sparse.SparseTensor``) into one :class:`Graph` of edges ``source -> target``. Checking indices and
sorting them costs about as much as a layer, so views are remembered for as long as the edge tensor lives:
see :mod:`lcat._graph_cache`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from lcat import _device, _graph_cache
from lcat._device import read_device
from lcat._edge_formats import EdgeList, Flow, Groups, Side, check_ends, read_edges
from lcat._memory import check_memory
from lcat._numbers import as_int
from lcat._tracing import is_capturing, is_jit_tracing, is_traced, needs_static_shape, outside_inference_mode

# What lcat itself uses besides (TracedEdges, keep_slots, own_edge_index, passing_graph) is internal.
__all__ = [
    "CacheInfo",
    "CacheKey",
    "Graph",
    "SortedEdges",
    "cache_info",
    "forget",
    "graph_view",
    "set_cache_limit",
]

_T = TypeVar("_T")


class CacheKey(Generic[_T]):
    """Names one kind of value that is computed from a graph and kept with it; see :meth:`Graph.cached`.

    A key is a constant of the module that computes the value. Keys are compared by identity, so two modules never
    share one by accident, whatever they are called.

    Args:
        name: what the value is, for who debugs.

    Example:
        >>> import torch
        >>> from lcat.graph import CacheKey, graph_view
        >>> SOURCES: CacheKey[int] = CacheKey("number of nodes with an out-edge")
        >>> graph, _ = graph_view(torch.tensor([[0, 0], [1, 2]]), 3, 3)
        >>> graph.cached(SOURCES, lambda: graph.source.unique().numel())
        1
        >>> graph.is_cached(SOURCES)
        True
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"CacheKey({self.name!r})"


class SortedEdges(NamedTuple):
    """Edges grouped by one endpoint.

    Row ``i`` owns the slots ``indptr[i]:indptr[i + 1]``. Inside a row the slots are ordered by the other
    endpoint, and equal edges by their position in the input, so the layout does not depend on the order of
    distinct edges in the input.

    Args:
        indptr: ``[N + 1]`` int64, where each row begins.
        indices: ``[E]`` int64, the other endpoint of the edge in each slot.
        edge_ids: ``[E]`` int64, the position of each slot's edge in ``Graph.source`` and ``Graph.target``, that
            is the row of per-edge tensors that belongs to it.
    """

    indptr: Tensor
    indices: Tensor
    edge_ids: Tensor


class TracedEdges(NamedTuple):
    """Where the edges of a graph that a compiler traces come from: what an operator needs to find their cached view.

    Args:
        edge_index: the tensor that :func:`graph_view` got.
        flow: the direction of messages.
        num_loops: the number of self-loops that were added after those of the input were dropped; ``None`` for the
            edges as they are.
    """

    edge_index: Tensor
    flow: Flow
    num_loops: int | None


class Graph:
    """Directed edges ``source[e] -> target[e]`` between ``num_sources`` and ``num_targets`` nodes.

    A message goes from the source to the target, whatever ``flow`` the caller used. Instances are never
    changed after they are made (derived views are computed at their first use, and cached), so that layers,
    threads and autograd can share them.

    :func:`graph_view` makes one of edges in any form; this makes one of indices. Whether they are in their ranges is
    checked once, before anything is computed from them.

    Args:
        source: ``[E]`` int64 indices in ``[0, num_sources)``.
        target: ``[E]`` int64 indices in ``[0, num_targets)``; see ``padded``.
        num_sources: number of nodes that send messages.
        num_targets: number of nodes that receive messages.
        kept_edges: for a graph made by dropping edges, ``[E_kept]`` positions of the edges kept in the input;
            ``None`` if none was dropped.
        num_loops: how many self-loops (0, 1, ..., num_loops - 1) were appended at the end.
        padded: True if edges with ``target == num_targets`` are dead: they send their message to an
            extra row that is cut off. Dead edges replace dropped ones where the number of edges
            may not depend on values (``torch.compile``, ``torch.export``, meta tensors, ``vmap``).

    Raises:
        TypeError: the indices are no tensors, or a number of nodes is no integer.
        ValueError: the indices are not int64, have other shapes or devices than each other, or a number is negative.

    Complexity:
        A view holds O(E) indices; :attr:`by_target` and :attr:`by_source` sort once in O(E log E).

    Example:
        >>> import torch
        >>> from lcat.graph import Graph
        >>> graph = Graph(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]), 3, 3)
        >>> graph.in_degree.tolist(), graph.by_target.indptr.tolist()
        ([0, 1, 2], [0, 0, 1, 3])
    """

    def __init__(
        self,
        source: Tensor,
        target: Tensor,
        num_sources: int,
        num_targets: int,
        *,
        kept_edges: Tensor | None = None,
        num_loops: int = 0,
        padded: bool = False,
    ) -> None:
        if not torch.compiler.is_compiling():
            num_sources, num_targets = _read_count("num_sources", num_sources), _read_count("num_targets", num_targets)
            _check_indices(source, target)
        self.source = source
        self.target = target
        self.num_sources = num_sources
        self.num_targets = num_targets
        self.kept_edges = kept_edges
        self.num_loops = num_loops
        self.padded = padded
        self._cache: dict[Hashable, Any] = {}
        self._size: _graph_cache.Size | None = None  # for a graph that is kept
        self._before_self_loops: weakref.ref[Graph] | None = None
        self._input_groups: dict[Side, Groups] = {}
        self._is_in_range = False
        self._num_own_loops: int | None = None  # where it is known
        self._traced: TracedEdges | None = None
        self.kept_of: tuple[Graph, Tensor] | None = None

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

    def cached(self, key: CacheKey[_T], make: Callable[[], _T], *parameters: Hashable) -> _T:
        """The value of ``make()``, computed at the first call with this key and these parameters, and kept.

        Nothing is kept while ``torch.compile``, ``torch.export``, ``torch.jit.trace``, a functorch transform, a
        dispatch mode or the capture of a CUDA graph is active: what is made there (traced tensors, graphs with dead
        edges, memory that replays overwrite) must not reach later, ordinary calls.

        Args:
            key: a constant of the module that computes the value.
            make: computes the value; it may depend on the graph and on ``parameters``, and on nothing else.
            *parameters: what else the value depends on, such as a dtype.
        """
        if is_traced():
            return make()
        entry = (key, parameters)
        if entry not in self._cache:
            self.check_indices()
            with outside_inference_mode():
                made = make()
            if is_capturing():
                return made
            self._cache[entry] = made
            if self._size is not None:
                if isinstance(made, Graph):
                    made._size = self._size
                self._size.add(_num_bytes(made, self))
        value: _T = self._cache[entry]
        return value

    def check_indices(self) -> None:
        """Raise if an index leaves the graph or the memory of the indices is gone.

        Indices are read the first time only, and not while tracing, where they have no values.

        Raises:
            IndexError: an index is negative or too large.
            RuntimeError: the storage of the indices was freed or shrunk.
        """
        if is_traced() or needs_static_shape(self.source):
            return
        check_memory("source", self.source)
        check_memory("target", self.target)
        if not self._is_in_range and not is_capturing():  # a captured CUDA graph cannot wait for values
            bounds = (self.num_sources, self.num_targets + int(self.padded))
            questions: list[Tensor] | None = [] if _device.host_waits_for(self.source) else None
            answers = check_ends(("source", "target"), self.source, self.target, bounds, questions=questions)
            if answers is not None and self._num_own_loops is None:
                self._num_own_loops, _ = answers
            self._is_in_range = True

    def known(self, key: CacheKey[_T], *parameters: Hashable) -> _T | None:
        """What :meth:`cached` has kept, or ``None``: for callers that are asked in every call and know of no trace."""
        return self._cache.get((key, parameters))

    def is_cached(self, key: CacheKey[Any], *parameters: Hashable) -> bool:
        """Whether a value is kept for this key and these parameters."""
        return (key, parameters) in self._cache

    def before_self_loops(self) -> Graph | None:
        """For a graph made by :meth:`with_self_loops`, the one without loops; ``None`` if that was freed."""
        return None if self._before_self_loops is None else self._before_self_loops()

    def input_groups(self, side: Side) -> Groups | None:
        """Pointer and edge of each slot of ``"by_target"`` or ``"by_source"``, if the input contained them.

        Inside a row the slots are in the input's order. An EdgeIndex may hold groups of other edges than its own: they
        are checked before they are copied. On GPUs together with the indices, so that the host waits once.
        """
        return self._input_groups.get(side)

    def traced_edges(self) -> TracedEdges | None:
        """For a graph that :func:`graph_view` made while a compiler traced, where its edges come from.

        ``None`` where that is not known, or no tensor of edges.
        """
        return self._traced

    @property
    def by_target(self) -> SortedEdges:
        """The edges grouped by target. Slots of row ``i`` are the in-edges of node ``i``."""
        return self.cached(_BY_TARGET, lambda: self.grouped("by_target"))

    @property
    def by_source(self) -> SortedEdges:
        """The edges grouped by source. Slots of row ``j`` are the out-edges of node ``j``."""
        return self.cached(_BY_SOURCE, lambda: self.grouped("by_source"))

    def grouped(self, side: Side) -> SortedEdges:
        """:attr:`by_target` or :attr:`by_source`, sorted in every call: for what is kept in another form."""
        if self.kept_of is not None:
            whole, keep = self.kept_of
            return keep_slots(whole.by_target if side == "by_target" else whole.by_source, keep)
        if side == "by_target":
            return _sort(self.target, self.source, self.num_targets, self.num_sources)
        dead = self.target == self.num_targets if self.padded else None
        source = self.source if dead is None else self.source.masked_fill(dead, self.num_sources)
        return _sort(source, self.target, self.num_sources, self.num_targets)

    @property
    def in_degree(self) -> Tensor:
        """Number of in-edges of every target, parallel edges counted, ``[num_targets]`` int64."""

        def make() -> Tensor:
            rows = self.num_targets + int(self.padded)
            recorded = needs_static_shape(self.target) or is_jit_tracing()  # ONNX has no bincount
            if self.device.type == "cpu" and not self.padded and not recorded:
                return torch.bincount(self.target, minlength=rows)
            count = torch.zeros(rows, dtype=torch.long, device=self.device)
            count = count.scatter_add(0, self.target, torch.ones_like(self.target))
            return count[: self.num_targets]

        return self.cached(_IN_DEGREE, make)

    def without_self_loops(self, *, dynamic: bool = False) -> Graph:
        """The same graph without edges ``i -> i``.

        Args:
            dynamic: drop edges also where the shape should not depend on values (see ``padded``).
        """
        return self.cached(_WITHOUT_LOOPS, lambda: self._without_self_loops(dynamic), dynamic)

    def _without_self_loops(self, dynamic: bool) -> Graph:
        loop = self.source == self.target
        if needs_static_shape(loop) and not dynamic:
            return self._with_dead_self_loops()
        num_loops = None if is_traced() else self._num_own_loops
        may_be_same = not dynamic and not is_jit_tracing()  # a trace is for graphs with loops too
        if may_be_same and not (bool(loop.any()) if num_loops is None else num_loops):
            same = self._derive(self.source, self.target)
            same._input_groups = self._input_groups
            return same
        kept_edges = (~loop).nonzero().flatten() if num_loops is None else _positions(~loop, self.num_edges - num_loops)
        return self._derive(self.source[kept_edges], self.target[kept_edges], kept_edges=kept_edges)

    def _with_dead_self_loops(self) -> Graph:
        """The graph without edges ``i -> i`` in the form that does not depend on values: they are dead edges."""
        target = self.target.masked_fill(self.source == self.target, self.num_targets)
        graph = self._derive(self.source, target, padded=True)
        if self._traced is not None:
            graph._traced = self._traced._replace(num_loops=0)
        return graph

    def _derive(self, source: Tensor, target: Tensor, **options: Any) -> Graph:
        """A graph between the same nodes, whose indices are in range if those of this one are."""
        graph = Graph(source, target, self.num_sources, self.num_targets, **options)
        graph._is_in_range = self._is_in_range
        return graph

    def keeping(self, keep: Tensor) -> Graph:
        """The graph in which only some edges are live: the others are dead, in their places (see ``padded``).

        Nothing is sorted: the groups of this graph are taken, and those of its edges that stay are moved together. The
        result is not cached, it is meant for one call; per-edge tensors of this graph fit it.

        Args:
            keep: ``[E]`` of bool, the edges that stay live.

        Raises:
            TypeError: ``keep`` is no tensor.
            ValueError: ``keep`` is not of bool, of another shape, or on another device.

        Complexity:
            O(E) time and memory, for each of :attr:`by_target` and :attr:`by_source` that is used.

        Example:
            >>> import torch
            >>> from lcat.graph import graph_view
            >>> graph, _ = graph_view(torch.tensor([[0, 1, 2], [1, 2, 0]]), 3, 3)
            >>> graph.keeping(torch.tensor([True, False, True])).in_degree
            tensor([1, 1, 0])
        """
        if not isinstance(keep, Tensor):
            raise TypeError(f"expected 'keep' of type torch.Tensor, got {type(keep).__name__}")
        if keep.dtype != torch.bool or keep.shape != self.target.shape or keep.device != self.target.device:
            raise ValueError(
                f"expected 'keep' of shape {list(self.target.shape)} and type bool on {self.target.device}, got "
                f"{list(keep.shape)}, {keep.dtype} and {keep.device}"
            )
        self.check_indices()
        target = self.target.masked_fill(~keep, self.num_targets)
        graph = self._derive(self.source, target, kept_edges=self.kept_edges, num_loops=self.num_loops, padded=True)
        graph.kept_of = (self, keep)
        return graph

    def with_self_loops(self, num_loops: int, *, dynamic: bool = False) -> Graph:
        """The graph without its own self-loops, and one new loop for each of the first ``num_loops`` nodes.

        The order is PyG's: the edges that stay, in their order, then the loops 0, 1, ..., num_loops - 1.

        Raises:
            TypeError: ``num_loops`` is no integer.
            ValueError: there are fewer sources or targets than loops, or ``num_loops`` is negative.
        """
        if type(num_loops) is not int:
            num_loops = _read_count("num_loops", num_loops)
        max_loops = min(self.num_sources, self.num_targets)
        if num_loops > max_loops or num_loops < 0:
            _read_count("num_loops", num_loops)
            raise ValueError(
                f"'num_loops' is {num_loops}, but the graph has {self.num_sources} source and {self.num_targets} "
                f"target nodes: a loop needs a node on both sides, so at most {max_loops}"
            )
        return self.cached(_WITH_LOOPS, lambda: self._with_self_loops(num_loops, dynamic), num_loops, dynamic)

    def _with_self_loops(self, num_loops: int, dynamic: bool) -> Graph:
        without = self.without_self_loops(dynamic=dynamic)
        graph = without._append_self_loops(num_loops)
        graph._before_self_loops = weakref.ref(without)  # weak: it keeps this graph in its cache
        return graph

    def _append_self_loops(self, num_loops: int) -> Graph:
        loops = torch.arange(num_loops, device=self.device, dtype=self.source.dtype)
        graph = self._derive(
            torch.cat([self.source, loops]),
            torch.cat([self.target, loops]),
            kept_edges=self.kept_edges,
            num_loops=num_loops,
            padded=self.padded,
        )
        if self._traced is not None:
            graph._traced = self._traced._replace(num_loops=num_loops)
        return graph

    def padded_with_self_loops(self, num_loops: int) -> Graph:
        """:meth:`with_self_loops` as a compiler traces it: the input's own self-loops are dead edges.

        Where it has none, both are the same graph.
        """
        graph = self.with_self_loops(num_loops) if num_loops else self.without_self_loops()
        if graph.kept_edges is None:
            return graph
        return self.cached(_PADDED, lambda: self.pad_self_loops(num_loops), num_loops)

    def pad_self_loops(self, num_loops: int) -> Graph:
        """As :meth:`padded_with_self_loops`, made anew in every call and without a look at the values."""
        return self._with_dead_self_loops()._append_self_loops(num_loops)

    def edge_index(self, flow: Flow = "source_to_target") -> Tensor:
        """The edges as PyG has them, a new tensor ``[2, E]``.

        Args:
            flow: the direction of messages, as a layer's ``flow``: with ``"target_to_source"`` the first row has the
                targets.

        Example:
            >>> import torch
            >>> from lcat.graph import graph_view
            >>> graph, _ = graph_view(torch.tensor([[0, 1], [1, 0]]), 2, 2)
            >>> graph.with_self_loops(2).edge_index().tolist()
            [[0, 1, 0, 1], [1, 0, 0, 1]]
        """
        return torch.stack((self.source, self.target) if flow == "source_to_target" else (self.target, self.source))

    def select(self, per_edge: Tensor) -> Tensor:
        """The rows of a per-edge tensor of the input (first dimension E) that belong to the kept edges.

        Raises:
            TypeError: ``per_edge`` is no tensor.
        """
        if not isinstance(per_edge, Tensor):
            raise TypeError(f"expected 'per_edge' of type torch.Tensor, got {type(per_edge).__name__}")
        return per_edge if self.kept_edges is None else per_edge.index_select(0, self.kept_edges)


_BY_TARGET: CacheKey[SortedEdges] = CacheKey("edges by target")
_BY_SOURCE: CacheKey[SortedEdges] = CacheKey("edges by source")
_IN_DEGREE: CacheKey[Tensor] = CacheKey("in-degrees")
_WITHOUT_LOOPS: CacheKey[Graph] = CacheKey("without self-loops")
_WITH_LOOPS: CacheKey[Graph] = CacheKey("with self-loops")
_PADDED: CacheKey[Graph] = CacheKey("with self-loops, those of the input dead")


def _positions(mask: Tensor, count: int) -> Tensor:
    """``mask.nonzero().flatten()`` of so many numbers: on a GPU, nothing waits to learn how many they are."""
    slots = torch.where(mask, mask.cumsum(0) - 1, count).clamp_(max=count)
    every = torch.arange(mask.shape[0], device=mask.device)
    return every.new_zeros(count + 1).scatter_(0, slots, every)[:count]


def keep_slots(edges: SortedEdges, keep: Tensor) -> SortedEdges:
    """Grouped edges, of which some are moved to the end, where they are dead.

    Args:
        edges: all of them.
        keep: ``[E]`` of bool by the numbers of edges, which ones stay where they are read.
    """
    indptr, indices, edge_ids = edges
    slots = torch.arange(edge_ids.shape[0], device=edge_ids.device)
    live = keep.index_select(0, edge_ids) & (slots < indptr[-1])
    before = torch.cat([slots.new_zeros(1), live.cumsum(0)])  # live slots before each one
    to = torch.where(live, before[:-1], before[-1] + slots - before[:-1])
    return SortedEdges(
        before[indptr],
        torch.empty_like(indices).scatter_(0, to, indices),
        torch.empty_like(edge_ids).scatter_(0, to, edge_ids),
    )


def graph_view(
    edge_index: Any,
    num_sources: int | None,
    num_targets: int | None,
    *,
    flow: Flow = "source_to_target",
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
        TypeError: ``edge_index`` is none of the accepted types, or a number of nodes no integer.
        ValueError: wrong dtype, shape or matrix size, or a negative number of nodes.
        IndexError: an index is negative or too large.

    Example:
        >>> import torch
        >>> from lcat.graph import graph_view
        >>> edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> graph, _ = graph_view(edges, 3, 3)
        >>> graph.num_edges, graph_view(edges, 3, 3)[0] is graph
        (3, True)
    """
    if type(num_sources) is not int or type(num_targets) is not int:
        num_sources = None if num_sources is None else _read_count("num_sources", num_sources)
        num_targets = None if num_targets is None else _read_count("num_targets", num_targets)
    edges = read_edges(edge_index, flow=flow, name=name)
    num_sources, num_targets = edges.checked_sizes(num_sources, num_targets)

    # A trace keeps what it saw computed: a cached view would be a constant in it, and what it makes is its own.
    if is_traced() or needs_static_shape(edges.key) or edges.is_inference:
        return _build(edges, num_sources, num_targets), edges
    variant = (num_sources, num_targets, flow)
    graph = _graph_cache.own_view(edges.key, variant)
    if graph is not None:
        return graph, edges
    fingerprint = edges.fingerprint
    graph = _graph_cache.lookup(edges.key, fingerprint, variant)
    if graph is None:
        with outside_inference_mode():
            graph = _build(edges, num_sources, num_targets)
        graph._size = _graph_cache.Size(graph.device)
        graph._size.bytes = 0 if edges.shares_memory else _num_bytes(graph, None)
        if is_capturing():
            return graph, edges
        # The fingerprint from before: edges that another thread has changed meanwhile are then read again.
        _graph_cache.store(edges.key, fingerprint, variant, graph, graph._size)
    return graph, edges


def own_edge_index(graph: Graph, flow: Flow, edge_index: Tensor | None = None) -> Tensor:
    """Edges of a graph as an ``edge_index``, for which :func:`graph_view` returns this very graph.

    This is for edges that lcat makes itself, and hands to layers: their indices are not read again to see whether they
    have changed, only torch's count of writes is.

    Args:
        graph: the graph; it is kept as long as the tensor lives.
        flow: the direction of messages.
        edge_index: the edges, if there is a tensor of them already.

    Returns:
        ``edge_index``, or a new tensor ``[2, E]``.
    """
    edge_index = graph.edge_index(flow) if edge_index is None else edge_index
    _graph_cache.store_own(edge_index, (graph.num_sources, graph.num_targets, flow), graph)
    return edge_index


def passing_graph(source: Tensor, target: Tensor, num_sources: int, num_targets: int, *, padded: bool = False) -> Graph:
    """A graph of indices for one step of a compiled model: on a GPU, nothing waits for them to be checked.

    The arguments are those of :class:`Graph`.

    Raises:
        IndexError: an index on the CPU leaves the graph.
    """
    graph = Graph(source, target, num_sources, num_targets, padded=padded)
    if source.is_cpu:
        graph.check_indices()
    graph._is_in_range = True
    return graph


class CacheInfo(NamedTuple):
    """What lcat keeps for edge tensors; see :func:`cache_info`.

    Args:
        tensors: number of edge tensors (or matrices) that views are kept for.
        bytes: what these views take, beside the memory of the edge tensors, on all devices together.
        limit: the most that is kept for the tensors on one device, in bytes.
    """

    tensors: int
    bytes: int
    limit: int


def cache_info(device: torch.device | str = "cpu") -> CacheInfo:
    """How many views of graphs are kept, and how much memory they take.

    Args:
        device: the one whose limit is shown.

    Raises:
        TypeError, ValueError: ``device`` is no device, or not available.

    Example:
        >>> import torch
        >>> from lcat.graph import forget, graph_view
        >>> edges = torch.tensor([[0, 1], [1, 2]])
        >>> forget()
        >>> graph, _ = graph_view(edges, 3, 3)
        >>> cache_info().tensors
        1
        >>> forget(edges)
        >>> cache_info().tensors
        0
    """
    sizes = [size for _, size in _graph_cache.contents()]
    return CacheInfo(_graph_cache.num_tensors(), sum(sizes), _graph_cache.limit(read_device(device)))


def set_cache_limit(limit: int | None) -> None:
    """Change how much memory the views of graphs may take that are kept between calls.

    When the views of the edge tensors on one device take more, those that were not used for the longest time are
    forgotten: their edges are sorted again when they are used again. The view that was used last is kept in any case.

    Args:
        limit: bytes for each device; 0 keeps one view. ``None`` is the default, a quarter of the memory of the machine
            or of the GPU.

    Raises:
        TypeError, ValueError: ``limit`` is no integer, or negative.

    Example:
        >>> from lcat.graph import cache_info, set_cache_limit
        >>> set_cache_limit(10**9)
        >>> cache_info().limit
        1000000000
        >>> set_cache_limit(None)
    """
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"expected 'limit' as a number of bytes (int) or None, got {type(limit).__name__}")
        if limit < 0:
            raise ValueError(f"expected 'limit' of at least 0 bytes, got {limit}: 0 keeps only the view used last")
    _graph_cache.set_limit(limit)


def forget(edges: Any = None) -> None:
    """Free what lcat keeps for a graph, or for all graphs.

    Views are freed with their edge tensors anyway. This frees them earlier, and makes lcat read edges again that were
    written to in a way that neither torch nor lcat can see: through ``.data``, CuPy or DLPack, on a GPU.

    Args:
        edges: what was passed as ``edge_index``, in any format; ``None`` for all graphs.

    Raises:
        TypeError: ``edges`` is none of the formats.

    Example:
        >>> import torch
        >>> from lcat.graph import cache_info, forget, graph_view
        >>> edges = torch.tensor([[0, 1], [1, 0]])
        >>> view, _ = graph_view(edges, 2, 2)
        >>> forget(edges)
        >>> graph_view(edges, 2, 2)[0] is view
        False
    """
    if edges is None:
        _graph_cache.forget()
    else:
        _graph_cache.forget(read_edges(edges, flow="source_to_target", name="edges").key)


def _build(edges: EdgeList, num_sources: int, num_targets: int) -> Graph:
    if not torch.compiler.is_compiling():
        num_sources, num_targets = _read_count("num_sources", num_sources), _read_count("num_targets", num_targets)
    source, target, groups, num_loops = edges.checked(num_sources, num_targets)
    graph = Graph(source, target, num_sources, num_targets)
    graph._input_groups = groups
    graph._num_own_loops = num_loops
    graph._is_in_range = not is_traced() and not needs_static_shape(source)
    if torch.compiler.is_compiling() and edges.layout == "edge_index":
        graph._traced = TracedEdges(edges.memory[0], edges.flow, None)
    return graph


def _num_bytes(made: Any, parent: Graph | None) -> int:
    """The memory of what was computed from a graph. What it shares with the graph that it comes from is not counted."""
    if isinstance(made, Tensor):
        return made.nbytes
    if isinstance(made, Graph):
        tensors = [made.source, made.target]
        if parent is not None:
            tensors = [tensor for tensor in tensors if tensor is not parent.source and tensor is not parent.target]
        if made.kept_edges is not None and made.num_loops == 0:
            tensors.append(made.kept_edges)
        return sum([tensor.nbytes for tensor in tensors])
    if isinstance(made, tuple):
        return sum([part.nbytes for part in made if isinstance(part, Tensor)])
    return 0


def _read_count(name: str, count: Any) -> int:
    """A number of nodes, at least 0, as an int; in a trace what stands for one."""
    if isinstance(count, torch.SymInt) or (isinstance(count, Tensor) and is_jit_tracing()):
        return count  # type: ignore[return-value]
    number = as_int(count)
    if number is None:
        raise TypeError(f"expected '{name}' of type int, got {type(count).__name__}: {count!r} is no number of nodes")
    if number < 0:
        raise ValueError(f"expected '{name}' of at least 0, got {number}: it is a number of nodes")
    return number


def _check_indices(source: Any, target: Any) -> None:
    for name, index in (("source", source), ("target", target)):
        if not isinstance(index, Tensor):
            raise TypeError(f"expected '{name}' of type torch.Tensor, got {type(index).__name__}")
        if index.is_nested:  # has no shape
            raise ValueError(f"expected '{name}' as a dense tensor of shape [E], got a nested one")
        if index.dtype != torch.long or index.layout != torch.strided or index.dim() != 1:
            raise ValueError(
                f"expected '{name}' as a dense tensor of shape [E] and type int64, got {list(index.shape)}, "
                f"{index.dtype} and {index.layout}: lcat.graph.graph_view converts edges of other forms"
            )
    if source.shape != target.shape or source.device != target.device:
        raise ValueError(
            f"expected 'source' and 'target' of one length on one device, got {list(source.shape)} on "
            f"{source.device} and {list(target.shape)} on {target.device}"
        )


def _sort(row: Tensor, other: Tensor, num_rows: int, num_others: int) -> SortedEdges:
    """Group by ``row``, order inside a row by ``other``, and equal edges by their position."""
    bounds = torch.arange(num_rows + 1, device=row.device, dtype=row.dtype)
    # Dead edges have numbers one past the last. In a trace, sizes may be symbols that nothing may be asked about.
    if not is_traced() and not needs_static_shape(row) and (num_rows + 1) * (num_others + 1) < 2**63:
        key, edge = torch.sort(row * (num_others + 1) + other, stable=True)
        row_sorted = key.div(num_others + 1, rounding_mode="floor")
        return SortedEdges(torch.searchsorted(row_sorted, bounds), key - row_sorted * (num_others + 1), edge)
    other_sorted, edge = torch.sort(other, stable=True)
    row_sorted, order = torch.sort(row.index_select(0, edge), stable=True)  # two stable sorts: a lexicographic one
    return SortedEdges(
        indptr=torch.searchsorted(row_sorted, bounds),
        indices=other_sorted.index_select(0, order),
        edge_ids=edge.index_select(0, order),
    )
