"""Write a study to a folder: the page, every cell and every summary as CSV and JSON, and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lcat._environment import versions
from lcat._json import strict_json, without_nan
from lcat.study._folder import as_folder, prepare_folder, write_file
from lcat.study.report.backend import load_matplotlib
from lcat.study.report.data import ReportData
from lcat.study.store.record import StudyRecord
from lcat.study.store.result import CellResult

__all__ = ["write_study"]

#: Cells of which everything is held in memory at once.
_SMALL = 2000


def write_study(
    record: StudyRecord,
    folder: str | Path | None = None,
    *,
    page: bool = True,
    reference: str | None = None,
    margin: float | None = None,
) -> list[Path]:
    """Write the report of a study from its record alone; each file whole or not at all.

    ``report.html`` is one page that holds everything it shows, and ``tables/`` has its tables as CSV, Markdown and
    LaTeX. ``cells.csv`` has one row per cell, ``summary.csv`` one per data set and layer (without noise, with the
    settings that validate best), ``study.json`` everything with curves, ``null`` where there is no finite number.
    ``accuracy.png`` and, if a layer learns lambda, ``lambda.png`` show two of the figures for slides; ``figures/`` has
    all of them for a paper, as PNG, PDF and SVG. Files of an earlier report in the same folder are replaced.

    Studies of more than 2,000 cells get neither ``study.json``, for their store says the same in less space, nor the
    figures as files: curves are read for the few runs that the page draws.

    Args:
        record: a study with at least one result.
        folder: made if necessary; that of the study by default.
        page: also write ``report.html``, its tables, and the figures as files; ``False`` leaves them out, which take
            most of the time.
        reference: a layer that every other one is tested against, with Holm's rule over these tests alone; all pairs of
            layers by default.
        margin: the largest difference of test metrics that does not matter, that of the plan by default; 0.01 is one
            percentage point.

    Returns:
        The paths written.

    Raises:
        ValueError: without a folder, for a study in memory; for a reference that did not run, or a margin that is
            not above 0.
        OutputError: if the folder cannot be written.
        lcat.study.StoreError: if the store cannot be read.
    """
    if not isinstance(record, StudyRecord):
        raise TypeError(f"expected 'record' of type Study, got {type(record).__name__}: Study.load reads one")
    target = record.folder if folder is None else as_folder(folder)
    if target is None:
        raise ValueError(
            "a study in memory has no folder of its own for the report; expected a folder, as in report('results'), "
            "got None"
        )
    prepare_folder(target)
    load_matplotlib()
    results = record.cell_results()
    data = ReportData.of(record, results, reference=reference, margin=margin)
    written = _write_csv(data, results, target)
    small = len(results) <= _SMALL
    if small:
        written.append(_write_json(record, data.comparison.summary, target))
    if page:
        from lcat.study.report.figures_files import write_figures
        from lcat.study.report.page import make_report

        written += write_figures(data, target) if small else []
        written += make_report(data).write(target)
    return written


def _write_csv(data: ReportData, results: Sequence[CellResult], folder: Path) -> list[Path]:
    pairs = [list(result.fit.lambdas.values()) if result.fit is not None else [] for result in results]
    cells = data.selection.frame.copy(deep=False)
    cells.insert(list(cells.columns).index("test") + 1, "lambdas", [strict_json(one) if one else "" for one in pairs])
    return [
        write_file(folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n").encode())
        for name, frame in (("cells", cells), ("summary", data.comparison.summary))
    ]


def _write_json(record: StudyRecord, summary: pd.DataFrame, folder: Path) -> Path:
    document = {
        "plan": record.plan.model_dump(),
        "versions": versions(),
        "summary": without_nan(summary.to_dict("records")),
        "cells": [result.to_dict() for result in record.cell_results(history=True)],
    }
    return write_file(folder / "study.json", (strict_json(document, indent=1) + "\n").encode())
