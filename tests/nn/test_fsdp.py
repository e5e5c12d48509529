"""Sharded over two processes, layers compute what they compute whole: forward, backward, a step, checkpoints."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lcat.nn
from tests.support.layers import LAYERS

SCRIPT = Path(__file__).with_name("fsdp_run.py")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", LAYERS)
def test_no_parameter_without_dimensions(name):
    """Sharding splits the first dimension; fully_shard refuses a parameter that has none."""
    layer = getattr(lcat.nn, name)(4, 3)
    assert [key for key, parameter in layer.named_parameters() if parameter.dim() == 0] == []


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="gloo and torchrun as they are used here need Linux or macOS")
def test_sharded_layers_compute_what_whole_ones_do():
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2",
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1",
            str(SCRIPT), *LAYERS,
        ],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == [f"{name} is the same" for name in LAYERS]


@pytest.mark.parametrize("name", ["LCATConv", "LCATv2Conv"])
@pytest.mark.parametrize("assign", [False, True])
def test_checkpoints_with_scalars_without_dimensions_load(name, assign):
    layer = getattr(lcat.nn, name)
    source, target = layer(4, 3, lambda1_init=0.3, lambda2_init=0.7), torch.nn.Sequential(layer(4, 3))
    old = {key: value.reshape(()) if "raw_lambda" in key else value for key, value in source.state_dict().items()}
    assert sum(value.dim() == 0 for value in old.values()) == 2
    target.load_state_dict({f"0.{key}": value for key, value in old.items()}, assign=assign)
    assert str(target[0]) == str(source)
    assert target[0].raw_lambda1.shape == (1,)
    assert target[0].raw_lambda1.requires_grad
    assert all(value.dim() == 0 for key, value in old.items() if "raw_lambda" in key), "the caller's is as it was"
