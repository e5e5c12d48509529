"""How long cells will take, from those that have finished, or from a few epochs of each kind."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from lcat.study.models.hyper import HyperParameters
from lcat.study.plan.cell import Cell
from lcat.study.running.engines.base import CellRunner, Setup
from lcat.study.store.result import CellResult

__all__ = ["Estimate", "Kind", "calibrate", "kind_of"]

#: What the time of a cell depends on: data set, layer and settings.
Kind = tuple[str, str, HyperParameters]


def kind_of(cell: Cell) -> Kind:
    """Data set, layer and settings."""
    return cell.dataset, cell.layer, cell.hyper


@dataclass
class Estimate:
    """Seconds of a cell, by the mean of the cells most like it.

    Looked for in turn: same data set, layer and settings; same data set and layer; same data set; any.
    """

    _sums: dict[tuple[Any, ...], list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of cells that were added."""
        return int(self._sums.get((), [0.0, 0.0])[1])

    def add(self, cell: Cell, seconds: float) -> None:
        """A cell took so long."""
        for like in _wider(kind_of(cell)):
            entry = self._sums.setdefault(like, [0.0, 0.0])
            entry[0] += seconds
            entry[1] += 1

    def add_results(self, results: Iterable[CellResult]) -> None:
        """Cells that finished; failed ones tell nothing."""
        for result in results:
            if result.ok:
                self.add(result.cell, result.seconds)

    def seconds(self, cell: Cell) -> float | None:
        """Of one cell; ``None`` before anything is known."""
        return self._of(kind_of(cell))

    def _of(self, kind: Kind) -> float | None:
        for like in _wider(kind):
            if like in self._sums:
                total, count = self._sums[like]
                return total / count
        return None

    def knows(self, cell: Cell) -> bool:
        """A cell of the same data set and layer has finished."""
        return (cell.dataset, cell.layer) in self._sums

    def left(self, kinds: Mapping[Kind, int], slots: int) -> float | None:
        """Seconds until so many cells of each kind are done with ``slots`` at a time; ``None`` if nothing is known."""
        total, longest = 0.0, 0.0
        for kind, count in kinds.items():
            seconds = self._of(kind)
            if seconds is None:
                return None
            total, longest = total + count * seconds, max(longest, seconds)
        return max(total / slots, longest)


def calibrate(
    cells: Iterable[Cell], setup: Setup, known: Estimate, limit: float = 30.0, *, failed: dict[str, str] | None = None
) -> list[Cell]:
    """Run a few epochs of each kind of cell and add the outcome, scaled to all epochs, to ``known``.

    Two epochs and six of the same cell tell what an epoch costs and what comes before it; one that is not counted
    reads the data and warms up. A cell that stops early takes less than this says.

    Args:
        cells: of a plan; the first of every data set and layer is measured, unless one of its kind is known.
        setup: data, threads, device.
        known: is added to.
        limit: seconds after which no further kind is measured; the others are taken for like their data set.
        failed: gets the error of each kind that failed, by its name.

    Returns:
        The cells that were measured.
    """
    measured: list[Cell] = []
    start = time.monotonic()
    with closing(CellRunner(setup)) as runner:
        for cell in _one_per_kind(cells):
            if known.knows(cell):
                continue
            if measured and time.monotonic() - start > limit:
                break
            _, few, more = (runner.run(_shortened(cell, epochs)) for epochs in (1, 2, 6))
            if few.ok and more.ok:
                epoch = max(more.seconds - few.seconds, 1e-6) / 4
                base = max(few.seconds - 2 * epoch, 0.0)
                known.add(cell, base + epoch * cell.hyper.epochs)
                measured.append(cell)
            else:
                known.add(cell, few.seconds)  # it will fail in the study as well
                if failed is not None:
                    failed[f"{cell.layer} on {cell.dataset}"] = few.error or more.error or ""
    return measured


def _one_per_kind(cells: Iterable[Cell]) -> list[Cell]:
    """The first cell of every data set and layer; every data set once before any comes a second time."""
    kinds: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        kinds.setdefault((cell.dataset, cell.layer), cell)
    turn: dict[str, int] = {}
    order: list[tuple[int, int, tuple[str, str]]] = []
    for dataset, layer in kinds:
        turn[dataset] = turn.get(dataset, 0) + 1
        order.append((turn[dataset], len(order), (dataset, layer)))
    return [kinds[kind] for _, _, kind in sorted(order)]


def _shortened(cell: Cell, epochs: int) -> Cell:
    return cell.model_copy(update={"hyper": cell.hyper.model_copy(update={"epochs": epochs, "warmup": 0})})


def _wider(kind: Kind) -> tuple[tuple[Any, ...], ...]:
    return kind, kind[:2], kind[:1], ()
