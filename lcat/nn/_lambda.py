"""The scalars lambda1 and lambda2 of L-CAT: learned or fixed, in [0, 1].

A learned scalar is stored as one unconstrained parameter ``raw`` and read through a parametrization:

================  =======================================  =====================================
``published``     lambda1 = sigmoid(10^raw - 6)            lambda2 = sigmoid(10^(2.2 - raw) - 6)
``sigmoid``       lambda1 = sigmoid(raw)                   lambda2 = sigmoid(raw)
================  =======================================  =====================================

The first is that of the code published with the paper; its values lie in (sigmoid(-6), 1), that is above
0.0025, and its steps grow with 10^raw.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import Module, Parameter

PARAMETRIZATIONS = ("published", "sigmoid")
_SHIFT = 6.0
_MIRROR = 2.2


def value_of(raw: Tensor, name: str, parametrization: str) -> Tensor:
    """The value in [0, 1] of a raw parameter; half types are read in float32, where 10^raw is exact enough."""
    if raw.dtype in (torch.float16, torch.bfloat16):
        raw = raw.float()
    if parametrization == "sigmoid":
        return raw.sigmoid()
    exponent = raw if name == "lambda1" else _MIRROR - raw
    return (10.0**exponent - _SHIFT).sigmoid()


def raw_of(value: float, name: str, parametrization: str) -> float:
    """The raw parameter whose value is ``value``."""
    logit = math.log(value) - math.log1p(-value)
    if parametrization == "sigmoid":
        return logit
    exponent = math.log10(_SHIFT + logit)
    return exponent if name == "lambda1" else _MIRROR - exponent


class LambdaMixin(Module):
    """Gives a layer ``lambda1`` and ``lambda2``; mixed into the L-CAT layers."""

    def _make_lambdas(
        self,
        lambda1: float | None,
        lambda2: float | None,
        parametrization: str,
        lambda1_init: float,
        lambda2_init: float,
    ) -> None:
        if parametrization not in PARAMETRIZATIONS:
            raise ValueError(
                f"'parametrization' is {parametrization!r}; it takes {' or '.join(map(repr, PARAMETRIZATIONS))}"
            )
        self.parametrization = parametrization
        self._fixed = {"lambda1": _checked("lambda1", lambda1), "lambda2": _checked("lambda2", lambda2)}
        self._initial = {
            "lambda1": _checked_initial("lambda1_init", lambda1_init, parametrization),
            "lambda2": _checked_initial("lambda2_init", lambda2_init, parametrization),
        }
        for name, fixed in self._fixed.items():
            raw = None if fixed is not None else Parameter(torch.empty(()))
            self.register_parameter(f"raw_{name}", raw)

    def _reset_lambdas(self) -> None:
        for name, fixed in self._fixed.items():
            if fixed is None:
                raw = getattr(self, f"raw_{name}")
                torch.nn.init.constant_(raw, raw_of(self._initial[name], name, self.parametrization))

    def _lambda(self, name: str) -> Tensor | float:
        fixed = self._fixed[name]
        if fixed is not None:
            return fixed
        return value_of(getattr(self, f"raw_{name}"), name, self.parametrization)

    def _lambda_tensor(self, name: str) -> Tensor:
        value = self._lambda(name)
        if isinstance(value, Tensor):
            return value
        some = next(self.parameters())
        return torch.tensor(value, dtype=torch.promote_types(some.dtype, torch.float32))

    @property
    def lambda1(self) -> Tensor:
        """Strength of the score, a 0-dimensional tensor in [0, 1]: 0 is a mean over in-edges, 1 is attention."""
        return self._lambda_tensor("lambda1")

    @property
    def lambda2(self) -> Tensor:
        """Strength of the averaging, a 0-dimensional tensor in [0, 1]: 0 scores as GAT, 1 scores as CAT."""
        return self._lambda_tensor("lambda2")

    def _lambda_repr(self) -> str:
        return ", ".join(f"{name}={self._one_repr(name)}" for name in ("lambda1", "lambda2"))

    def _one_repr(self, name: str) -> str:
        fixed = self._fixed[name]
        if fixed is not None:
            return f"{fixed:g}"
        raw = getattr(self, f"raw_{name}")
        if raw.is_meta:
            return "learned"
        with torch.no_grad():
            return f"learned({float(value_of(raw, name, self.parametrization)):.3f})"


def _checked(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"'{name}' is of type {type(value).__name__}; it takes None (learned) or a float in [0, 1]")
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"'{name}' is {value}; it takes None (learned) or a float in [0, 1]")
    return float(value)


def _checked_initial(name: str, value: float, parametrization: str) -> float:
    low = 1.0 / (1.0 + math.exp(_SHIFT)) if parametrization == "published" else 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low < value < 1.0:
        raise ValueError(
            f"'{name}' is {value!r}; with parametrization={parametrization!r} it takes a float between {low:.4g} "
            f"and 1, both excluded (a scalar fixed at 0 or 1 is asked for with lambda1= or lambda2=)"
        )
    return float(value)
