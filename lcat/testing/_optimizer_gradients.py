"""Which gradients an optimizer takes, and what it does with them: clauses about gradients."""

from __future__ import annotations

import torch
from torch import nn

from lcat.testing._contract import same
from lcat.testing._optimizer_tools import OptimizerTools

__all__ = ["GradientClauses"]


class GradientClauses(OptimizerTools):
    """Gradients of any strides and size, late ones, missing ones; none of them is written."""

    def test_never_writes_gradients(self) -> None:
        """A step leaves all gradients as they are."""
        params = self.parameters()
        optimizer = self.make(params)
        for seed in range(3):
            grads = self.gradients(params, seed)
            for p, g in zip(params, grads, strict=True):
                p.grad = g
            before = [(g.clone(), g._version, g.data_ptr()) for g in grads]
            optimizer.step()
            for p, (value, version, address) in zip(params, before, strict=True):
                assert p.grad is not None
                assert torch.equal(p.grad, value)
                assert (p.grad._version, p.grad.data_ptr()) == (version, address)

    def test_state_appears_with_the_first_gradient(self) -> None:
        """Parameters without a gradient have no state."""
        params = self.parameters()
        optimizer = self.make(params)
        assert len(optimizer.state) == 0
        params[1].grad = self.gradients(params, 0)[1]
        optimizer.step()
        assert all(p is params[1] for p in optimizer.state)

    def test_no_gradient_no_change(self) -> None:
        """Parameters without a gradient do not move."""
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
        """Gradients of zero do not move parameters that have no state."""
        params = self.parameters()
        optimizer = self.make(params)
        before = self.values(params)
        for p in params:
            p.grad = torch.zeros_like(p)
        for _ in range(3):
            optimizer.step()
        self.assert_close(before, params)

    def test_tiny_gradients_stay_finite(self) -> None:
        """Gradients that underflow leave finite weights."""
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
        """Gradients that are not contiguous give the same step."""
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
        """Gradients that share one entry in memory give the same step."""
        params, usual = self.parameters(), self.parameters()
        a, b = self.make(params), self.make(usual)
        for p, q in zip(params, usual, strict=True):
            p.grad = torch.full((), 0.1, dtype=p.dtype).expand(p.shape)
            q.grad = torch.full_like(q, 0.1)
        a.step()
        b.step()
        self.assert_close(params, usual)

    def test_strides_of_parameters_do_not_matter(self) -> None:
        """Parameters that are not contiguous move in the same way."""
        usual = self.parameters()
        params = [nn.Parameter(p.detach().transpose(-1, -2).contiguous().transpose(-1, -2)) for p in usual]
        self.run(self.make(params), params, range(3))
        self.run(self.make(usual), usual, range(3))
        self.assert_close(params, usual)

    def test_frozen_parameters_are_left_alone(self) -> None:
        """Parameters with ``requires_grad=False`` do not move."""
        params = self.parameters()
        params[0].requires_grad_(False)
        optimizer = self.make(params)
        before = self.values(params)
        for p, g in zip(params[1:], self.gradients(params, 0)[1:], strict=True):
            p.grad = g
        optimizer.step()
        assert torch.equal(before[0], params[0])

    def test_zero_grad(self) -> None:
        """``zero_grad`` removes gradients, or sets them to zero."""
        optimizer, params = self.started(1)
        optimizer.zero_grad(set_to_none=False)
        assert all(p.grad is not None and not p.grad.any() for p in params)
        optimizer.zero_grad()
        assert all(p.grad is None for p in params)
