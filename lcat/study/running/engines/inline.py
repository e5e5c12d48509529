"""One cell after the other, in this process."""

from __future__ import annotations

import time
from collections import deque

from lcat.study.plan.cell import Cell
from lcat.study.plan.settings import RunSettings
from lcat.study.running.engines.base import CellRunner, Engine, Event, Finished, Progress, Setup
from lcat.train import History

__all__ = ["InlineEngine"]

#: Seconds between two reports of progress.
_INTERVAL = 0.2


class InlineEngine(Engine):
    """Runs a cell while it is waited for.

    Args:
        setup: data, threads and device.
    """

    def __init__(self, setup: Setup) -> None:
        self._runner = CellRunner(setup)
        self._queue: deque[Cell] = deque()
        self._next = 0.0

    @classmethod
    def of(cls, setup: Setup, settings: RunSettings) -> InlineEngine:
        """The engine; of the settings it needs none."""
        del settings
        return cls(setup)

    @property
    def slots(self) -> int:
        """1."""
        return 1

    @classmethod
    def expected_slots(cls, settings: RunSettings) -> int:
        """1, whatever the settings."""
        del settings
        return 1

    def submit(self, cell: Cell) -> None:
        """Put the cell into the queue."""
        self._queue.append(cell)

    def wait(self, timeout: float) -> list[Event]:
        """Run the next cell of the queue; ``timeout`` 0 runs nothing."""
        if not self._queue or timeout == 0:
            return []
        return [Finished(self._runner.run(self._queue.popleft(), self._report))]

    def close(self) -> None:
        """Forget the queue, and let go of what the runner holds."""
        self._queue.clear()
        self._runner.close()

    def _report(self, cell: Cell, epoch: int, history: History) -> None:
        # Drawing a bar takes longer than an epoch on a small graph.
        now = time.monotonic()
        if self.on_progress is not None and now >= self._next:
            self._next = now + _INTERVAL
            self.on_progress(Progress(cell, epoch, cell.hyper.epochs, history.val[-1], cell.metric_name))
