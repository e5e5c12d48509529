"""Write a study to a folder: the page, every cell and every summary as CSV and JSON, and the figures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcat._environment import versions
from lcat._json import strict_json
from lcat.study._folder import OutputError, prepare_folder, write_file
from lcat.study.analysis.selection import choose_models, finished, without_noise
from lcat.study.plan.plan import StudyPlan
from lcat.study.store.frame import results_frame
from lcat.study.store.result import CellResult
from lcat.study.store.summary import SummaryRow, summarize

if TYPE_CHECKING:
    import pandas as pd

    from lcat.study.study import Study

__all__ = ["read_results", "write_report", "write_study"]

#: Cells of which everything is held in memory at once.
_SMALL = 2000


def write_report(
    plan: StudyPlan, results: Sequence[CellResult], folder: str | Path, *, figures: bool = True
) -> list[Path]:
    """Write what results in memory have to say; each file whole or not at all.

    ``cells.csv`` has one row a cell, ``summary.csv`` one a data set and layer (without noise, with the settings that
    validate best), ``study.json`` everything with curves, ``null`` where there is no finite number. Files
    of an earlier study in the same folder are replaced.

    Args:
        plan: the study.
        results: of all cells that ran.
        folder: made if need be.
        figures: also write ``report.html`` with its tables under ``tables/``, draw ``accuracy.png`` and, if a layer
            learns lambda, ``lambda.png``.

    Returns:
        The paths written.

    Raises:
        OutputError: if the folder cannot be written.
    """
    folder = prepare_folder(folder)
    frame = results_frame(results)
    shown = _shown(results, frame)
    rows = summarize(shown)
    written = _write_csv(results, frame, rows, folder)
    document = {
        "plan": plan.model_dump(),
        "versions": versions(),
        "summary": [row.to_dict() for row in rows],
        "cells": [result.to_dict() for result in results],
    }
    written.append(write_file(folder / "study.json", (strict_json(document, indent=1) + "\n").encode()))
    if figures:
        from lcat.study.report.material import Material
        from lcat.study.report.page import make_report

        written += _write_figures(rows, shown, folder)
        written += make_report(Material.of_results(plan, results, frame)).write(folder)
    return written


def write_study(study: Study, folder: str | Path | None = None) -> list[Path]:
    """Write the report of a study from its store alone; each file whole or not at all.

    The same files as :func:`write_report` writes. Studies of more than 2,000 cells get neither ``study.json``, for
    their store says the same in less space, nor ``accuracy.png`` and ``lambda.png``: curves are read for the few runs
    that the page draws.

    Args:
        study: with at least one result.
        folder: that of the study by default.

    Returns:
        The paths written.

    Raises:
        OutputError: if the folder cannot be written.
        lcat.study.StoreError: if the store cannot be read.
    """
    target = study.folder if folder is None else Path(folder)
    results = study.cell_results()
    if len(results) <= _SMALL:
        return write_report(study.plan, study.cell_results(history=True), target)
    from lcat.study.report.material import Material
    from lcat.study.report.page import make_report

    prepare_folder(target)
    frame = results_frame(results)
    material = Material.of_study(study, results, frame)
    written = _write_csv(results, frame, summarize(_shown(results, frame)), target)
    return written + make_report(material).write(target)


def _shown(results: Sequence[CellResult], frame: pd.DataFrame) -> list[CellResult]:
    """Without noise and with the settings that validate best, and what failed."""
    keys = set(choose_models(finished(without_noise(frame)))["key"])
    wanted = (frame["status"] == "failed") | frame["key"].isin(keys)
    return [result for result, kept in zip(results, wanted, strict=True) if kept]


def _write_csv(
    results: Sequence[CellResult], frame: pd.DataFrame, rows: Sequence[SummaryRow], folder: Path
) -> list[Path]:
    pairs = [list(result.fit.lambdas.values()) if result.fit is not None else [] for result in results]
    cells = frame.copy(deep=False)
    cells.insert(list(cells.columns).index("test") + 1, "lambdas", [strict_json(one) if one else "" for one in pairs])
    return [
        write_file(folder / "cells.csv", cells.to_csv(index=False, lineterminator="\n").encode()),
        write_file(folder / "summary.csv", _csv([_summary_line(row) for row in rows]).encode()),
    ]


def _write_figures(rows: Sequence[SummaryRow], results: Sequence[CellResult], folder: Path) -> list[Path]:
    if not any(row.runs for row in rows):
        return []
    from lcat.study.report.figures_png import accuracy_figure, lambda_figure

    written = [write_file(folder / "accuracy.png", accuracy_figure(rows))]
    paths = lambda_figure([result for result in results if result.fit is not None and len(result.fit.history)])
    return written if paths is None else [*written, write_file(folder / "lambda.png", paths)]


def read_results(folder: str | Path) -> list[CellResult]:
    """The results that :func:`write_report` wrote to ``study.json``.

    Raises:
        OutputError: if the file is missing or not one of ours.
    """
    path = Path(folder) / "study.json"
    try:
        document = json.loads(path.read_text())
        return [CellResult.from_dict(values) for values in document["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path} cannot be read as a study: {' '.join(str(error).split())}") from error


def _summary_line(row: SummaryRow) -> dict[str, Any]:
    values = row.to_dict()
    for key in ("lambdas", "lambdas_std"):
        values[key] = strict_json(values[key]) if values[key] else None
    return values


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    if lines:
        writer = csv.DictWriter(buffer, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows({k: "" if _is_nan(v) else v for k, v in line.items()} for line in lines)
    return buffer.getvalue()


def _is_nan(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
