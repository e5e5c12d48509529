"""Which cell runs next: those of a plan in order, or those that a search asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping

from lcat.study.cell import Cell
from lcat.study.result import CellResult

__all__ = ["FixedSchedule", "Schedule"]


class Schedule(ABC):
    """Hands out cells and is told of results."""

    @abstractmethod
    def next(self) -> Cell | None:
        """A cell to run now; ``None`` if there is none before a result comes in, or at all."""

    @abstractmethod
    def tell(self, result: CellResult) -> None:
        """The result of a cell that was handed out."""

    @abstractmethod
    def left(self) -> list[Cell]:
        """Cells that are not handed out yet, as far as they are known."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Number of cells of the whole study, finished ones included; of a search, its largest number."""


class FixedSchedule(Schedule):
    """The cells of a plan in their order, without those that have a result.

    Args:
        cells: all of them.
        statuses: of those that ran, see :meth:`lcat.study.Store.statuses`.
        retry_failed: also run failed cells again.
    """

    def __init__(self, cells: Iterable[Cell], statuses: Mapping[str, str], *, retry_failed: bool = False) -> None:
        cells = list(cells)
        skip = {key for key, status in statuses.items() if status == "done" or not retry_failed}
        self._total = len(cells)
        self._left = deque(cell for cell in cells if cell.key not in skip)

    def next(self) -> Cell | None:
        """The next cell of the plan."""
        return self._left.popleft() if self._left else None

    def tell(self, result: CellResult) -> None:
        """Changes nothing: the cells are fixed."""

    def left(self) -> list[Cell]:
        """Cells that are not handed out yet."""
        return list(self._left)

    @property
    def total(self) -> int:
        """Number of cells of the plan."""
        return self._total
