"""The training loss of each task, and the scale of the targets of a regression."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

from lcat._measures import TaskName
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.recipe_model import balanced_weights

__all__ = ["Losses", "losses_of"]


class Losses:
    """The loss of training and of validation.

    Attributes:
        train, val: ``f(outputs, y) -> scalar``, a mean.
        mean, std: of the training targets of a regression, else 0 and 1.
    """

    def __init__(
        self,
        train: Callable[[Tensor, Tensor], Tensor],
        val: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        self.train, self.val, self.mean, self.std = train, val or train, mean, std


def losses_of(task: TaskName, hyper: HyperParameters, y: Tensor, num_classes: int) -> Losses:
    """The losses of a task.

    Classes: cross-entropy, with smoothing and weights if they are set. Labels: binary cross-entropy, the mean over all
    known ones. Numbers: the mean squared error, with targets of mean 0 and standard deviation 1 over the training
    items. Links: binary cross-entropy.

    Args:
        task: what is predicted.
        hyper: settings of the loss.
        y: labels of the training items.
        num_classes: number of classes.

    Raises:
        ValueError: for settings of classes where there are none.

    Example:
        >>> import torch
        >>> from lcat.study import HyperParameters
        >>> from lcat.study.tasks.losses import losses_of
        >>> losses = losses_of("node-regression", HyperParameters(), torch.tensor([1.0, 3.0]), 1)
        >>> losses.mean, losses.std, float(losses.train(torch.tensor([[0.0]]), torch.tensor([3.0])))
        (2.0, 1.0, 1.0)
    """
    if not task.endswith("classification"):
        for name, plain in (("label_smoothing", 0), ("class_weights", "none")):
            if getattr(hyper, name) != plain:
                raise ValueError(f"{name} is a setting of classes; {task} has none: leave it out")
    if task.endswith("regression"):
        mean, std = float(y.double().mean()), float(y.double().std(correction=0))
        std = std if std > 0 else 1.0
        return Losses(partial(_squared, mean=mean, std=std), mean=mean, std=std)
    if task.endswith("multilabel"):
        return Losses(_binary_known)
    if task == "link-prediction":
        return Losses(F.binary_cross_entropy_with_logits)
    if hyper.label_smoothing == 0 and hyper.class_weights == "none":
        return Losses(F.cross_entropy)
    weight = balanced_weights(y.long(), num_classes) if hyper.class_weights == "balanced" else None
    train = partial(F.cross_entropy, weight=weight, label_smoothing=hyper.label_smoothing)
    return Losses(train, F.cross_entropy)


def _squared(outputs: Tensor, y: Tensor, *, mean: float, std: float) -> Tensor:
    return F.mse_loss(outputs.squeeze(1), (y - mean) / std)


def _binary_known(outputs: Tensor, y: Tensor) -> Tensor:
    y = y.to(outputs.dtype)
    known = ~y.isnan()
    return F.binary_cross_entropy_with_logits(outputs[known], y[known])
