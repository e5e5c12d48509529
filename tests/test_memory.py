"""Tensors whose storage is shorter than they say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lcat._memory import check_memory, has_memory


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x,
        lambda x: x[2:],
        lambda x: x.t(),
        lambda x: x[:, 1:3],
        lambda x: x[3:, 3:],
        lambda x: x[:1].expand(4, 5),
        lambda x: x[2].unsqueeze(1).expand(5, 7),
    ],
    ids=["all", "offset", "transposed", "columns", "last", "expanded", "expanded row"],
)
def test_one_byte_too_few(view) -> None:
    x = torch.randn(4, 5)
    tensor: Tensor = view(x)
    numbers = torch.arange(20).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
    needed = 4 * (int(numbers.max()) + 1)
    x.untyped_storage().resize_(needed)
    assert has_memory(tensor)
    check_memory("x", tensor)
    x.untyped_storage().resize_(needed - 1)
    assert not has_memory(tensor)
    with pytest.raises(RuntimeError, match=rf"'x' with {needed} bytes.*got {needed - 1}.*freed or shrunk.*load it"):
        check_memory("x", tensor)


def test_nothing_needs_no_memory() -> None:
    x = torch.randn(4, 5)
    empty = x[4:]
    x.untyped_storage().resize_(0)
    check_memory("x", empty)
    check_memory("x", torch.empty(0, 3).t())
