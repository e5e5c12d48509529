"""Compile the kernels that a call would launch for GPUs that are not there, and read what came out.

The interpreter checks numbers but not the compiler: whether a kernel is in the compiled dialect at all, how many
registers it takes, whether it spills, how wide its addresses are. ``recorded`` runs the library's own functions
with the launches written down instead of executed, so that what is compiled is exactly what would be launched.
Run as a script (without TRITON_INTERPRET) it prints what came out, one line of JSON per kernel.
"""

from __future__ import annotations

import argparse
import importlib
import json
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

from lcat.ops._triton.launch import compiler_options

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
LAUNCHING = [
    "lcat.ops._triton.tiles",
    "lcat.ops._triton.dropout",
    "lcat.ops._aggregate.triton",
    "lcat.ops._extremes.triton",
    "lcat.ops._gat_attention.triton",
    "lcat.ops._gat_attention.triton_scores",
    "lcat.ops._gatv2_attention.triton",
    "lcat.ops._dot_attention.triton",
]
BLOCKS = ("BLOCK_ROWS", "BLOCK_EDGES", "BLOCK_HEADS", "BLOCK_FEATURES")
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
    """A launch that was written down: the kernel, its warps, its limit of registers, its arguments."""

    kernel: Any
    warps: int
    registers: int | None
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

    def note(kernel: Any, grid: tuple[int, ...], warps: int, *, registers: int | None = None, **arguments: Any) -> None:
        if 0 not in grid:
            launches.append(Launch(kernel, warps, registers, arguments))

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
    registers = launch.registers if target.backend == "cuda" else None
    options = compiler_options(launch.warps, registers, launch.arguments.get("F", 4))
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
    paths = sorted(Path(triton.__file__).parent.rglob("cuobjdump"))
    if not paths:
        raise RuntimeError("this build of triton has no cuobjdump: it cannot show registers")
    return str(paths[0])


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
    """The lines that add to a pointer a 32-bit offset which depends on a row, an edge or the program's place.

    A 32-bit offset may come from constants, ranges inside a row, and the second and third axes of the grid (blocks
    of heads and features), or be an index as it was loaded, nothing else: a product of an index is too large.
    """
    defined = {}
    for line in ttir.splitlines():
        if match := re.match(r"\s*(%[\w$.]+)(?::\d+)? = (\S+)(.*)", line):
            defined[match[1]] = (match[2], match[3])

    def depends_on_position(name: str, seen: set[str]) -> bool:
        name = name.split("#")[0]
        if name in seen or name not in defined:
            return False
        seen.add(name)
        operation, rest = defined[name]
        if operation == "tt.load" or (operation in ("tt.get_program_id", "tt.get_num_programs") and " x " in rest):
            return True
        return any(depends_on_position(operand, seen) for operand in re.findall(r"%[\w$.#]+", rest.split(" loc(")[0]))

    def is_loaded(name: str) -> bool:
        operation, rest = defined.get(name.split("#")[0], ("", ""))
        if operation in ("tt.expand_dims", "tt.broadcast", "tt.splat"):
            return is_loaded(re.findall(r"%[\w$.#]+", rest)[0])
        return operation == "tt.load"

    lines = []
    for line in ttir.splitlines():
        match = re.search(r"tt\.addptr %[\w$.#]+, (%[\w$.#]+) : (?:[^,]|<[^>]*>)*?, (.*?)(?: loc\(|$)", line)
        if match and "i64" not in match[2] and not is_loaded(match[1]) and depends_on_position(match[1], set()):
            lines.append(line.strip())
    return lines


def load_widths(ptx: str) -> dict[str, int]:
    """How often each kind of global load occurs in NVIDIA's assembly, such as ``{"v4.b32": 2, "b32": 1}``."""
    widths: dict[str, int] = {}
    for match in re.finditer(r"ld\.global\S*?\.((?:v[248]\.)?[bfsu]\d+)", ptx):
        widths[match[1]] = widths.get(match[1], 0) + 1
    return widths


@dataclass(frozen=True)
class Case:
    """A shape and type, plain or with every option there is; with int32 indices, or int64 as under torch.compile.

    ``mixed``: only rows of nodes have the type, and all other tensors are float32, as under autocast. ``halves``: keys
    and queries are halves of one tensor.
    """

    heads: int
    features: int
    dtype: torch.dtype
    options: bool
    traced: bool = False
    mixed: bool = False
    halves: bool = False

    def launches(self) -> list[Launch]:
        """Every kernel that forward and backward passes of all primitives would run, each once."""
        from lcat.graph import Graph
        from lcat.ops._aggregate import triton as aggregate
        from lcat.ops._dot_attention import fused as dot_fused
        from lcat.ops._dot_attention import triton as dot_attention
        from lcat.ops._extremes import triton as extremes
        from lcat.ops._fused import for_backward
        from lcat.ops._gat_attention import triton as gat_attention
        from lcat.ops._gatv2_attention import triton as gatv2_attention
        from lcat.ops._sorted import sorted_edges

        rows, edges = 40, 2000  # enough edges for rows to be cut
        ends = torch.arange(edges) % rows
        graph = Graph(ends, ends, rows, rows)
        if self.traced:  # under torch.compile the graph's own int64
            by_target, by_source = graph.by_target, graph.by_source
        else:
            by_target, by_source = sorted_edges(graph, "by_target"), sorted_edges(graph, "by_source")

        def tensor(*size: int) -> torch.Tensor:
            return torch.empty(size, dtype=torch.float32 if self.mixed else self.dtype)

        x, s = torch.empty(rows, self.heads, self.features, dtype=self.dtype), tensor(rows, self.heads)
        att = tensor(self.heads, self.features)
        dropout, seed = (0.3, torch.ones(1, dtype=torch.int64)) if self.options else (0.0, None)
        weight = tensor(edges) if self.options else None
        score = tensor(edges, self.heads) if self.options else None
        attr, matrix = None, None
        if self.options:
            attr, matrix = tensor(edges, 5), tensor(self.heads * self.features, 5)
        with recorded() as launches:
            scale = tensor(rows) if self.options else None
            aggregate.forward(x, score, by_target, rows, scale, scale)
            if score is not None:
                aggregate.weight_grad(x, x, by_target, True)
            best, ties = for_backward(extremes.forward(x, score, by_target, largest=True, for_gradients=True))
            extremes.backward(x, x, score, out=best, ties=ties, by_source=by_source, needs=[True, True])
            vector = att.to(self.dtype)
            gat_attention.scores(x, vector, vector)
            for d_value in (x, None):  # added to a gradient, and alone
                gat_attention.scores_backward(x, vector, vector, s, s, d_value, [True] * 3)
            inputs = (s, s, x, score, weight)
            out = gat_attention.forward(*inputs, by_target, 0.2, dropout, seed, True, True)
            grad = torch.empty_like(out[0])
            gat_attention.backward(
                grad, *inputs, *for_backward(out), by_target, by_source, 0.2, dropout, seed, [True] * 5
            )
            both = torch.empty(rows, 2 * self.heads, self.features, dtype=self.dtype)
            key, query = both.chunk(2, dim=1) if self.halves else (x, x)
            inputs = (key, query, x if self.options else None, att, attr, matrix, weight)
            out = gatv2_attention.forward(*inputs, by_target, 0.2, dropout, seed, True)
            gatv2_attention.backward(
                grad, *inputs, *for_backward(out), by_target, by_source, 0.2, dropout, seed, [True] * 7
            )
            query_edge = tensor(rows, self.heads, 5) if self.options else None
            inputs = (x, x, x, attr, query_edge, weight)
            out = dot_attention.forward(*inputs, by_target, 0.2, dropout, seed, True)
            dot_attention.backward(
                grad, query_edge, *inputs, *dot_fused.for_backward(out), by_target, by_source, 0.2, dropout, seed,
                [True] * 6,
            )  # fmt: skip
        return list({launch.key(): launch for launch in launches}.values())


SHAPES = [(1, 1), (1, 7), (1, 16), (1, 40), (1, 47), (1, 64), (1, 128), (1, 256), (3, 7), (4, 32)]
SHAPES += [(4, 256), (8, 3), (8, 8), (8, 16), (8, 32), (8, 64), (8, 128), (8, 256), (16, 64)]
EVERYTHING = [
    *(Case(h, f, t, o) for h, f in SHAPES for t in (torch.float32, torch.bfloat16) for o in (False, True)),
    *(Case(h, f, torch.float16, o) for h, f in [(1, 64), (8, 8), (8, 64)] for o in (False, True)),
    *(Case(h, f, torch.float64, o) for h, f in [(3, 7), (8, 8)] for o in (False, True)),
    *(Case(h, f, torch.float32, o, traced=True) for h, f in [(8, 8), (8, 64)] for o in (False, True)),
    *(Case(h, f, torch.bfloat16, o, mixed=True) for h, f in [(3, 7), (8, 8), (8, 64)] for o in (False, True)),
    *(Case(h, f, torch.float32, o, halves=True) for h, f in [(1, 64), (8, 8), (8, 64)] for o in (False, True)),
]
USUAL = [
    Case(8, 8, torch.float32, True),
    Case(8, 64, torch.bfloat16, False),
    Case(8, 64, torch.bfloat16, False, mixed=True),
    Case(8, 64, torch.bfloat16, False, halves=True),
    Case(8, 64, torch.float32, False, traced=True),
    Case(1, 47, torch.float32, False),
    Case(1, 64, torch.float16, False),
]


def report(cases: list[Case], targets: list[str]) -> Iterator[dict[str, Any]]:
    """Compile everything that ``cases`` would launch, and yield what came out, one kernel at a time."""
    done = set()
    for case in cases:
        for launch in case.launches():
            for target in targets:
                if (launch.key(), target) in done:
                    continue
                done.add((launch.key(), target))
                made = compile_launch(launch, TARGETS[target])
                loads = load_widths(made.assembly) if made.registers is not None else None
                yield {
                    "target": target,
                    "kernel": f"{launch.kernel.__module__.removeprefix('lcat.ops.')}:{launch.name}",
                    "heads": case.heads,
                    "features": case.features,
                    "dtype": str(case.dtype).removeprefix("torch."),
                    "options": case.options,
                    "halves": case.halves,
                    "tile": {k: launch.arguments[k] for k in BLOCKS if k in launch.arguments},
                    "warps": launch.warps,
                    "registers": made.registers,
                    "stack": made.stack,
                    "shared": made.shared,
                    "barriers in loops": made.barriers_in_loops,
                    "loads": loads,
                    "narrow addresses": narrow_addresses(made.ttir),
                }


def main() -> None:
    """One JSON object per kernel, on standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--everything", action="store_true", help="all shipped configurations instead of the usual")
    arguments = parser.parse_args()
    for row in report(EVERYTHING if arguments.everything else USUAL, arguments.targets):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
