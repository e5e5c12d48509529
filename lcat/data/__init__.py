"""Graphs to learn on: synthetic ones with a known winner, public ones by name, and splits."""

from __future__ import annotations

from lcat.data.csbm import csbm, csbm_distance
from lcat.data.splits import Split, SplitError, load_split_file, random_split

__all__ = ["Split", "SplitError", "csbm", "csbm_distance", "load_split_file", "random_split"]
