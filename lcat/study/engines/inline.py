"""One cell after the other, in this process."""

from __future__ import annotations

from collections import deque

from lcat.study.cell import Cell
from lcat.study.engines.base import CellRunner, Engine, Event, Finished, Progress, Setup
from lcat.train import History

__all__ = ["InlineEngine"]


class InlineEngine(Engine):
    """Runs a cell while it is waited for.

    Args:
        setup: data, threads and device.
        on_progress: called during a cell, as :meth:`wait` does not return before its end.
    """

    def __init__(self, setup: Setup) -> None:
        self._runner = CellRunner(setup)
        self._queue: deque[Cell] = deque()
        self.on_progress = lambda progress: None

    @property
    def slots(self) -> int:
        """1."""
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
        """Forget the queue."""
        self._queue.clear()

    def _report(self, cell: Cell, epoch: int, history: History) -> None:
        self.on_progress(Progress(cell, epoch, cell.hyper.epochs, history.val[-1]))
