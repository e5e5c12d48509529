"""Numbers as users pass them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from lcat._numbers import as_float, as_int


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
