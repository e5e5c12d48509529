"""Checksums: every single change shows, also one that a sum would hide; they do not depend on the surroundings."""

from __future__ import annotations

import pytest
import torch

import lcat.ops
from lcat import _checksum
from lcat._checksum import checksum

DTYPES = [torch.int64, torch.int32, torch.int16, torch.uint8, torch.float32, torch.float64, torch.bfloat16, torch.bool]


@pytest.fixture(params=["compiled", "torch"])
def compute(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setattr(_checksum, "_compiled", None)
    elif lcat.ops.native_status().instruction_set is None:
        pytest.skip("no compiled kernels")
    return checksum


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("count", [1, 3, 7, 33, 300])
def test_every_single_change_shows(compute, dtype, count):
    tensor = torch.zeros(count, dtype=dtype)
    before = compute(tensor)
    sums = {before}
    for i in range(count):
        tensor[i] = 1
        sums.add(compute(tensor))
        tensor[i] = 0
    assert len(sums) == count + 1
    assert compute(tensor) == before


def test_sizes_show(compute):
    assert len({compute(torch.zeros(n, dtype=torch.int64)) for n in (1, 2, 31, 32, 33, 8192, 8193, 200_000)}) == 8


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("count", [40, 20_000, 300_000])
def test_swapped_numbers_show(compute, dtype, count):
    """What sums cannot see; zeros and ones differ in the highest bits alone of a word of two floats."""
    tensor = torch.randint(2, (count,)).to(dtype)
    before = compute(tensor)
    for step in (1, 2, 32, 64, 128, 4096, 8192, 16384, count // 2):
        if step >= count:
            continue
        for i in range(min(count - step, 20)):
            first, second = tensor[i].item(), tensor[i + step].item()
            if first != second:
                tensor[i], tensor[i + step] = second, first
                assert compute(tensor) != before, (step, i)
                tensor[i], tensor[i + step] = first, second
    assert compute(tensor) == before


def test_the_rows_of_edges_swapped_and_edges_in_another_order_show(compute):
    edges = torch.randint(50, (2, 4000))
    assert compute(edges.flip(0).contiguous()) != compute(edges)
    assert compute(edges[:, torch.randperm(4000)].contiguous()) != compute(edges)


@pytest.mark.parametrize(
    "view",
    [
        lambda t: t[:, :77],
        lambda t: t[:, 1::2],
        lambda t: t.t(),
        lambda t: t[0].expand(2, -1),
        lambda t: t[:, :0],
        lambda t: t[0],
        lambda t: t.view(2, 10, 10).transpose(0, 2),
    ],
    ids=["part of rows", "steps", "transposed", "expanded", "empty", "row", "three dimensions"],
)
def test_views_are_read_where_their_numbers_are(compute, view):
    base = torch.arange(200).view(2, 100)
    before = compute(view(base))
    for i in range(200):
        seen = bool((view(base) == i).any())
        base.view(-1)[i] += 1000
        assert (compute(view(base)) != before) == seen
        base.view(-1)[i] -= 1000


def test_threads_do_not_change_it():
    tensor = torch.randint(1000, (2, 150_000))
    one = checksum(tensor)
    torch.set_num_threads(3)
    assert checksum(tensor) == one


def test_memory_that_is_gone_is_not_read(compute):
    tensor = torch.arange(10)
    tensor.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        compute(tensor)


def test_on_other_devices_it_is_known_only_while_collectives_may_write(monkeypatch):
    """The host would wait for the device; ``meta`` stands for a GPU here, and has no numbers."""
    tensor = torch.arange(10, device="meta")
    assert checksum(tensor) is None
    asked = []
    monkeypatch.setattr(_checksum, "_has_process_group", lambda: True)
    monkeypatch.setattr(_checksum, "_by_torch", lambda t: asked.append(t) or 7)
    assert checksum(tensor) == 7
    assert asked[0] is tensor
