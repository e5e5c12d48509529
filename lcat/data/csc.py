"""In-edges of every node as three arrays, in memory or on disk: what samplers read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lcat._edge_formats import read_edges

__all__ = ["CSCGraph"]

_FORMAT = "lcat-csc-1"
_TYPES = {"int32": torch.int32, "int64": torch.int64}


class CSCGraph:
    """The edges of one relation grouped by target: the in-edges of node ``i`` are the slots
    ``pointer[i] .. pointer[i + 1] - 1``.

    Args:
        pointer: ``[num_targets + 1]`` int64, rising from 0 to ``E``.
        source: ``[E]`` int32 or int64, the node at the other end of each slot's edge.
        num_sources: number of nodes that send; by default as many as receive.
        edge: ``[E]`` int32 or int64, the number that each slot's edge had in the input, where that was not the slot.

    Raises:
        ValueError: arrays of another type or shape, or a pointer that does not fit ``source``.

    Complexity:
        ``8 N + 4 E`` bytes with int32 sources and without ``edge``; nothing is copied, so memory-mapped arrays stay
        on disk.

    Example:
        >>> import torch
        >>> from lcat.data import CSCGraph
        >>> graph = CSCGraph.from_edges(torch.tensor([[2, 0, 1], [0, 2, 0]]), num_nodes=3)
        >>> graph.pointer.tolist(), graph.source.tolist(), graph.edge.tolist()
        ([0, 2, 2, 3], [2, 1, 0], [0, 2, 1])
    """

    def __init__(
        self, pointer: Tensor, source: Tensor, num_sources: int | None = None, edge: Tensor | None = None
    ) -> None:
        if pointer.dtype != torch.int64 or pointer.dim() != 1 or pointer.numel() == 0:
            raise ValueError(f"pointer must be int64 [N + 1]; got {pointer.dtype} {list(pointer.shape)}")
        for name, array in (("source", source), ("edge", edge)):
            if array is not None and (array.dtype not in _TYPES.values() or array.dim() != 1):
                raise ValueError(f"{name} must be int32 or int64 [E]; got {array.dtype} {list(array.shape)}")
        if int(pointer[0]) != 0 or int(pointer[-1]) != source.numel():
            raise ValueError(
                f"pointer must run from 0 to the number of edges {source.numel()}; "
                f"got {int(pointer[0])} to {int(pointer[-1])}"
            )
        if edge is not None and edge.shape != source.shape:
            raise ValueError(f"edge must have one number an edge, {source.numel()}; got {edge.numel()}")
        self.pointer = pointer
        self.source = source
        self.edge = edge
        self.num_targets = pointer.numel() - 1
        self.num_sources = self.num_targets if num_sources is None else num_sources

    def __repr__(self) -> str:
        return f"CSCGraph({self.num_sources} -> {self.num_targets} nodes, {self.num_edges} edges)"

    @property
    def num_edges(self) -> int:
        """Number of edges."""
        return self.source.numel()

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
        num_sources, num_targets = (num_nodes, num_nodes) if isinstance(num_nodes, int) else num_nodes
        edges = read_edges(edge_index, flow="source_to_target", name="edge_index")
        edges.check_size(num_sources, num_targets)
        source, target = (end.cpu() for end in edges.endpoints())
        edges.check_range(source, target, num_sources, num_targets)
        edge = None
        if not bool((target[1:] >= target[:-1]).all()):
            target, edge = torch.sort(target, stable=True)
            source = source.index_select(0, edge)
        pointer = torch.zeros(num_targets + 1, dtype=torch.int64)
        pointer[1:] = torch.bincount(target, minlength=num_targets).cumsum(0)
        return cls(pointer, source.contiguous(), num_sources, edge)

    def edge_index(self) -> Tensor:
        """``[2, E]`` int64: all edges in the order of the slots."""
        targets = torch.arange(self.num_targets).repeat_interleave(self.pointer.diff(), output_size=self.num_edges)
        return torch.stack([self.source.to(torch.int64), targets])

    def save(self, folder: str | Path) -> None:
        """Write the arrays to ``folder`` in native byte order, for :meth:`open`; the description comes last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        description: dict[str, Any] = {"format": _FORMAT, "num_sources": self.num_sources, "arrays": {}}
        for name in ("pointer", "source", "edge"):
            array = getattr(self, name)
            if array is None:
                continue
            array.contiguous().numpy().tofile(folder / f"{name}.bin")
            description["arrays"][name] = [str(array.dtype).removeprefix("torch."), array.numel()]
        (folder / "csc.json").write_text(json.dumps(description), encoding="utf-8")

    @classmethod
    def open(cls, folder: str | Path) -> CSCGraph:
        """The graph in ``folder``, memory-mapped: only what is read is brought into memory.

        Raises:
            FileNotFoundError: there is none.
            ValueError: the files do not agree with their description; the message names the file.
        """
        folder = Path(folder)
        try:
            description = json.loads((folder / "csc.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(f"{folder} holds no csc.json: write one with CSCGraph.save") from None
        except ValueError as error:
            raise ValueError(f"{folder / 'csc.json'} is no description of a graph ({error})") from error
        if not isinstance(description, dict) or description.get("format") != _FORMAT:
            raise ValueError(f"{folder / 'csc.json'} must have the format {_FORMAT!r}; write it with CSCGraph.save")
        arrays = {
            name: map_array(folder / f"{name}.bin", _TYPES[kind], (count,))
            for name, (kind, count) in description["arrays"].items()
        }
        return cls(arrays["pointer"], arrays["source"], description["num_sources"], arrays.get("edge"))


def map_array(path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A file as a tensor that is read where it is touched; writes to it stay in memory.

    Raises:
        ValueError: the file is missing or has another size.
    """
    count = math.prod(shape)
    wanted, found = count * dtype.itemsize, path.stat().st_size if path.is_file() else -1
    if found != wanted:
        got = "no such file" if found < 0 else f"{found} bytes"
        raise ValueError(f"{path} must have {wanted} bytes ({list(shape)} of {dtype}); got {got}: write it again")
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.from_file(str(path), shared=False, size=count, dtype=dtype).view(shape)
