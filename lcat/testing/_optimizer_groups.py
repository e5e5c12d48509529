"""Groups of parameters and learning rates: clauses about options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler

from lcat.testing._optimizer_tools import OptimizerTools

__all__ = ["GroupClauses"]


class GroupClauses(OptimizerTools):
    """Each group has its options, and a learning rate may be a number, a tensor or a scheduler's."""

    def test_groups_have_their_own_learning_rate(self) -> None:
        """The learning rate of a group is that of its parameters only."""
        params = self.parameters()
        optimizer = self.make([{"params": params[:2], "lr": 0.0}, {"params": params[2:]}])
        before = self.values(params)
        self.run(optimizer, params, range(2))
        self.assert_close(before[:2], params[:2])
        assert all(not torch.equal(b, p) for b, p in zip(before[2:], params[2:], strict=True))

    def test_add_param_group(self) -> None:
        """Parameters that are added later move as in a fresh optimizer."""
        params, fresh = self.parameters(), self.parameters()
        optimizer = self.make(params[:1])
        self.run(optimizer, params[:1], range(2))
        optimizer.add_param_group({"params": params[1:]})
        assert len(optimizer.param_groups) == 2
        self.run(optimizer, params, range(5, 8))
        self.run(self.make(fresh), fresh, range(5, 8))
        self.assert_close(params[1:], fresh[1:])

    def test_refuses_a_parameter_twice(self) -> None:
        """A parameter in two groups raises a ValueError, and no group is added."""
        params = self.parameters()
        optimizer = self.make(params)
        self.refuses(ValueError, lambda: optimizer.add_param_group({"params": params[:1]}))
        assert len(optimizer.param_groups) == 1

    def test_takes_generators_and_names(self) -> None:
        """Parameters may come from a generator, and with names."""
        params = self.parameters()
        self.make(p for p in params)
        optimizer = self.make([(f"weight{i}", p) for i, p in enumerate(params)])
        self.run(optimizer, params, range(1))
        assert optimizer.state_dict()["param_groups"][0]["param_names"][0] == "weight0"

    def test_refuses_nonsense(self) -> None:
        """No parameters, a tensor in place of a list, a result of autograd, a negative rate: errors."""
        params = self.parameters()
        self.refuses(ValueError, lambda: self.make([]))
        self.refuses(TypeError, lambda: self.make(params[0]))
        self.refuses(ValueError, lambda: self.make([params[0] * 2]))
        self.refuses(ValueError, lambda: self.make(params, lr=-1.0))

    def test_tensor_learning_rate(self) -> None:
        """A learning rate in a tensor is the same as a number."""
        lr = self.started(1)[0].param_groups[0]["lr"]
        number = self.started(3, lr=float(lr), foreach=False)[1]
        tensor = self.started(3, lr=torch.tensor(float(lr), dtype=torch.float64), foreach=False)[1]
        self.assert_close(number, tensor)

    def test_schedulers(self) -> None:
        """A scheduler's learning rates are obeyed: from zero on, nothing moves."""
        makers: list[Callable[[Optimizer], Any]] = [
            lambda o: lr_scheduler.StepLR(o, 1, gamma=0.5),
            lambda o: lr_scheduler.CosineAnnealingLR(o, 4),
            lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=10),
            lambda o: lr_scheduler.LambdaLR(o, lambda k: 0.0 if k else 1.0),
        ]
        for maker in makers:
            optimizer, params = self.started(1)
            scheduler = maker(optimizer)
            first = float(optimizer.param_groups[0]["lr"])
            self.run(optimizer, params, range(1))
            scheduler.step()
            assert float(optimizer.param_groups[0]["lr"]) != first
            before = self.values(params)
            self.run(optimizer, params, range(1, 2))
            moved = any(not torch.allclose(b, p, rtol=0, atol=self.rest) for b, p in zip(before, params, strict=True))
            assert moved == (float(optimizer.param_groups[0]["lr"]) > 0)

    def test_plateau_scheduler(self) -> None:
        """``ReduceLROnPlateau`` lowers the learning rate."""
        optimizer, params = self.started(1)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        first = float(optimizer.param_groups[0]["lr"])
        for _ in range(3):
            scheduler.step(1.0)
        assert float(optimizer.param_groups[0]["lr"]) < first
        self.run(optimizer, params, range(1))
