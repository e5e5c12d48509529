"""Devices as users name them."""

from __future__ import annotations

import pytest
import torch

import lcat.ops
from lcat._device import read_device
from lcat.data import Split
from lcat.graph import cache_info
from lcat.nn.models import GCN
from lcat.study import make_plan, run_study
from lcat.study.running.training import run_cell
from lcat.train import layerwise_inference, load_checkpoint, processes, save_checkpoint


def test_devices_and_their_names():
    assert read_device("cpu") == torch.device("cpu")
    assert read_device(torch.device("cuda:1")) == torch.device("cuda", 1)


def _infer(device):
    edges = torch.tensor([[0, 1], [1, 2]])
    return layerwise_inference(GCN(4, 4, num_layers=1), torch.randn(3, 4), edges, device=device)


def _move_split(device):
    return Split(*torch.eye(3, dtype=torch.bool)).to(device)


def _run_cell(device):
    return run_cell(None, None, device=device)  # the device is read first


_USES = [read_device, cache_info, lcat.ops.explain, _infer, _move_split, _run_cell]


@pytest.mark.parametrize("use", _USES)
@pytest.mark.parametrize("device", ["x", "gpu", "", "cpu:a"])
def test_unknown_names_are_told_in_our_words(use, device):
    with pytest.raises(ValueError, match=rf"^expected 'device' such as 'cpu', 'cuda' or 'cuda:0', got '{device}'$"):
        use(device)


def _load_checkpoint(device, tmp_path):
    save_checkpoint(tmp_path / "state.pt", {"a": torch.ones(2)})
    return load_checkpoint(tmp_path / "state.pt", device)


def test_a_checkpoint_on_a_device_that_does_not_exist_is_not_called_damaged(tmp_path):
    with pytest.raises(ValueError, match=r"^expected 'device' such as 'cpu', 'cuda' or 'cuda:0', got 'x'$"):
        _load_checkpoint("x", tmp_path)
    with pytest.raises(ValueError, match=r"^expected a device that can be used here, got 'cuda:99'"):
        _load_checkpoint("cuda:99", tmp_path)
    assert _load_checkpoint("cpu", tmp_path)["a"].tolist() == [1, 1]
    assert _load_checkpoint(None, tmp_path)["a"].tolist() == [1, 1]


def test_processes_take_names_of_devices():
    with pytest.raises(ValueError, match=r"expected cpu, cuda, cuda:1 or mps as device, got 'gpu' \(did you mean cuda"):
        processes("gpu").__enter__()
    with pytest.raises(TypeError, match=r"^expected 'device' as a torch.device or its name.* of type int"):
        processes(3).__enter__()


@pytest.mark.parametrize("use", [*_USES[:3], _move_split])
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device is here")
def test_devices_that_are_not_here():
    with pytest.raises(ValueError, match="expected a device that can be used here, got 'cuda'"):
        _infer("cuda")
    plan = make_plan(datasets=["csbm:easy,n=60"], layers=["gcn"], seeds=1, run={"device": "cuda", "engine": "inline"})
    with pytest.raises(ValueError, match="expected a device that can be used here, got 'cuda'"):
        run_study(plan)
