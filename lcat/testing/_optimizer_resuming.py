"""Saving, loading and copying: the part of the optimizer contract that a checkpoint relies on."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import torch

from lcat.testing._contract import same
from lcat.testing._optimizer_tools import OptimizerTools

__all__ = ["ResumingClauses"]


class ResumingClauses(OptimizerTools):
    """A run that was interrupted equals the one that was not, bit for bit."""

    def resumed(self, transport: Callable[[Any], Any], **options: Any) -> None:
        """Assert that a run resumed from a transported state equals the uninterrupted one bit for bit."""
        _, uninterrupted = self.started(8, **options)
        optimizer, params = self.started(4, **options)
        saved = transport({"weights": self.values(params), "optimizer": optimizer.state_dict()})
        again = self.parameters()
        resumed = self.make(again, **options)
        resumed.load_state_dict(saved["optimizer"])
        with torch.no_grad():
            for p, value in zip(again, saved["weights"], strict=True):
                p.copy_(value)
        self.run(resumed, again, range(4, 8))
        assert same(self.values(uninterrupted), self.values(again))

    def test_resumes_bit_for_bit_through_a_file(self) -> None:
        """With torch.load's default, ``weights_only=True``: the state is plain data."""

        def through_file(state: Any) -> Any:
            file = io.BytesIO()
            torch.save(state, file)
            file.seek(0)
            return torch.load(file, weights_only=True)

        self.resumed(through_file)

    def test_resumes_bit_for_bit_in_memory(self) -> None:
        """A copy of the state resumes bit for bit."""
        self.resumed(copy.deepcopy)

    def test_resumes_from_weights_that_were_loaded_first(self) -> None:
        """The usual order: the optimizer is made from trained weights, and its state is loaded then."""
        _, uninterrupted = self.started(8)
        optimizer, params = self.started(4)
        saved = copy.deepcopy(optimizer.state_dict())
        again = [torch.nn.Parameter(value) for value in self.values(params)]
        resumed = self.make(again)
        assert same(self.values(params), self.values(again)), "making the optimizer changed the weights"
        resumed.load_state_dict(saved)
        self.run(resumed, again, range(4, 8))
        assert same(self.values(uninterrupted), self.values(again))

    def test_pickles(self) -> None:
        """A pickled optimizer continues bit for bit."""
        optimizer, params = self.started(3)
        again, twins = pickle.loads(pickle.dumps((optimizer, params)))
        self.run(optimizer, params, range(3, 6))
        self.run(again, twins, range(3, 6))
        assert same(self.values(params), self.values(twins))

    def test_deepcopies_apart(self) -> None:
        """A deep copy is independent of the original and continues bit for bit."""
        optimizer, params = self.started(3)
        twin, twins = copy.deepcopy((optimizer, params))
        before = self.values(twins)
        self.run(optimizer, params, range(3, 6))
        assert same(before, self.values(twins))
        self.run(twin, twins, range(3, 6))
        assert same(self.values(params), self.values(twins))

    def test_loading_replaces_state(self) -> None:
        """State loaded in the middle of a run takes the place of what was there."""
        donor, _ = self.started(3)
        optimizer, params = self.started(6)
        saved = copy.deepcopy(donor.state_dict())
        optimizer.load_state_dict(saved)
        assert same(optimizer.state_dict()["state"], saved["state"])
        self.run(optimizer, params, range(1))

    def test_refuses_a_foreign_state(self) -> None:
        """The state of other groups raises a ValueError."""
        optimizer, _ = self.started()
        state = copy.deepcopy(optimizer.state_dict())
        state["param_groups"][0]["params"] = state["param_groups"][0]["params"][:-1]
        self.refuses(ValueError, lambda: optimizer.load_state_dict(state))

    def test_state_can_be_reset(self) -> None:
        """Clearing the state of a parameter is a fresh start for it."""
        optimizer, params = self.started(3)
        with torch.no_grad():
            for p, fresh in zip(params, self.parameters(), strict=True):
                p.copy_(fresh)
        for p in params:
            optimizer.state[p] = {}
        again = self.parameters()
        self.run(optimizer, params, range(5, 7))
        self.run(self.make(again), again, range(5, 7))
        self.assert_close(params, again)
