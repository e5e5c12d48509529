"""Reading the formats in which PyG's users hand over edges, and the errors for what is none of them."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

_INTEGER_TYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_ACCEPTED = (
    "an integer tensor of shape [2, E], a torch_geometric.EdgeIndex, a torch.sparse matrix (COO, CSR or "
    "CSC, rows are targets) or a torch_sparse.SparseTensor"
)
_FLOWS = ("source_to_target", "target_to_source")


class EdgeList:
    """One accepted input, before its indices are read.

    Attributes:
        layout: ``"edge_index"``, ``"coo"``, ``"csr"``, ``"csc"`` or ``"SparseTensor"``.
        key: the tensor that stands for the input's identity in the cache of views.
        num_sources, num_targets: what a matrix or an EdgeIndex says of its size, else ``None``.
    """

    layout = "edge_index"
    num_sources: int | None = None
    num_targets: int | None = None

    def __init__(self, given: Any, flow: str, name: str) -> None:
        self.given = given
        self.flow = flow
        self.name = name
        self.key: Tensor = given

    @property
    def watched(self) -> tuple[Tensor, ...]:
        """The tensors whose version counters tell of a change of the edges."""
        return (self.key,)

    @property
    def fingerprint(self) -> Any:
        """What changes whenever torch changes the edges in place."""
        return tuple(map(tensor_fingerprint, self.watched))

    @property
    def is_inference(self) -> bool:
        """Whether a tensor of inference mode is among them: those have no version counter."""
        return self.key.is_inference() or any(tensor.is_inference() for tensor in self.watched)

    @property
    def num_edges(self) -> int:
        """Number of edges in the input."""
        return int(self.given.shape[1])

    @property
    def values(self) -> Tensor | None:
        """The entries of a matrix, in the order of the edges; ``None`` if it has none."""
        return None

    def endpoints(self) -> tuple[Tensor, Tensor]:
        """``(source, target)``, int64, detached from the input but sharing its memory where possible."""
        given = self.given
        if hasattr(given, "as_tensor"):  # EdgeIndex: its own operations would return EdgeIndex again
            given = given.as_tensor()
        plain = given.detach().to(torch.long)
        first, second = (0, 1) if self.flow == "source_to_target" else (1, 0)
        return plain[first], plain[second]

    def groupings(self) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """What the input already knows of ``by_target`` and ``by_source``: pointer, other endpoint, edge, int64."""
        return {}

    def check_size(self, num_sources: int, num_targets: int) -> None:
        """Compare the size that the input states with the number of nodes."""
        stated = (self.num_sources, self.num_targets)
        for side, has, needs in zip(("source", "target"), stated, (num_sources, num_targets), strict=True):
            if has is not None and has != needs:
                raise ValueError(
                    f"'{self.name}' is made for {has} {side} nodes, but there are {needs}: build it with the "
                    f"sizes of 'x' (a sparse matrix has shape [number of targets, number of sources])"
                )

    def check_range(self, source: Tensor, target: Tensor, num_sources: int, num_targets: int) -> None:
        """Raise IndexError, saying which index, for an edge that leaves the graph."""
        for side, index, bound in (("source", source, num_sources), ("target", target, num_targets)):
            if index.numel() == 0:
                continue
            low, high = (int(bound_) for bound_ in torch.aminmax(index))
            if low < 0:
                raise IndexError(
                    f"Found negative indices in '{self.name}' (got {low}): {side} nodes are numbered 0 to {bound - 1}"
                )
            if high >= bound:
                raise IndexError(
                    f"Found indices in '{self.name}' that are larger than {bound - 1} (got {high}): there are "
                    f"{bound} {side} nodes; check the rows of 'x', the order of the two rows of "
                    f"'{self.name}', or pass 'size'"
                )

    def with_values(self, edges: Tensor, values: Tensor, shape: tuple[int, int]) -> tuple[Any, Tensor | None]:
        """A matrix of the input's own format that holds ``values`` at ``edges``, and the values in its order."""
        raise NotImplementedError(f"'{self.name}' is no matrix")


class PyGEdgeIndex(EdgeList):
    """An EdgeIndex: states its size, and may hold its edges grouped by either endpoint."""

    def __init__(self, given: Any, flow: str, name: str) -> None:
        super().__init__(given, flow, name)
        sizes = (given.sparse_size(0), given.sparse_size(1))
        self.num_sources, self.num_targets = sizes if flow == "source_to_target" else sizes[::-1]

    @property
    def watched(self) -> tuple[Tensor, ...]:
        """The EdgeIndex counts what is written to itself, the tensor inside what is written to that one."""
        return self.given, self.given.as_tensor()

    def groupings(self) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """Read from what EdgeIndex has computed before (``fill_cache_()``); nothing is computed here."""
        given = self.given
        if given.sort_order is None or given._indptr is None or None in given.sparse_size():
            return {}
        sorted_by = 0 if given.is_sorted_by_row else 1
        plain = given.as_tensor().detach().long()
        sides = ("by_source", "by_target") if self.flow == "source_to_target" else ("by_target", "by_source")
        positions = torch.arange(plain.shape[1], device=plain.device)
        found = {sides[sorted_by]: (given._indptr.long(), plain[1 - sorted_by], positions)}
        if given._T_perm is not None and given._T_indptr is not None:
            order = given._T_perm.long()
            far = given._T_index[sorted_by]
            far = plain[sorted_by][order] if far is None else far.long()
            found[sides[1 - sorted_by]] = (given._T_indptr.long(), far, order)
        return found


class SparseMatrix(EdgeList):
    """A torch.sparse matrix ``adj_t`` of shape [targets, sources]."""

    def __init__(self, given: Tensor, flow: str, name: str) -> None:
        super().__init__(given, flow, name)
        self.layout = {
            torch.sparse_coo: "coo",
            torch.sparse_csr: "csr",
            torch.sparse_csc: "csc",
        }[given.layout]
        self.num_targets, self.num_sources = given.shape[0], given.shape[1]

    @property
    def watched(self) -> tuple[Tensor, ...]:
        if self.layout == "coo":
            return (self.given._indices(),)
        if self.layout == "csr":
            return self.given.crow_indices(), self.given.col_indices()
        return self.given.ccol_indices(), self.given.row_indices()

    @property
    def num_edges(self) -> int:
        return int(self.given._nnz())

    @property
    def values(self) -> Tensor:
        given = self.given
        differentiable = given.requires_grad and torch.is_grad_enabled()
        if self.layout == "coo" and not (differentiable and given.is_coalesced()):
            return self._in_order_of_edges() if differentiable else given._values()
        values: Tensor = given.values()
        return values

    def _in_order_of_edges(self) -> Tensor:
        """Entries of a matrix that is not coalesced, with their gradient, which torch gives to coalesced ones alone."""
        given = self.given
        ordered = given.coalesce()
        parallel = given._nnz() - ordered._nnz()
        if parallel:
            raise ValueError(
                f"'{self.name}' is a COO matrix with {parallel} parallel edges, whose entries get no gradient of their "
                f"own from torch: pass '{self.name}'.coalesce(), or the edges and their values apart"
            )
        row, column = given._indices()
        place = torch.argsort(torch.argsort(row * given.shape[1] + column))
        return ordered.values().index_select(0, place)

    def endpoints(self) -> tuple[Tensor, Tensor]:
        """Copies: the tensors that a matrix was made of share its memory, but not its version counter."""
        if self.layout == "coo":
            row, column = self.given._indices().detach().to(torch.long, copy=True)
            return column, row
        pointer, other = (index.detach().to(torch.long, copy=True) for index in self.watched)
        lines = torch.arange(pointer.shape[0] - 1, device=pointer.device)
        line = lines.repeat_interleave(pointer.diff(), output_size=other.shape[0])
        return (other, line) if self.layout == "csr" else (line, other)

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

    def __init__(self, given: Any, flow: str, name: str) -> None:
        super().__init__(given, flow, name)
        self._row, self._column, self._value = given.coo()
        self.key = self._column
        self.num_targets, self.num_sources = given.size(0), given.size(1)

    @property
    def watched(self) -> tuple[Tensor, ...]:
        return self._row, self._column

    @property
    def num_edges(self) -> int:
        return int(self._column.shape[0])

    @property
    def values(self) -> Tensor | None:
        values: Tensor | None = self._value
        return values

    def endpoints(self) -> tuple[Tensor, Tensor]:
        return self._column.detach(), self._row.detach()

    def with_values(self, edges: Tensor, values: Tensor, shape: tuple[int, int]) -> tuple[Any, Tensor | None]:
        """A SparseTensor with entries ``values`` ([E, H]); PyG returns no second value with it."""
        make = type(self.given)
        return make(row=edges[1], col=edges[0], value=values, sparse_sizes=shape), None


def read_edges(edge_index: Any, *, flow: str, name: str) -> EdgeList:
    """The :class:`EdgeList` of an input, its type, dtype and shape checked (its indices are not read)."""
    if flow not in _FLOWS:
        raise ValueError(f"'flow' is {flow!r}; it takes {' or '.join(map(repr, _FLOWS))}")
    torch_sparse = sys.modules.get("torch_sparse")
    if torch_sparse is not None and isinstance(edge_index, getattr(torch_sparse, "SparseTensor", ())):
        _refuse_reverse_flow(flow, name)
        return TorchSparseMatrix(edge_index, flow, name)
    if not isinstance(edge_index, Tensor):
        raise TypeError(f"'{name}' is of type {type(edge_index).__name__}; it takes {_ACCEPTED}")
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
    shape = list(edge_index.shape)
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
            f"Expected '{name}' to have size '2' in the first dimension (got '{shape[0]}' of shape {shape}){turned}"
        )
    kind = PyGEdgeIndex if callable(getattr(edge_index, "sparse_size", None)) else EdgeList
    return kind(edge_index, flow, name)


def _refuse_reverse_flow(flow: str, name: str) -> None:
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
        tuple(tensor.shape),
        tuple(tensor.stride()),
        tensor.dtype,
        tensor.device,
    )


def _line_order(edges: Tensor, layout: str) -> Tensor:
    """The order of CSR (by target, then source) or CSC (by source, then target)."""
    line, other = (edges[1], edges[0]) if layout == "csr" else (edges[0], edges[1])
    first = torch.argsort(other, stable=True)
    return first[torch.argsort(line[first], stable=True)]
