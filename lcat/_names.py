"""Names that several packages share, readable without torch: of layers and of metrics."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["LAYER_NAMES", "LAYER_TITLES", "METRIC_NAMES", "LayerName", "MetricName"]

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
