"""Reads the formats in which PyG's users pass edges, and raises the errors for everything else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from lcat import _device
from lcat._checksum import checksum
from lcat._memory import check_memory, has_memory
from lcat._tracing import is_jit_tracing, is_traced, needs_static_shape

Flow: TypeAlias = Literal["source_to_target", "target_to_source"]
Layout: TypeAlias = Literal["edge_index", "coo", "csr", "csc", "SparseTensor"]
Side: TypeAlias = Literal["by_target", "by_source"]

_INTEGER_TYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_ACCEPTED = (
    "an integer tensor of shape [2, E], a torch_geometric.EdgeIndex, a torch.sparse matrix (COO, CSR or "
    "CSC, rows are targets) or a torch_sparse.SparseTensor"
)
_FLOWS: tuple[Flow, ...] = ("source_to_target", "target_to_source")
_LAYOUTS: dict[torch.layout, Layout] = {
    torch.sparse_coo: "coo",
    torch.sparse_csr: "csr",
    torch.sparse_csc: "csc",
}


class Groups(NamedTuple):
    """How an input has grouped its edges by one endpoint.

    Args:
        pointer: ``[N + 1]`` int64, where each group begins.
        order: ``[E]`` int64, the edge in each slot; ``None`` for edges that stand in the order of the slots.
        checked: the state of both tensors in which they were found to be groups of these edges; ``None`` if nobody has
            looked.
    """

    pointer: Tensor
    order: Tensor | None
    checked: Any = None

    @property
    def state(self) -> Any:
        """What changes whenever torch changes the groups; ``None`` in inference mode, where it counts no writes."""
        tensors = [tensor for tensor in (self.pointer, self.order) if tensor is not None]
        if any(tensor.is_inference() for tensor in tensors):
            return None
        return [tensor_fingerprint(tensor) for tensor in tensors]

    @property
    def are_known_to_fit(self) -> bool:
        """Whether they were found to be groups of these edges, and nothing was written to them since."""
        return self.checked is not None and self.checked == self.state

    def have_shape(self, row: Tensor, num_rows: int) -> bool:
        """Whether they can be groups of edges of which ``row`` [E] is one end, and their memory exists."""
        if self.pointer.shape != (num_rows + 1,) or not has_memory(self.pointer):
            return False
        return self.order is None or (self.order.shape == row.shape and has_memory(self.order))

    def fit(self, row: Tensor, num_rows: int) -> Tensor | None:
        """Whether they are groups of these edges: a tensor of one bool, for which nothing waits.

        Args:
            row: ``[E]`` the endpoint by which the edges are grouped; its values are not read as addresses.
            num_rows: number of nodes at that end.

        Returns:
            ``None`` if they are not, as shapes or freed memory show.
        """
        if not self.have_shape(row, num_rows):
            return None
        pointer, order, count = self.pointer, self.order, row.shape[0]
        slots = torch.arange(count, device=row.device)
        edge_ids = slots if order is None else order.clamp(0, count - 1)
        fits = (pointer[0] == 0) & (pointer[-1] == count) & (pointer.diff() >= 0).all()
        fits &= (row[edge_ids] == torch.searchsorted(pointer.contiguous(), slots, right=True) - 1).all()
        if order is not None:
            fits &= (edge_ids == order).all() & (torch.zeros_like(slots).index_fill(0, edge_ids, 1) == 1).all()
        return fits


class EdgeList:
    """One accepted input, before its indices are read.

    Attributes:
        input: what the caller passed.
        flow: the direction of messages.
        name: what errors call the input.
        layout: ``"edge_index"``, ``"coo"``, ``"csr"``, ``"csc"`` or ``"SparseTensor"``.
        key: the tensor whose identity is that of the input in the cache of views.
        num_sources, num_targets: the size that a matrix or an EdgeIndex states, else ``None``.
    """

    layout: Layout = "edge_index"
    num_sources: int | None = None
    num_targets: int | None = None

    def __init__(self, edge_index: Any, flow: Flow, name: str) -> None:
        self.input = edge_index
        self.flow = flow
        self.name = name
        self.key: Tensor = edge_index

    @property
    def watched(self) -> tuple[Tensor, ...]:
        """The tensors whose version counters show a change of the edges."""
        return (self.key,)

    @property
    def memory(self) -> tuple[Tensor, ...]:
        """The plain tensors that hold the indices."""
        return self.watched

    @property
    def fingerprint(self) -> Any:
        """What changes whenever the edges do; every index is read for it."""
        watched, memory = self.watched, self.memory
        if len(watched) == 1 and len(memory) == 1:
            return tensor_fingerprint(watched[0]), checksum(memory[0], self.name)
        return *map(tensor_fingerprint, watched), *(checksum(tensor, self.name) for tensor in memory)

    @property
    def shares_memory(self) -> bool:
        """Whether the :meth:`endpoints` are the memory of the input, and no copy."""
        return self.layout in ("edge_index", "SparseTensor") and self.key.dtype == torch.long

    @property
    def is_inference(self) -> bool:
        """Whether a tensor of inference mode is among them: those have no version counter."""
        return self.key.is_inference() or any(t.is_inference() for t in self.watched if t is not self.key)

    @property
    def num_edges(self) -> int:
        """Number of edges in the input."""
        count: int = self.input.shape[1]  # int() would make a constant of it in an exported program
        return count

    @property
    def values(self) -> Tensor | None:
        """The entries of a matrix, in the order of the edges; ``None`` if it has none."""
        return None

    def endpoints(self) -> tuple[Tensor, Tensor]:
        """``(source, target)``, int64, detached from the input but sharing its memory where possible; not checked."""
        rows = self.input
        if hasattr(rows, "as_tensor"):  # EdgeIndex: its own operations would return EdgeIndex again
            rows = rows.as_tensor()
        plain = rows.detach().to(torch.long)
        first, second = (0, 1) if self.flow == "source_to_target" else (1, 0)
        return plain[first], plain[second]

    def checked(self, num_sources: int, num_targets: int) -> tuple[Tensor, Tensor, dict[Side, Groups], int | None]:
        """The :meth:`endpoints`, how the input has grouped them already, if it has, and the number of self-loops.

        The last is ``None`` where it is not known yet: see :func:`check_ends`. Where the host waits for an answer, it
        also asks whether the groups are those of the edges; not by source if no gradient is recorded, which needs them.

        Args:
            num_sources: number of nodes that messages come from; see :meth:`checked_sizes`.
            num_targets: number of nodes that messages go to.

        Raises:
            IndexError: an index is negative or too large. Where values cannot be read (in a trace), indices are not
                checked.
        """
        if not is_traced() and not needs_static_shape(self.key):
            for indices in self.memory:
                check_memory(self.name, indices)
        source, target = self.endpoints()
        groups = {} if is_traced() else self._groups()
        if needs_static_shape(source) or is_jit_tracing():
            return source, target, groups, None
        asks = _device.host_waits_for(source)
        asked: dict[Side, Tensor] = {}
        if asks and source.numel() > 0:
            ends: dict[Side, tuple[Tensor, int]] = {"by_target": (target, num_targets)}
            if torch.is_grad_enabled():
                ends["by_source"] = (source, num_sources)
            fitting = {side: groups[side].fit(*end) for side, end in ends.items() if side in groups}
            asked = {side: fits for side, fits in fitting.items() if fits is not None}
        hint = f"; check the rows of 'x', the order of the two rows of '{self.name}', or pass 'size'"
        names, bounds = (self.name, self.name), (num_sources, num_targets)
        answers = check_ends(names, source, target, bounds, hint, questions=list(asked.values()) if asks else None)
        if answers is None:
            return source, target, groups, None
        num_loops, are_groups = answers
        for side, fits in zip(asked, are_groups, strict=True):
            if fits:
                groups[side] = groups[side]._replace(checked=groups[side].state)
            else:
                del groups[side]
        return source, target, groups, num_loops

    def checked_sizes(self, num_sources: int | None, num_targets: int | None) -> tuple[int, int]:
        """The numbers of sources and targets, completed by the size that the input states.

        Args:
            num_sources: number of nodes that messages come from, or ``None`` if unknown.
            num_targets: number of nodes that messages go to, or ``None`` if unknown.

        Raises:
            ValueError: the input states another size, or there is no number at all.
        """
        if num_sources is None:
            num_sources = self.num_sources
        if num_targets is None:
            num_targets = self.num_targets
        if num_sources is None or num_targets is None:
            known = num_targets if num_sources is None else num_sources
            if known is None:
                raise ValueError(
                    f"the number of nodes is unknown: '{self.name}' does not state it, so pass it ('num_sources' and "
                    f"'num_targets', or 'size' of a layer)"
                )
            num_sources = num_targets = known
        stated = (self.num_sources, self.num_targets)
        if stated == (None, None):
            return num_sources, num_targets
        for side, has, needs in zip(("source", "target"), stated, (num_sources, num_targets), strict=True):
            if has is not None and has != needs:
                raise ValueError(
                    f"'{self.name}' is made for {has} {side} nodes, but there are {needs}: build it with the "
                    f"sizes of 'x' (a sparse matrix has shape [number of targets, number of sources])"
                )
        return num_sources, num_targets

    def _groups(self) -> dict[Side, Groups]:
        """What the input already knows of ``by_target`` and ``by_source``."""
        return {}

    def with_values(self, edges: Tensor, values: Tensor, shape: tuple[int, int]) -> tuple[Any, Tensor | None]:
        """A matrix of the input's own format that holds ``values`` at ``edges``, and the values in its order."""
        raise NotImplementedError(f"'{self.name}' is no matrix")


class PyGEdgeIndex(EdgeList):
    """An EdgeIndex: states its size, and may hold its edges grouped by either endpoint."""

    def __init__(self, edge_index: Any, flow: Flow, name: str) -> None:
        super().__init__(edge_index, flow, name)
        sizes = (edge_index.sparse_size(0), edge_index.sparse_size(1))
        self.num_sources, self.num_targets = sizes if flow == "source_to_target" else sizes[::-1]

    @property
    def watched(self) -> tuple[Tensor, ...]:
        """The EdgeIndex counts writes to itself, the tensor inside it counts writes to that tensor."""
        return self.input, self.input.as_tensor()

    @property
    def memory(self) -> tuple[Tensor, ...]:
        """The tensor inside."""
        return (self.input.as_tensor(),)

    def _groups(self) -> dict[Side, Groups]:
        """Read from what EdgeIndex has computed before (``fill_cache_()``); nothing is computed here."""
        edges = self.input
        if edges.sort_order is None or edges._indptr is None or None in edges.sparse_size():
            return {}
        sorted_by = 0 if edges.is_sorted_by_row else 1
        sides: tuple[Side, Side] = ("by_source", "by_target")
        if self.flow == "target_to_source":
            sides = ("by_target", "by_source")
        groups: dict[Side, Groups] = {}
        if has_memory(edges._indptr):
            groups[sides[sorted_by]] = Groups(edges._indptr.long(), None)
        pointer, order = edges._T_indptr, edges._T_perm
        if pointer is not None and order is not None and has_memory(pointer) and has_memory(order):
            groups[sides[1 - sorted_by]] = Groups(pointer.long(), order.long())
        return groups


class SparseMatrix(EdgeList):
    """A torch.sparse matrix ``adj_t`` of shape [targets, sources]."""

    def __init__(self, edge_index: Tensor, flow: Flow, name: str) -> None:
        super().__init__(edge_index, flow, name)
        self.layout = _LAYOUTS[edge_index.layout]
        self.num_targets, self.num_sources = edge_index.shape[0], edge_index.shape[1]

    @property
    def watched(self) -> tuple[Tensor, ...]:
        """The indices, whose tensors count writes by themselves."""
        if self.layout == "coo":
            return (self.input._indices(),)
        if self.layout == "csr":
            return self.input.crow_indices(), self.input.col_indices()
        return self.input.ccol_indices(), self.input.row_indices()

    @property
    def num_edges(self) -> int:
        """Number of entries."""
        return int(self.input._nnz())

    @property
    def values(self) -> Tensor:
        """The entries, in the order of the edges."""
        matrix = self.input
        differentiable = matrix.requires_grad and torch.is_grad_enabled()
        values: Tensor
        if self.layout == "coo" and not (differentiable and matrix.is_coalesced()):
            values = self._in_order_of_edges() if differentiable else matrix._values()
        else:
            values = matrix.values()
        return values

    def _in_order_of_edges(self) -> Tensor:
        """Entries of a matrix that is not coalesced, with gradients, which torch gives only to coalesced matrices."""
        matrix = self.input
        ordered = matrix.coalesce()
        parallel = matrix._nnz() - ordered._nnz()
        if parallel:
            raise ValueError(
                f"'{self.name}' is a COO matrix with {parallel} parallel edges, whose entries get no gradient of their "
                f"own from torch: pass '{self.name}'.coalesce(), or edge_index and its values separately"
            )
        row, column = matrix._indices()
        position = torch.argsort(torch.argsort(row * matrix.shape[1] + column))
        values: Tensor = ordered.values().index_select(0, position)
        return values

    def endpoints(self) -> tuple[Tensor, Tensor]:
        """Copies: the tensors that a matrix was made of share its memory, but not its version counter."""
        if self.layout == "coo":
            row, column = self.input._indices().detach().to(torch.long, copy=True)
            return column, row
        pointer, other = (index.detach().to(torch.long, copy=True) for index in self.watched)
        self._check_pointer(pointer, other.shape[0])
        lines = torch.arange(pointer.shape[0] - 1, device=pointer.device)
        line = lines.repeat_interleave(pointer.diff(), output_size=other.shape[0])
        return (other, line) if self.layout == "csr" else (line, other)

    def _check_pointer(self, pointer: Tensor, num_entries: int) -> None:
        """Torch checks the pointer of a matrix only where it is asked to."""
        num_lines = self.input.shape[0 if self.layout == "csr" else 1]
        if is_traced() or needs_static_shape(pointer):
            return
        starts_and_ends = pointer.shape == (num_lines + 1,) and int(pointer[0]) == 0 and int(pointer[-1]) == num_entries
        if not starts_and_ends or bool((pointer.diff() < 0).any()):
            part = "crow_indices" if self.layout == "csr" else "ccol_indices"
            raise ValueError(
                f"expected '{self.name}' with {part}() of shape [{num_lines + 1}] that rise from 0 to the number of "
                f"entries, {num_entries}, got others: make the matrix with check_invariants=True to see what is wrong"
            )

    def with_values(self, edges: Tensor, values: Tensor, shape: tuple[int, int]) -> tuple[Any, Tensor | None]:
        """A matrix of the input's layout with entries ``values`` ([E, H]), as PyG returns."""
        if self.layout == "coo":
            return torch.sparse_coo_tensor(edges.flip(0), values, (*shape, *values.shape[1:])), values
        order = _line_order(edges, self.layout)
        source, target = edges[0][order], edges[1][order]
        line, other, count = (target, source, shape[0]) if self.layout == "csr" else (source, target, shape[1])
        pointer = torch.searchsorted(line, torch.arange(count + 1, device=line.device))
        make = torch.sparse_csr_tensor if self.layout == "csr" else torch.sparse_csc_tensor
        return make(pointer, other, values[order], (*shape, *values.shape[1:])), values[order]


class TorchSparseMatrix(EdgeList):
    """A torch_sparse.SparseTensor ``adj_t`` of shape [targets, sources]."""

    layout = "SparseTensor"

    def __init__(self, edge_index: Any, flow: Flow, name: str) -> None:
        super().__init__(edge_index, flow, name)
        self._row, self._column, self._value = edge_index.coo()
        self.key = self._column
        self.num_targets, self.num_sources = edge_index.size(0), edge_index.size(1)

    @property
    def watched(self) -> tuple[Tensor, ...]:
        """Rows and columns, whose tensors count writes by themselves."""
        return self._row, self._column

    @property
    def num_edges(self) -> int:
        """Number of entries."""
        return int(self._column.shape[0])

    @property
    def values(self) -> Tensor | None:
        """The entries, in the order of the edges; ``None`` if it has none."""
        values: Tensor | None = self._value
        return values

    def endpoints(self) -> tuple[Tensor, Tensor]:
        """``(source, target)``, int64, detached; not checked."""
        return self._column.detach(), self._row.detach()

    def with_values(self, edges: Tensor, values: Tensor, shape: tuple[int, int]) -> tuple[Any, Tensor | None]:
        """A SparseTensor with entries ``values`` ([E, H]); PyG returns no second value with it."""
        make = type(self.input)
        return make(row=edges[1], col=edges[0], value=values, sparse_sizes=shape), None


def read_edges(edge_index: Any, *, flow: Flow, name: str) -> EdgeList:
    """The :class:`EdgeList` of an input, its type, dtype and shape checked (its indices are not read).

    Args:
        edge_index: see :func:`lcat.graph.graph_view`.
        flow: the direction of messages.
        name: what errors call the input.

    Raises:
        TypeError: ``edge_index`` is none of the accepted types.
        ValueError: wrong dtype, shape, layout or ``flow``.
    """
    if flow not in _FLOWS:
        raise ValueError(f"'flow' is {flow!r}; it takes {' or '.join(map(repr, _FLOWS))}")
    torch_sparse = sys.modules.get("torch_sparse")
    if torch_sparse is not None and isinstance(edge_index, getattr(torch_sparse, "SparseTensor", ())):
        _refuse_reverse_flow(flow, name)
        return TorchSparseMatrix(edge_index, flow, name)
    if not isinstance(edge_index, Tensor):
        raise TypeError(f"'{name}' is of type {type(edge_index).__name__}; it takes {_ACCEPTED}{_way_to(edge_index)}")
    if edge_index.layout in (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc):
        _refuse_reverse_flow(flow, name)
        if edge_index.dim() - edge_index.dense_dim() != 2:
            raise ValueError(
                f"'{name}' is a sparse tensor with {edge_index.dim() - edge_index.dense_dim()} sparse "
                f"dimensions; it takes a matrix [number of targets, number of sources]"
            )
        return SparseMatrix(edge_index, flow, name)
    if edge_index.layout != torch.strided:
        raise ValueError(f"'{name}' has layout {edge_index.layout}; it takes {_ACCEPTED}")
    if edge_index.is_nested:  # has no shape
        raise ValueError(f"'{name}' is a nested tensor; it takes {_ACCEPTED}")
    shape = edge_index.shape
    if edge_index.dtype not in _INTEGER_TYPES:
        raise ValueError(
            f"Expected '{name}' to be of integer type (got '{edge_index.dtype}'): node numbers are integers; "
            f"convert with .long(), or pass a dense adjacency matrix through .nonzero().t()"
        )
    if len(shape) != 2:
        raise ValueError(f"Expected '{name}' to be two-dimensional (got {len(shape)} dimensions): shape [2, E]")
    if shape[0] != 2:
        turned = ": it looks transposed, pass .t().contiguous()" if shape[1] == 2 else ": it takes [2, E]"
        raise ValueError(
            f"Expected '{name}' to have size '2' in the first dimension (got '{shape[0]}' of shape {list(shape)})"
            f"{turned}"
        )
    kind = PyGEdgeIndex if callable(getattr(edge_index, "sparse_size", None)) else EdgeList
    return kind(edge_index, flow, name)


def check_ends(
    names: tuple[str, str],
    source: Tensor,
    target: Tensor,
    bounds: tuple[int, int],
    hint: str = "",
    *,
    questions: Sequence[Tensor] | None = None,
) -> tuple[int, list[bool]] | None:
    """Every source is in ``[0, bounds[0])``, and every target in ``[0, bounds[1])``.

    Args:
        names: what errors call the sources and the targets.
        source: ``[E]`` indices.
        target: ``[E]`` indices.
        bounds: the numbers of nodes.
        hint: ends the message for an index that is too large.
        questions: what else to answer, tensors of one bool: where the host waits for every answer, it asks for all at
            once. ``None`` on CPUs.

    Returns:
        the number of edges ``i -> i``, and the answers; ``None`` without ``questions``.

    Raises:
        IndexError: one is not.
    """
    if source.numel() == 0:
        return None if questions is None else (0, [bool(question) for question in questions])
    facts = [*torch.aminmax(source), *torch.aminmax(target)]
    if questions is not None:
        facts += [(source == target).sum(), *(question.to(torch.long) for question in questions)]
    low_source, high_source, low_target, high_target, *rest = torch.stack(facts).tolist()
    _check_range(names[0], low_source, high_source, "source", bounds[0], hint)
    _check_range(names[1], low_target, high_target, "target", bounds[1], hint)
    return None if questions is None else (rest[0], [bool(answer) for answer in rest[1:]])


def _check_range(name: str, low: int, high: int, side: Literal["source", "target"], bound: int, hint: str) -> None:
    if low < 0:
        raise IndexError(f"Found negative indices in '{name}' (got {low}): {side} nodes are numbered 0 to {bound - 1}")
    if high >= bound:
        raise IndexError(
            f"Found indices in '{name}' that are larger than {bound - 1} (got {high}): there are {bound} {side} nodes"
            + hint
        )


def _refuse_reverse_flow(flow: Flow, name: str) -> None:
    if flow == "target_to_source":
        raise ValueError(
            f"Flow direction 'target_to_source' is invalid for '{name}' as a sparse matrix, whose rows are "
            f"targets by definition: pass the transposed matrix to a layer with flow='source_to_target'"
        )


def tensor_fingerprint(tensor: Tensor) -> tuple[Any, ...]:
    """What changes whenever torch changes the tensor in place, or gives it other memory."""
    return (
        tensor._version,
        tensor.data_ptr(),
        tensor.shape,
        tensor.stride(),
        tensor.dtype,
        tensor.device,
    )


def _line_order(edges: Tensor, layout: Layout) -> Tensor:
    """The order of CSR (by target, then source) or CSC (by source, then target)."""
    line, other = (edges[1], edges[0]) if layout == "csr" else (edges[0], edges[1])
    first = torch.argsort(other, stable=True)
    return first[torch.argsort(line[first], stable=True)]


def _way_to(edges: Any) -> str:
    """How edges of other libraries become a tensor."""
    module = type(edges).__module__.partition(".")[0]
    if hasattr(edges, "edge_index"):
        return ": pass its .edge_index"
    if isinstance(edges, (list, tuple)):
        return ": torch.tensor(...) makes one of two lists, and torch.tensor(...).t() of a list of pairs"
    ways = {
        "numpy": "torch.from_numpy(...)",
        "networkx": "torch_geometric.utils.from_networkx(...).edge_index",
        "scipy": "torch_geometric.utils.from_scipy_sparse_matrix(...)[0]",
        "dgl": "torch.stack(graph.edges())",
        "pandas": "torch.from_numpy(frame.to_numpy()).t()",
    }
    return f": {ways[module]} makes one" if module in ways else ""
