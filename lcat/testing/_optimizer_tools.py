"""How an optimizer under test is made and driven; the clauses of the contract are in the other modules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lcat.testing._contract import Contract

__all__ = ["OptimizerTools"]


class OptimizerTools(Contract):
    """Declarations of an optimizer, and the tools of the clauses."""

    options: ClassVar[dict[str, Any]] = {}
    close: float = 1e-9
    rest: float = 1e-12

    def optimizer(self, params: Any, **options: Any) -> Optimizer:
        """The optimizer under test. ``options`` holds torch's names only: lr, maximize, foreach."""
        raise NotImplementedError("define how your optimizer is made: override optimizer(self, params, **options)")

    def parameters(self, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
        """Fresh parameters, the same in every call; override for optimizers that need a special start."""
        generator = torch.Generator().manual_seed(0)
        shapes = ((4, 6), (6, 4), (5, 5), (2, 3, 5))
        return [nn.Parameter(torch.randn(*s, generator=generator, dtype=dtype)) for s in shapes]

    def make(self, params: Any, **options: Any) -> Optimizer:
        """The optimizer with the suite's options."""
        return self.optimizer(params, **{**self.options, **options})

    def gradients(self, params: list[nn.Parameter], seed: int) -> list[Tensor]:
        """Reproducible gradients, one for each parameter."""
        generator = torch.Generator().manual_seed(seed)
        return [0.1 * torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in params]

    def run(self, optimizer: Optimizer, params: list[nn.Parameter], seeds: Iterable[int]) -> None:
        """One step for each seed."""
        for seed in seeds:
            for p, g in zip(params, self.gradients(params, seed), strict=True):
                p.grad = g
            optimizer.step()

    def started(self, steps: int = 3, **options: Any) -> tuple[Optimizer, list[nn.Parameter]]:
        """An optimizer that has made some steps, and its parameters."""
        params = self.parameters()
        optimizer = self.make(params, **options)
        self.run(optimizer, params, range(steps))
        return optimizer, params

    def values(self, params: list[nn.Parameter]) -> list[Tensor]:
        """Copies of the parameters."""
        return [p.detach().clone() for p in params]

    def assert_close(self, a: list[Any], b: list[Any]) -> None:
        """Assert that two lists of tensors agree to ``close``."""
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x.detach(), y.detach(), rtol=self.close, atol=self.close)
