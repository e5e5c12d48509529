"""The contract of ``torch.optim``, as a suite to run on an optimizer of your own.

Subclass :class:`OptimizerContract` in a test module and say how your optimizer is made::

    from lcat.testing import OptimizerContract

    class TestMine(OptimizerContract):
        def optimizer(self, params, **options):
            return MyOptimizer(params, **{"lr": 1e-2, **options})

pytest then collects one test a clause. Nothing here needs pytest: :meth:`OptimizerContract.clauses` lists the
clauses, each a method without arguments that raises an AssertionError. Optimizers with orthonormal weights have
more to keep, see :class:`lcat.testing.OrthogonalContract`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from lcat.testing._contract import same
from lcat.testing._optimizer_resuming import ResumingClauses


class OptimizerContract(ResumingClauses):
    """What every ``torch.optim`` optimizer keeps; one method a clause.

    Attributes:
        options: passed to :meth:`optimizer` in every clause.
        close: relative tolerance where two computations may differ by rounding (float64).
        rest: how far a step of learning rate zero may move a weight.
    """

    # -- a step -----------------------------------------------------------------------------------------

    def test_is_a_torch_optimizer(self) -> None:
        optimizer = self.make(self.parameters())
        assert isinstance(optimizer, Optimizer)
        assert optimizer.param_groups
        assert "lr" in optimizer.param_groups[0]
        assert type(optimizer).__name__ in repr(optimizer)

    def test_descends(self) -> None:
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
        optimizer, _ = self.started(1)
        assert optimizer.step() is None

    def test_closure_is_called_with_gradients_and_its_loss_returned(self) -> None:
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
        params = self.parameters()
        told = [(id(p), p.data_ptr(), p.shape, p.stride(), p.dtype, p.requires_grad) for p in params]
        self.run(self.make(params), params, range(2))
        assert told == [(id(p), p.data_ptr(), p.shape, p.stride(), p.dtype, p.requires_grad) for p in params]
        assert all(p.is_leaf and p.grad_fn is None for p in params)

    def test_bumps_the_version_of_what_it_writes(self) -> None:
        params = self.parameters()
        before = [p._version for p in params]
        self.run(self.make(params), params, range(1))
        assert all(p._version > v for p, v in zip(params, before, strict=True))

    def test_is_deterministic(self) -> None:
        assert same(self.values(self.started()[1]), self.values(self.started()[1]))

    def test_two_optimizers_do_not_meet(self) -> None:
        alone = self.values(self.started(4)[1])
        a, b = self.parameters(), self.parameters()
        first, second = self.make(a), self.make(b)
        for k in range(4):
            self.run(first, a, range(k, k + 1))
            self.run(second, b, range(k + 7, k + 8))
        assert same(alone, self.values(a))

    def test_maximize_is_minimizing_the_negative(self) -> None:
        up, down = self.parameters(), self.parameters()
        self.run(self.make(up, maximize=True), up, range(3))
        optimizer = self.make(down)
        for seed in range(3):
            for p, g in zip(down, self.gradients(down, seed), strict=True):
                p.grad = -g
            optimizer.step()
        self.assert_close(up, down)

    def test_foreach_changes_nothing(self) -> None:
        self.assert_close(self.started(foreach=True)[1], self.started(foreach=False)[1])

    # -- gradients --------------------------------------------------------------------------------------

    def test_never_writes_gradients(self) -> None:
        params = self.parameters()
        optimizer = self.make(params)
        for seed in range(3):
            grads = self.gradients(params, seed)
            for p, g in zip(params, grads, strict=True):
                p.grad = g
            told = [(g.clone(), g._version, g.data_ptr()) for g in grads]
            optimizer.step()
            for p, (value, version, address) in zip(params, told, strict=True):
                assert p.grad is not None
                assert torch.equal(p.grad, value)
                assert (p.grad._version, p.grad.data_ptr()) == (version, address)

    def test_state_appears_with_the_first_gradient(self) -> None:
        params = self.parameters()
        optimizer = self.make(params)
        assert len(optimizer.state) == 0
        params[1].grad = self.gradients(params, 0)[1]
        optimizer.step()
        assert all(p is params[1] for p in optimizer.state)

    def test_no_gradient_no_change(self) -> None:
        params = self.parameters()
        optimizer = self.make(params)
        before = self.values(params)
        optimizer.step()
        assert same(before, self.values(params))
        params[0].grad = self.gradients(params, 0)[0]
        optimizer.step()
        assert same(before[1:], self.values(params[1:]))
        assert not torch.equal(before[0], params[0])

    def test_late_gradient_starts_fresh(self) -> None:
        """A parameter whose first gradient comes late moves as one that starts then."""
        params = self.parameters()
        optimizer = self.make(params)
        for seed in range(3):
            params[0].grad = self.gradients(params, seed)[0]
            optimizer.step()
        fresh = self.parameters()
        self.run(optimizer, params, range(10, 13))
        self.run(self.make(fresh), fresh, range(10, 13))
        self.assert_close(params[1:], fresh[1:])

    def test_late_gradient_leaves_the_others_alone(self) -> None:
        """Parameters of one shape move as each alone, also when one of them gets its first gradient late."""
        start = self.parameters()[0].detach()
        starts = [start, -start, start.flip(0)]
        params = [nn.Parameter(x.clone()) for x in starts]
        alone = [nn.Parameter(x.clone()) for x in starts]
        optimizer, singles = self.make(params), [self.make([p]) for p in alone]
        for seed in range(6):
            for i, gradient in enumerate(self.gradients(params, seed)):
                if i < 2 or seed >= 3:
                    params[i].grad, alone[i].grad = gradient, gradient.clone()
            optimizer.step()
            for single in singles:
                single.step()
            self.assert_close(params, alone)

    def test_zero_gradient_from_rest_moves_nothing(self) -> None:
        params = self.parameters()
        optimizer = self.make(params)
        before = self.values(params)
        for p in params:
            p.grad = torch.zeros_like(p)
        for _ in range(3):
            optimizer.step()
        self.assert_close(before, params)

    def test_tiny_gradients_stay_finite(self) -> None:
        params = self.parameters(torch.float32)
        optimizer = self.make(params)
        for size in (1e-20, 1e-38, 0.0, 1e-8):
            for p in params:
                p.grad = torch.full_like(p, size)
            optimizer.step()
        assert all(bool(torch.isfinite(p).all()) for p in params)
        for size in (1e-30, 1e-38, 1e-45):
            params = self.parameters(torch.float32)
            optimizer = self.make(params)
            for seed in range(3):
                for p, g in zip(params, self.gradients(params, seed), strict=True):
                    p.grad = g * size
                optimizer.step()
            assert all(bool(torch.isfinite(p).all()) for p in params), f"at gradients of {size}"

    def test_strides_of_gradients_do_not_matter(self) -> None:
        params, usual = self.parameters(), self.parameters()
        a, b = self.make(params), self.make(usual)
        for seed in range(3):
            for p, q, g in zip(params, usual, self.gradients(params, seed), strict=True):
                p.grad = g.transpose(-1, -2).contiguous().transpose(-1, -2)
                q.grad = g
            a.step()
            b.step()
        self.assert_close(params, usual)

    def test_expanded_gradients(self) -> None:
        params, usual = self.parameters(), self.parameters()
        a, b = self.make(params), self.make(usual)
        for p, q in zip(params, usual, strict=True):
            p.grad = torch.full((), 0.1, dtype=p.dtype).expand(p.shape)
            q.grad = torch.full_like(q, 0.1)
        a.step()
        b.step()
        self.assert_close(params, usual)

    def test_strides_of_parameters_do_not_matter(self) -> None:
        usual = self.parameters()
        params = [nn.Parameter(p.detach().transpose(-1, -2).contiguous().transpose(-1, -2)) for p in usual]
        self.run(self.make(params), params, range(3))
        self.run(self.make(usual), usual, range(3))
        self.assert_close(params, usual)

    def test_frozen_parameters_are_left_alone(self) -> None:
        params = self.parameters()
        params[0].requires_grad_(False)
        optimizer = self.make(params)
        before = self.values(params)
        for p, g in zip(params[1:], self.gradients(params, 0)[1:], strict=True):
            p.grad = g
        optimizer.step()
        assert torch.equal(before[0], params[0])

    def test_zero_grad(self) -> None:
        optimizer, params = self.started(1)
        optimizer.zero_grad(set_to_none=False)
        assert all(p.grad is not None and not p.grad.any() for p in params)
        optimizer.zero_grad()
        assert all(p.grad is None for p in params)

    # -- groups and learning rates ----------------------------------------------------------------------

    def test_groups_have_their_own_learning_rate(self) -> None:
        params = self.parameters()
        optimizer = self.make([{"params": params[:2], "lr": 0.0}, {"params": params[2:]}])
        before = self.values(params)
        self.run(optimizer, params, range(2))
        self.assert_close(before[:2], params[:2])
        assert all(not torch.equal(b, p) for b, p in zip(before[2:], params[2:], strict=True))

    def test_add_param_group(self) -> None:
        params, fresh = self.parameters(), self.parameters()
        optimizer = self.make(params[:1])
        self.run(optimizer, params[:1], range(2))
        optimizer.add_param_group({"params": params[1:]})
        assert len(optimizer.param_groups) == 2
        self.run(optimizer, params, range(5, 8))
        self.run(self.make(fresh), fresh, range(5, 8))
        self.assert_close(params[1:], fresh[1:])

    def test_refuses_a_parameter_twice(self) -> None:
        params = self.parameters()
        optimizer = self.make(params)
        self.refuses(ValueError, lambda: optimizer.add_param_group({"params": params[:1]}))
        assert len(optimizer.param_groups) == 1

    def test_takes_generators_and_names(self) -> None:
        params = self.parameters()
        self.make(p for p in params)
        optimizer = self.make([(f"weight{i}", p) for i, p in enumerate(params)])
        self.run(optimizer, params, range(1))
        assert optimizer.state_dict()["param_groups"][0]["param_names"][0] == "weight0"

    def test_refuses_nonsense(self) -> None:
        params = self.parameters()
        self.refuses(ValueError, lambda: self.make([]))
        self.refuses(TypeError, lambda: self.make(params[0]))
        self.refuses(ValueError, lambda: self.make([params[0] * 2]))
        self.refuses(ValueError, lambda: self.make(params, lr=-1.0))

    def test_tensor_learning_rate(self) -> None:
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
        optimizer, params = self.started(1)
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
        first = float(optimizer.param_groups[0]["lr"])
        for _ in range(3):
            scheduler.step(1.0)
        assert float(optimizer.param_groups[0]["lr"]) < first
        self.run(optimizer, params, range(1))

    # -- around a step ----------------------------------------------------------------------------------

    def test_step_hooks(self) -> None:
        optimizer, params = self.started(1)
        told: list[str] = []
        before = optimizer.register_step_pre_hook(lambda *_: told.append("before"))
        after = optimizer.register_step_post_hook(lambda *_: told.append("after"))
        self.run(optimizer, params, range(2))
        before.remove()
        after.remove()
        self.run(optimizer, params, range(2))
        assert told == ["before", "after"] * 2

    def test_state_dict_hooks(self) -> None:
        optimizer, _ = self.started(1)
        told: list[str] = []
        optimizer.register_state_dict_post_hook(lambda o, s: told.append("saved"))
        optimizer.register_load_state_dict_pre_hook(lambda o, s: told.append("loading"))
        optimizer.register_load_state_dict_post_hook(lambda o: told.append("loaded"))
        optimizer.load_state_dict(optimizer.state_dict())
        assert told == ["saved", "loading", "loaded"]

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
