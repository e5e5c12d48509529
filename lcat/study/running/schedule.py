"""Which cell runs next: those of a plan in order, or those that a search asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from lcat.study.plan.cell import Cell
from lcat.study.running.estimate import Kind, kind_of
from lcat.study.store.result import CellResult

__all__ = ["FixedSchedule", "Schedule", "is_settled"]


class Schedule(ABC):
    """Hands out cells and is told of results."""

    @abstractmethod
    def next(self) -> Cell | None:
        """A cell to run now; ``None`` if there is none before a result comes in, or at all."""

    @abstractmethod
    def tell(self, result: CellResult) -> None:
        """The result of a cell that was handed out."""

    @abstractmethod
    def left(self) -> Counter[Kind]:
        """How many cells of each kind are not handed out yet, as far as they are known."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Number of cells of the whole study, finished ones included; of a search, its largest number."""

    @property
    def spent(self) -> str:
        """What of its budget is used up, in words; nothing if nothing is."""
        return ""

    @property
    def remarks(self) -> list[str]:
        """What a reader should know at the end, such as searches without any result."""
        return []


class FixedSchedule(Schedule):
    """The cells of a plan in their order, without those that have a result.

    Args:
        cells: all of them.
        statuses: of those that ran, as the store has them.
        retry_failed: also run failed cells again.
    """

    def __init__(self, cells: Iterable[Cell], statuses: Mapping[str, str], *, retry_failed: bool = False) -> None:
        cells = list(cells)
        self._total = len(cells)
        self._left = deque(cell for cell in cells if not is_settled(statuses.get(cell.key), retry_failed))
        # Counted once: the time left is asked for after every cell.
        self._kinds = Counter(kind_of(cell) for cell in self._left)

    def next(self) -> Cell | None:
        """The next cell of the plan."""
        if not self._left:
            return None
        cell = self._left.popleft()
        kind = kind_of(cell)
        self._kinds[kind] -= 1
        if not self._kinds[kind]:
            del self._kinds[kind]
        return cell

    def tell(self, result: CellResult) -> None:
        """Changes nothing: the cells are fixed."""

    def left(self) -> Counter[Kind]:
        """Cells that are not handed out yet."""
        return self._kinds

    @property
    def total(self) -> int:
        """Number of cells of the plan."""
        return self._total


def is_settled(status: str | None, retry_failed: bool) -> bool:
    """A cell of this status is not run again."""
    return status == "done" or (status == "failed" and not retry_failed)
