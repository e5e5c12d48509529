"""Schedules have the values of their formulas, and drive an optimizer."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from lcat.train import SCHEDULES, FitConfig, MinibatchConfig, build_schedule, schedule_factor


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, (1 + math.cos(math.pi / 4)) / 2, 0.5, (1 + math.cos(3 * math.pi / 4)) / 2]),
        ("step", [1.0, 1.0, 0.1, 0.01]),
    ],
)
def test_values(name, expected):
    assert [schedule_factor(name, epoch, 4) for epoch in range(4)] == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_warmup_rises_and_then_starts_at_one(name):
    factors = [schedule_factor(name, epoch, 10, warmup=3) for epoch in range(10)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert all(late <= early for early, late in itertools.pairwise(factors[3:]))


def test_build_schedule_sets_the_rate_of_every_group():
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [parameters[0]], "lr": 1.0}, {"params": [parameters[1]], "lr": 0.1}])
    schedule = build_schedule(optimizer, "linear", epochs=4)
    rates = []
    for _ in range(4):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    assert [first for first, _ in rates] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert [second for _, second in rates] == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_refusals():
    with pytest.raises(ValueError, match="constant, cosine, linear, step; got 'cos'"):
        schedule_factor("cos", 0, 10)
    for warmup in (-1, 10):
        with pytest.raises(ValueError, match=f"warmup must lie in 0 .. epochs - 1 = 9; got {warmup}"):
            schedule_factor("constant", 0, 10, warmup)


def test_wrong_arguments_of_a_schedule_are_named():
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"expected a torch\.optim\.Optimizer as the optimizer, got Linear"):
        build_schedule(model, "cosine", 3)
    for epochs in (0, -1, 2.5, "3", None):
        with pytest.raises(ValueError, match="epochs must be a whole number, at least 1"):
            build_schedule(optimizer, "cosine", epochs)
    with pytest.raises(ValueError, match=r"warmup must be a whole number, at least 0; got 0\.5"):
        build_schedule(optimizer, "cosine", 3, 0.5)


def test_settings_of_a_training_refuse_them_when_made():
    with pytest.raises(ValueError, match="constant, cosine, linear, step; got 'cos'"):
        FitConfig(schedule="cos")
    with pytest.raises(ValueError, match=r"warmup must lie in 0 \.\. epochs - 1 = 4; got 5"):
        MinibatchConfig(epochs=5, warmup=5)
