"""The scalars of all L-CAT layers of a model: read, set, frozen and collected for an optimizer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.nn import Parameter

from lcat._numbers import as_float
from lcat.nn._lambda import ScalarName
from lcat.nn._lcat import LCATMixin

__all__ = [
    "Lambdas",
    "freeze_lambdas",
    "lambda_layers",
    "lambda_parameters",
    "lambdas",
    "set_lambdas",
    "unfreeze_lambdas",
]

Number: TypeAlias = float | tuple[float, ...]


class Lambdas(NamedTuple):
    """The two scalars of a layer; a tuple has one number for each head.

    Args:
        lambda1: strength of the scores.
        lambda2: strength of the averaging.
    """

    lambda1: Number
    lambda2: Number


def lambda_layers(model: nn.Module) -> dict[str, LCATMixin]:
    """The CAT and L-CAT layers of a model by their paths, a shared one once; the path of the model itself is empty.

    Args:
        model: any module, or a single layer.

    Raises:
        TypeError: ``model`` is no module.

    Example:
        >>> from lcat.nn import models
        >>> from lcat.nn.scalars import lambda_layers
        >>> list(lambda_layers(models.LCAT(8, 16, num_layers=2)))
        ['convs.0', 'convs.1']
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"expected 'model' of type torch.nn.Module, got {type(model).__name__}: pass a model or a layer"
        )
    return {path: module for path, module in model.named_modules() if isinstance(module, LCATMixin)}


def lambdas(model: nn.Module) -> dict[str, Lambdas]:
    """The scalars of every CAT and L-CAT layer of a model, fixed and learned, as numbers.

    Args:
        model: any module, or a single layer.

    Returns:
        by the path of the layer in the model.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: parameters are on the device "meta", where they have no values.

    Example:
        >>> from lcat.nn import lambdas, models
        >>> lambdas(models.LCAT(8, 16, num_layers=2, lambda1=0.25, lambda2=0.5))["convs.1"]
        Lambdas(lambda1=0.25, lambda2=0.5)
    """
    return {
        path: Lambdas(_number(path, layer, "lambda1"), _number(path, layer, "lambda2"))
        for path, layer in lambda_layers(model).items()
    }


def lambda_parameters(model: nn.Module) -> list[Parameter]:
    """The parameters of the learned scalars of a model, for a group of their own in an optimizer.

    Weight decay pulls a parameter to 0, which is one end of a scalar's range: such a group has none.

    Args:
        model: any module, or a single layer.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: a scalar is computed from another parameter, as after pruning.

    Example:
        >>> import torch
        >>> from lcat.nn import lambda_parameters, models
        >>> model = models.LCAT(8, 16, num_layers=2)
        >>> scalars = lambda_parameters(model)
        >>> others = [
        ...     each
        ...     for each in model.parameters()
        ...     if all(each is not one for one in scalars)
        ... ]
        >>> groups = [
        ...     {"params": others, "weight_decay": 5e-4},
        ...     {"params": scalars, "weight_decay": 0.0, "lr": 0.05},
        ... ]
        >>> optimizer = torch.optim.Adam(groups, lr=0.01)
        >>> len(scalars)
        4
    """
    return _learned(model)


def freeze_lambdas(model: nn.Module) -> int:
    """Keep the learned scalars of a model as they are: they require no gradient, and stay parameters.

    Args:
        model: any module, or a single layer.

    Returns:
        the number of parameters.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: a scalar is computed from another parameter, as after pruning.

    Example:
        >>> from lcat.nn import LCATConv, freeze_lambdas
        >>> conv = LCATConv(8, 4)
        >>> freeze_lambdas(conv)
        2
        >>> conv
        LCATConv(8, 4, heads=1, lambda1=frozen(0.500), lambda2=frozen(0.500))
    """
    return _require_gradient(model, False)


def unfreeze_lambdas(model: nn.Module) -> int:
    """Undo :func:`freeze_lambdas`. Fixed scalars stay fixed: ``layer.lambda1 = None`` learns one.

    Args:
        model: any module, or a single layer.

    Returns:
        the number of parameters.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: a scalar is computed from another parameter, as after pruning.

    Example:
        >>> from lcat.nn import LCATConv, freeze_lambdas, unfreeze_lambdas
        >>> conv = LCATConv(8, 4)
        >>> freeze_lambdas(conv), unfreeze_lambdas(conv)
        (2, 2)
        >>> conv.raw_lambda1.requires_grad
        True
    """
    return _require_gradient(model, True)


def set_lambdas(model: nn.Module, lambda1: float | None = None, lambda2: float | None = None) -> int:
    """Give the scalars of all CAT and L-CAT layers of a model a value; fixed ones stay fixed, learned ones learned.

    A parameter is written in place, so optimizers go on. Of a sigmoid (``parametrization="published"`` or
    ``"sigmoid"``), 0 becomes 0.003 and 1 becomes 0.999: at the ends it has no gradient.

    Args:
        model: any module, or a single layer.
        lambda1: a value in [0, 1]; ``None`` leaves it.
        lambda2: a value in [0, 1]; ``None`` leaves it.

    Returns:
        the number of layers.

    Raises:
        TypeError: ``model`` is no module, or a value no number.
        ValueError: a value is outside [0, 1], or a scalar is computed from another parameter, as after pruning; then
            none is set.

    Example:
        >>> from lcat.nn import lambdas, models, set_lambdas
        >>> model = models.LCAT(8, 16, num_layers=2, parametrization="reflected")
        >>> set_lambdas(model, lambda1=1.0, lambda2=0.0)
        2
        >>> lambdas(model)["convs.0"]
        Lambdas(lambda1=1.0, lambda2=0.0)
    """
    layers = lambda_layers(model)
    values: list[tuple[ScalarName, float]] = []
    for name, value in zip(get_args(ScalarName), (lambda1, lambda2), strict=True):
        if value is not None:
            values.append((name, read_lambda(name, value)))
    scalars = [(layer, name, value, layer.own_raw(name)) for layer in layers.values() for name, value in values]
    for layer, name, value, raw in scalars:  # none is set if one cannot be
        scalar = getattr(layer.interpolation, name)
        if raw is None:
            setattr(layer.interpolation, name, replace(scalar, fixed=value))
        else:
            with torch.no_grad():
                raw.fill_(scalar.raw_near(value))
    return len(layers)


def read_lambda(name: str, value: Any) -> float:
    """A number in [0, 1].

    Raises:
        TypeError, ValueError: it is none.
    """
    number = as_float(value)
    if number is None:
        raise TypeError(f"expected '{name}' as a number in [0, 1] or None, got {type(value).__name__}")
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"expected '{name}' in [0, 1], got {number}")
    return number


def _number(path: str, layer: Any, name: ScalarName) -> Number:
    value: Tensor = getattr(layer, name)
    if value.is_meta:
        raise ValueError(
            f"{name} of {path or 'the layer'} is on the device 'meta', where it has no value: move the model with "
            f".to_empty(device=...) and initialize it first"
        )
    numbers = value.detach().reshape(-1).tolist()
    return numbers[0] if value.dim() == 0 else tuple(numbers)


def _learned(model: nn.Module) -> list[Parameter]:
    learned = [layer.own_raw(name) for layer in lambda_layers(model).values() for name in get_args(ScalarName)]
    return [raw for raw in learned if raw is not None]


def _require_gradient(model: nn.Module, flag: bool) -> int:
    learned = _learned(model)
    for raw in learned:
        raw.requires_grad_(flag)
    return len(learned)
