"""Train one cell, and say with which versions and on which machine."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from lcat._device import read_device
from lcat._environment import versions
from lcat.study._folder import OutputError
from lcat.study.models.classifier import NodeClassifier
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.layers import build_model
from lcat.study.models.own_classifier import OwnClassifier
from lcat.study.models.own_model import OwnModels
from lcat.study.models.recipe_model import balanced_weights
from lcat.study.plan.cell import Cell
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import split_hash
from lcat.study.running.kept import files_of
from lcat.study.running.memory import PeakMemory
from lcat.study.store.result import CellResult
from lcat.train import History, fit
from lcat.train.seeds import seed_for

__all__ = ["run_cell"]


def run_cell(
    cell: Cell,
    sources: Sources,
    *,
    models: OwnModels | None = None,
    device: str | torch.device = "cpu",
    keep: Collection[str] = (),
    on_epoch: Callable[[Cell, int, History], None] | None = None,
) -> CellResult:
    """Train one cell; a failure becomes part of the result.

    Everything that an ``Exception`` can stop is caught, as a study must go on; ``KeyboardInterrupt`` passes.

    Args:
        cell: to train.
        sources: of its graph.
        models: own models by the names of cells.
        device: where to train.
        keep: files to keep, see :func:`lcat.study.running.kept.files_of`.
        on_epoch: called after every epoch with the cell, the number of the epoch and the history so far.

    Raises:
        lcat.study.OutputError: if the split cannot be kept in the folder of the study. That is no fault of the cell,
            and the next one would fare no better.
    """
    device = read_device(device)
    result = CellResult(cell=cell, fit=None, started=_now(), device=str(device), versions=versions())
    if device.type == "cuda":
        result.versions["gpu"] = torch.cuda.get_device_name(device)
    result.worker = f"{socket.gethostname()}:{os.getpid()}"
    start = time.perf_counter()
    try:
        dataset, split = sources.prepared(cell)
        result.metric, result.split_sizes = dataset.metric, split.sizes
        result.split_rule = dataset.split_rule if cell.split.rule == "own" else cell.split.rule
        result.split_hash, result.test_set = split_hash(split), sources.test_set(cell, split)
        result.graph = sources.facts(cell)
        data = sources.on_device(dataset, device)
        memory, start = PeakMemory(device), time.perf_counter()
        own = None if models is None else models.get(cell.layer)
        if own is not None:
            data = data.clone()  # the graph is that of the next cells: what an own model writes may not reach them
        seed_for(cell.seed, "weights")
        model = build_model(
            cell.layer,
            data.num_features,
            dataset.num_classes,
            cell.hyper,
            edge_dim=dataset.num_edge_features or None,
            own=own,
        ).to(device)
        if isinstance(model, (NodeClassifier, OwnClassifier)):  # the closed form is for graphs without either
            model.use_edge_values(data)
        result.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        result.fit = fit(
            model,
            data,
            split,
            cell.hyper.fit_config(),
            metric=dataset.metric,
            loss=_loss(cell.hyper, data.y[split.train.to(data.y.device)], dataset.num_classes),
            ema=cell.hyper.ema,
            seed=cell.seed,
            on_epoch=None if on_epoch is None else lambda epoch, history: on_epoch(cell, epoch, history),
        )
        result.peak_memory = memory.bytes()
        base = Path() if models is None else models.base
        parts = {"dataset": dataset, "split": split, "data": data, "fit": result.fit, "own": own, "base": base}
        result.files = files_of(keep, model, cell, **parts)
    except (OutputError, KeyboardInterrupt):
        raise
    except BaseException:  # SystemExit, too: an own model that calls sys.exit ends its cell, not the study
        result.fit, result.error = None, traceback.format_exc()
    result.seconds = time.perf_counter() - start
    result.finished = _now()
    return result


def _loss(hyper: HyperParameters, y: Tensor, num_classes: int) -> Callable[[Tensor, Tensor], Tensor] | None:
    """The training loss; ``None`` for the plain cross-entropy."""
    if hyper.label_smoothing == 0 and hyper.class_weights == "none":
        return None
    weight = balanced_weights(y.long(), num_classes) if hyper.class_weights == "balanced" else None
    return partial(F.cross_entropy, weight=weight, label_smoothing=hyper.label_smoothing)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
