"""What a plan would run, and how long that may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lcat._text import counted
from lcat.study._folder import check_folder
from lcat.study.plan.cell import Cell
from lcat.study.plan.plan import StudyPlan
from lcat.study.plan.sources import Sources
from lcat.study.running.engines import Setup, engine_class
from lcat.study.running.engines.base import cores
from lcat.study.running.estimate import Estimate, Kind, calibrate, kind_of
from lcat.study.running.resume import holds_other_cells
from lcat.study.store.store import STORE_NAME, Store

__all__ = ["Preview", "PreviewRow", "preview"]


@dataclass(frozen=True)
class PreviewRow:
    """One layer on one data set.

    Attributes:
        dataset, layer: names.
        settings: number of settings that it runs with.
        cells: number of cells.
        done: of these, cells with a result.
        seconds: estimate for one cell, ``None`` if unknown.
        guessed: no cell of this layer on this data set was measured: ``seconds`` is that of others.
    """

    dataset: str
    layer: str
    settings: int
    cells: int
    done: int
    seconds: float | None
    guessed: bool = False


@dataclass(frozen=True)
class Preview:
    """Result of :func:`preview`.

    Attributes:
        cells: that are left, as far as they are known.
        total: cells of the plan.
        left: cells without a result.
        slots: cells at a time.
        seconds: estimate for what is left, ``None`` if unknown.
        basis: what the estimate rests on.
        rows: one per data set and layer.
        failed: layers whose few epochs failed, with the error.
    """

    cells: list[Cell]
    total: int
    left: int
    slots: int
    seconds: float | None
    basis: str
    rows: list[PreviewRow]
    failed: Mapping[str, str] = field(default_factory=dict)


def preview(plan: StudyPlan, folder: Path, limit: float = 30.0, *, resume: bool = True) -> Preview:
    """The cells of a plan and an estimate of their time; nothing is written.

    The estimate is the mean time of cells of the same kind that have finished in ``folder``; for kinds without any,
    a few epochs are trained, scaled to the longest training. Early stopping makes a study shorter than that.

    Args:
        plan: to look at.
        folder: of the study, if it has begun.
        limit: seconds to spend on training for the estimate.
        resume: ``False`` takes every cell as left, as a run that sets the study in ``folder`` aside.

    Raises:
        PlanError: if the folder holds another study, which a run would refuse.
        lcat.data.DataError: if a data set is not available.
        StoreError: if the folder holds a store that cannot be read.
        OutputError: if something other than a folder has its name.
    """
    check_folder(folder)
    estimate, statuses, ran = Estimate(), {}, Counter[tuple[str, str]]()
    path = folder / STORE_NAME
    if path.is_file() and path.stat().st_size > 0:  # an empty one is that of a run that was stopped at its beginning
        with Store(folder) as store:
            if resume:
                holds_other_cells(plan, store)
                statuses = store.statuses()
            results = list(store.results())
        estimate.add_results(results)
        if resume:
            ran.update((result.cell.dataset, result.cell.layer) for result in results)
    known = len(estimate)
    searched = plan.search is not None
    cells = plan.model_copy(update={"search": None}).cells()
    trials = plan.search.trials if plan.search is not None else 1
    # A search tries its points on the graphs as they are, and the best of them under noise.
    counts = {cell.key: trials if cell.noise.kind == "none" else 1 for cell in cells}
    total = sum(counts.values())
    left = [cell for cell in cells if searched or cell.key not in statuses]
    root = Path(plan.run.data) if plan.run.data is not None else None
    base = Path(plan.run.base)
    sources = Sources(root, {}, plan.metric, base=base, task=plan.task)
    sources.prepare(tuple(dict.fromkeys(cell.dataset for cell in left)), plan.choices)
    setup = Setup(
        data=root,
        metric=plan.metric,
        threads=plan.run.threads,
        device=plan.run.device,
        base=base,
        models=plan.own_models,
    )
    failed: dict[str, str] = {}
    measured = calibrate(left, setup, estimate, limit, failed=failed)
    # More workers than cells have nothing to do.
    slots = min(engine_class(plan.run.engine).expected_slots(plan.run), max(len(left), 1))
    kinds_left: Counter[Kind] = Counter()
    for cell in left:
        kinds_left[kind_of(cell)] += counts[cell.key]
    # More of them than the cores serve take turns.
    served = max(1, cores() // plan.run.threads)
    shared = plan.run.engine == "processes" and plan.run.device == "cpu" and slots > served
    seconds = estimate.left(kinds_left, served if shared else slots)
    if searched and seconds is not None:
        seconds *= max(0, total - len(statuses)) / total
    rows = []
    for dataset, layer in plan.pairs():
        group = [cell for cell in cells if (cell.dataset, cell.layer) == (dataset, layer)]
        row = PreviewRow(
            dataset=dataset,
            layer=layer,
            settings=trials if searched else len(plan.hypers(dataset, layer)),
            cells=sum(counts[cell.key] for cell in group),
            done=ran[dataset, layer] if searched else sum(cell.key in statuses for cell in group),
            seconds=estimate.seconds(group[0]),
            guessed=not estimate.knows(group[0]),
        )
        rows.append(row)
    return Preview(
        cells=left,
        total=total,
        left=max(0, total - len(statuses)) if searched else len(left),
        slots=slots,
        seconds=seconds,
        basis=_basis(known, len(measured), searched, bool(left)) + (f", which share {cores()} cores" if shared else ""),
        rows=rows,
        failed=failed,
    )


def _basis(known: int, measured: int, searched: bool, left: bool) -> str:
    parts = []
    if known:
        parts.append(f"from {counted(known, 'finished cell')}")
    if measured:
        parts.append(f"from 8 epochs of {counted(measured, 'cell')}, as if none stopped early")
    if searched:
        parts.append("with the settings that the search starts from")
    return ", ".join(parts) or ("the few epochs that were tried failed" if left else "nothing is left")
