"""Features normalized and dropped, then a model: what every cell of a study trains."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat.nn.dropout import drop_features
from lcat.ops import dropout, sparse_features

__all__ = ["FeatureDropout", "FeatureNorm", "NodeClassifier"]

#: Below this share of entries that are not zero, dropout draws for those alone.
_SPARSE = 0.25


class FeatureDropout(nn.Module):
    """Dropout that draws random numbers only for the entries of ``x`` that are not zero.

    An entry of zero stays zero whether it is dropped or not, so the result has the distribution of
    ``torch.nn.functional.dropout``. On bags of words (1.3 % of Cora's entries are not zero) drawing for all entries
    would take most of the time of a training step.

    Args:
        p: probability of dropping an entry, in [0, 1).

    Shapes:
        ``x`` of any shape, the output the same; gradients reach ``x`` in every case.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self._seen: tuple[weakref.ref[Tensor], int, Tensor | None] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with entries dropped and the others divided by ``1 - p`` in training, else ``x`` itself."""
        if not self.training or self.p == 0:
            return x
        entries = self._entries(x)
        if entries is None or x.requires_grad:
            return drop_features(x, self.p, training=True)
        values = drop_features(x.reshape(-1)[entries], self.p, training=True)
        return torch.zeros_like(x).view(-1).index_copy_(0, entries, values).view_as(x)

    def _entries(self, x: Tensor) -> Tensor | None:
        """Flat positions of the entries of ``x`` that are not zero, ``None`` where there are many of them."""
        seen = self._seen
        if seen is None or seen[0]() is not x or seen[1] != x._version:
            entries = x.reshape(-1).nonzero().view(-1)
            seen = (weakref.ref(x), x._version, entries if entries.numel() < _SPARSE * x.numel() else None)
            self._seen = seen
        return seen[2]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_seen": None}  # a weak reference can neither be pickled nor copied

    def extra_repr(self) -> str:
        """Shown in ``repr``."""
        return f"p={self.p}"


class FeatureNorm(nn.Module):
    """Features of each node divided by their sum, ``x_i / max(1, sum_f x_if)``, as PyG's ``NormalizeFeatures``.

    PyG also subtracts the least entry of the whole matrix, which is 0 in bags of words. Here rows do not depend on each
    other, so that nodes of a batch have the features that they have in the whole graph.

    Shapes:
        ``x`` ``[N, F]``, dense or a ``torch.sparse_csr`` matrix that needs no gradient, the output the same.

    Complexity:
        O(N F), or O(nnz) once for a sparse matrix, whose result is kept as long as the next one is the same object.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: tuple[weakref.ref[Tensor], Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with rows that sum to 1, or to less where they did."""
        if x.layout is torch.strided:
            return x / x.sum(dim=-1, keepdim=True).clamp(min=1.0)
        if self._seen is None or self._seen[0]() is not x:
            self._seen = (weakref.ref(x), _divided_entries(x))
        return self._seen[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_seen": None}  # a weak reference can neither be pickled nor copied


def _divided_entries(x: Tensor) -> Tensor:
    with torch.inference_mode(False):  # what is kept may be needed in training
        rows = torch.arange(x.shape[0], device=x.device).repeat_interleave(x.crow_indices().diff())
        sums = x.values().new_zeros(x.shape[0]).index_add_(0, rows, x.values())
        values = x.values() / sums.clamp(min=1.0)[rows]
        return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape)


class NodeClassifier(nn.Module):
    """The features divided by their sum where wanted, dropout on them, then a model.

    Features of which few are not zero reach the layers as a sparse matrix; see :func:`lcat.ops.sparse_linear`.

    Args:
        gnn: called as ``gnn(x, edge_index)``, with ``edge_weight`` and ``edge_attr`` of the graph where it takes them.
        input_dropout: probability of dropping an entry of ``x``.
        normalize_features: see :class:`FeatureNorm`.

    Shapes:
        ``x`` ``[N, F]``, dense or a ``torch.sparse_csr`` matrix, ``edge_index`` ``[2, E]``, output ``[N, C]`` logits.
    """

    def __init__(self, gnn: nn.Module, input_dropout: float, normalize_features: bool = False) -> None:
        super().__init__()
        self.normalize = FeatureNorm() if normalize_features else nn.Identity()
        self.input_dropout = FeatureDropout(input_dropout)
        self.gnn = gnn
        self._edge_values: dict[str, Tensor] = {}
        self._takes_attr: bool | None = None

    def use_edge_values(self, data: Data) -> None:
        """Take weights and features of the edges from the graph that the model is for.

        Args:
            data: the graph. ``edge_weight`` weighs messages; ``edge_attr`` enters scores, if the layers have any that
                were made for it.
        """
        self._edge_values = {key: data[key] for key in self.edge_keys(data)}

    def edge_keys(self, data: Data) -> list[str]:
        """Names of the values of edges that the model takes from a graph."""
        if self._takes_attr is None:
            self._takes_attr = any(getattr(conv, "edge_dim", None) is not None for conv in self.gnn.modules())
        wanted = ("edge_weight", "edge_attr") if self._takes_attr else ("edge_weight",)
        return [key for key in wanted if data.get(key) is not None]

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits ``[N, C]``."""
        matrix = sparse_features(x) if x.layout is torch.strided else x
        features = self.normalize(x if matrix is None else matrix)
        drop = self.input_dropout
        features = drop(features) if matrix is None else dropout(features, drop.p, self.training)
        logits: Tensor = self.gnn(features, edge_index, **self._edge_values)
        return logits
