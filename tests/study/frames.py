"""Frames of results without training: what the statistics of a study read."""

from __future__ import annotations

import pandas as pd

_DEFAULTS = {
    "dataset": "cora",
    "layer": "gcn",
    "model": None,
    "seed": 0,
    "repeat": pd.NA,
    "fold": pd.NA,
    "inner_fold": pd.NA,
    "split": "own",
    "split_hash": "split",
    "test_set": "test set",
    "noise": "none",
    "noise_level": 0.0,
    "status": "done",
    "metric": "accuracy",
    "train": 1.0,
    "validation": 0.5,
    "test": 0.5,
    "seconds": 1.0,
    "peak_memory": 1000,
    "parameters": 10,
    "train_nodes": 60,
    "validation_nodes": 20,
    "test_nodes": 20,
}


def cells(*rows, **common):
    """A frame of cells, each a dictionary of what differs from the defaults; a model is its layer unless named."""
    filled = [{**_DEFAULTS, **common, **row} for row in rows]
    for number, row in enumerate(filled):
        row["model"] = row["model"] or row["layer"]
        row["key"] = f"{number:016x}"
        if row["status"] == "failed":
            row |= {"train": float("nan"), "validation": float("nan"), "test": float("nan")}
    frame = pd.DataFrame(filled)
    for name in ("repeat", "fold", "inner_fold", "peak_memory"):
        frame[name] = frame[name].astype("Int64")
    return frame


def runs_of(layer, tests, validations=None, **common):
    """One row a seed, each seed with a split of its own."""
    validations = validations or tests
    return [
        {
            "layer": layer,
            "seed": seed,
            "test": test,
            "validation": validation,
            "test_set": f"set {seed}",
            "split_hash": f"split {seed}",
            **common,
        }
        for seed, (test, validation) in enumerate(zip(tests, validations, strict=True))
    ]
