"""Arguments of the primitives that no kernel may see: what is no tensor, no graph or no probability."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcat.graph import graph_view
from lcat.ops import aggregate, gat_attention, gatv2_attention

EDGE_INDEX = torch.tensor([[0, 1, 2], [2, 2, 0]])
GRAPH, _ = graph_view(EDGE_INDEX, 3, 3)

ARGUMENTS: dict[Any, dict[str, Any]] = {
    aggregate: {"x": torch.ones(3, 2)},
    gat_attention: {
        "source_score": torch.ones(3, 2),
        "target_score": torch.ones(3, 2),
        "value": torch.ones(3, 2, 4),
    },
    gatv2_attention: {
        "key": torch.ones(3, 2, 4),
        "query": torch.ones(3, 2, 4),
        "value": torch.ones(3, 2, 4),
        "att": torch.ones(2, 4),
    },
}

REQUIRED = [
    (aggregate, "x"),
    (gat_attention, "source_score"),
    (gat_attention, "value"),
    *((gatv2_attention, name) for name in ARGUMENTS[gatv2_attention]),
]


@pytest.mark.parametrize(("primitive", "name"), REQUIRED)
def test_a_required_tensor_cannot_be_none(primitive: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf"^expected '{name}' of type torch\.Tensor, got None$"):
        primitive(**{**ARGUMENTS[primitive], name: None}, graph=GRAPH)


@pytest.mark.parametrize("primitive", ARGUMENTS)
def test_edge_weight_is_a_tensor_or_none(primitive: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected 'edge_weight' of type torch\.Tensor, got list$"):
        primitive(**ARGUMENTS[primitive], graph=GRAPH, edge_weight=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("primitive", ARGUMENTS)
def test_a_tensor_of_edges_is_no_graph(primitive: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected 'graph' of type lcat\.graph\.Graph, got Tensor: .*graph_view"):
        primitive(**ARGUMENTS[primitive], graph=EDGE_INDEX)


@pytest.mark.parametrize("primitive", [gat_attention, gatv2_attention])
@pytest.mark.parametrize("dropout", [-0.1, 1.5, float("nan")])
def test_dropout_is_a_probability(primitive: Any, dropout: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a probability 'dropout' in \[0, 1\], got "):
        primitive(**ARGUMENTS[primitive], graph=GRAPH, dropout=dropout)
