"""Train cells: one, or those of a plan one after the other in this process."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path

import torch

from lcat._environment import versions
from lcat.data import NodeDataset
from lcat.study._folder import OutputError
from lcat.study.models.layers import build_model
from lcat.study.plan.cell import Cell
from lcat.study.plan.plan import StudyPlan
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import split_hash
from lcat.study.running.memory import PeakMemory
from lcat.study.store.result import CellResult
from lcat.train import History, fit, seed_everything

__all__ = ["CellResult", "run", "run_cell"]


def run(
    plan: StudyPlan,
    *,
    data_root: str | Path | None = None,
    own: Mapping[str, NodeDataset] | None = None,
    metric: str | None = None,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[Cell, int, History], None] | None = None,
) -> Iterator[CellResult]:
    """Train every cell of ``plan`` and yield its result as soon as it is there.

    All data sets are looked for first. A cell that raises is yielded with its traceback, and the next one runs.

    Args:
        plan: what to run.
        data_root: folder with the files of public data sets; ``lcat.data.default_root()`` by default.
        own: own data sets by the names that ``plan.own`` lists.
        metric: metric of data sets read from a file, before what the file names; that of the plan by default.
        device: where to train.
        on_epoch: called after every epoch with the cell, the epoch and the history so far.

    Yields:
        One :class:`CellResult` a cell, in the order of ``plan.cells()``.

    Raises:
        lcat.data.DataError: before the first cell, if a data set cannot be had.
        KeyboardInterrupt: Ctrl-C ends the study; what was yielded stays valid.

    Example:
        >>> from lcat.study import make_plan, run
        >>> plan = make_plan(datasets=["csbm:easy,n=100"], layers=["gcn"], seeds=[0], overrides={"epochs": 20})
        >>> [result.ok for result in run(plan)]
        [True]
    """
    sources = Sources(Path(data_root) if data_root is not None else None, own or {}, metric or plan.metric)
    sources.prepare(plan.datasets, plan.choices)
    for cell in plan.cells():
        yield run_cell(cell, sources, device=device, on_epoch=on_epoch)


def run_cell(
    cell: Cell,
    sources: Sources,
    *,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[Cell, int, History], None] | None = None,
) -> CellResult:
    """Train one cell; a failure becomes part of the result.

    Everything that an ``Exception`` can stop is caught, as a study must go on; ``KeyboardInterrupt`` passes.

    Raises:
        lcat.study.OutputError: if the split cannot be kept in the folder of the study. That is no fault of the cell,
            and the next one would fare no better.
    """
    device = torch.device(device)
    result = CellResult(cell=cell, fit=None, started=_now(), device=str(device), versions=versions())
    result.worker = f"{socket.gethostname()}:{os.getpid()}"
    start = time.perf_counter()
    try:
        dataset, split = sources.prepared(cell)
        result.metric, result.split_sizes = dataset.metric, split.sizes
        result.split_rule = dataset.split_rule if cell.split.rule == "own" else cell.split.rule
        result.split_hash, result.test_set = split_hash(split), sources.test_set(cell, split)
        data = sources.on_device(dataset, device)
        memory, start = PeakMemory(device), time.perf_counter()
        seed_everything(cell.seed)
        model = build_model(cell.layer, data.num_features, dataset.num_classes, cell.hyper).to(device)
        result.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        result.fit = fit(
            model,
            data,
            split,
            cell.hyper.fit_config(),
            metric=dataset.metric,
            on_epoch=None if on_epoch is None else lambda epoch, history: on_epoch(cell, epoch, history),
        )
        result.peak_memory = memory.bytes()
    except OutputError:
        raise
    except Exception:
        result.fit, result.error = None, traceback.format_exc()
    result.seconds = time.perf_counter() - start
    result.finished = _now()
    return result


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
