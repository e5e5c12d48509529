"""A model of your own in a study.

lcat study -d csbm:easy,n=300 -l gcn -l examples/own_model.py:MyNet --grid width=16,32
python examples/own_model.py            # the same from Python
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lcat.nn import GATConv


class MyNet(nn.Module):
    """Attention over the neighbors, and a linear map of the node itself beside it.

    A study makes it as ``MyNet(in_channels, num_classes, ...)``; ``width``, ``depth`` and ``dropout`` are its settings.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 32, depth: int = 2, dropout: float = 0.3):
        super().__init__()
        widths = [in_channels] + [width] * depth
        self.convs = nn.ModuleList(GATConv(a, b) for a, b in itertools.pairwise(widths))
        self.skips = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.head = nn.Linear(width, num_classes)
        self.dropout = dropout

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor, edge_weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        for conv, skip in zip(self.convs, self.skips, strict=True):
            x = F.relu(conv(x, edge_index, edge_weight=edge_weight) + skip(x))
            x = F.dropout(x, self.dropout, self.training)
        return self.head(x)


def main(epochs: int = 60, seeds: int = 3) -> dict[str, float]:
    from lcat.study import make_plan, run_study

    plan = make_plan(
        datasets=["csbm:easy,q=0.3,n=300"],
        layers=["gcn", f"{Path(__file__).resolve()}:MyNet"],
        seeds=seeds,
        overrides={"epochs": epochs},
        grid={"width": [16, 32]},
    )
    summary = run_study(plan).study.compare().summary
    print(summary[["layer", "test", "std", "models"]].to_string(index=False))
    return dict(zip(summary["layer"], summary["test"], strict=True))


if __name__ == "__main__":
    main()
