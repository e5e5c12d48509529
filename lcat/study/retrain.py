"""The best model of a study whose models were not kept: its cell is trained once more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lcat.study._folder import write_file
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import SPLITS_NAME, SplitFolder
from lcat.study.running.training import run_cell
from lcat.study.study import Study

__all__ = ["RetrainError", "train_best_model"]


class RetrainError(RuntimeError):
    """A cell could not be trained once more, or came to another result; one line says why."""


def train_best_model(
    study: Study, dataset: str, layer: str, path: str | Path, *, own: Mapping[str, Any] | None = None
) -> Path:
    """Write the model of the cell of a layer on a data set that validates best; see :func:`lcat.study.load_model`.

    A model that the study has kept is copied. Otherwise its cell is trained again, which gives the same on the same
    machine.

    Args:
        study: in a folder, or in memory.
        dataset, layer: names in the results of the study.
        path: of the file to write.
        own: your own data sets by the names in the plan.

    Returns:
        The path.

    Raises:
        ValueError: if no cell of these has finished.
        RetrainError: if the cell fails now, or comes to another test metric.
        lcat.study.OutputError: if the file cannot be written.
    """
    result = study.best_result(dataset, layer)
    cell, plan = result.cell, study.plan
    if study.folder is not None:
        available = study.folder / "models" / f"{cell.key}.pt"
        if available.is_file():
            return write_file(Path(path), available.read_bytes())
    base = Path(plan.run.base)
    splits = SplitFolder(study.folder / SPLITS_NAME, base) if study.folder is not None else None
    root = Path(plan.run.data) if plan.run.data is not None else None
    sources = Sources(root, dict(own or {}), plan.metric, splits, base)
    again = run_cell(cell, sources, models=plan.own_models, device=plan.run.device, keep=("models",))
    assert result.fit is not None
    if again.fit is None:
        raise RetrainError(f"{cell} failed when it was trained once more: {again.last_line}")
    if again.fit.test != result.fit.test:
        raise RetrainError(
            f"{cell} came to a test metric of {again.fit.test:.6g} when it was trained once more, and the study has "
            f"{result.fit.test:.6g}: it ran on another machine, or with other versions (Study.versions())"
        )
    [content] = again.files.values()
    return write_file(Path(path), content)
