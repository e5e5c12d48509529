"""TransformerConv against PyG's: time and peak memory of one pass forward and backward.

    python benchmarks/transformer.py --output benchmarks/results/transformer.json

A random graph of 20,000 nodes and 400,000 edges, 64 input features, 8 heads of 16, 32 and 64 numbers, with and without
16 features per edge. Before anything is timed, outputs and all gradients are compared (1e-4 of the largest number: sums
in float32). Memory is the peak of one pass beyond what the process held before. Each allocator mode (see
``_measure.ALLOCATORS``) runs in a process of its own. The targets: at least 4 times as fast, at most a tenth of the
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


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Every width in this process."""
    torch.manual_seed(0)
    nodes, edges = options.nodes, options.edges
    edge_index = torch.randint(nodes, (2, edges))
    rows = []
    for width in WIDTHS:
        for edge_width in EDGE_WIDTHS:
            arguments: dict[str, Any] = {"heads": HEADS, "edge_dim": edge_width or None}
            theirs = torch_geometric.nn.TransformerConv(CHANNELS, width, **arguments)
            ours = lcat.nn.TransformerConv(CHANNELS, width, **arguments)
            ours.load_state_dict(theirs.state_dict())
            inputs: dict[str, Tensor | None] = {
                "x": torch.randn(nodes, CHANNELS, requires_grad=True),
                "edge_index": edge_index,
                "edge_attr": torch.randn(edges, edge_width) if edge_width else None,
            }
            grad = torch.randn(nodes, HEADS * width)
            steps = {"lcat": make_step(ours, inputs, grad), "PyG": make_step(theirs, inputs, grad)}
            check(steps["lcat"](), steps["PyG"]())
            memory = {name: peak_megabytes(step) for name, step in steps.items()}
            times = interleaved(steps, options.rounds)
            rows.append(
                {
                    "features per head": width,
                    "features per edge": edge_width,
                    "milliseconds": times,
                    "peak megabytes": memory,
                    "speed": times["PyG"] / times["lcat"],
                    "memory": memory["lcat"] / memory["PyG"],
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--nodes", type=int, default=20_000)
    parser.add_argument("--edges", type=int, default=400_000)
    parser.add_argument("--allocators", nargs="+", default=list(ALLOCATORS), choices=list(ALLOCATORS))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one mode, as JSON
    options = parser.parse_args()
    if options.here:
        torch.set_num_threads(options.threads)
        print(json.dumps(measure(options)))
        return
    report: dict[str, Any] = {
        "command": f"python benchmarks/transformer.py {' '.join(sys.argv[1:])}".strip(),
        "versions": {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__},
        "machine": machine(),
        "graph": {"nodes": options.nodes, "edges": options.edges, "heads": HEADS, "input features": CHANNELS},
        "rows": [],
    }
    for mode in options.allocators:
        sizes = [f"--{name}={getattr(options, name)}" for name in ("rounds", "threads", "nodes", "edges")]
        command = [sys.executable, __file__, "--here", *sizes]
        done = subprocess.run(command, env={**os.environ, **ALLOCATORS[mode]}, check=True, stdout=subprocess.PIPE)
        for row in json.loads(done.stdout):
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
