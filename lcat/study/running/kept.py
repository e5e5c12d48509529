"""Files that a cell leaves on request: its model, and its predictions."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn

from lcat.study.plan.cell import Cell
from lcat.study.store.kept_files import kept_name
from lcat.study.store.model_file import model_bytes
from lcat.study.store.predictions import prediction_bytes
from lcat.study.tasks.base import StudyTask
from lcat.study.tasks.make import Work
from lcat.train import FitResult

__all__ = ["files_of"]


def files_of(
    keep: Collection[str],
    model: nn.Module,
    cell: Cell,
    *,
    work: Work,
    task: StudyTask,
    fit: FitResult,
    base: Path,
) -> dict[str, bytes]:
    """What is kept of a cell beside its result: paths in the folder of the study, and their content.

    Args:
        keep: ``"models"``, ``"predictions"``.
        model: with the weights of the best epoch.
        cell: that was trained.
        work: what it worked on.
        task: that it was trained for.
        fit: its figures.
        base: folder that the path of an own model starts from.
    """
    files: dict[str, bytes] = {}
    if "models" in keep:
        files[str(kept_name("models", cell.key))] = model_bytes(
            model,
            cell,
            task=work.dataset.task,
            sizes=work.sizes(),
            scale=task.losses.scale,
            own=work.own,
            base=base,
            figures={"train": fit.train, "validation": fit.val, "test": fit.test},
        )
    if "predictions" in keep:
        model.eval()
        with torch.no_grad():
            predictions = task.predictions(model)
        files[str(kept_name("predictions", cell.key))] = prediction_bytes(*predictions)
    return files
