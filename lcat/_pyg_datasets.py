"""A data set of PyG in place of one of its graphs."""

from __future__ import annotations

__all__ = ["one_graph_of"]


def one_graph_of(value: object) -> str:
    """What to pass in place of a data set, for the end of a message; empty for anything else. It does not import PyG.

    Example:
        >>> from torch_geometric.datasets import FakeDataset
        >>> one_graph_of(FakeDataset(1))
        ': pass one of its graphs, as in dataset[0]'
    """
    is_dataset = any(cls.__module__ == "torch_geometric.data.dataset" for cls in type(value).__mro__)
    return ": pass one of its graphs, as in dataset[0]" if is_dataset else ""
