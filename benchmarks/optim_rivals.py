"""The contenders of benchmarks/optim.py: our optimizers, and others where they are installed.

Every contender starts from matrices ``(B, p, n)`` with orthonormal rows and is driven by Euclidean gradients of that
shape, whatever it wants to hold itself (tall matrices, modules).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lcat import optim

CHECK_OFF = {"check": "off"}  # at construction only; the step is the same


def orthonormal(shape: Sequence[int], dtype: torch.dtype, device: str) -> Tensor:
    """Random orthonormal rows."""
    *batch, p, n = shape
    return torch.linalg.qr(torch.randn(*batch, n, p, dtype=dtype, device=device))[0].mH.contiguous()


class Contender:
    """An optimizer over some matrices. ``tall`` holds them transposed."""

    def __init__(
        self, Xs: list[Tensor], make: Callable[[list[Any]], Any], tall: bool = False, wrap: Any = nn.Parameter
    ) -> None:
        self.tall = tall
        self.params = [wrap((X.mH if tall else X).clone().contiguous()) for X in Xs]
        self.optimizer = make(self.params)

    def prepare(self, Gs: list[Tensor]) -> None:
        """Hold these gradients for the next steps."""
        for p, G in zip(self.params, Gs, strict=True):
            p.grad = G.mH if self.tall else G

    def step(self) -> None:
        """One step along the gradients that were prepared."""
        self.optimizer.step()

    def advance(self, Gs: list[Tensor]) -> None:
        """One step along given gradients."""
        self.prepare(Gs)
        self.step()

    def read(self) -> list[Tensor]:
        """The matrices now, ``(B, p, n)``."""
        return [(p.mH if self.tall else p).detach() for p in self.params]

    def scale_lr(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] *= factor


class Parametrized(Contender):
    """torch's orthogonal parametrization: its step includes the forward and backward through the map."""

    def __init__(self, Xs: list[Tensor], lr: float, orthogonal_map: str) -> None:
        self.modules = []
        for X in Xs:
            module = nn.Module()
            module.weight = nn.Parameter(X.clone())
            nn.utils.parametrizations.orthogonal(module, "weight", orthogonal_map=orthogonal_map)
            module.weight = X
            self.modules.append(module)
        self.params = [p for module in self.modules for p in module.parameters()]
        self.optimizer = torch.optim.SGD(self.params, lr=lr)

    def prepare(self, Gs: list[Tensor]) -> None:
        self.Gs = Gs

    def step(self) -> None:
        self.optimizer.zero_grad()
        for module, G in zip(self.modules, self.Gs, strict=True):
            module.weight.backward(G)
        self.optimizer.step()

    def read(self) -> list[Tensor]:
        return [module.weight.detach() for module in self.modules]


def _ours(cls: type, Xs: list[Tensor], lr: float, **options: Any) -> Contender:
    return Contender(Xs, lambda params: cls(params, lr=lr, **CHECK_OFF, **options))


CONTENDERS: dict[str, Callable[[list[Tensor], float], Contender]] = {
    "POGO": partial(_ours, optim.POGO),
    "POGO, published": partial(_ours, optim.POGO, iteration="published"),
    "POGO, identity gram (4 products)": partial(_ours, optim.POGO, iteration="published", gram_mode="identity"),
    "POGO, vadam": partial(_ours, optim.POGO, base="vadam"),
    "POGO, order2": partial(_ours, optim.POGO, normal_step="order2"),
    "Landing": partial(_ours, optim.Landing),
    "LandingPC": partial(_ours, optim.LandingPC),
    "RiemannianSGD, qr": partial(_ours, optim.RiemannianSGD),
    "RiemannianSGD, polar": partial(_ours, optim.RiemannianSGD, retraction="polar"),
    "RiemannianSGD, cayley": partial(_ours, optim.RiemannianSGD, retraction="cayley"),
    "RiemannianAdam, qr": partial(_ours, optim.RiemannianAdam),
    "RSDM, permutation": partial(_ours, optim.RSDM),
    "SLPG": partial(_ours, optim.SLPG),
    "torch orthogonal (cayley) + SGD": partial(Parametrized, orthogonal_map="cayley"),
    "torch orthogonal (matrix_exp) + SGD": partial(Parametrized, orthogonal_map="matrix_exp"),
    "torch orthogonal (householder) + SGD": partial(Parametrized, orthogonal_map="householder"),
}


def _add_pogo_torch() -> None:
    pogo = importlib.import_module("pogo")
    base = importlib.import_module("pogo.base")
    CONTENDERS["pogo-torch"] = lambda Xs, lr: Contender(Xs, lambda ps: pogo.POGO(ps, base.SGD(), lr))
    CONTENDERS["pogo-torch, VectorAdam"] = lambda Xs, lr: Contender(Xs, lambda ps: pogo.POGO(ps, base.VectorAdam(), lr))


def _add_geoopt() -> None:
    geoopt = importlib.import_module("geoopt")
    for name, canonical in (("qr", False), ("cayley", True)):
        manifold = geoopt.Stiefel(canonical=canonical)
        wrap = partial(geoopt.ManifoldParameter, manifold=manifold)
        CONTENDERS[f"geoopt RiemannianSGD, {name}"] = lambda Xs, lr, wrap=wrap: Contender(  # type: ignore[misc]
            Xs, lambda ps: geoopt.optim.RiemannianSGD(ps, lr=lr), tall=True, wrap=wrap
        )
    wrap = partial(geoopt.ManifoldParameter, manifold=geoopt.Stiefel(canonical=False))
    CONTENDERS["geoopt RiemannianAdam, qr"] = lambda Xs, lr: Contender(
        Xs, lambda ps: geoopt.optim.RiemannianAdam(ps, lr=lr), tall=True, wrap=wrap
    )


def _add_landing() -> None:
    landing = importlib.import_module("landing")
    geoopt = importlib.import_module("geoopt")
    wrap = partial(geoopt.ManifoldParameter, manifold=geoopt.Stiefel(canonical=False))

    def make(Xs: list[Tensor], lr: float) -> Contender:
        if Xs[0].shape[-1] != Xs[0].shape[-2]:
            raise NotImplementedError("landing takes square matrices only")
        return Contender(Xs, lambda ps: landing.LandingSGD(ps, lr=lr), wrap=wrap)

    getattr(landing, "LandingSGD")  # noqa: B009 - the package of this name on PyPI is another one
    CONTENDERS["landing"] = make


_MISSING: dict[str, str] = {}
for _name, _add in (("pogo-torch", _add_pogo_torch), ("geoopt", _add_geoopt), ("landing", _add_landing)):
    try:
        _add()
    except (ImportError, AttributeError) as _error:
        _MISSING[_name] = str(_error)


def missing() -> dict[str, str]:
    """Rivals that could not be imported, with the reason."""
    return dict(_MISSING)
