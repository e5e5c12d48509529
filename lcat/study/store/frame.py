"""Results of cells as pandas frames: one row per cell, per epoch, or per learned pair of lambdas."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from lcat.study.models.layers import layer_spec
from lcat.study.store.result import CellResult

__all__ = ["COLUMNS", "history_frame", "lambda_frame", "results_frame"]

#: The columns of :meth:`lcat.study.Study.results` before those of the settings (``hyper.*``), and what they hold.
COLUMNS: dict[str, str] = {
    "key": "the cell",
    "config": "everything but seed, repetition and folds (Cell.config_key): rows to average",
    "model": "layer and settings alone (Cell.model_key): the same model on other data or noise",
    "dataset": "name of the data set",
    "layer": "name of the layer",
    "family": "gcn, gat, cat or lcat; own for own models",
    "version": "1 or 2, missing for layers without scores",
    "variant": "mean or theory, else empty",
    "seed": "seed of weights, dropout and noise",
    "repeat": "repetition, missing without any",
    "fold": "(outer) fold, missing without folds",
    "inner_fold": "inner fold, missing unless nested",
    "split": "rule of the split",
    "split_hash": "the three masks",
    "test_set": "the graph and its test nodes; a choice may pool rows of one test set only",
    "noise": "none, edges or features",
    "noise_level": "its level, 0 without noise",
    "status": "done or failed",
    "task": "what is predicted",
    "metric": "what decides, such as accuracy (a share in [0, 1]) or rmse (lower is better)",
    "train": "metric on the training nodes, at the epoch that validates best",
    "validation": "metric on the validation nodes there: what any choice is made by",
    "test": "metric on the test nodes there: for reports only",
    "best_epoch": "that epoch, from 0",
    "epochs": "epochs run",
    "seconds": "wall-clock time of the cell without loading",
    "epoch_seconds": "mean wall-clock time of an epoch",
    "peak_memory": "bytes, missing where it cannot be measured",
    "parameters": "learned numbers",
    "train_nodes": "number of training nodes (graphs, linked pairs)",
    "validation_nodes": "number of validation nodes (graphs, linked pairs)",
    "test_nodes": "number of test nodes (graphs, linked pairs)",
    "started": "UTC, ISO 8601",
    "finished": "UTC, ISO 8601",
    "worker": "host:pid",
    "device": "where it trained",
    "error": "the error of a failed cell, with the first line of its message",
}
_WHOLE = (
    "version",
    "repeat",
    "fold",
    "inner_fold",
    "best_epoch",
    "epochs",
    "peak_memory",
)


def results_frame(results: Iterable[CellResult]) -> pd.DataFrame:
    """One row per cell, in the given order; figures of failed cells are missing.

    Args:
        results: of cells, with or without histories.

    Returns:
        The columns of :data:`COLUMNS`, then ``hyper.*`` for every setting, those of own models last.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> from lcat.study.store.frame import results_frame
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn"],
        ...     seeds=[0, 1],
        ...     overrides={"epochs": 5},
        ... )
        >>> results_frame(run_study(plan).study.cell_results())[
        ...     ["layer", "seed", "status", "epochs"]
        ... ].values.tolist()
        [['gcn', 0, 'done', 5], ['gcn', 1, 'done', 5]]
    """
    rows = [_row(result) for result in results]
    frame = pd.DataFrame(rows, columns=None if rows else list(COLUMNS))
    for name in _WHOLE:
        frame[name] = frame[name].astype("Int64")
    for name in ("train", "validation", "test", "seconds", "epoch_seconds"):
        frame[name] = frame[name].astype("float64")
    return frame


def history_frame(results: Iterable[CellResult]) -> pd.DataFrame:
    """One row per cell and epoch of the finished cells; see :meth:`lcat.study.Study.histories`.

    Args:
        results: of cells, with histories.

    Returns:
        Its columns.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["lcat"],
        ...     seeds=[0],
        ...     overrides={"epochs": 3},
        ... )
        >>> run_study(plan).study.histories()[["epoch", "lambda1.1"]].shape
        (3, 2)
    """
    parts: list[pd.DataFrame] = []
    for result in results:
        if result.fit is None:
            continue
        history = result.fit.history
        columns: dict[str, Any] = {"key": result.cell.key, "epoch": np.arange(len(history))}
        for name, values in (
            ("lr", history.lr),
            ("loss", history.loss),
            ("train", history.train),
            ("validation", history.val),
            ("test", history.test),
            ("validation_loss", history.val_loss),
        ):
            columns[name] = np.asarray(values, dtype=np.float64)
        for number, path in enumerate(history.lambdas.values(), start=1):
            pairs = np.asarray(path, dtype=np.float64).reshape(-1, 2)[1:]
            columns[f"lambda1.{number}"], columns[f"lambda2.{number}"] = pairs[:, 0], pairs[:, 1]
        parts.append(pd.DataFrame(columns))
    empty = ["key", "epoch", "lr", "loss", "train", "validation", "test", "validation_loss"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=empty)


def lambda_frame(results: Iterable[CellResult]) -> pd.DataFrame:
    """One row per finished cell and layer of its model whose lambdas are learned; see :meth:`lcat.study.Study.lambdas`.

    Args:
        results: of cells; the start is known where they carry their histories.

    Returns:
        Its columns.

    Example:
        >>> from lcat.study import make_plan, run_study
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=100"],
        ...     layers=["gcn", "lcat"],
        ...     seeds=[0],
        ...     overrides={"epochs": 3},
        ... )
        >>> run_study(plan).study.lambdas()[["layer", "depth"]].values.tolist()
        [['lcat', 1]]
    """
    rows = []
    for result in results:
        if result.fit is None or not layer_spec(result.cell.layer).learns_lambda:
            continue
        for depth, (name, pair) in enumerate(result.fit.lambdas.items(), start=1):
            path = result.fit.history.lambdas.get(name) or [[np.nan, np.nan]]
            cell = result.cell
            rows.append((cell.key, cell.dataset, cell.layer, cell.seed, depth, name, *path[0], *pair))
    names = ["key", "dataset", "layer", "seed", "depth", "name"]
    return pd.DataFrame(rows, columns=[*names, "lambda1_start", "lambda2_start", "lambda1", "lambda2"])


def _row(result: CellResult) -> dict[str, Any]:
    cell, fit, spec = result.cell, result.fit, layer_spec(result.cell.layer)
    row: dict[str, Any] = {
        "key": cell.key,
        "config": cell.config_key,
        "model": cell.model_key,
        "dataset": cell.dataset,
        "layer": cell.layer,
        "family": spec.family,
        "version": spec.version,
        "variant": spec.variant,
        "seed": cell.seed,
        "repeat": cell.split.repeat,
        "fold": cell.split.fold,
        "inner_fold": cell.split.inner_fold,
        "split": cell.split.rule,
        "split_hash": result.split_hash,
        "test_set": result.test_set,
        "noise": cell.noise.kind,
        "noise_level": cell.noise.level,
        "status": result.status,
        "task": result.task,
        "metric": result.metric,
        "train": fit.train if fit is not None else None,
        "validation": fit.val if fit is not None else None,
        "test": fit.test if fit is not None else None,
        "best_epoch": fit.best_epoch if fit is not None else None,
        "epochs": fit.epochs if fit is not None else None,
        "seconds": result.seconds,
        "epoch_seconds": result.epoch_seconds,
        "peak_memory": result.peak_memory,
        "parameters": result.parameters,
    }
    row.update(zip(("train_nodes", "validation_nodes", "test_nodes"), result.split_sizes, strict=True))
    for name in ("started", "finished", "worker", "device"):
        row[name] = getattr(result, name)
    row["error"] = result.error_line or None
    row.update({f"hyper.{name}": value for name, value in cell.hyper if name != "own"})
    row.update({f"hyper.{name}": value for name, value in cell.hyper.own})
    return row
