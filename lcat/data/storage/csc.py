"""In-edges of every node as three arrays, in memory or on disk: what samplers read."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcat._edge_formats import read_edges
from lcat._files import as_path
from lcat.data.storage._csc_files import FORMAT, TYPES, map_array, write_arrays, write_in_two_passes

__all__ = ["CSCGraph"]


class CSCGraph:
    """The edges of one relation grouped by target, in PyG's CSC: columns are targets.

    The in-edges of node ``i`` are the slots ``indptr[i] .. indptr[i + 1] - 1``.

    Args:
        indptr: ``[num_targets + 1]`` int64, rising from 0 to ``E``.
        indices: ``[E]`` int32 or int64, the source node of each slot's edge.
        num_sources: number of nodes that send; by default as many as receive.
        edge_ids: ``[E]`` int32 or int64, the number that each slot's edge had in the input; ``None`` where it is that
            of the slot.

    Raises:
        TypeError: an array is no tensor.
        ValueError: arrays of another type or shape, or an ``indptr`` that falls or does not fit ``indices``.
        IndexError: a source that is no node, or a negative edge number. Of mapped files these are checked where they
            are read.

    Complexity:
        O(N + E) time, O(N) for mapped files. ``8 N + 4 E`` bytes with int32 indices and without ``edge_ids``; nothing
        is copied, so memory-mapped arrays stay on disk.

    Example:
        >>> import torch
        >>> from lcat.data import CSCGraph
        >>> graph = CSCGraph.from_edges(torch.tensor([[2, 0, 1], [0, 2, 0]]), num_nodes=3)
        >>> graph.indptr.tolist(), graph.indices.tolist(), graph.edge_ids.tolist()
        ([0, 2, 2, 3], [2, 1, 0], [0, 2, 1])
    """

    def __init__(
        self, indptr: Tensor, indices: Tensor, num_sources: int | None = None, edge_ids: Tensor | None = None
    ) -> None:
        self._take(indptr, indices, num_sources, edge_ids)
        self.check_edges()

    def _take(self, indptr: Any, indices: Any, num_sources: Any, edge_ids: Any) -> None:
        """Keep the arrays, all of them checked but the entries of ``indices`` and ``edge_ids``."""
        for name, array in (("indptr", indptr), ("indices", indices), ("edge_ids", edge_ids)):
            if not isinstance(array, Tensor) and not (array is None and name == "edge_ids"):
                raise TypeError(f"{name} must be a tensor; got {type(array).__name__}: convert it with torch.as_tensor")
        if indptr.dtype != torch.int64 or indptr.dim() != 1 or indptr.numel() == 0:
            raise ValueError(f"indptr must be int64 [N + 1]; got {indptr.dtype} {list(indptr.shape)}")
        for name, array in (("indices", indices), ("edge_ids", edge_ids)):
            if array is not None and (array.dtype not in TYPES.values() or array.dim() != 1):
                raise ValueError(f"{name} must be int32 or int64 [E]; got {array.dtype} {list(array.shape)}")
        if int(indptr[0]) != 0 or int(indptr[-1]) != indices.numel():
            raise ValueError(
                f"indptr must run from 0 to the number of edges {indices.numel()}; "
                f"got {int(indptr[0])} to {int(indptr[-1])}"
            )
        falls = indptr[1:] < indptr[:-1]
        if bool(falls.any()):
            node = int(falls.nonzero()[0])
            raise ValueError(
                f"indptr must rise from 0 to the number of edges {indices.numel()}; it falls at node {node}, "
                f"from {int(indptr[node])} to {int(indptr[node + 1])}: make it with CSCGraph.from_edges"
            )
        if edge_ids is not None and edge_ids.shape != indices.shape:
            raise ValueError(f"edge_ids must have one number per edge, {indices.numel()}; got {edge_ids.numel()}")
        self.indptr = indptr
        self.indices: Tensor = indices
        self.edge_ids = edge_ids
        self.num_targets: int = indptr.numel() - 1
        self.num_sources = self.num_targets if num_sources is None else _whole(num_sources)
        self._folder: Path | None = None
        self._entries_checked = False

    def __repr__(self) -> str:
        return f"CSCGraph({self.num_sources} -> {self.num_targets} nodes, {self.num_edges} edges)"

    def __reduce__(self) -> Any:
        # Workers map the files themselves.
        if self._folder is not None:
            return CSCGraph.open, (self._folder,)
        return CSCGraph, (self.indptr, self.indices, self.num_sources, self.edge_ids)

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return self.indices.numel()

    def check_edges(self) -> None:
        """Check the entries of ``indices`` and ``edge_ids``, all of them, once.

        Raises:
            IndexError: a source that is no node, or a negative edge number.

        Complexity:
            O(E) in the first call for mapped files; O(1) afterwards, and for graphs in memory.
        """
        if not self._entries_checked:
            self._check_entries(self.indices, self.edge_ids)
            self._entries_checked = True

    def sources_at(self, slots: slice | Tensor) -> Tensor:
        """``indices`` of these slots, int64.

        Raises:
            IndexError: a source that is no node, in a damaged file.
        """
        sources = _entries(self.indices, slots)
        if not self._entries_checked:
            self._check_entries(sources, None)
        return sources.long()

    def edge_numbers_at(self, slots: slice | Tensor) -> Any:
        """The numbers in the input of the edges in these slots, int64; ``slots`` itself without ``edge_ids``.

        Raises:
            IndexError: a negative number, in a damaged file.
        """
        if self.edge_ids is None:
            return slots
        numbers = _entries(self.edge_ids, slots)
        if not self._entries_checked:
            self._check_entries(None, numbers)
        return numbers.long()

    def _check_entries(self, sources: Tensor | None, numbers: Tensor | None) -> None:
        where = "" if self._folder is None else f"{self._folder} is damaged, write it again: "
        if sources is not None and sources.numel():
            low, high = (int(extreme) for extreme in torch.aminmax(sources))
            if low < 0 or high >= self.num_sources:
                raise IndexError(
                    f"{where}indices must hold source nodes 0 .. {self.num_sources - 1}; got {low} .. {high}"
                    + ("" if where or low < 0 else f" (num_sources={high + 1} or more makes them nodes)")
                )
        if numbers is not None and numbers.numel() and int(numbers.min()) < 0:
            raise IndexError(f"{where}edge_ids must hold edge numbers of 0 or more; got {int(numbers.min())}")

    @classmethod
    def from_edges(cls, edge_index: Any, num_nodes: int | tuple[int, int]) -> CSCGraph:
        """The graph of an ``edge_index`` in any of the formats that layers take.

        Args:
            edge_index: ``[2, E]`` integers, an EdgeIndex, a torch.sparse or a SparseTensor ``adj_t``.
            num_nodes: number of nodes, or of (sources, targets).

        Raises:
            TypeError, ValueError, IndexError: for edges that no layer would take, with the layers' messages.

        Complexity:
            O(E log E) time, O(E) where the edges come sorted by target; ``32 E`` bytes on the way.
        """
        sizes = num_nodes if isinstance(num_nodes, (tuple, list)) else (num_nodes, num_nodes)
        if len(sizes) != 2:
            raise ValueError(f"expected a number of nodes, or those of sources and targets, got {num_nodes!r}")
        num_sources, num_targets = (_whole(size) for size in sizes)
        edges = read_edges(edge_index, flow="source_to_target", name="edge_index")
        edges.checked_sizes(num_sources, num_targets)
        source, target, *_ = edges.checked(num_sources, num_targets)
        source, target = source.cpu(), target.cpu()
        edge_ids = None
        if not bool((target[1:] >= target[:-1]).all()):
            target, edge_ids = torch.sort(target, stable=True)
            source = source.index_select(0, edge_ids)
        indptr = torch.zeros(num_targets + 1, dtype=torch.int64)
        indptr[1:] = torch.bincount(target, minlength=num_targets).cumsum(0)
        return cls._made(indptr, source.contiguous(), num_sources, edge_ids, checked=True)

    @classmethod
    def _made(
        cls, indptr: Tensor, indices: Tensor, num_sources: Any, edge_ids: Tensor | None, *, checked: bool
    ) -> CSCGraph:
        """A graph whose entries were checked before, or will be where they are read."""
        graph = cls.__new__(cls)
        graph._take(indptr, indices, num_sources, edge_ids)
        graph._entries_checked = checked
        return graph

    def edge_index(self) -> Tensor:
        """``[2, E]`` int64: all edges in the order of the slots."""
        self.check_edges()
        targets = torch.arange(self.num_targets).repeat_interleave(self.indptr.diff(), output_size=self.num_edges)
        return torch.stack([self.indices.to(torch.int64), targets])

    def save(self, folder: str | Path) -> None:
        """Write the arrays to ``folder`` in native byte order, for :meth:`open`; the description comes last.

        A graph that the folder holds already is replaced when all is written.
        """
        arrays = {"pointer": self.indptr, "source": self.indices}  # the names of the format
        if self.edge_ids is not None:
            arrays["edge"] = self.edge_ids
        write_arrays(as_path("folder", folder), arrays, self.num_sources)

    @classmethod
    def open(cls, folder: str | Path) -> CSCGraph:
        """The graph in ``folder``, memory-mapped: only what is read is brought into memory.

        Raises:
            FileNotFoundError: there is none.
            ValueError: the files do not agree with their description; the message names the file.
        """
        folder = as_path("folder", folder)
        try:
            description = json.loads((folder / "csc.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"{folder} holds no csc.json: write one with CSCGraph.save") from None
        except ValueError as error:
            raise ValueError(f"{folder / 'csc.json'} is no description of a graph ({error})") from error
        if not isinstance(description, dict) or description.get("format") != FORMAT:
            raise ValueError(f"{folder / 'csc.json'} must have the format {FORMAT!r}; write it with CSCGraph.save")
        try:
            kinds = {name: (TYPES[kind], _whole(count)) for name, (kind, count) in description["arrays"].items()}
            num_sources = _whole(description["num_sources"])
            kinds["pointer"], kinds["source"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{folder / 'csc.json'} does not describe the arrays of a graph ({type(error).__name__}: {error}): "
                "write it again with CSCGraph.save"
            ) from error
        arrays = {name: map_array(folder / f"{name}.bin", kind, (count,)) for name, (kind, count) in kinds.items()}
        try:
            graph = cls._made(arrays["pointer"], arrays["source"], num_sources, arrays.get("edge"), checked=False)
        except ValueError as error:
            raise ValueError(f"{folder} is damaged, write it again: {error}") from None
        graph._folder = folder
        return graph

    @classmethod
    def write(
        cls,
        folder: str | Path,
        chunks: Callable[[], Iterable[Tensor]],
        num_nodes: int,
        *,
        undirected: bool = False,
        edge_numbers: bool = False,
    ) -> CSCGraph:
        """The graph of more edges than fit into memory, from chunks that are read twice.

        A first pass counts in-edges; a second puts every edge into its place in the memory-mapped file. In-edges of a
        node keep the order in which they came.

        Args:
            folder: where to write; a graph that it holds already is replaced when all is written.
            chunks: called twice; returns chunks ``[2, n]`` of the edges, the same both times.
            num_nodes: number of nodes.
            undirected: add the reverse of every edge, after the edge itself in its chunk.
            edge_numbers: keep the numbers that edges had in the input (4 or 8 bytes per edge more); a reversed edge has
                that of its edge.

        Raises:
            IndexError: an edge leaves the graph.
            ValueError: the second pass gave other edges than the first.

        Complexity:
            Memory: ``16 N`` bytes and a chunk. Disk: ``8 N`` and 4 bytes per edge (8 from 2^31 nodes on).

        Example:
            >>> import torch
            >>> from lcat.data import CSCGraph
            >>> edges = torch.tensor([[2, 0, 1], [0, 2, 0]])
            >>> CSCGraph.write(
            ...     "big", lambda: edges.split(2, dim=1), num_nodes=3
            ... ).indices.tolist()
            [2, 1, 0]
        """
        if not callable(chunks) or isinstance(chunks, type):
            raise TypeError(
                f"expected a function that returns the chunks, which are read twice, got {type(chunks).__name__}: pass "
                "chunks=lambda: [edge_index]"
            )
        write_in_two_passes(as_path("folder", folder), chunks, _whole(num_nodes), undirected, edge_numbers)
        return cls.open(folder)


def _entries(array: Tensor, slots: slice | Tensor) -> Tensor:
    return array[slots] if isinstance(slots, slice) else array.index_select(0, slots)


def _whole(count: Any) -> int:
    """A number of nodes as an ``int``, also where it is one of NumPy's."""
    try:
        number = operator.index(count)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"expected a whole number of nodes, at least 0, got {count!r}")
    return number
