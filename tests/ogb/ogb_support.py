"""Small graphs, and the scripts run in this process."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import torch
from torch_geometric.data import Data

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "ogb"


def random_graph(nodes: int = 40, edges: int = 160, edge_dim: int | None = None) -> Data:
    generator = torch.Generator().manual_seed(3)
    edge_index = torch.randint(nodes, (2, edges), generator=generator).unique(dim=1)
    graph = Data(x=torch.randn(nodes, 8, generator=generator), edge_index=edge_index[:, edge_index[0] != edge_index[1]])
    graph.y = torch.randint(5, (nodes,), generator=generator)
    graph.train_mask = torch.rand(nodes, generator=generator) < 0.6
    if edge_dim is not None:
        graph.edge_attr = torch.rand(graph.edge_index.size(1), edge_dim, generator=generator)
    return graph


def run_script(monkeypatch, name: str, *arguments: object) -> None:
    """``python benchmarks/ogb/NAME.py ARGUMENTS`` in this process."""
    script = SCRIPTS / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    runpy.run_path(str(script), run_name="__main__")
