"""A layer of lcat whose first weights are scaled: an own model for the study of initialization in ``robustness.py``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lcat.study import HyperParameters, build_model


class Scaled(nn.Module):
    """Two layers as in ``plans/robustness.toml``, with every weight matrix times ``scale`` at the start."""

    def __init__(self, in_channels: int, num_classes: int, kind: str = "gat", scale: float = 1.0) -> None:
        super().__init__()
        hyper = HyperParameters(
            hidden_channels=64, heads=4, num_layers=2, norm="layer", dropout=0.5, attention_dropout=0.0
        )
        self.model = build_model(kind, in_channels, num_classes, hyper)
        with torch.no_grad():
            for parameter in self.model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(scale)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits ``[N, num_classes]``."""
        logits: Tensor = self.model(x, edge_index)
        return logits
