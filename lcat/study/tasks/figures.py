"""All metrics of a task at the epoch that validates best, and what each class is worth."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lcat._measures import measures_of
from lcat.study.tasks.base import StudyTask
from lcat.study.tasks.metrics import FROM_TABLE, UndefinedMetric, class_table, of_class_table

__all__ = ["figures_of"]


@torch.no_grad()
def figures_of(task: StudyTask, model: nn.Module) -> dict[str, Any]:
    """Figures of a trained model, as plain values.

    Args:
        task: that it was trained for.
        model: with the weights that validated best.

    Returns:
        ``validation`` and ``test``, each the metrics by name, ``None`` where one is undefined; ``undefined``, the
        reasons by ``part metric``; ``classes``, a table of test items, for classes alone.
    """
    model.eval()
    parts = task.parts(model)
    figures: dict[str, Any] = {"validation": {}, "test": {}, "undefined": {}}
    names = list(dict.fromkeys([task.metric, *measures_of(task.task)]))
    has_classes = task.task.endswith("classification")
    for name, key in (("val", "validation"), ("test", "test")):
        table = class_table(*parts[name]) if has_classes else []
        for metric in names:
            try:
                from_table = has_classes and metric in FROM_TABLE
                figures[key][metric] = of_class_table(metric, table) if from_table else task.value(metric, parts[name])
            except UndefinedMetric as error:
                figures[key][metric] = None
                figures["undefined"][f"{key} {metric}"] = str(error)
        if has_classes and key == "test":
            figures["classes"] = table
    return figures
