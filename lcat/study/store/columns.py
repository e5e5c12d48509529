"""The frames of a study, column by column, for the documentation and for exports."""

from __future__ import annotations

from lcat.study.store.frame import COLUMNS

__all__ = ["FRAMES"]

_CELL = {
    "key": "the cell, as in results",
    "dataset": "name of the data set",
    "layer": "name of the layer",
}

_RUN = {
    **_CELL,
    "seed": "of the cell",
    "repeat": "repetition, missing without any",
    "fold": "(outer) fold, missing without folds",
    "inner_fold": "inner fold, missing unless nested",
}

#: Methods of :class:`lcat.study.Study` that return a frame, and what the columns of each hold. A name that ends in
#: ``*`` stands for several columns.
FRAMES: dict[str, dict[str, str]] = {
    "results": {**COLUMNS, "hyper.*": "every setting by its name, those of own models last; missing for others"},
    "histories": {
        "key": "the cell, as in results",
        "epoch": "from 0",
        "lr": "learning rate of the step",
        "loss": "training loss with dropout, before the step",
        "train": "metric on the training nodes, after the step, without dropout",
        "validation": "the same on the validation nodes",
        "test": "the same on the test nodes",
        "validation_loss": "cross-entropy of the validation nodes, after the step",
        "lambda*": "lambda1.1, lambda2.1, lambda1.2, ...: learned values by layer of the model, after the step",
    },
    "lambdas": {
        **_CELL,
        "seed": "of the cell",
        "depth": "number of the layer in the model, from 1",
        "name": "of the module",
        "lambda1_start": "value before the first step",
        "lambda2_start": "the same of the other one",
        "lambda1": "value at the epoch that validates best",
        "lambda2": "the same of the other one",
    },
    "metrics": {
        **_RUN,
        "part": "validation or test",
        "metric": "name of the metric",
        "value": "at the epoch that validates best; missing where the metric is undefined",
        "undefined": "why it is undefined, missing where it is not",
    },
    "classes": {
        **_RUN,
        "class": "its number",
        "precision": "share of the test items predicted as it that are of it; missing if there are none",
        "recall": "share of the test items of it that are predicted as it; missing if there are none",
        "f1": "harmonic mean of both",
        "items": "test items of it",
    },
    "trials": {
        "unit": "name of the search",
        "number": "of the trial in its search, from 0",
        "dataset": "that the search is for",
        "layer": "that the search is for",
        "test_set": "that the search is for, as in results",
        "validation": "mean over the cells of the trial, missing unless all of them are done",
        "params.*": "the settings that were tried",
    },
    "failures": {
        "key": "the cell, as in results",
        "cell": "the cell in words",
        "error": "the error, with the first line of its message",
        "traceback": "all of it",
    },
    "models": {
        "layer": "name of the own model in results",
        "name": "text in the plan",
        "hash": "of the files that it is made of",
        "file": "the main one",
        "source": "its text when the first cell ran",
    },
    "datasets": {
        "dataset": "name of the data set",
        "steps": "what was done to what was read",
        "nodes": "of the graph, as in the first result",
        "edges": "columns of edge_index: an undirected edge counts twice",
        "self_loops": "edges from a node to itself",
        "repeated": "edges that are listed once more",
        "directed": "some edge has no reverse",
        "graph": "hash of features, edges and labels, for own data sets (of seed 0, if each seed has its own graph)",
        "hash": "of the files of an own data set",
        "files": "of an own data set",
        "source": "text of the Python file that makes it",
    },
}
