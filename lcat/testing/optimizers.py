"""The contract of ``torch.optim``, as a suite to run on your own optimizer.

Subclass :class:`OptimizerContract` in a test module and define how your optimizer is made::

    from lcat.testing import OptimizerContract


    class TestMine(OptimizerContract):
        def optimizer(self, params, **options):
            return MyOptimizer(params, **{"lr": 1e-2, **options})

pytest then collects one test per clause. Nothing here needs pytest: :meth:`OptimizerContract.clauses` lists the
clauses, each a method without arguments that raises an AssertionError. Optimizers with orthonormal weights have
more clauses, see :class:`lcat.testing.OrthogonalContract`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer

from lcat.testing._contract import same
from lcat.testing._optimizer_gradients import GradientClauses
from lcat.testing._optimizer_groups import GroupClauses
from lcat.testing._optimizer_resuming import ResumingClauses

__all__ = ["OptimizerContract"]


class OptimizerContract(GradientClauses, GroupClauses, ResumingClauses):
    """What every ``torch.optim`` optimizer keeps; one method per clause.

    Attributes:
        options: passed to :meth:`optimizer` in every clause.
        close: relative tolerance where two computations may differ by rounding (float64).
        rest: how far a step of learning rate zero may move a weight.

    Example:
        >>> import torch
        >>> from lcat.testing import OptimizerContract
        >>> class TestAdam(OptimizerContract):
        ...     def optimizer(self, params, **options):
        ...         return torch.optim.Adam(params, **options)
        >>> TestAdam().test_resumes_bit_for_bit_through_a_file()
    """

    def test_is_a_torch_optimizer(self) -> None:
        """It is a ``torch.optim.Optimizer`` with groups and learning rates."""
        optimizer = self.make(self.parameters())
        assert isinstance(optimizer, Optimizer)
        assert optimizer.param_groups
        assert "lr" in optimizer.param_groups[0]
        assert type(optimizer).__name__ in repr(optimizer)

    def test_descends(self) -> None:
        """50 steps reduce a loss."""
        params = self.parameters()
        targets = [-p.detach() for p in params]
        optimizer = self.make(params)
        losses = []
        for _ in range(50):
            optimizer.zero_grad()
            loss = sum((p - t).square().sum() for p, t in zip(params, targets, strict=True)) + sum(
                (p.flatten()[0] - 1).square() for p in params
            )
            loss.backward()  # type: ignore[union-attr]
            optimizer.step()
            losses.append(loss.item())  # type: ignore[union-attr]
        assert losses[-1] < losses[0]

    def test_step_without_closure_returns_none(self) -> None:
        """``step()`` returns None."""
        optimizer, _ = self.started(1)
        assert optimizer.step() is None

    def test_closure_is_called_with_gradients_and_its_loss_returned(self) -> None:
        """``step(closure)`` calls the closure once, with gradients enabled, and returns its loss."""
        params = self.parameters()
        optimizer = self.make(params)
        calls = []

        def closure() -> Tensor:
            assert torch.is_grad_enabled()
            optimizer.zero_grad()
            loss = sum(p.sum() ** 2 for p in params)
            assert isinstance(loss, Tensor)
            loss.backward()
            calls.append(loss)
            return loss

        before = self.values(params)
        with torch.no_grad():
            returned = optimizer.step(closure)  # type: ignore[arg-type]
        assert len(calls) == 1
        assert returned is calls[0]
        assert any(not torch.equal(b, p) for b, p in zip(before, params, strict=True))

    def test_keeps_the_parameters_themselves(self) -> None:
        """Parameters are updated in place: the same tensors, memory, strides and types."""
        params = self.parameters()
        before = [(id(p), p.data_ptr(), p.shape, p.stride(), p.dtype, p.requires_grad) for p in params]
        self.run(self.make(params), params, range(2))
        assert before == [(id(p), p.data_ptr(), p.shape, p.stride(), p.dtype, p.requires_grad) for p in params]
        assert all(p.is_leaf and p.grad_fn is None for p in params)

    def test_bumps_the_version_of_what_it_writes(self) -> None:
        """Autograd's version counters of written parameters grow."""
        params = self.parameters()
        before = [p._version for p in params]
        self.run(self.make(params), params, range(1))
        assert all(p._version > v for p, v in zip(params, before, strict=True))

    def test_is_deterministic(self) -> None:
        """Two equal runs give the same bits."""
        assert same(self.values(self.started()[1]), self.values(self.started()[1]))

    def test_two_optimizers_do_not_meet(self) -> None:
        """Steps of another optimizer in between change nothing."""
        alone = self.values(self.started(4)[1])
        a, b = self.parameters(), self.parameters()
        first, second = self.make(a), self.make(b)
        for k in range(4):
            self.run(first, a, range(k, k + 1))
            self.run(second, b, range(k + 7, k + 8))
        assert same(alone, self.values(a))

    def test_maximize_is_minimizing_the_negative(self) -> None:
        """``maximize=True`` is a run with negated gradients."""
        up, down = self.parameters(), self.parameters()
        self.run(self.make(up, maximize=True), up, range(3))
        optimizer = self.make(down)
        for seed in range(3):
            for p, g in zip(down, self.gradients(down, seed), strict=True):
                p.grad = -g
            optimizer.step()
        self.assert_close(up, down)

    def test_foreach_changes_nothing(self) -> None:
        """``foreach`` changes the speed only."""
        self.assert_close(self.started(foreach=True)[1], self.started(foreach=False)[1])

    def test_step_hooks(self) -> None:
        """Hooks before and after a step are called, until they are removed."""
        optimizer, params = self.started(1)
        calls: list[str] = []
        before = optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
        after = optimizer.register_step_post_hook(lambda *_: calls.append("after"))
        self.run(optimizer, params, range(2))
        before.remove()
        after.remove()
        self.run(optimizer, params, range(2))
        assert calls == ["before", "after"] * 2

    def test_state_dict_hooks(self) -> None:
        """Hooks of saving and loading are called in order."""
        optimizer, _ = self.started(1)
        calls: list[str] = []
        optimizer.register_state_dict_post_hook(lambda *_: calls.append("saved"))
        optimizer.register_load_state_dict_pre_hook(lambda *_: calls.append("loading"))
        optimizer.register_load_state_dict_post_hook(lambda *_: calls.append("loaded"))
        optimizer.load_state_dict(optimizer.state_dict())
        assert calls == ["saved", "loading", "loaded"]

    def test_grad_scaler(self) -> None:
        """Scaled gradients give the same step, and overflowed ones none."""
        plain, scaled = self.parameters(torch.float32), self.parameters(torch.float32)
        a, b = self.make(plain), self.make(scaled)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for loss_of, optimizer, use in ((plain, a, False), (scaled, b, True)):
            loss = sum((p * g).sum() for p, g in zip(loss_of, self.gradients(loss_of, 0), strict=True))
            assert isinstance(loss, Tensor)
            (scaler.scale(loss) if use else loss).backward()
            scaler.step(optimizer) if use else optimizer.step()
        scaler.update()
        for p, q in zip(plain, scaled, strict=True):
            torch.testing.assert_close(p, q)
        before = self.values(scaled)
        b.zero_grad()
        overflow = sum(p.sum() for p in scaled)
        assert isinstance(overflow, Tensor)
        scaler.scale(overflow * float("inf")).backward()
        scaler.step(b)
        scaler.update()
        assert same(before, self.values(scaled))
