"""Own models under names of their own, which are not those of the layers of lcat."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lcat.study.models.layers import LAYERS
from lcat.study.models.own_model import NAME, REGISTERED, path_of
from lcat.study.models.own_signature import read_signature

__all__ = ["check_free", "register_model"]


def register_model(name: str, build: Callable[..., nn.Module]) -> None:
    """Make an own model known as a layer of studies in this process.

    Worker processes get it by its import path, so it must be at the top level of a module or script. Where a study may
    be resumed from elsewhere, name the file instead: ``layers=["models.py:MyNet"]``.

    Args:
        name: as it is then written in ``layers``, and as tables show it.
        build: class or function, called as ``build(in_channels, num_classes, **settings)``; what it makes is called as
            ``model(x, edge_index)`` and returns logits ``[N, C]``.

    Raises:
        TypeError: if ``build`` cannot be called like this.
        ValueError: if the name is that of another layer.

    Example:
        >>> import torch
        >>> from lcat.study import make_plan, register_model, run_study
        >>> class Linear(torch.nn.Linear):
        ...     def forward(self, x, edge_index):
        ...         return super().forward(x)
        >>> register_model("linear", Linear)
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=60"],
        ...     layers=["gcn", "linear"],
        ...     seeds=1,
        ...     overrides={"epochs": 3},
        ... )
        >>> run_study(plan).study.results()["layer"].tolist()
        ['gcn', 'linear']
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"expected a name of letters, digits, '-', '.' and '_' that begins with a letter; got {name!r}"
        )
    if not callable(build) or isinstance(build, nn.Module):
        got = f"a {type(build).__name__} that is made already" if isinstance(build, nn.Module) else repr(build)
        raise TypeError(f"expected a class, or a function that makes a model, as 'build'; got {got}")
    read_signature(build, name)
    check_free(name)
    old = REGISTERED.get(name)
    if old is not None and path_of(old) != path_of(build):  # the cell of a notebook may run again
        raise ValueError(f"a model called {name!r} is registered already ({path_of(old)}); choose another name")
    REGISTERED[name] = build


def check_free(name: str) -> None:
    """Refuse a name that tables have for a layer of lcat.

    Raises:
        ValueError: with the way out.
    """
    for layer, spec in LAYERS.items():
        if name.lower() in (layer, spec.title.lower()):
            raise ValueError(
                f"{name} is what tables call the layer {layer} of lcat: give your own another name, as in "
                "mine=models.py:MyNet, or register_model('mine', ...)"
            )
