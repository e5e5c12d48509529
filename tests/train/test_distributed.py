"""Two processes under torchrun do what one does."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lcat.train import Processes, load_checkpoint, processes

SCRIPT = Path(__file__).with_name("distributed_run.py")
ROOT = Path(__file__).parents[2]


def torchrun(*arguments: object, count: int = 2, check: bool = True) -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", str(count),
            "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1",
            str(SCRIPT), *map(str, arguments),
        ],
        env=environment, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("distributed_run", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes_train_as_one(script, tmp_path):
    done = torchrun("curves", tmp_path)
    assert "destroy_process_group" not in done.stderr, "left in order"
    assert "find_unused_parameters" not in done.stderr
    two = json.loads((tmp_path / "curves.json").read_text())
    assert two.pop("sum") == [3.0, 1.0]
    assert two.pop("failed") == [
        "ZeroDivisionError: division by zero",
        "RuntimeError: process 0 failed: division by zero",
    ]
    assert two.pop("failed in the last") == [
        "RuntimeError: process 1 failed: division by zero",
        "ZeroDivisionError: division by zero",
    ]
    one = script.curves(Processes())
    assert list(one) == list(two)
    for name in one:
        for curve in ("loss", "val_loss", "val", "test", "lr"):
            assert two[name]["history"][curve] == pytest.approx(one[name]["history"][curve], abs=1e-10), (name, curve)
        for key, value in one[name]["weights"].items():
            torch.testing.assert_close(torch.tensor(two[name]["weights"][key]), torch.tensor(value), atol=1e-9, rtol=0)
    # One step of SGD at rate 1 moves the weights by the gradient: those of two processes are those of one.
    for key, value in one["one step of sgd"]["weights"].items():
        actual = torch.tensor(two["one step of sgd"]["weights"][key], dtype=torch.float64)
        torch.testing.assert_close(actual, torch.tensor(value, dtype=torch.float64), atol=1e-10, rtol=0)
    assert not any(math.isnan(value) for value in one["plain"]["history"]["val"])


@pytest.mark.long
def test_two_processes_resume_bit_for_bit(tmp_path):
    torchrun("unbroken", tmp_path, 0)
    for epoch in (1, 3):
        task = f"killed-{epoch}"
        assert torchrun(task, tmp_path, epoch, check=False).returncode != 0
        assert not (tmp_path / f"{task}.json").exists()
        torchrun(task, tmp_path, 0)
        assert (tmp_path / f"{task}.json").read_text() == (tmp_path / "unbroken.json").read_text()
        one, two = (load_checkpoint(tmp_path / f"{name}.weights") for name in (task, "unbroken"))
        assert all(torch.equal(one[key], two[key]) for key in one)
    # With another number of processes it is another training, and said so.
    done = torchrun("killed-1", tmp_path, 0, count=1, check=False)
    assert done.returncode != 0
    assert "with processes 2, and now it is 1" in done.stderr


def test_one_process_joins_nobody(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes("cpu") as group:
        assert (group.rank, group.world_size, group.is_main) == (0, 1, True)
        model = torch.nn.Linear(2, 2)
        assert group.wrap(model) is model
        assert group.gather(5) == [5]
        assert group.broadcast("x") == "x"
        for together in (group.on_main, group.all_or_none):
            with pytest.raises(ZeroDivisionError):
                together(lambda: 1 / 0)
    assert not torch.distributed.is_initialized()


def test_half_an_environment_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match=r"lacks WORLD_SIZE, .*start with torchrun"), processes():
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there are GPUs")
def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match="there are 0 GPUs: start fewer processes"), processes("cuda"):
        pass


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ("cudda", r"expected cpu, cuda, cuda:1 or mps as device, got 'cudda' \(did you mean cuda\?\)"),
        ("gpu", r"got 'gpu' \(did you mean cuda\?\)"),
        ("meta", "got 'meta'"),
        ("", "got ''"),
        ("cuda:x", "got 'cuda:x'"),
    ],
)
def test_devices_that_do_not_exist(monkeypatch, device, words):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ValueError, match=words), processes(device):
        pass


@pytest.mark.parametrize("numbers", [(5, 2), (2, 2), (-1, 2), (0, 0), ("0", 2), (0.0, 1), (True, 2)])
def test_numbers_of_processes_are_checked_where_they_are_made(numbers):
    with pytest.raises(ValueError, match=r"expected a 'rank' from 0 and below 'world_size'.*processes\(\)"):
        Processes(*numbers)


def test_devices_of_processes_are_read_and_numbers_are_plain():
    made = Processes(np.int64(1), np.int64(2), "cpu")
    assert (type(made.rank), type(made.world_size), made.device) == (int, int, torch.device("cpu"))
    with pytest.raises(ValueError, match="expected 'device' such as"):
        Processes(device="gpu")


@pytest.mark.parametrize(
    "call",
    [
        lambda group: group.sum([1.0]),
        lambda group: group.gather(1),
        lambda group: group.broadcast(1),
        lambda group: group.wrap(torch.nn.Linear(1, 1)),
        lambda group: group.share_weights(torch.nn.Linear(1, 1)),
        lambda group: group.share_buffers(torch.nn.BatchNorm1d(1)),
        lambda group: group.sum_gradients([]),
        lambda group: group.on_main(int),
        lambda group: group.all_or_none(int),
    ],
)
def test_processes_that_were_not_started(call):
    with pytest.raises(RuntimeError, match=r"there are 2 processes, but torch\.distributed has not been started"):
        call(Processes(0, 2))
