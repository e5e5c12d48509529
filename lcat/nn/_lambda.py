"""The scalars lambda1 and lambda2 of L-CAT: learned or fixed, in [0, 1].

A learned scalar is stored as one unconstrained parameter ``raw`` of shape [1], or [H] where each head has its own, and
read through a parametrization:

================  =======================================  =====================================
``published``     lambda1 = sigmoid(10^raw - 6)            lambda2 = sigmoid(10^(2.2 - raw) - 6)
``sigmoid``       lambda1 = sigmoid(raw)                   lambda2 = sigmoid(raw)
``reflected``     lambda1 = raw, reflected at 0 and 1      lambda2 = raw, reflected at 0 and 1
================  =======================================  =====================================

The first is that of the code published with the paper; its values lie in (sigmoid(-6), 1), that is above
0.0025, and its steps grow with 10^raw. The last one has the ends of the range, 0 and 1, and a slope of 1 or -1 there
too: a step over an end leads back into the range. So a layer can begin at a corner and leave it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import Parameter

from lcat._numbers import as_float
from lcat._tracing import is_traced

Parametrization: TypeAlias = Literal["published", "sigmoid", "reflected"]
ScalarName: TypeAlias = Literal["lambda1", "lambda2"]

#: Shape of a raw parameter: FSDP refuses parameters without dimensions.
RAW_SHAPE = (1,)

_SHIFT = 6.0
_MIRROR = 2.2
# A scalar that becomes learned starts between these: at 0 and 1 a sigmoid has no gradient.
_NEAREST = (0.003, 0.999)


def value_of(raw: Tensor, name: ScalarName, parametrization: Parametrization) -> Tensor:
    """The value in [0, 1] of a raw parameter. Half types are read in float32, where 10^raw is exact enough."""
    if raw.dtype in (torch.float16, torch.bfloat16):
        raw = raw.float()
    if parametrization == "sigmoid":
        return raw.sigmoid()
    if parametrization == "reflected":
        folded = raw.remainder(2.0)
        return torch.where(folded <= 1.0, folded, 2.0 - folded)  # as abs(), but with a gradient at the ends
    exponent = raw if name == "lambda1" else _MIRROR - raw
    return (10.0**exponent - _SHIFT).sigmoid()


def raw_of(value: float, name: ScalarName, parametrization: Parametrization) -> float:
    """The raw parameter whose value is ``value``."""
    if parametrization == "reflected":
        return value
    logit = math.log(value) - math.log1p(-value)
    if parametrization == "sigmoid":
        return logit
    exponent = math.log10(_SHIFT + logit)
    return exponent if name == "lambda1" else _MIRROR - exponent


@dataclass(frozen=True)
class Scalar:
    """One of the two scalars of a layer. Where it is learned, its raw parameter belongs to the layer.

    Args:
        name: "lambda1" or "lambda2".
        fixed: its value in [0, 1], or ``None`` if it is learned.
        initial: where a learned one starts, in (0.0025, 1) for "published", (0, 1) for "sigmoid", [0, 1] for
            "reflected".
        parametrization: how a raw parameter becomes a value.

    Raises:
        TypeError, ValueError: for values out of these ranges.
    """

    name: ScalarName
    fixed: float | None
    initial: float
    parametrization: Parametrization

    def __post_init__(self) -> None:
        if self.fixed is not None:
            object.__setattr__(self, "fixed", _read_fixed(self.name, self.fixed))
        object.__setattr__(self, "initial", _read_initial(f"{self.name}_init", self.initial, self.parametrization))

    def value(self, raw: Tensor | None) -> Tensor | float:
        """The value: a float if it is fixed, else that of the layer's raw parameter, [H] if each head has its own."""
        if raw is None:
            if self.fixed is None:
                raise ValueError(
                    f"'raw_{self.name}' is None, but {self.name} is learned: assign {self.name} = None to learn it, or "
                    f"{self.name} = a float in [0, 1] to fix it, and leave its parameter to the layer"
                )
            return self.fixed
        # Without dimensions it does not decide the dtype of products.
        return value_of(raw.reshape(()) if raw.numel() == 1 else raw, self.name, self.parametrization)

    def initial_raw(self) -> float:
        """The raw parameter at which a learned scalar starts."""
        return raw_of(self.initial, self.name, self.parametrization)

    def raw_near(self, value: float) -> float:
        """The raw parameter of a scalar that is learned from ``value`` on; a sigmoid's 0 and 1 are moved inwards."""
        low, high = (0.0, 1.0) if self.parametrization == "reflected" else _NEAREST
        return raw_of(min(max(value, low), high), self.name, self.parametrization)

    def describe(self, raw: Tensor | None) -> str:
        """For the repr of a layer: a number is fixed, ``learned`` has a gradient, ``frozen`` is a parameter without."""
        if raw is None:
            return "missing" if self.fixed is None else f"{self.fixed:g}"
        state = "learned" if raw.requires_grad else "frozen"
        if is_traced() or raw.is_meta or not holds_value(raw):
            return state
        with torch.no_grad():
            values = torch.as_tensor(self.value(raw)).reshape(-1).tolist()
            return f"{state}({', '.join(f'{value:.3f}' for value in values)})"


def holds_value(raw: Tensor) -> bool:
    """False for a parameter that FSDP has sharded: its number may be on another process, or its memory freed."""
    return type(raw) in (Tensor, Parameter) and raw.numel() > 0 and (raw.is_meta or raw.untyped_storage().nbytes() > 0)


def whole(raw: Tensor, name: ScalarName) -> Tensor:
    """A raw parameter to be read outside of a forward pass; a shard is gathered, on all processes together.

    Raises:
        RuntimeError: if FSDP keeps it elsewhere.
    """
    if is_traced() or holds_value(raw):
        return raw
    if hasattr(raw, "full_tensor"):
        gathered: Tensor = raw.full_tensor()
        return gathered
    if type(raw) in (Tensor, Parameter):
        raise RuntimeError(
            f"'{name}' cannot be read while FullyShardedDataParallel has sharded its parameter: read it inside of "
            f"FullyShardedDataParallel.summon_full_params(model)"
        )
    return raw


def check_parametrization(parametrization: str) -> None:
    """Raises ValueError for an unknown one."""
    known = get_args(Parametrization)
    if parametrization not in known:
        raise ValueError(f"'parametrization' is {parametrization!r}; it takes {', '.join(map(repr, known))}")


def _read_fixed(name: str, value: Any) -> float:
    number = as_float(value)
    if number is None:
        raise TypeError(f"'{name}' is of type {type(value).__name__}; it takes None (learned) or a float in [0, 1]")
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"'{name}' is {number}; it takes None (learned) or a float in [0, 1]")
    return number


def _read_initial(name: str, value: Any, parametrization: Parametrization) -> float:
    low = 1.0 / (1.0 + math.exp(_SHIFT)) if parametrization == "published" else 0.0
    number = as_float(value)
    if parametrization == "reflected":
        if number is None or not 0.0 <= number <= 1.0:
            raise ValueError(f"'{name}' is {value!r}; with parametrization='reflected' it takes a float in [0, 1]")
        return number
    if number is None or not low < number < 1.0:
        raise ValueError(
            f"'{name}' is {value!r}; with parametrization={parametrization!r} it takes a float between {low:.4g} "
            f"and 1, both excluded (a scalar fixed at 0 or 1 is asked for with lambda1= or lambda2=)"
        )
    return number
