"""The contract of an optimizer whose weights stay orthonormal, on top of ``torch.optim``'s."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from lcat.optim import orthogonality_error, orthogonalize_
from lcat.testing._contract import same
from lcat.testing.optimizers import OptimizerContract

__all__ = ["OrthogonalContract"]


class OrthogonalContract(OptimizerContract):
    """Orthonormal rows or columns, any shape, any learning rate; :class:`OptimizerContract` besides.

    The optimizer must take the group option ``orthogonal=False`` and read a parameter as a batch of matrices in its
    last two dimensions whose smaller side is orthonormal, as those of :mod:`lcat.optim` do.

    Attributes:
        error: largest ``|| X X^H - I ||_F`` after a float32 run at the learning rate ``lr``.
        guarded: the same at any learning rate, with any finite gradients.
        lr: learning rate of the runs whose error is measured.

    Example:
        >>> from lcat.optim import POGO
        >>> from lcat.testing import OrthogonalContract
        >>> class TestPOGO(OrthogonalContract):
        ...     def optimizer(self, params, **options):
        ...         return POGO(params, **options)
        >>> TestPOGO().test_tall_is_wide_transposed()
    """

    error = 1e-5
    guarded = 1e-3
    lr = 1e-2
    rest = 1e-4  # a step of learning rate zero still removes the error that the last one left

    def parameters(self, dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
        """Fresh orthonormal parameters, the same in every call."""
        params = super().parameters(dtype)
        orthogonalize_(params)
        return params

    def shaped(self, *shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
        """Orthonormal parameters of these shapes, the same in every call."""
        generator = torch.Generator().manual_seed(1)
        params = [nn.Parameter(torch.randn(*s, generator=generator, dtype=dtype)) for s in shapes]
        orthogonalize_(params)
        return params

    def test_orthogonality_survives_noise(self) -> None:
        """500 steps of pure noise in float32; errors do not add up."""
        params = self.shaped((4, 6), (6, 4), (5, 5), (3, 8, 16), dtype=torch.float32)
        optimizer = self.make(params, lr=self.lr)
        self.run(optimizer, params, range(500))
        assert orthogonality_error(params) <= self.error

    def test_any_learning_rate_stays_finite(self) -> None:
        """At any learning rate the error stays within ``guarded``."""
        for lr in (0.1, 1.0, 1e2, 1e6, 1e30):
            params = self.shaped((4, 6), (6, 4), (5, 5), (1, 3), dtype=torch.float32)
            optimizer = self.make(params, lr=lr)
            for seed in range(20):
                self.run(optimizer, params, range(seed, seed + 1))
                assert orthogonality_error(params) <= self.guarded, f"at lr={lr}"

    def test_any_gradient_stays_finite(self) -> None:
        """With gradients of any size, up to the largest number, the error stays within ``guarded``."""
        for dtype in (torch.float32, torch.float64):
            params = self.shaped((4, 6), (6, 4), (5, 5), dtype=dtype)
            optimizer = self.make(params, lr=1.0)
            largest = torch.finfo(dtype).max
            for size in (1e10, 1e15, 1e18, 1e25, 1e36, largest, largest, 1e-30, 1.0):
                for p, g in zip(params, self.gradients(params, 0), strict=True):
                    p.grad = (g / g.abs().max()) * size if size == largest else g * size
                optimizer.step()
                assert orthogonality_error(params) <= self.guarded, f"at gradients of {size} in {dtype}"

    def test_normal_gradients_do_not_throw_it_off(self) -> None:
        """PCA, whose gradient at the optimum is not zero but normal to the manifold, at any learning rate."""
        for lr in (0.02, 0.5, 1e3, 1e30):
            params = self.shaped((3, 20), (20, 3), (5, 5), dtype=torch.float32)
            optimizer = self.make(params, lr=lr)
            for seed in range(30):
                for p in params:
                    n = max(p.shape)
                    scale = torch.linspace(1, 9, n)
                    p.grad = -(p * scale) if p.shape[1] == n else -(p * scale[:, None])
                    p.grad = p.grad.detach()
                optimizer.step()
                assert orthogonality_error(params) <= self.guarded, f"at lr={lr} after {seed + 1} steps"

    def test_what_it_leaves_it_takes_as_a_start(self) -> None:
        """A run at a large rate goes on, bit for bit, with an optimizer made from its weights."""
        for lr in (0.1, 5.0):
            params = self.parameters(torch.float32)
            optimizer = self.make(params, lr=lr)
            self.run(optimizer, params, range(5))
            again = [nn.Parameter(value) for value in self.values(params)]
            resumed = self.make(again, lr=lr)
            resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            for each, weights in ((optimizer, params), (resumed, again)):
                self.run(each, weights, range(5, 9))
            assert same(self.values(params), self.values(again)), f"at lr={lr}"

    def test_refuses_a_state_of_other_shapes_or_names(self) -> None:
        """A state whose parameters were in another order raises a ValueError, and nothing is loaded."""
        for names in (None, ("a", "b")):
            params = self.shaped((4, 6), (6, 4))
            labeled = params if names is None else list(zip(names, params, strict=True))
            one, two = self.make(labeled), self.make(labeled[::-1])
            self.run(one, params, range(2))
            self.run(two, params[::-1], range(2))
            before = copy.deepcopy(two.state_dict())
            saved = copy.deepcopy(one.state_dict())
            if names is None and not any(
                isinstance(value, Tensor) and value.dim() > 0
                for entry in saved["state"].values()
                for value in entry.values()
            ):
                continue  # nothing in this state has a shape
            self.refuses(ValueError, lambda two=two, saved=saved: two.load_state_dict(saved))  # type: ignore[misc]
            assert same(two.state_dict(), before), "a refused state was loaded in part"

    def test_complex(self) -> None:
        """Complex matrices descend and stay orthonormal."""
        for dtype, tolerance in ((torch.complex64, self.error), (torch.complex128, self.error)):
            params = self.shaped((4, 6), (6, 4), (5, 5), (2, 3, 5), dtype=dtype)
            targets = [t.detach() for t in self.shaped((4, 6), (6, 4), (5, 5), (2, 3, 5), dtype=dtype)]
            with torch.no_grad():
                for t in targets:
                    t *= 1j
            optimizer = self.make(params, lr=self.lr)
            losses = []
            for _ in range(300):
                optimizer.zero_grad()
                loss = sum((p - t).abs().square().sum() for p, t in zip(params, targets, strict=True))
                assert isinstance(loss, Tensor)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            assert losses[-1] < losses[0]
            assert orthogonality_error(params) <= tolerance

    def test_half_precision_stays_near(self) -> None:
        """Stored in half precision, computed in single: near the rounding of the storage."""
        for dtype, tolerance in ((torch.float16, 2e-2), (torch.bfloat16, 1e-1)):
            params = self.shaped((8, 12), (12, 8), dtype=torch.float32)
            params = [nn.Parameter(p.detach().to(dtype)) for p in params]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                optimizer = self.make(params, lr=self.lr)
            self.run(optimizer, params, range(100))
            assert all(p.dtype == dtype for p in params)
            assert orthogonality_error(params) <= max(tolerance, 2 * self.error)

    def test_tall_is_wide_transposed(self) -> None:
        """A tall matrix moves as its transpose."""
        wide = self.shaped((3, 7))
        tall = [nn.Parameter(wide[0].detach().mT.contiguous())]
        a, b = self.make(wide), self.make(tall)
        for seed in range(5):
            wide[0].grad = self.gradients(wide, seed)[0]
            tall[0].grad = wide[0].grad.mT
            a.step()
            b.step()
        self.assert_close(wide, [tall[0].mT])

    def test_batch_is_a_loop(self) -> None:
        """The matrices of a batch move as each one alone."""
        for shape in ((3, 7), (7, 3), (4, 4)):
            batch = self.shaped((5, *shape))
            loop = [nn.Parameter(x.clone()) for x in batch[0].detach()]
            a, b = self.make(batch), self.make(loop)
            for seed in range(4):
                grad = self.gradients(batch, seed)[0]
                batch[0].grad = grad
                for p, g in zip(loop, grad, strict=True):
                    p.grad = g.clone()
                a.step()
                b.step()
            self.assert_close([batch[0]], [torch.stack(list(loop))])

    def test_many_small_matrices(self) -> None:
        """Batches that are large enough for another memory layout."""
        batch = self.shaped((600, 3, 3))
        part = [nn.Parameter(batch[0].detach()[:2].clone())]
        a, b = self.make(batch), self.make(part)
        for seed in range(4):
            batch[0].grad = self.gradients(batch, seed)[0]
            part[0].grad = batch[0].grad[:2].clone()
            a.step()
            b.step()
        self.assert_close([batch[0][:2]], part)

    def test_mixed_groups(self) -> None:
        """Euclidean groups move as under torch's AdamW, orthogonal ones as without them."""
        weights, alone = self.parameters(), self.parameters()
        bias, twin = nn.Parameter(torch.ones(7).double()), nn.Parameter(torch.ones(7).double())
        mixed = self.make(
            [{"params": weights}, {"params": [bias], "orthogonal": False, "lr": 1e-2, "weight_decay": 0.1}]
        )
        single, adamw = self.make(alone), torch.optim.AdamW([twin], lr=1e-2, weight_decay=0.1)
        for seed in range(5):
            bias.grad = self.gradients([bias], seed)[0]
            twin.grad = bias.grad.clone()
            self.run(mixed, weights, range(seed, seed + 1))
            self.run(single, alone, range(seed, seed + 1))
            adamw.step()
        torch.testing.assert_close(bias, twin, rtol=1e-12, atol=1e-12)
        assert same(self.values(weights), self.values(alone))

    def test_refuses_what_cannot_be_constrained(self) -> None:
        """Vectors, scalars, integers, lazy and non-orthonormal parameters raise a ValueError."""
        weight = self.shaped((3, 5))
        bad: list[Any] = [
            nn.Parameter(torch.ones(3)),
            nn.Parameter(torch.tensor(1.0)),
            nn.Parameter(torch.eye(3, dtype=torch.int64), requires_grad=False),
            nn.Parameter(2 * weight[0].detach()),
            nn.Parameter(torch.full((3, 3), float("nan"))),
            nn.parameter.UninitializedParameter(),
        ]
        for param in bad:
            self.refuses(ValueError, lambda param=param: self.make([param]))  # type: ignore[misc]
        optimizer = self.make(weight)
        self.refuses(ValueError, lambda: optimizer.add_param_group({"params": [bad[0]]}))
        assert len(optimizer.param_groups) == 1

    def test_refuses_sparse_gradients(self) -> None:
        """A sparse gradient raises a RuntimeError before any parameter moves."""
        params = self.parameters()
        optimizer = self.make([{"params": params[1:]}, {"params": params[:1]}])
        before = self.values(params)
        for p, g in zip(params, self.gradients(params, 0), strict=True):
            p.grad = g
        params[0].grad = torch.ones_like(params[0]).to_sparse()
        self.refuses(RuntimeError, optimizer.step)
        assert same(before, self.values(params)), "the groups before the refused one have moved"

    def test_names_the_parameter_it_refuses(self) -> None:
        """The error has the name of the parameter."""
        message = ""
        try:
            self.make([("encoder.bias", nn.Parameter(torch.ones(3)))])
        except ValueError as error:
            message = str(error)
        assert "encoder.bias" in message

    def test_step_is_one_graph(self) -> None:
        """``torch.compile(fullgraph=True)`` takes the step, and it computes the same."""
        eager, compiled = ([*self.parameters(), *self.shaped((3, 12))] for _ in range(2))
        a, b = self.make(eager), self.make(compiled)
        self.run(a, eager, range(1))
        self.run(b, compiled, range(1))
        torch._dynamo.reset()
        step = torch.compile(b.step, backend="aot_eager", fullgraph=True)
        for seed in range(1, 4):
            self.run(a, eager, range(seed, seed + 1))
            for p, g in zip(compiled, self.gradients(compiled, seed), strict=True):
                p.grad = g
            step()
        self.assert_close(eager, compiled)
