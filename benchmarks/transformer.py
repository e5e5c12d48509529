"""TransformerConv against PyG's: time and peak memory of one pass forward and backward.

    python benchmarks/transformer.py --output benchmarks/results/transformer.json

A random graph of 20,000 nodes and 400,000 edges, 64 input features, 8 heads of 16, 32 and 64 numbers, with and without
16 features per edge. Before anything is timed, outputs and all gradients are compared (1e-4 of the largest number: sums
in float32). Memory is the peak of a second pass beyond what the process held before, each library in a process of its
own, because freed memory of one shapes what the other one needs. Each allocator mode (see ``_measure.ALLOCATORS``) runs
in processes of its own, too. The targets: at least 4 times as fast, at most a tenth of the
memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from _measure import ALLOCATORS, geometric_mean, interleaved, machine, peak_megabytes, write_results
from torch import Tensor

import lcat
import lcat.nn

HEADS, CHANNELS, WIDTHS, EDGE_WIDTHS = 8, 64, (16, 32, 64), (0, 16)
MIN_SPEED, MAX_MEMORY = 4.0, 0.1


def make_step(layer: Any, inputs: dict[str, Tensor | None], grad: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    """One pass forward and backward: the output and the gradients of the features and all parameters."""

    def run() -> tuple[Tensor, ...]:
        out = layer(**inputs)
        return out.detach(), *torch.autograd.grad(out, [inputs["x"], *layer.parameters()], grad)

    return run


def check(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    """The same numbers, as far as float32 has them."""
    for value, expected in zip(ours, theirs, strict=True):
        # That of the keys' bias is 0: it moves all scores of a target alike.
        error = float((value - expected).abs().max() / expected.abs().max().clamp(min=1.0))
        if not error < 1e-4:
            raise SystemExit(f"the numbers are not PyG's: off by {error:.2g} of the largest, expected less than 1e-4")


def make_steps(width: int, edge_width: int, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """A pass of each library with the same weights on the same graph."""
    torch.manual_seed(0)
    nodes, edges = options.nodes, options.edges
    arguments: dict[str, Any] = {"heads": HEADS, "edge_dim": edge_width or None}
    theirs = torch_geometric.nn.TransformerConv(CHANNELS, width, **arguments)
    ours = lcat.nn.TransformerConv(CHANNELS, width, **arguments)
    ours.load_state_dict(theirs.state_dict())
    inputs: dict[str, Tensor | None] = {
        "x": torch.randn(nodes, CHANNELS, requires_grad=True),
        "edge_index": torch.randint(nodes, (2, edges)),
        "edge_attr": torch.randn(edges, edge_width) if edge_width else None,
    }
    grad = torch.randn(nodes, HEADS * width)
    return {"lcat": make_step(ours, inputs, grad), "PyG": make_step(theirs, inputs, grad)}


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The time of every width in this process."""
    rows = []
    for width in WIDTHS:
        for edge_width in EDGE_WIDTHS:
            steps = make_steps(width, edge_width, options)
            check(steps["lcat"](), steps["PyG"]())
            times = interleaved(steps, options.rounds)
            rows.append(
                {
                    "features per head": width,
                    "features per edge": edge_width,
                    "milliseconds": times,
                    "speed": times["PyG"] / times["lcat"],
                }
            )
    return rows


def measure_memory(options: argparse.Namespace) -> float:
    """Megabytes of one library in this process, after a first pass, in which it groups the edges."""
    name, width, edge_width = options.memory
    step = make_steps(int(width), int(edge_width), options)[name]
    step()
    return peak_megabytes(step)


def in_process(options: argparse.Namespace, mode: str, *arguments: str) -> Any:
    """What this script prints in a process of this allocator mode."""
    sizes = [f"--{name}={getattr(options, name)}" for name in ("rounds", "threads", "nodes", "edges")]
    command = [sys.executable, __file__, *arguments, *sizes]
    done = subprocess.run(command, env={**os.environ, **ALLOCATORS[mode]}, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--nodes", type=int, default=20_000)
    parser.add_argument("--edges", type=int, default=400_000)
    parser.add_argument("--allocators", nargs="+", default=list(ALLOCATORS), choices=list(ALLOCATORS))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one mode, as JSON
    parser.add_argument("--memory", nargs=3, help=argparse.SUPPRESS)  # of a library, a width and an edge width
    options = parser.parse_args()
    if options.here or options.memory:
        torch.set_num_threads(options.threads)
        print(json.dumps(measure_memory(options) if options.memory else measure(options)))
        return
    report: dict[str, Any] = {
        "command": f"python benchmarks/transformer.py {' '.join(sys.argv[1:])}".strip(),
        "versions": {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__},
        "machine": machine(),
        "graph": {"nodes": options.nodes, "edges": options.edges, "heads": HEADS, "input features": CHANNELS},
        "rows": [],
    }
    for mode in options.allocators:
        for row in in_process(options, mode, "--here"):
            case = [str(row["features per head"]), str(row["features per edge"])]
            memory = {name: in_process(options, mode, "--memory", name, *case) for name in ("lcat", "PyG")}
            row |= {"peak megabytes": memory, "memory": memory["lcat"] / memory["PyG"]}
            report["rows"].append({"threads": options.threads, "allocator": mode, **row})
            ms, mb = row["milliseconds"], row["peak megabytes"]
            print(
                f"{HEADS} heads of {row['features per head']:<3} {row['features per edge']:>2} per edge, {mode:<8}"
                f"{ms['lcat']:9.1f} ms of {ms['PyG']:9.1f} ({row['speed']:5.1f} times as fast), "
                f"{mb['lcat']:6.0f} MB of {mb['PyG']:6.0f} ({row['memory']:.3f})",
                flush=True,
            )
    speeds, memories = ([row[key] for row in report["rows"]] for key in ("speed", "memory"))
    report["summary"] = {
        "speed": {"smallest": min(speeds), "geometric mean": geometric_mean(speeds), "target": f"at least {MIN_SPEED}"},
        "memory": {"largest": max(memories), "target": f"at most {MAX_MEMORY}"},
        "met": min(speeds) >= MIN_SPEED and max(memories) <= MAX_MEMORY,
    }
    print(f"\nspeed {min(speeds):.1f} to {max(speeds):.1f}, memory at most {max(memories):.3f} of PyG's: "
          f"{'met' if report['summary']['met'] else 'MISSED'}")  # fmt: skip
    if options.output:
        write_results(options.output, report)


if __name__ == "__main__":
    main()
