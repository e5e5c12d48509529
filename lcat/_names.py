"""Names that several packages share, readable without torch: of layers and of metrics."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = [
    "LAYER_NAMES",
    "LAYER_TITLES",
    "METRIC_NAMES",
    "LayerName",
    "MetricName",
    "has_attention",
    "has_v2_scores",
    "looks_one_hop",
]

LayerName = Literal["gcn", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2"]
MetricName = Literal["accuracy", "roc-auc"]

#: The layers of the library, as commands and tables name them.
LAYER_NAMES: tuple[LayerName, ...] = get_args(LayerName)
#: The same as titles name them.
LAYER_TITLES: dict[LayerName, str] = {
    "gcn": "GCN",
    "gat": "GAT",
    "gatv2": "GATv2",
    "cat": "CAT",
    "catv2": "CATv2",
    "lcat": "L-CAT",
    "lcatv2": "L-CATv2",
}
#: What a data set can be judged by; ``lcat.train.METRICS`` holds the functions.
METRIC_NAMES: tuple[MetricName, ...] = get_args(MetricName)


def has_attention(layer: LayerName) -> bool:
    """Whether a layer weighs neighbors by attention: it then has heads, and takes features of edges and not weights."""
    return layer != "gcn"


def has_v2_scores(layer: LayerName) -> bool:
    """Whether its scores are those of GATv2."""
    return layer.endswith("v2")


def looks_one_hop(layer: LayerName) -> bool:
    """Whether a message depends on its two ends alone: not on degrees (GCN) or averages (CAT, L-CAT) around them."""
    return layer in ("gat", "gatv2")
