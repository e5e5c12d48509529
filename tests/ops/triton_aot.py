"""Compile the kernels that a call would launch for GPUs that are not there, and read what came out.

The interpreter checks numbers but not the compiler: whether a kernel is in the compiled dialect at all, how many
registers it takes, whether it spills, how wide its addresses are. ``recorded`` runs the library's own functions
with the launches written down instead of executed, so that what is compiled is exactly what would be launched.
Run as a script (without TRITON_INTERPRET) it prints a table of the shipped configurations.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
LAUNCHING = [
    "lcat.ops._triton_tiles",
    "lcat.ops._triton_dropout",
    "lcat.ops.aggregate.triton",
    "lcat.ops.attend_v1.triton",
    "lcat.ops.attend_v2.triton",
]
_POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


@dataclass(frozen=True)
class Launch:
    """A launch that was written down: the kernel, its arguments and its number of warps."""

    kernel: Any
    warps: int
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The kernel's name without the leading underscore and the word kernel."""
        return str(self.kernel.__name__).strip("_").removesuffix("_kernel")

    def key(self) -> tuple[Any, ...]:
        """Equal for launches that compile to the same code."""
        kinds = (str(v.dtype) if isinstance(v, torch.Tensor) else repr(v) for v in self.arguments.values())
        return (self.kernel.__module__, self.name, self.warps, *kinds)


@dataclass(frozen=True)
class Compiled:
    """What the compiler made of a launch; the counts that need a disassembler are ``None`` off NVIDIA."""

    registers: int | None
    stack: int | None
    shared: int | None
    barriers_in_loops: int | None
    ttir: str
    assembly: str


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Inside, kernels are not run: their launches are collected."""
    launches: list[Launch] = []

    def note(kernel: Any, grid: tuple[int, ...], warps: int, **arguments: Any) -> None:
        if 0 not in grid:
            launches.append(Launch(kernel, warps, arguments))

    patches = [mock.patch.object(importlib.import_module(name), "launch", note) for name in LAUNCHING]
    for patch in patches:
        patch.start()
    try:
        yield launches
    finally:
        for patch in patches:
            patch.stop()


def compile_launch(launch: Launch, target: GPUTarget) -> Compiled:
    """Compile ``launch`` for ``target`` as the run-time compiler would, pointers aligned to 16 bytes."""
    signature, constants, attributes = {}, {}, {}
    for position, parameter in enumerate(launch.kernel.params):
        value = launch.arguments[parameter.name]
        if parameter.is_constexpr or value is None:
            signature[parameter.name] = "constexpr"
            constants[parameter.name] = value
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = _POINTERS[value.dtype]
            attributes[(position,)] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = "fp32" if isinstance(value, float) else "i32"
            assert isinstance(value, float) or parameter.do_not_specialize, parameter.name
    source = ASTSource(fn=launch.kernel, signature=signature, constexprs=constants, attrs=attributes)
    options = {"num_warps": launch.warps, "num_stages": 1, "enable_fp_fusion": True}
    made = triton.compile(source, target=target, options=options)
    if target.backend != "cuda":
        return Compiled(None, None, made.metadata.shared, None, made.asm["ttir"], made.asm["amdgcn"])
    usage = _resource_usage(made.asm["cubin"])
    return Compiled(
        registers=int(re.search(r"REG:(\d+)", usage)[1]),
        stack=int(re.search(r"STACK:(\d+)", usage)[1]),
        shared=made.metadata.shared,
        barriers_in_loops=_barriers_in_loops(made.asm["ptx"]),
        ttir=made.asm["ttir"],
        assembly=made.asm["ptx"],
    )


@cache
def _cuobjdump() -> str:
    found = sorted(Path(triton.__file__).parent.rglob("cuobjdump"))
    if not found:
        raise RuntimeError("this build of triton has no cuobjdump: it cannot tell registers")
    return str(found[0])


def _resource_usage(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [_cuobjdump(), "--dump-resource-usage", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _barriers_in_loops(ptx: str) -> int:
    """Barriers between a label and a jump back to it."""
    lines = ptx.splitlines()
    label = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"(\$\w+):", line.strip()))}
    inside: set[int] = set()
    for i, line in enumerate(lines):
        jump = re.search(r"bra(?:\.uni)?\s+(\$\w+);", line)
        if jump and label.get(jump[1], i) < i:
            inside.update(range(label[jump[1]], i))
    return sum("bar.sync" in lines[i] for i in inside)


def narrow_addresses(ttir: str) -> list[str]:
    """The lines that add a 32-bit offset to a pointer."""
    return [line.strip() for line in ttir.splitlines() if "tt.addptr" in line and re.search(r"i32>?$|i32>? loc", line)]


def load_widths(ptx: str) -> dict[str, int]:
    """How often each kind of global load occurs, such as ``{"v4.b32": 2, "b32": 1}``."""
    widths: dict[str, int] = {}
    for match in re.finditer(r"ld\.global\S*?\.((?:v[248]\.)?[bfsu]\d+)", ptx):
        widths[match[1]] = widths.get(match[1], 0) + 1
    return widths
