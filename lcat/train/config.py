"""Settings of a training, checked when made."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lcat._text import hint
from lcat.train.ranges import check_ranges, use_plain_numbers
from lcat.train.schedules import ScheduleName, schedule_factor

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FitConfig", "NonFiniteLoss"]


class NonFiniteLoss(ArithmeticError):
    """The training loss became nan or infinite; the message says when and with which settings."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of :func:`lcat.train.fit` and :func:`lcat.train.fit_task`.

    Args:
        epochs: number of epochs planned, at least 1.
        patience: stop after this many epochs without a better validation result; ``None`` never stops early.
        optimizer: name, see :func:`lcat.train.optimizer_names`.
        lr: learning rate.
        weight_decay: L2 penalty, decoupled for ``adamw``; single numbers, such as the lambdas of L-CAT, have none.
        scalar_lr: learning rate of single numbers (the lambdas of L-CAT) relative to ``lr``, see
            :func:`lcat.train.optimizers.scale_scalar_lr`.
        schedule: name, see :data:`lcat.train.schedules.SCHEDULES`.
        warmup: epochs of linear warm-up of the learning rate.
        clip_norm: largest norm of the whole gradient, ``None`` for no clipping.
        optimizer_options: further arguments of the optimizer.
    """

    epochs: int = 200
    patience: int | None = 100
    optimizer: str = "adam"
    lr: float = 0.01
    weight_decay: float = 5e-4
    scalar_lr: float = 1.0
    schedule: ScheduleName = "constant"
    warmup: int = 0
    clip_norm: float | None = None
    optimizer_options: dict[str, Any] = field(default_factory=dict)

    def __new__(cls, *args: Any, **settings: Any) -> Self:  # noqa: ARG004 - __init__ takes what is accepted here
        """Name the setting that was meant before Python refuses an unknown one."""
        accepted = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        for name in settings:
            if name not in accepted:
                raise TypeError(
                    f"{cls.__name__} has no setting {name!r}{hint(name, accepted)}; expected some of "
                    f"{', '.join(accepted)}"
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        check_ranges(vars(self))
        schedule_factor(self.schedule, 0, self.epochs, self.warmup)  # refuses what it does not know
