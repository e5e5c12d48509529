"""Every leaderboard script with every layer on a generated stand-in: does it learn, and how long does it take.

    python benchmarks/ogb_standins.py [--out benchmarks/results/ogb_standins.json]

The graphs are generated and have a few hundred nodes; the figures say that the scripts work, and nothing about OGB's
data. Settings are the public protocols' but for batches and epochs, which are cut to the graphs' size.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

from _measure import machine, write_results

from lcat.ogb import main as run
from lcat.ogb.model import LAYERS

RESULTS = Path(__file__).parent / "results" / "ogb_standins.json"
# Eight classes of equal size; yes-or-no tasks.
CHANCE = {"ogbn-arxiv": 0.125, "ogbn-products": 0.125, "ogbn-proteins": 0.5, "ogbn-mag": 0.125}
OPTIONS = ["--stand-in", "--quiet", "--seeds", "0-2", "--batching", "neighbor", "--batch-size", "128", "--epochs", "10"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, chance in CHANCE.items():
            for layer in LAYERS:
                start = time.perf_counter()
                arguments = [*OPTIONS, "--layer", layer, "--data", folder, "--out", f"{folder}/{name}-{layer}"]
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    block = run(name, arguments, command=f"lcat ogb {name}")
                row = {"dataset": name, "layer": layer, "metric": block["metric"], "chance": chance, **block["test"]}
                row |= {"parameters": block["parameters"], "seconds": time.perf_counter() - start}
                rows.append(row)
                print(f"{name:<15}{layer:<8}{row['mean']:.4f} ± {row['std']:.4f}   {row['seconds']:5.1f} s", flush=True)
    note = "generated stand-ins, not OGB's data"
    command = "python benchmarks/ogb_standins.py " + " ".join(sys.argv[1:])
    result = {"command": command.strip(), "note": note, "machine": machine(), "rows": rows}
    write_results(options.out, result)


if __name__ == "__main__":
    main()
