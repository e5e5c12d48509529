"""What the compiler makes of the GPU kernels, for GPUs that need not be there.

In a process of its own: this one may have told Triton to interpret.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

SCRIPT = Path(__file__).with_name("triton_aot.py")
MOST_REGISTERS = 184  # of the kernels without edge attributes: at least 11 warps fit on a multiprocessor
# Without per-edge tensors and dropout, for several heads, with one warp and one edge of a row per step, these exchange
# nothing through shared memory in single precision and below.
NO_BARRIER = {
    "_aggregate.triton:forward",
    "_gat_attention.triton:source",
    "_gat_attention.triton:target",
    "_gatv2_attention.triton_kernels:forward",
    "_gatv2_attention.triton_kernels:source",
}
SPILLS = {"sm_80": 8, "sm_90": 0}  # bytes per thread, in two kernels on sm_80
ALL_REGISTERS = 255  # what the hardware has; beyond it numbers go to memory


def run(*arguments: str, code: str | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, *(["-c", code] if code else [str(SCRIPT)]), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=SCRIPT.parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout


def compiled(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments).splitlines()]


def problems(rows: list[dict[str, Any]]) -> list[str]:
    """What is wrong with each compiled kernel."""
    messages = []
    for row in rows:
        name = f"{row['target']} {row['kernel']} {row['heads']}x{row['features']} {row['dtype']} {row['options']}"
        for line in row["narrow addresses"]:
            messages.append(f"{name}: a far address in 32 bits: {line}")
        if row["registers"] is None:
            continue
        if row["stack"] > SPILLS[row["target"]]:
            messages.append(f"{name}: {row['stack']} bytes of local memory")
        attributes = row["options"] and ("gatv2_attention" in row["kernel"] or "dot_attention" in row["kernel"])
        if row["registers"] > (ALL_REGISTERS if attributes or row["dtype"] == "float64" else MOST_REGISTERS):
            messages.append(f"{name}: {row['registers']} registers")
        plain = not row["options"] and row["features"] % 4 == 0 and row["warps"] == 1
        plain = plain and row["heads"] > 1 and row["dtype"] != "float64"
        if (
            plain
            and row["tile"].get("BLOCK_EDGES", 1) == 1
            and row["kernel"] in NO_BARRIER
            and row["barriers in loops"]
        ):
            messages.append(f"{name}: {row['barriers in loops']} barriers in loops")
        if _reads_rows(row["kernel"]) and row["features"] % 4 == 0 and not {"v4.b32", "v2.b64"} & set(row["loads"]):
            messages.append(f"{name}: rows are not read in 16-byte pieces: {row['loads']}")
    return messages


def _reads_rows(kernel: str) -> bool:
    module, name = kernel.split(":")
    return module != "_triton.tiles" and name in ("forward", "target", "source", "weight", "scores", "scores_backward")


def test_usual_configurations_on_hopper():
    rows = compiled("--targets", "sm_90")
    assert {row["kernel"] for row in rows} == {
        "_gatv2_attention.triton_kernels:forward",
        "_gatv2_attention.triton_kernels:matrix",
        "_gatv2_attention.triton_kernels:source",
        "_gatv2_attention.triton_kernels:target",
        "_dot_attention.triton_kernels:forward",
        "_dot_attention.triton_kernels:source",
        "_dot_attention.triton_kernels:target",
        "_triton.tiles:softmax",
        "_triton.tiles:sum",
        "_aggregate.triton:forward",
        "_aggregate.triton:weight",
        "_extremes.triton:forward",
        "_extremes.triton:parts",
        "_extremes.triton:source",
        "_gat_attention.triton:forward",
        "_gat_attention.triton:source",
        "_gat_attention.triton:target",
        "_gat_attention.triton_scores:scores",
        "_gat_attention.triton_scores:scores_backward",
    }
    assert problems(rows) == []


@pytest.mark.long
def test_every_configuration_everywhere():
    rows = compiled("--everything")
    assert {row["target"] for row in rows} == {"sm_80", "sm_90", "gfx942"}
    assert problems(rows) == []


def test_the_address_check_sees_a_narrow_address():
    code = """
import sys, tempfile, torch, importlib.util
sys.path.insert(0, "tests/ops")
import triton_aot
source = '''
import triton, triton.language as tl
@triton.jit
def wide_kernel(X, INDEX, OUT, S: tl.constexpr):
    row = tl.load(INDEX + tl.program_id(0).to(tl.int64)).to(tl.int64)
    tl.store(OUT + tl.arange(0, 4), tl.load((X + row * S) + tl.arange(0, 4)))
@triton.jit
def narrow_kernel(X, INDEX, OUT, S: tl.constexpr):
    row = tl.load(INDEX + tl.program_id(0).to(tl.int64))
    tl.store(OUT + tl.arange(0, 4), tl.load(X + (row * S + tl.arange(0, 4))))
@triton.jit
def narrow_program_kernel(X, INDEX, OUT, S: tl.constexpr):
    tl.store(OUT + tl.arange(0, 4), tl.load(X + (tl.program_id(0) * S + tl.arange(0, 4))))
'''
with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
    file.write(source)
    file.flush()
    spec = importlib.util.spec_from_file_location("kernels", file.name)
    kernels = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(kernels)
    arguments = dict(X=torch.empty(4), INDEX=torch.empty(4, dtype=torch.int32), OUT=torch.empty(4), S=64)
    for name in ("wide", "narrow", "narrow_program"):
        launch = triton_aot.Launch(getattr(kernels, name + "_kernel"), 1, None, arguments)
        made = triton_aot.compile_launch(launch, triton_aot.TARGETS["sm_90"])
        print(name, len(triton_aot.narrow_addresses(made.ttir)))
"""
    assert run(code=code).split() == ["wide", "0", "narrow", "1", "narrow_program", "1"]


def test_importing_the_library_does_not_import_triton():
    # PyTorch Geometric may; what matters is that we do not, and that no kernel is defined before it is used.
    code = "import sys, lcat.ops; print('triton' in sys.modules, 'lcat.ops._triton.launch' in sys.modules)"
    assert run(code=code).split() == ["False", "False"]
    code = "import sys, lcat, lcat.nn; print('lcat.ops._triton.launch' in sys.modules)"
    assert run(code=code).split() == ["False"]
