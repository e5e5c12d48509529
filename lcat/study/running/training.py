"""Train one cell, and say with which versions and on which machine."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from pathlib import Path

import torch
from torch_geometric.data import Data

from lcat._device import read_device
from lcat._environment import versions
from lcat.data import GraphDataset, LinkDataset, NodeDataset, Split
from lcat.study._folder import OutputError
from lcat.study.models.own_model import OwnModels
from lcat.study.plan.as_task import AnyDataset
from lcat.study.plan.cell import Cell
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import split_hash
from lcat.study.running.kept import files_of
from lcat.study.running.memory import PeakMemory
from lcat.study.store.result import CellResult
from lcat.study.tasks.figures import figures_of
from lcat.study.tasks.make import Work, make_model, make_task
from lcat.train import History, fit_task
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
        result.task, result.metric, result.split_sizes = dataset.task, dataset.metric, split.sizes
        result.split_rule = dataset.split_rule if cell.split.rule == "own" else cell.split.rule
        result.split_hash, result.test_set = split_hash(split), sources.test_set(cell, split)
        result.graph = sources.facts(cell)
        data = _graph(cell, dataset, split, sources, device)
        memory, start = PeakMemory(device), time.perf_counter()
        own = None if models is None else models.get(cell.layer)
        if own is not None and data is not None:
            data = data.clone()  # the graph is that of the next cells: what an own model writes may not reach them
        work = Work(dataset, split, data, cell.hyper, device=device, seed=cell.seed, batching=cell.batching, own=own)
        seed_for(cell.seed, "weights")
        model = make_model(work, cell.layer)
        result.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        task = make_task(work)
        result.fit = fit_task(
            model,
            task,
            cell.hyper.fit_config(),
            ema=cell.hyper.ema,
            seed=cell.seed,
            on_epoch=None if on_epoch is None else lambda epoch, history: on_epoch(cell, epoch, history),
        )
        result.peak_memory = memory.bytes()
        result.figures = figures_of(task, model)
        base = Path() if models is None else models.base
        result.files = files_of(keep, model, cell, work=work, task=task, fit=result.fit, base=base)
    except (OutputError, KeyboardInterrupt):
        raise
    except BaseException:  # SystemExit, too: an own model that calls sys.exit ends its cell, not the study
        result.fit, result.error = None, traceback.format_exc()
    result.seconds = time.perf_counter() - start
    result.finished = _now()
    return result


def _graph(cell: Cell, dataset: AnyDataset, split: Split, sources: Sources, device: torch.device) -> Data | None:
    """The graph that every step sees, on the device; ``None`` if there are several graphs, or steps see parts."""
    if isinstance(dataset, GraphDataset) or cell.batching is not None:
        return None
    if isinstance(dataset, NodeDataset) and dataset.is_inductive:
        return None
    if isinstance(dataset, LinkDataset):
        return dataset.visible(split).to(device)
    return sources.on_device(dataset, device)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
