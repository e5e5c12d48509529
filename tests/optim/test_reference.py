"""Iterates of the published implementation, stored as numbers (the folder is named by LCAT_TEST_FIXTURES)."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from lcat.optim import POGO

FOLDER = os.environ.get("LCAT_TEST_FIXTURES")
pytestmark = pytest.mark.skipif(not FOLDER, reason="LCAT_TEST_FIXTURES does not name the folder of fixtures")

BASES = {
    "sgd": {},
    "sgd_momentum": {"momentum": 0.9},
    "sgd_nesterov": {"momentum": 0.9, "nesterov": True},
    "vector_adam": {"base": "vadam"},
}


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(FOLDER) / "reference_pogo.npz") as stored:
        return {name: stored[name] for name in stored.files}


def deviation(stored, case, steps=None, **options):
    """The largest difference to the stored iterates, up to the given step."""

    def array(name):
        return torch.from_numpy(stored[f"{case['id']}/{name}"])

    weight = torch.nn.Parameter(array("x0").clone())
    target, offset = array("T"), array("C")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # weight decay in an orthogonal group, as published
        optimizer = POGO(
            [weight],
            lr=case["lr"],
            weight_decay=case["weight_decay"],
            orientation="rows" if case["rows"] else "cols",
            iteration="published",
            **BASES[case["base"]],
            **options,
        )
    worst = 0.0
    for k in range(1, (steps or max(case["steps"])) + 1):
        weight.grad = 0.5 * (weight.detach() - target) + 0.1 * offset
        optimizer.step()
        if k in case["steps"]:
            worst = max(worst, (weight.detach() - array(f"x{k}")).abs().max().item())
    return worst


@pytest.mark.parametrize("index", range(80))
def test_published_iteration_reproduces_every_case(reference, index):
    cases = json.loads(str(reference["cases"]))
    assert len(cases) == 80
    assert deviation(reference, cases[index]) < 1e-10


@pytest.mark.parametrize("index", range(0, 80, 7))
def test_foreach_on_and_off_reproduce_too(reference, index):
    case = json.loads(str(reference["cases"]))[index]
    assert deviation(reference, case, foreach=True) < 1e-10
    assert deviation(reference, case, foreach=False) < 1e-10


def test_identity_gram_deviates_little(reference):
    """One step from an orthonormal start is the same to rounding; 60 steps at these rates differ by < 5e-3."""
    cases = json.loads(str(reference["cases"]))
    assert max(deviation(reference, case, steps=1, gram_mode="identity") for case in cases) < 1e-12
    later = [deviation(reference, case, gram_mode="identity") for case in cases]
    assert 1e-9 < max(later) < 5e-3
