"""A model of whole graphs: a model of nodes, then the mean, sum or maximum over the nodes of each graph."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_add_pool, global_max_pool, global_mean_pool

from lcat.nn.dropout import drop_features
from lcat.study.models.classifier import NodeClassifier
from lcat.study.models.hyper import Pooling
from lcat.study.models.own_classifier import OwnClassifier

__all__ = ["POOLINGS", "GraphPredictor"]

#: What is made of the nodes of a graph, by name.
POOLINGS: dict[Pooling, Callable[..., Tensor]] = {
    "mean": global_mean_pool,
    "add": global_add_pool,
    "max": global_max_pool,
}


class GraphPredictor(nn.Module):
    """Outputs per graph.

    Args:
        encoder: of nodes; an own model that takes ``batch`` makes outputs of graphs itself.
        pooling: a name of :data:`POOLINGS`.
        head: from pooled features to outputs; ``None`` if the encoder makes outputs.
        dropout: before the head.

    Shapes:
        A batch of G graphs, or one graph; the output is ``[G, C]``.
    """

    def __init__(
        self, encoder: NodeClassifier | OwnClassifier, pooling: Pooling, head: nn.Module | None, dropout: float
    ) -> None:
        super().__init__()
        self.encoder, self.pooling, self.head, self.dropout = encoder, pooling, head, dropout

    def forward(self, batch: Batch | Data) -> Tensor:
        """Outputs ``[G, C]``."""
        if batch.get("batch") is None:
            batch = Batch.from_data_list([batch])
        self.encoder.use_edge_values(batch)
        out: Tensor = self.encoder(batch.x, batch.edge_index)
        if isinstance(self.encoder, OwnClassifier) and self.encoder.takes_batch:
            return out
        out = POOLINGS[self.pooling](out, batch.batch, size=batch.num_graphs)
        if self.head is None:
            return out
        out = drop_features(out, self.dropout, self.training)
        result: Tensor = self.head(out)
        return result
