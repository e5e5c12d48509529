"""The best model of a study whose models were not kept: its cell is trained once more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lcat.study._folder import write_file
from lcat.study.plan.as_task import own_dataset
from lcat.study.plan.sources import Sources
from lcat.study.plan.splits import SPLITS_NAME, SplitFolder
from lcat.study.running.training import run_cell
from lcat.study.store.kept_files import kept_name
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
        own: your own data sets by the names in the plan, as :func:`run_study` takes them.

    Returns:
        The path.

    Raises:
        ValueError: if no cell of these has finished.
        RetrainError: if the cell fails now, or comes to another test metric, or the file that was kept cannot be read.
        lcat.study.OutputError: if the file cannot be written.
    """
    result = study.best_result(dataset, layer)
    cell, plan = result.cell, study.plan
    if study.folder is not None:
        available = study.folder / kept_name("models", cell.key)
        if available.is_file():
            return write_file(Path(path), _content(available))
    base = Path(plan.run.base)
    splits = SplitFolder(study.folder / SPLITS_NAME, base) if study.folder is not None else None
    root = Path(plan.run.data) if plan.run.data is not None else None
    named = {name: own_dataset(name, dataset, plan.task) for name, dataset in (own or {}).items()}
    sources = Sources(root, named, plan.metric, splits, base, plan.task)
    again = run_cell(cell, sources, models=plan.own_models, device=plan.run.device, keep=("models",))
    assert result.fit is not None
    if again.fit is None:
        raise RetrainError(f"{cell} failed when it was trained once more: {again.error_line}")
    if again.fit.test != result.fit.test:
        raise RetrainError(
            f"{cell} came to a test metric of {again.fit.test:.6g} when it was trained once more, and the study has "
            f"{result.fit.test:.6g}: it ran on another machine, or with other versions (Study.versions())"
        )
    [content] = again.files.values()
    return write_file(Path(path), content)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RetrainError(f"{path} cannot be read: {error.strerror or error}") from error
