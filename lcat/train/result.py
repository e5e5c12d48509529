"""What a training run leaves behind, as plain numbers, and the way into JSON and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from lcat._json import with_nan, without_nan

__all__ = ["FitResult", "History"]


@dataclass
class History:
    """One number per epoch for everything that was followed, ``nan`` for what was not measured in it.

    Attributes:
        loss: training loss, measured before the step of that epoch (with dropout).
        val_loss: validation loss after the step (without dropout).
        train, val, test: the metric on each part after the step.
        lr: learning rate of the epoch (of the first parameter group).
        lambdas: for every layer that has them, by its name in the model, ``[lambda1, lambda2]`` after each epoch.
            The first entry holds the values before the first step, so the list is one longer than the others.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    lambdas: dict[str, list[list[float]]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.loss)


@dataclass
class FitResult:
    """Result of :func:`lcat.train.fit`.

    Attributes:
        metric: name of the metric.
        train, val, test: the metric at the best epoch, the one whose weights the model holds.
        best_epoch: that epoch, counted from 0.
        epochs: number of epochs run.
        stopped: ``"epochs"`` when all planned epochs ran, ``"patience"`` when validation stopped improving.
        seconds: wall-clock time of the training, evaluation included.
        lambdas: ``[lambda1, lambda2]`` of every layer that has them, at the best epoch.
        history: everything, epoch by epoch.
    """

    metric: str
    train: float
    val: float
    test: float
    best_epoch: int
    epochs: int
    stopped: str
    seconds: float
    lambdas: dict[str, list[float]]
    history: History

    def to_dict(self, history: bool = True) -> dict[str, Any]:
        """Nested plain Python values, ready for ``json.dumps``; ``history=False`` leaves the curves out.

        JSON has no ``nan``: what was not measured, or is no finite number, is ``None`` (``null``).
        """
        values: dict[str, Any] = without_nan(asdict(self))
        if not history:
            del values["history"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FitResult:
        """The inverse of :meth:`to_dict`: ``None`` becomes ``nan``, a missing history an empty one."""
        values = with_nan(values)
        return cls(**{**values, "history": History(**values.get("history", {}))})
