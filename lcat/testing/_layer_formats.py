"""One answer for every form in which PyG's users pass edges: output and gradients."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from lcat.testing._layer_tools import LayerTools

__all__ = ["FormatClauses"]


def _line_order(line: Tensor, other: Tensor) -> Tensor:
    """The order by ``line``, then by ``other``."""
    order = torch.argsort(other, stable=True)
    return order[torch.argsort(line[order], stable=True)]


class FormatClauses(LayerTools):
    """The same edges in another format are the same graph, self-loops and repeated edges included."""

    def test_edges_as_int32(self) -> None:
        """An ``edge_index`` of int32."""
        x, edge_index = self.example()
        self.assert_same_answer(self.make(), x, edge_index.int(), "int32")

    def test_edges_as_small_integers(self) -> None:
        """An ``edge_index`` of int16, int8 and uint8."""
        x, edge_index = self.example()
        for dtype in (torch.int16, torch.int8, torch.uint8):
            self.assert_same_answer(self.make(), x, edge_index.to(dtype), str(dtype))

    def test_edges_with_strides(self) -> None:
        """An ``edge_index`` that is not contiguous in memory."""
        x, edge_index = self.example()
        self.assert_same_answer(self.make(), x, edge_index.t().contiguous().t(), "strided edges")

    def test_edges_as_edge_index(self) -> None:
        """PyG's EdgeIndex, with and without a size, in no order."""
        from torch_geometric import EdgeIndex

        x, edge_index = self.example()
        self.assert_same_answer(self.make(), x, EdgeIndex(edge_index), "EdgeIndex")
        sized = EdgeIndex(edge_index, sparse_size=(x.shape[0], x.shape[0]))
        self.assert_same_answer(self.make(), x, sized, "EdgeIndex with a size")

    def test_edges_as_sorted_edge_index(self) -> None:
        """PyG's EdgeIndex sorted by target or by source, with and without a filled cache."""
        from torch_geometric import EdgeIndex

        x, edge_index = self.example()
        size = (x.shape[0], x.shape[0])
        for name, (line, other) in {"row": edge_index, "col": edge_index.flip(0)}.items():
            edges = edge_index[:, _line_order(line, other)]
            ordered = EdgeIndex(edges, sparse_size=size, sort_order=name)
            self.assert_same_answer(self.make(), x, ordered, f"EdgeIndex by {name}")
            filled = EdgeIndex(edges, sparse_size=size, sort_order=name).fill_cache_()
            self.assert_same_answer(self.make(), x, filled, f"EdgeIndex by {name} with a filled cache")

    def test_edges_as_coo(self) -> None:
        """A ``torch.sparse`` matrix [targets, sources] in COO layout, with entries of one."""
        x, edge_index = self.example()
        ones = torch.ones(edge_index.shape[1], dtype=x.dtype)
        size = (x.shape[0], x.shape[0])
        matrix = torch.sparse_coo_tensor(edge_index.flip(0), ones, size, check_invariants=True)
        self.assert_same_answer(self.make(), x, matrix, "COO")

    def test_edges_as_csr(self) -> None:
        """A ``torch.sparse`` matrix [targets, sources] in CSR layout, with entries of one."""
        x, (source, target) = self.example()
        self.assert_same_answer(self.make(), x, self._compressed(target, source, torch.sparse_csr_tensor), "CSR")

    def test_edges_as_csc(self) -> None:
        """A ``torch.sparse`` matrix [targets, sources] in CSC layout, with entries of one."""
        x, (source, target) = self.example()
        self.assert_same_answer(self.make(), x, self._compressed(source, target, torch.sparse_csc_tensor), "CSC")

    def test_edges_as_sparse_tensor(self) -> None:
        """A ``torch_sparse.SparseTensor`` [targets, sources], where torch-sparse is installed."""
        try:
            from torch_sparse import SparseTensor
        except ImportError:
            self.skip("torch-sparse is not installed")
        x, (source, target) = self.example()
        matrix = SparseTensor(row=target, col=source, sparse_sizes=(x.shape[0], x.shape[0]))
        self.assert_same_answer(self.make(), x, matrix, "SparseTensor")

    def _compressed(self, line: Tensor, other: Tensor, make: Any) -> Tensor:
        x, _ = self.example()
        order, size = _line_order(line, other), (x.shape[0], x.shape[0])
        pointer = torch.searchsorted(line[order].contiguous(), torch.arange(x.shape[0] + 1))
        ones = torch.ones(len(order), dtype=x.dtype)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sparse CS. tensor support is in beta", UserWarning)
            matrix: Tensor = make(pointer, other[order], ones, size, check_invariants=False)
        return matrix
