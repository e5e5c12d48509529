"""The training loss of each task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lcat._measures import TaskName
from lcat.study.models.hyper import HyperParameters
from lcat.study.models.recipe_model import balanced_weights
from lcat.study.models.target_scale import TargetScale

__all__ = ["Losses", "losses_of"]


class Losses:
    """The loss of training and of validation.

    Attributes:
        train, val: ``f(outputs, y) -> scalar``, a mean.
        scale: of the training targets of a regression, else ``None``.
    """

    def __init__(
        self,
        train: Callable[[Tensor, Tensor], Tensor],
        val: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        scale: TargetScale | None = None,
    ) -> None:
        self.train, self.val, self.scale = train, val or train, scale


def losses_of(task: TaskName, hyper: HyperParameters, y: Tensor, num_classes: int) -> Losses:
    """The losses of a task.

    Classes: cross-entropy, with smoothing and weights if they are set. Labels: binary cross-entropy, the mean over all
    known ones. Numbers: the mean squared error over all known ones, with targets of mean 0 and standard deviation 1
    over the training items, each of several on its own. Links: binary cross-entropy.

    Args:
        task: what is predicted.
        hyper: settings of the loss.
        y: labels of the training items.
        num_classes: number of classes.

    Raises:
        ValueError: for settings of classes where there are none, and for a target that no training item has.

    Example:
        >>> import torch
        >>> from lcat.study import HyperParameters
        >>> from lcat.study.tasks.losses import losses_of
        >>> losses = losses_of(
        ...     "node-regression", HyperParameters(), torch.tensor([1.0, 3.0]), 1
        ... )
        >>> (
        ...     losses.scale.mean.tolist(),
        ...     float(losses.train(torch.tensor([[0.0]]), torch.tensor([3.0]))),
        ... )
        ([2.0], 1.0)
    """
    if not task.endswith("classification"):
        for name, plain in (("label_smoothing", 0), ("class_weights", "none")):
            if getattr(hyper, name) != plain:
                raise ValueError(f"{name} is a setting of classes; {task} has none: leave it out")
    if task.endswith("regression"):
        scale = TargetScale.of(y)
        return Losses(partial(_squared, scale=scale), scale=scale)
    if task.endswith("multilabel"):
        return Losses(_binary_known)
    if task == "link-prediction":
        return Losses(F.binary_cross_entropy_with_logits)
    if hyper.label_smoothing == 0 and hyper.class_weights == "none":
        return Losses(F.cross_entropy)
    weight = balanced_weights(y.long(), num_classes) if hyper.class_weights == "balanced" else None
    train = partial(F.cross_entropy, weight=weight, label_smoothing=hyper.label_smoothing)
    return Losses(train, F.cross_entropy)


def _squared(outputs: Tensor, y: Tensor, *, scale: TargetScale) -> Tensor:
    targets = scale.scaled(y).to(outputs.dtype)
    if y.dim() == 1:
        return F.mse_loss(outputs, targets)
    known = ~targets.isnan()
    # A sum over all entries rather than a choice of those that are known, for which a GPU would have to wait.
    return torch.where(known, outputs - targets, 0.0).square().sum() / known.sum()


def _binary_known(outputs: Tensor, y: Tensor) -> Tensor:
    y = y.to(outputs.dtype)
    known = ~y.isnan()
    return F.binary_cross_entropy_with_logits(outputs[known], y[known])
