"""Every optimizer of lcat.optim keeps the contract; so does torch's Adam, and broken ones are found out."""

# ruff: noqa: RUF012 - the options of a suite are read, never written

from __future__ import annotations

import pickle

import pytest
import torch

from lcat import optim
from lcat.testing import OptimizerContract, OrthogonalContract


class TestTorchAdam(OptimizerContract):
    """The suite asks for nothing that torch's own optimizer does not do."""

    def optimizer(self, params, **options):
        return torch.optim.Adam(params, **options)


class TestTorchSGD(OptimizerContract):
    def optimizer(self, params, **options):
        return torch.optim.SGD(params, **{"momentum": 0.9, **options})


class Variant(OrthogonalContract):
    """An optimizer with other options, or a variant: only long runs compile its step, all runs those of the others."""

    @pytest.mark.long
    def test_step_is_one_graph(self):
        super().test_step_is_one_graph()


class TestPOGO(OrthogonalContract):
    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOMomentum(Variant):
    options = {"momentum": 0.9, "nesterov": True}

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOVectorAdam(Variant):
    options = {"base": "vadam"}

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOMuon(Variant):
    options = {"base": "muon", "momentum": 0.9}

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOTangent(Variant):
    options = {"base": "vadam", "tangent": True}

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOExactGram(Variant):
    options = {"gram_mode": "exact", "momentum": 0.9}

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOOrder2(Variant):
    options = {"normal_step": "order2"}

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOBest(Variant):
    options = {"normal_step": "best"}

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestPOGOPublished(Variant):
    options = {"iteration": "published", "max_step": 1.0, "momentum": 0.9}
    guarded = 1.25  # 5^0.5 / 2 with all five singular values at 0.7: what the guard of this iteration promises

    def optimizer(self, params, **options):
        return optim.POGO(params, **options)


class TestLanding(OrthogonalContract):
    error = 2e-2
    guarded = 0.5 + 1e-5
    rest = 1e-12

    def optimizer(self, params, **options):
        return optim.Landing(params, **options)


class TestLandingPC(Variant):
    error = 1e-3
    guarded = 0.5 + 1e-5

    def optimizer(self, params, **options):
        return optim.LandingPC(params, **options)


class TestRiemannianSGD(OrthogonalContract):
    options = {"momentum": 0.9}
    guarded = 1e-5

    def optimizer(self, params, **options):
        return optim.RiemannianSGD(params, **options)


class TestRiemannianSGDPolar(Variant):
    options = {"retraction": "polar"}
    guarded = 1e-5

    def optimizer(self, params, **options):
        return optim.RiemannianSGD(params, **options)


class TestRiemannianSGDCayley(Variant):
    options = {"retraction": "cayley"}
    guarded = 1e-4

    def optimizer(self, params, **options):
        return optim.RiemannianSGD(params, **options)


class TestRiemannianAdam(Variant):
    guarded = 1e-5

    def optimizer(self, params, **options):
        return optim.RiemannianAdam(params, **options)


class TestRSDM(OrthogonalContract):
    guarded = 1e-4

    def optimizer(self, params, **options):
        return optim.RSDM(params, **{"rank": 3, **options})


class TestRSDMOrthogonal(Variant):
    options = {"sampling": "orthogonal"}
    guarded = 1e-4

    def optimizer(self, params, **options):
        return optim.RSDM(params, **options)


class TestSLPG(OrthogonalContract):
    def optimizer(self, params, **options):
        return optim.SLPG(params, **options)


class TestSLPGSparse(Variant):
    options = {"regularizer": "l1", "gamma": 0.01}

    def optimizer(self, params, **options):
        return optim.SLPG(params, **options)

    # the regularizer moves the weights without a gradient
    test_zero_gradient_from_rest_moves_nothing = None


class WritesGradients(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.mul_(0.5)
        return super().step(closure)


class IgnoresClosure(torch.optim.SGD):
    def step(self, closure=None):
        return super().step()


class CountsForAll(torch.optim.Adam):
    """One step counter for the whole group, as some published optimizers keep it."""

    def step(self, closure=None):
        loss = super().step(closure)
        counts = [s["step"] for s in self.state.values()]
        for state in self.state.values():
            state["step"] = max(counts).clone()
        return loss

    def add_param_group(self, group):
        super().add_param_group(group)
        for p in self.param_groups[-1]["params"]:
            self.state[p] = {
                "step": torch.tensor(float(len(self.state))),
                "exp_avg": torch.zeros_like(p),
                "exp_avg_sq": torch.zeros_like(p),
            }


class HoldsFunctions(torch.optim.SGD):
    def add_param_group(self, group):
        super().add_param_group({**group, "view": lambda x: x})


class Drifts(optim.POGO):
    def update(self, X, D, scale, group, bucket):
        return X - group["lr"] * scale * D


@pytest.mark.parametrize(
    ("broken", "contract", "clauses"),
    [
        (WritesGradients, OptimizerContract, {"test_never_writes_gradients"}),
        (IgnoresClosure, OptimizerContract, {"test_closure_is_called_with_gradients_and_its_loss_returned"}),
        (
            CountsForAll,
            OptimizerContract,
            {"test_state_appears_with_the_first_gradient", "test_late_gradient_starts_fresh"},
        ),
        (HoldsFunctions, OptimizerContract, {"test_pickles", "test_resumes_bit_for_bit_through_a_file"}),
        (Drifts, OrthogonalContract, {"test_orthogonality_survives_noise", "test_any_learning_rate_stays_finite"}),
    ],
)
def test_the_contract_finds_what_is_broken(broken, contract, clauses):
    class Suite(contract):
        def optimizer(self, params, **options):
            return broken(params, **{"lr": 1e-2, **options})

    suite = Suite()
    for clause in clauses:
        check = getattr(suite, clause)
        with pytest.raises((AssertionError, AttributeError, pickle.PicklingError, torch.linalg.LinAlgError)):
            check()


def test_the_contract_is_large_enough():
    assert len(OptimizerContract.clauses()) >= 40
    assert len(OrthogonalContract.clauses()) >= 54
