"""Arrays of every kind that torch has become tensors; others are named."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lcat._arrays import tensor_of


@pytest.mark.parametrize("kind", ["<f4", ">f4", ">f2", ">f8", "<i8", ">i8", ">i2", "u1", "?", ">c8", ">u2"])
def test_numbers_of_both_byte_orders(kind):
    array = np.arange(6).reshape(2, 3).astype(kind)
    tensor = tensor_of(array)
    assert tensor.tolist() == array.tolist()
    assert tensor.dtype == torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).dtype


def test_memory_is_shared_and_shapes_stay():
    array = np.zeros((2, 3), np.float32)
    tensor_of(array)[1, 2] = 7
    assert array[1, 2] == 7
    assert tensor_of(np.arange(6)[::-2]).tolist() == [5, 3, 1]
    assert tensor_of(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("kind", ["datetime64[s]", "longdouble", "U3", "object", [("a", "f4")], ">M8[s]"])
def test_other_kinds_are_named(kind):
    with pytest.raises(ValueError, match=r"^an array of .*: convert it to numbers, such as float32 and int64$"):
        tensor_of(np.zeros(2, kind))
