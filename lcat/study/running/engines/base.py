"""What an engine is: it takes cells and gives back events, and knows nothing of plans or stores."""

from __future__ import annotations

import gc
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lcat._device import usable_device
from lcat.study.models.own_model import OwnModels
from lcat.study.plan.as_task import AnyDataset
from lcat.study.plan.cell import Cell
from lcat.study.plan.settings import RunSettings
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import SplitFolder
from lcat.study.running.training import run_cell
from lcat.study.store.result import CellResult
from lcat.train import History

__all__ = [
    "CellRunner",
    "Engine",
    "EngineError",
    "Finished",
    "Note",
    "Progress",
    "Setup",
    "cores",
    "devices",
    "local_slots",
]


class EngineError(RuntimeError):
    """Cells cannot be run this way here; one line says why and what to do."""


@dataclass(frozen=True)
class Setup:
    """What a worker needs beside a cell; it travels to other processes.

    Attributes:
        data: folder of public data sets.
        own: your own data sets by name.
        metric: of data sets read from a file, before what the file names.
        splits: folder that keeps splits.
        threads: of torch, for each cell.
        device: where to train.
        base: folder that relative paths of data sets and splits start from.
        models: your own models by the names of their cells.
        keep: files that cells leave beside their results.
    """

    data: Path | None = None
    own: dict[str, AnyDataset] = field(default_factory=dict)
    metric: str | None = None
    splits: Path | None = None
    threads: int = 1
    device: str = "cpu"
    base: Path = Path()
    models: OwnModels = field(default_factory=OwnModels)
    keep: tuple[str, ...] = ()

    def with_absolute_paths(self) -> Setup:
        """The same for workers that start in another folder."""
        data, splits = (None if path is None else path.absolute() for path in (self.data, self.splits))
        return replace(self, data=data, splits=splits, base=self.base.absolute())


@dataclass(frozen=True)
class Finished:
    """A cell ended, well or with a traceback."""

    result: CellResult


@dataclass(frozen=True)
class Progress:
    """A cell has come to ``epoch`` of at most ``epochs`` and validates with ``val``, a value of ``metric``."""

    cell: Cell
    epoch: int
    epochs: int
    val: float
    metric: str = ""


@dataclass(frozen=True)
class Note:
    """Something happened that a reader of the log will want to know."""

    text: str
    cell: Cell | None = None


Event = Finished | Progress | Note


class Engine(ABC):
    """Runs cells; used from one thread.

    ``submit`` while fewer than ``slots`` cells are under way, ``wait`` for what happens to them, ``close`` at the end.
    Every submitted cell ends in exactly one :class:`Finished`, unless the engine is closed before.

    Attributes:
        on_progress: called during a cell by an engine whose :meth:`wait` does not return before its end; other engines
            leave it unused. ``None`` calls nothing.
    """

    on_progress: Callable[[Progress], None] | None = None

    @classmethod
    def expected_slots(cls, settings: RunSettings) -> int:
        """How many cells would run at a time with these settings; starts nothing.

        By default the workers that are asked for, else one per GPU, or as many as the cores serve.
        """
        return local_slots(settings.workers, settings.threads, settings.device)

    @classmethod
    @abstractmethod
    def of(cls, setup: Setup, settings: RunSettings) -> Engine:
        """The engine that ``settings`` describe.

        Raises:
            EngineError: if it is not available here.
        """

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many cells run at a time."""

    @abstractmethod
    def submit(self, cell: Cell) -> None:
        """Take a cell.

        Raises:
            EngineError: if nothing can be run.
        """

    @abstractmethod
    def wait(self, timeout: float) -> list[Event]:
        """What happened since the last call; returns with an event, or after at most ``timeout`` seconds.

        Raises:
            EngineError: if nothing can be run any more.
            lcat.study.OutputError: if a worker cannot write to the folder of the study.
        """

    @abstractmethod
    def close(self) -> None:
        """End all workers; cells under way are dropped. May be called twice."""


class CellRunner:
    """Runs cells in this process with a fixed number of threads, and keeps the data set from one to the next."""

    def __init__(self, setup: Setup, device: str | None = None) -> None:
        self._setup = setup
        # Another machine may not have the folder of the study: then splits are made anew, which gives the same.
        splits = setup.splits
        folder = SplitFolder(splits, setup.base) if splits is not None and splits.parent.is_dir() else None
        self._sources = Sources(setup.data, setup.own, setup.metric, folder, setup.base)
        self._device = usable_device(device or setup.device)
        self._frozen = False

    def run(self, cell: Cell, on_epoch: Callable[[Cell, int, History], None] | None = None) -> CellResult:
        """The result of a cell; threads are put back afterwards."""
        before = torch.get_num_threads()
        if before != self._setup.threads:
            torch.set_num_threads(self._setup.threads)
        try:
            setup, device = self._setup, self._device
            result = run_cell(
                cell, self._sources, models=setup.models, device=device, keep=setup.keep, on_epoch=on_epoch
            )
            self._spare_collections()
            return result
        finally:
            if before != self._setup.threads:
                torch.set_num_threads(before)

    def close(self) -> None:
        """Let collections of garbage look at everything again."""
        if self._frozen:
            gc.unfreeze()
            self._frozen = False

    def _spare_collections(self) -> None:
        """After the first cell, which imported what cells need, keep all that is loaded out of later collections.

        Memory is measured from a collection on, which would otherwise look at all objects of torch before each cell:
        as long as several epochs on a small graph.
        """
        if not self._frozen and gc.get_freeze_count() == 0:
            gc.collect()
            gc.freeze()
            self._frozen = True


def local_slots(workers: int | None, threads: int, device: str) -> int:
    """Cells at a time on this machine.

    Args:
        workers: that are asked for, if any.
        threads: of each.
        device: of the cells; one worker per GPU on ``"cuda"``.
    """
    available = devices(device)
    gpus = len(available) if available[0].startswith("cuda") else 0
    return workers or gpus or max(1, cores() // threads)


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices(device: str) -> list[str]:
    """The devices that ``device`` stands for: every GPU for ``"cuda"``, else itself."""
    if device == "cuda":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or [device]
    return [device]
