"""Optimizers by name: a small registry that other parts of the library, and users, can add to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

__all__ = ["build_optimizer", "optimizer_names", "parameter_groups", "register_optimizer"]

Builder = Callable[..., Optimizer]

_BUILDERS: dict[str, Builder] = {}


def register_optimizer(name: str, builder: Builder) -> None:
    """Make ``builder(model, lr=..., weight_decay=..., **options)`` known as ``name``.

    Args:
        name: lower-case name, as it is then given to :func:`build_optimizer` and to ``lcat study --optimizer``.
        builder: returns a ``torch.optim.Optimizer`` over the parameters of the model it is given.

    Raises:
        ValueError: if the name is taken.

    Example:
        >>> import torch
        >>> from lcat.train import optimizers
        >>> def build(model, *, lr, weight_decay):
        ...     return torch.optim.RMSprop(model.parameters(), lr=lr, weight_decay=weight_decay)
        >>> optimizers.register_optimizer("rmsprop", build)
        >>> "rmsprop" in optimizers.optimizer_names()
        True
    """
    if name in _BUILDERS:
        raise ValueError(f"an optimizer called {name!r} exists already; choose another name")
    _BUILDERS[name] = builder


def optimizer_names() -> list[str]:
    """The names that :func:`build_optimizer` takes, sorted."""
    return sorted(_BUILDERS)


def build_optimizer(name: str, model: nn.Module, lr: float, weight_decay: float = 0.0, **options: Any) -> Optimizer:
    """An optimizer over the parameters of ``model``, with weight decay where it belongs.

    Args:
        name: one of :func:`optimizer_names`; ``adam``, ``adamw`` and ``sgd`` (momentum 0.9) are always there.
        model: any module.
        lr: learning rate, positive.
        weight_decay: L2 penalty (``adamw``: decoupled decay), see :func:`parameter_groups`.
        **options: further arguments of the optimizer.

    Raises:
        ValueError: for an unknown name, a learning rate that is not positive or a negative weight decay.
    """
    if name not in _BUILDERS:
        raise ValueError(f"optimizer must be one of {', '.join(optimizer_names())}; got {name!r}")
    if not lr > 0:
        raise ValueError(f"lr must be positive; got {lr}")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be 0 or more; got {weight_decay}")
    return _BUILDERS[name](model, lr=lr, weight_decay=weight_decay, **options)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameter groups in which single numbers take no weight decay.

    Decay pulls a weight towards zero, which is a mild prior for a matrix or a vector. For a lone number such as
    the one behind an L-CAT layer's lambda, zero is just one end of the range (lambda near 0, the GCN end), and
    decay would push every layer there whatever the data say. So parameters with one element are left alone.

    Returns:
        One or two groups, in the order of ``model.parameters()`` within each; parameters without
        ``requires_grad`` are left out.
    """
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in learned if parameter.numel() > 1]
    scalars = [parameter for parameter in learned if parameter.numel() <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": scalars, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _torch_builder(cls: type[Optimizer], **defaults: float) -> Builder:
    def build(model: nn.Module, *, lr: float, weight_decay: float, **options: Any) -> Optimizer:
        return cls(parameter_groups(model, weight_decay), lr=lr, **{**defaults, **options})  # type: ignore[call-arg]

    return build


def _builtin() -> Iterator[tuple[str, Builder]]:
    yield "adam", _torch_builder(torch.optim.Adam)
    yield "adamw", _torch_builder(torch.optim.AdamW)
    yield "sgd", _torch_builder(torch.optim.SGD, momentum=0.9)


for _name, _builder in _builtin():
    register_optimizer(_name, _builder)
