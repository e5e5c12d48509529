"""Learning-rate schedules by name: a factor of the base rate for every epoch, for ``LambdaLR``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lcat.train._checks import check_torch_optimizer
from lcat.train.ranges import check_ranges, whole

__all__ = ["SCHEDULES", "ScheduleName", "build_schedule", "check_schedule", "schedule_factor"]


ScheduleName = Literal["constant", "cosine", "linear", "step"]


def _constant(_: float) -> float:
    return 1.0


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _linear(progress: float) -> float:
    return 1.0 - progress


def _step(progress: float) -> float:
    return 0.1 ** ((progress >= 0.5) + (progress >= 0.75))


#: Factor as a function of the progress in [0, 1) since the end of the warm-up.
SCHEDULES: dict[ScheduleName, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
}


def check_schedule(name: str) -> ScheduleName:
    """The name itself, if there is such a schedule.

    Raises:
        ValueError: there is none; the message lists them.
    """
    for known in SCHEDULES:
        if known == name:
            return known
    raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}; got {name!r}")


def schedule_factor(name: str, epoch: int, epochs: int, warmup: int = 0) -> float:
    """The factor that multiplies the base learning rate in one epoch.

    In the first ``warmup`` epochs it rises linearly, ``(epoch + 1) / (warmup + 1)``. After them, with
    ``t = (epoch - warmup) / (epochs - warmup)``: ``constant`` 1; ``cosine`` ``(1 + cos(pi t)) / 2``; ``linear``
    ``1 - t``; ``step`` 1, then 0.1 from ``t = 1/2``, then 0.01 from ``t = 3/4``.

    Args:
        name: one of :data:`SCHEDULES`.
        epoch: counted from 0.
        epochs: number of epochs planned.
        warmup: number of epochs of linear rise, less than ``epochs``.

    Raises:
        ValueError: for an unknown name or a warm-up that is negative or fills the whole training.

    Example:
        >>> from lcat.train import schedule_factor
        >>> [schedule_factor("linear", epoch, epochs=5, warmup=1) for epoch in range(5)]
        [0.5, 1.0, 0.75, 0.5, 0.25]
    """
    factor = SCHEDULES[check_schedule(name)]
    if not 0 <= warmup < max(epochs, 1):
        raise ValueError(f"warmup must lie in 0 .. epochs - 1 = {epochs - 1}; got {warmup}")
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    return factor(min(1.0, (epoch - warmup) / max(1, epochs - warmup)))


def build_schedule(optimizer: Optimizer, name: str, epochs: int, warmup: int = 0) -> LambdaLR:
    """A ``LambdaLR`` that follows :func:`schedule_factor`; call its ``step()`` once after every epoch.

    Raises:
        TypeError: ``optimizer`` is none.
        ValueError: for an unknown name, and for ``epochs`` and ``warmup`` out of range.

    Example:
        >>> import torch
        >>> from lcat.train import build_schedule
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
        >>> schedule = build_schedule(optimizer, "cosine", epochs=10, warmup=2)
        >>> optimizer.param_groups[0]["lr"]
        0.03333333333333333
    """
    check_torch_optimizer(optimizer, "build_schedule(optimizer, name, epochs)")
    check_ranges({"epochs": epochs, "warmup": warmup}, {"epochs": whole(1), "warmup": whole(0)})
    schedule_factor(name, 0, epochs, warmup)  # a wrong name or warm-up is refused here, not in mid-training
    return LambdaLR(optimizer, lambda epoch: schedule_factor(name, epoch, epochs, warmup))
