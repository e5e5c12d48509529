"""Write a study to a folder: every cell and every summary as CSV and JSON, and the figures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lcat.study.output import OutputError, prepare_folder, write_file
from lcat.study.plan import StudyPlan
from lcat.study.result import CellResult
from lcat.study.run import versions
from lcat.study.summary import SummaryRow, summarise

__all__ = ["read_results", "write_report"]


def write_report(
    plan: StudyPlan, results: Sequence[CellResult], folder: str | Path, *, figures: bool = True
) -> list[Path]:
    """Write ``cells.csv``, ``summary.csv``, ``study.json`` and the figures; each file whole or not at all.

    Files of an earlier study in the same folder are replaced.

    Args:
        plan: the study.
        results: of all cells that ran.
        folder: made if need be.
        figures: also draw ``accuracy.png`` and, if a layer learns lambda, ``lambda.png``.

    Returns:
        The paths written.

    Raises:
        OutputError: if the folder cannot be written.
    """
    folder = prepare_folder(folder)
    rows = summarise(results)
    document = {
        "plan": plan.model_dump(),
        "versions": versions(),
        "summary": [row.to_dict() for row in rows],
        "cells": [result.to_dict() for result in results],
    }
    written = [
        write_file(folder / "cells.csv", _csv([_cell_line(result) for result in results]).encode()),
        write_file(folder / "summary.csv", _csv([_summary_line(row) for row in rows]).encode()),
        write_file(folder / "study.json", (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()),
    ]
    if figures and any(result.ok for result in results):
        from lcat.study.figures import accuracy_figure, lambda_figure

        written.append(write_file(folder / "accuracy.png", accuracy_figure(rows)))
        paths = lambda_figure(results)
        if paths is not None:
            written.append(write_file(folder / "lambda.png", paths))
    return written


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


def _cell_line(result: CellResult) -> dict[str, Any]:
    cell, fit = result.cell, result.fit
    line: dict[str, Any] = {
        "key": cell.key,
        "dataset": cell.dataset,
        "layer": cell.layer,
        "seed": cell.seed,
        "metric": result.metric,
        "status": "done" if fit is not None else "failed",
        "train": fit.train if fit is not None else None,
        "val": fit.val if fit is not None else None,
        "test": fit.test if fit is not None else None,
        "best_epoch": fit.best_epoch if fit is not None else None,
        "epochs": fit.epochs if fit is not None else None,
        "lambdas": json.dumps(list(fit.lambdas.values())) if fit is not None and fit.lambdas else None,
        "parameters": result.parameters,
        "seconds": round(result.seconds, 3),
        "split": result.split_rule,
        "error": (result.error or "").strip().splitlines()[-1] if result.error else None,
    }
    line.update({f"hyper.{key}": value for key, value in cell.hyper.model_dump().items()})
    return line


def _summary_line(row: SummaryRow) -> dict[str, Any]:
    values = row.to_dict()
    for key in ("lambdas", "lambdas_std"):
        values[key] = json.dumps(values[key]) if values[key] else None
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
