"""Devices as users name them."""

from __future__ import annotations

import pytest
import torch

import lcat.ops
from lcat._device import read_device
from lcat.graph import cache_info


def test_devices_and_their_names():
    assert read_device("cpu") == torch.device("cpu")
    assert read_device(torch.device("cuda:1")) == torch.device("cuda", 1)


@pytest.mark.parametrize("use", [read_device, cache_info, lcat.ops.explain])
@pytest.mark.parametrize("device", ["x", "gpu", "", "cpu:a"])
def test_unknown_names_are_told_in_our_words(use, device):
    with pytest.raises(ValueError, match=rf"^expected 'device' such as 'cpu', 'cuda' or 'cuda:0', got '{device}'$"):
        use(device)


@pytest.mark.parametrize("use", [read_device, cache_info, lcat.ops.explain])
@pytest.mark.parametrize("device", [None, 0, 1.5, ["cpu"], torch.ones(2)])
def test_other_types(use, device):
    with pytest.raises(TypeError, match=r"^expected 'device' as a torch.device or its name.* of type "):
        use(device)


@pytest.mark.parametrize("name", ["aggregate", "agregate", "gat_attention"])
def test_explain_takes_no_name_of_a_primitive(name):
    with pytest.raises(ValueError, match=f"got '{name}': explain answers for all primitives, leave the name out"):
        lcat.ops.explain(name)


def test_explain_checks_the_others():
    with pytest.raises(TypeError, match=r"expected 'dtype' as a torch.dtype.*'float32'"):
        lcat.ops.explain("cpu", "float32")
    with pytest.raises(TypeError, match=r"expected 'features' as lcat.ops.Feature.*'EDGE_KEY'"):
        lcat.ops.explain(features="EDGE_KEY")


def test_a_gpu_that_is_not_there():
    with pytest.raises(
        ValueError, match=rf"expected 'device' as one of {torch.cuda.device_count()} GPUs, got 'cuda:99'"
    ):
        cache_info("cuda:99")
