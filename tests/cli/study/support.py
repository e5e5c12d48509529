"""A small plan, and options that make a study quick."""

from __future__ import annotations

PLAN = """
datasets = ["csbm:easy,n=60"]
layers = ["gcn", "gat"]
seeds = 2
[overrides]
epochs = 3
[run]
engine = "inline"
"""
FAST = ["--epochs", "2", "--seeds", "1", "--quiet", "--engine", "inline"]
