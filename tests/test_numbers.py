"""Numbers as users pass them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from lcat import data, optim, study, train
from lcat._numbers import as_float, as_int, as_plain


@pytest.mark.parametrize(
    "value",
    [
        3,
        np.int64(3),
        np.uint8(3),
        np.array(3),
        np.array([1, 2]).max() + 1,
        torch.tensor(3),
        torch.tensor(3, dtype=torch.int32),
    ],
)
def test_whole_numbers(value):
    number = as_int(value)
    assert type(number) is int
    assert number == 3


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.bool_(True),
        np.array(True),
        torch.tensor(True),
        3.0,
        np.float32(3),
        "3",
        None,
        [3],
        np.array([3, 4]),
        3j,
    ],
)
def test_what_is_no_whole_number(value):
    assert as_int(value) is None


@pytest.mark.parametrize(
    "value",
    [0.5, np.float32(0.5), np.float16(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5), Fraction(1, 2),
     torch.tensor(0.5, dtype=torch.bfloat16, requires_grad=True)],
)  # fmt: skip
def test_real_numbers(value):
    number = as_float(value)
    assert type(number) is float
    assert number == 0.5


def test_whole_numbers_are_real_numbers_and_so_is_nan():
    assert [as_float(value) for value in (1, np.int64(1), torch.tensor(1))] == [1.0] * 3
    assert math.isnan(as_float(np.float32("nan")))


@pytest.mark.parametrize(
    "value", [True, np.bool_(True), np.array(False), torch.tensor(True), "0.5", None, [0.5], np.array([0.5]), 0.5j]
)
def test_what_is_no_real_number(value):
    assert as_float(value) is None


def test_numpy_numbers_become_plain_ones_and_nothing_else_changes():
    plain = as_plain([np.float32(0.5), np.int64(2), "a"])
    assert plain == [0.5, 2, "a"]
    assert [type(value) for value in plain] == [float, int, str]
    assert type(as_plain(np.int64(3))) is int
    array, tensor, pair = np.arange(3), torch.tensor(1), (1, 2)
    assert as_plain(array) is array
    assert as_plain(tensor) is tensor
    assert as_plain(pair) is pair


def test_optimizers_take_numpy_numbers():
    weight = torch.nn.Parameter(torch.linalg.qr(torch.randn(8, 4))[0])
    group = {"params": [weight], "matrix": [np.int64(-1), np.int32(4)], "betas": (np.float32(0.5), np.float64(0.75))}
    optimizer = optim.POGO([group], lr=np.float32(0.5), base="vadam", ns_steps=np.int64(5))
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["matrix"]) == (0.5, (0.5, 0.75), (-1, 4))
    assert [type(value) for value in group["betas"]] == [float, float]
    with pytest.raises(ValueError, match="matrix must be"):
        optim.POGO([{"params": [weight], "matrix": (True, 4)}], lr=0.1)


def test_data_take_numpy_numbers():
    graph = data.csbm(n=np.int64(60), d=np.int32(4), p=np.float32(0.25), q=np.float64(0.1), seed=np.int64(3))
    same = data.csbm(n=60, d=4, p=0.25, q=0.1, seed=3)
    assert torch.equal(graph.x, same.x)
    assert torch.equal(graph.edge_index, same.edge_index)
    ours = data.neighbor_loader(graph, np.array([2, 3]), batch_size=np.int64(20), seed=np.int64(5))
    theirs = data.neighbor_loader(graph, [2, 3], batch_size=20, seed=5)
    assert all(torch.equal(a.n_id, b.n_id) for a, b in zip(ours, theirs, strict=True))
    with pytest.raises(ValueError, match="num_neighbors must be a list of whole numbers"):
        data.neighbor_loader(graph, [True, 3])
    with pytest.raises(ValueError, match="n must be a whole number"):
        data.csbm(n=True)


def test_settings_keep_plain_numbers():
    config = train.MinibatchConfig(epochs=np.int64(3), lr=np.float32(0.5), patience=np.int64(2), accumulate=np.int64(4))
    assert config == train.MinibatchConfig(epochs=3, lr=0.5, patience=2, accumulate=4)
    assert [type(value) for value in (config.epochs, config.lr, config.accumulate)] == [int, float, int]
    for wrong in (True, 2.5, "3"):
        with pytest.raises(ValueError, match="epochs must be a whole number, at least 1"):
            train.FitConfig(epochs=wrong)
    with pytest.raises(ValueError, match=r"lr must be positive; got '0\.1'"):
        train.FitConfig(lr="0.1")


def test_plans_take_numpy_numbers():
    settings = {"datasets": ["csbm:easy,n=100"], "layers": ["gcn"]}
    assert study.make_plan(**settings, seeds=np.int64(2)) == study.make_plan(**settings, seeds=2)
