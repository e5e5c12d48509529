"""Leaderboard runs on the Open Graph Benchmark: one script per data set, ten seeds, the block that OGB asks for."""

from __future__ import annotations

from lcat.ogb.block import block_text, leaderboard_block
from lcat.ogb.command import main
from lcat.ogb.graph import node_graph
from lcat.ogb.model import NodeModel
from lcat.ogb.run import FolderError, run_seeds
from lcat.ogb.settings import PROTOCOLS, Settings, SettingsError, default_settings
from lcat.ogb.training import SeedResult, build_node_model, num_outputs

__all__ = [
    "PROTOCOLS",
    "FolderError",
    "NodeModel",
    "SeedResult",
    "Settings",
    "SettingsError",
    "block_text",
    "build_node_model",
    "default_settings",
    "leaderboard_block",
    "main",
    "node_graph",
    "num_outputs",
    "run_seeds",
]
