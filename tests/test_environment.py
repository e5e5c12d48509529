"""What results say about the machine and the packages they were made with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lcat
from lcat import _environment
from lcat._environment import (
    gpu_names,
    load_average,
    memory_bytes,
    package_version,
    process_bytes,
    processor,
    versions,
)

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_package_version():
    assert package_version("torch") == importlib.metadata.version("torch")
    assert package_version("a-package-that-nobody-wrote") is None


def test_versions_have_the_keys_that_stores_keep():
    assert versions() == {
        "lcat": lcat.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch-geometric": importlib.metadata.version("torch-geometric"),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory_bytes() / 2**30:.0f} GiB",
        "threads": str(torch.get_num_threads()),
    }


def test_processor(tmp_path, monkeypatch):
    assert processor()
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel\t\t: 85\nmodel name\t: A: fast one\nmodel name\t: B\n")
    read = _environment._field
    monkeypatch.setattr(_environment, "_field", lambda path, name: read(tmp_path / path.name, name))
    assert processor() == "A: fast one"
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd\n")  # ARM names no model
    assert processor() == (platform.processor() or platform.machine())


def test_where_there_is_no_proc(monkeypatch):
    monkeypatch.setattr(_environment, "Path", lambda path: Path("/nowhere") / path.lstrip("/"))
    assert memory_bytes() is None
    assert process_bytes("VmRSS") is None
    assert processor() == (platform.processor() or platform.machine())


@linux
def test_memory_of_the_machine():
    assert memory_bytes() == pytest.approx(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), rel=1e-3)
    assert 0 < memory_bytes("MemAvailable") < memory_bytes()
    assert memory_bytes("NoSuchField") is None


@linux
def test_memory_of_the_process():
    before = process_bytes("VmRSS")
    block = np.ones(64_000_000 // 8)
    assert 50e6 < process_bytes("VmRSS") - before < 80e6
    assert process_bytes("VmHWM") >= process_bytes("VmRSS") - 1e6
    del block


def test_load_average(monkeypatch):
    if hasattr(os, "getloadavg"):
        assert load_average() >= 0
        monkeypatch.delattr(os, "getloadavg")
    assert load_average() is None  # Windows


def test_gpu_names(monkeypatch):
    assert len(gpu_names()) == torch.cuda.device_count()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    assert gpu_names() == ["GPU 0", "GPU 1"]
