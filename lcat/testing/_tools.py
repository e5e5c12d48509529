"""The tools that the contracts of :mod:`lcat.testing` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def same(a: Any, b: Any) -> bool:
    """Whether two nested states hold the same values bit for bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


class ContractTools:
    """How an optimizer under test is made and driven; the clauses are in the subclasses."""

    options: ClassVar[dict[str, Any]] = {}
    close = 1e-9
    rest = 1e-12

    # -- what a subclass says ---------------------------------------------------------------------------

    def optimizer(self, params: Any, **options: Any) -> Optimizer:
        """The optimizer under test. ``options`` holds torch's names only: lr, maximize, foreach."""
        raise NotImplementedError("say how your optimizer is made: override optimizer(self, params, **options)")

    def parameters(self, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
        """Fresh parameters, the same in every call; override for optimizers that need a special start."""
        generator = torch.Generator().manual_seed(0)
        shapes = ((4, 6), (6, 4), (5, 5), (2, 3, 5))
        return [nn.Parameter(torch.randn(*s, generator=generator, dtype=dtype)) for s in shapes]

    # -- tools ------------------------------------------------------------------------------------------

    @classmethod
    def clauses(cls) -> list[str]:
        """Names of all clauses."""
        return [name for name in dir(cls) if name.startswith("test_")]

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
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x.detach(), y.detach(), rtol=self.close, atol=self.close)

    def refuses(self, error: type[BaseException] | tuple[type[BaseException], ...], call: Callable[[], Any]) -> None:
        """Assert that a call raises one of the errors, with a message."""
        message = None
        try:
            call()
        except error as raised:
            message = str(raised)
        assert message is not None, f"accepted in silence; expected {error}"
        assert message, "an error without a message"
