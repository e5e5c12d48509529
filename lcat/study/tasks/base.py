"""What all tasks of a study share: figures from the outputs of a model, part by part."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lcat._measures import TaskName, find_measure
from lcat.study.tasks.losses import Losses
from lcat.study.tasks.metrics import UndefinedMetric, metric_value
from lcat.train import Figures, NonFiniteLoss

__all__ = ["PARTS", "Part", "Predictions", "StudyTask", "check_outputs", "numbers_of_parts"]

#: The parts of a split.
PARTS = ("train", "val", "test")
_IN_WORDS = {"train": "training", "val": "validation", "test": "test"}


class Part(NamedTuple):
    """Outputs of a model for one part of a split, and the truth; see :func:`lcat.study.tasks.metrics.metric_value`.

    Attributes:
        outputs: of regression, as the model returns them.
        y: labels.
    """

    outputs: Tensor
    y: Tensor


class Predictions(NamedTuple):
    """What a model says of all items; see :func:`lcat.study.store.predictions.prediction_bytes`.

    Attributes:
        item: ``"node"``, ``"graph"`` or ``"pair"``.
        outputs: ``[n, C]``, of regression in the units of the targets.
        y: labels ``[n]`` or ``[n, T]``.
        part: ``[n]``, 1, 2 and 3 for training, validation and test items, 0 for others.
        pairs: nodes ``[2, n]`` of pairs, else ``None``.
    """

    item: str
    outputs: Tensor
    y: Tensor
    part: Tensor
    pairs: Tensor | None = None


class StudyTask(ABC):
    """A task that :func:`lcat.train.fit_task` trains for.

    Args:
        task: its name.
        metric: that decides.
        losses: of training and validation.
    """

    def __init__(self, task: TaskName, metric: str, losses: Losses) -> None:
        self.task, self.metric, self.losses = task, metric, losses
        self.higher_is_better = find_measure(metric).higher_is_better

    @abstractmethod
    def batches(self, epoch: int) -> Iterable[Any]:
        """What the steps of an epoch learn from."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """The mean loss of a batch, and the number of its items."""

    @abstractmethod
    def parts(self, model: nn.Module) -> dict[str, Part]:
        """Outputs and labels of ``"train"``, ``"val"`` and ``"test"``."""

    @abstractmethod
    def predictions(self, model: nn.Module) -> Predictions:
        """What the model says of all items, those in no part included."""

    def measure(self, model: nn.Module) -> Figures:
        """The metric of all parts.

        Raises:
            NonFiniteLoss: for outputs that are not finite.
            UndefinedMetric: if the metric has no value for validation or test items.
        """
        parts = self.parts(model)
        for part in parts.values():
            if not bool(torch.isfinite(part.outputs).all()):
                raise NonFiniteLoss(
                    "the outputs of the model hold nan or inf; lower lr, set clip_norm, or look for nan in the features"
                )
        values = {}
        for name, part in parts.items():
            try:
                values[name] = self.value(self.metric, part)
            except UndefinedMetric as error:
                if name != "train":
                    raise UndefinedMetric(
                        f"the metric {self.metric} is undefined for the {_IN_WORDS[name]} items of this split: {error}"
                    ) from None
                values[name] = math.nan
        val = parts["val"]
        return Figures(**values, val_loss=float(self.losses.val(val.outputs, val.y)))

    def value(self, metric: str, part: Part) -> float:
        """A metric of one part.

        Raises:
            UndefinedMetric: if there is no value.
        """
        outputs = self.in_units(part.outputs)
        if self.task.endswith("regression") and part.y.dim() == 1:
            outputs = outputs.squeeze(1)
        return metric_value(metric, self.task, outputs, part.y)

    def in_units(self, outputs: Tensor) -> Tensor:
        """Outputs of a model in the units of the targets, if they are those of a regression."""
        scale = self.losses.scale
        return outputs if scale is None else scale.unscaled(outputs)


def numbers_of_parts(masks: Iterable[Tensor]) -> Tensor:
    """Numbers of the parts of all items, ``[n]``: 1 for the first mask, 2 for the second, ..., and 0 for none."""
    return torch.stack([number * mask for number, mask in enumerate(masks, start=1)]).sum(dim=0)


def check_outputs(outputs: Any, rows: int, columns: int, what: str, call: str) -> None:
    """Refuse what a model returned if it is of another shape.

    Args:
        outputs: of the model.
        rows: items.
        columns: outputs per item.
        what: the items, in plural.
        call: how the model was called.

    Raises:
        ValueError: with both shapes.
    """
    shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    if shape != [rows, columns]:
        raise ValueError(
            f"{call} must return [{rows}, {columns}], for {rows} {what} and {columns} outputs; got {shape}"
        )
