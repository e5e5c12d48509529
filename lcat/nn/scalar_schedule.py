"""LambdaSchedule: the scalars of L-CAT layers on a path from one value to another."""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias, get_args

from torch import nn

from lcat._numbers import as_int
from lcat._text import hint
from lcat.nn.scalars import read_lambda, set_lambdas

__all__ = ["LambdaSchedule", "ScheduleShape"]

ScheduleShape: TypeAlias = Literal["linear", "cosine"]


class LambdaSchedule:
    """Annealing: all CAT and L-CAT layers of a model follow the same path, one point for each call of :meth:`step`.

    For example from a GCN to a GAT in the first half of a training. The constructor sets the first value. A learned
    scalar is still learned between two steps, and overwritten by the next one: freeze it
    (:func:`lcat.nn.freeze_lambdas`) for a pure schedule, or learn it when the schedule is :attr:`done`, after which
    :meth:`step` changes nothing. In ``parametrization="published"`` and ``"sigmoid"`` a learned scalar goes from 0.003
    to 0.999; fixed ones, and those of ``"reflected"``, reach 0 and 1.

    Args:
        model: any module, or a single layer.
        steps: the number of steps to the last value, at least 1.
        lambda1: (first, last) value; ``None`` leaves it alone.
        lambda2: (first, last) value; ``None`` leaves it alone.
        shape: "linear", or "cosine" (slow at both ends).

    Raises:
        TypeError, ValueError: the message names the argument, what it got, and what it takes.

    Example:
        >>> from lcat.nn import LambdaSchedule, LCATConv, lambdas
        >>> conv = LCATConv(8, 4, parametrization="reflected")
        >>> schedule = LambdaSchedule(conv, steps=4, lambda1=(0.0, 1.0))
        >>> for epoch in range(3):
        ...     # train for one epoch
        ...     schedule.step()
        >>> lambdas(conv)[""].lambda1
        0.75
        >>> schedule.done
        False
    """

    def __init__(
        self,
        model: nn.Module,
        steps: int,
        *,
        lambda1: tuple[float, float] | None = None,
        lambda2: tuple[float, float] | None = None,
        shape: ScheduleShape = "linear",
    ) -> None:
        number = as_int(steps)
        if number is None or number < 1:
            raise ValueError(f"expected 'steps' as an int of at least 1, got {steps!r}")
        if shape not in get_args(ScheduleShape):
            known = get_args(ScheduleShape)
            raise ValueError(f"'shape' is {shape!r}{hint(shape, known)}; it takes {' or '.join(map(repr, known))}")
        if lambda1 is None and lambda2 is None:
            raise ValueError(
                "expected 'lambda1' or 'lambda2' as a pair (first, last), got None for both: nothing would change"
            )
        self.model = model
        self.steps = number
        self.lambda1 = _ends("lambda1", lambda1)
        self.lambda2 = _ends("lambda2", lambda2)
        self.shape = shape
        self.count = 0
        if not self._apply():
            raise ValueError("the model has no CAT or L-CAT layer, whose scalars would change: lcat.upgrade makes some")

    @property
    def done(self) -> bool:
        """Whether the last value is reached."""
        return self.count >= self.steps

    def step(self) -> None:
        """Set the next value; nothing after the last one."""
        if not self.done:
            self.count += 1
            self._apply()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs: the number of steps made."""
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; the scalars themselves are in that of the model, and are not touched.

        Raises:
            ValueError: ``state`` is none of a schedule.
        """
        count = as_int(state.get("count")) if isinstance(state, dict) else None
        if count is None or count < 0:
            raise ValueError(f"expected the state_dict of a LambdaSchedule, {{'count': ...}}, got {state!r}")
        self.count = count

    def _apply(self) -> int:
        """Write the values of now; the number of layers."""
        share = self.count / self.steps
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        values = [
            None if ends is None else min(max(ends[0] + share * (ends[1] - ends[0]), 0.0), 1.0)
            for ends in (self.lambda1, self.lambda2)
        ]
        return set_lambdas(self.model, *values)


def _ends(name: str, ends: Any) -> tuple[float, float] | None:
    if ends is None:
        return None
    if not isinstance(ends, (tuple, list)) or len(ends) != 2:
        raise TypeError(f"expected '{name}' as a pair (first, last) or None, got {ends!r}")
    return read_lambda(f"{name}[0]", ends[0]), read_lambda(f"{name}[1]", ends[1])
