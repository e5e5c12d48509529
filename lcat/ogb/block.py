"""The block that a leaderboard submission asks for, as text and as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from lcat._version import __version__
from lcat.data import OGBDataset
from lcat.ogb.settings import Settings
from lcat.ogb.training import SeedResult

__all__ = ["banner", "block_text", "leaderboard_block"]

_TITLES = {"gcn": "GCN", "gat": "GAT", "gatv2": "GATv2", "cat": "CAT", "catv2": "CATv2", "lcat": "L-CAT",
           "lcatv2": "L-CATv2"}  # fmt: skip


def leaderboard_block(
    dataset: OGBDataset,
    settings: Settings,
    results: Sequence[SeedResult],
    *,
    command: str,
    device: torch.device,
    world_size: int = 1,
) -> dict[str, Any]:
    """What OGB's rules want to know of a result, as plain values.

    Mean and *unbiased* standard deviation over seeds of OGB's metric on the test nodes, the validation metric of the
    same models, number of parameters, hardware, versions and the exact command.

    Args:
        dataset: what was trained on.
        settings: how.
        results: one a seed.
        command: what was typed.
        device: where it ran.
        world_size: number of processes.

    Returns:
        Plain values; ``not_a_submission`` lists what the rules of the leaderboard still want.
    """
    seeds = [result.seed for result in results]
    heads = "" if settings.layer == "gcn" else f", {settings.heads} head" + "s" * (settings.heads > 1)
    return {
        "generated": dataset.generated,
        "dataset": dataset.name,
        "method": f"{_TITLES[settings.layer]} ({settings.layers} layers{heads})" + " + labels" * settings.labels,
        "metric": dataset.metric,
        "test": _mean_std([result.test for result in results]),
        "valid": _mean_std([result.valid for result in results]),
        "seeds": seeds,
        "parameters": results[0].parameters,
        "external_data": "none",
        "labels_as_input": settings.labels,
        "command": command,
        "hardware": hardware(device, world_size),
        "versions": versions(),
        "date": date.today().isoformat(),
        "not_a_submission": _shortcomings(dataset, settings, seeds),
        "settings": settings.to_dict(),
        "results": [result.to_dict() for result in results],
    }


def block_text(block: dict[str, Any]) -> str:
    """The block for people."""
    test, valid = (_score(block[part]) for part in ("test", "valid"))
    lines = [
        f"{block['dataset']}, {block['method']}",
        "",
        f"test {block['metric']:<12} {test}",
        f"validation {block['metric']:<6} {valid}",
        f"seeds             {', '.join(map(str, block['seeds']))} (mean and unbiased standard deviation)",
        f"parameters        {block['parameters']:,}",
        f"external data     {block['external_data']}",
        f"labels as input   {'training labels' if block['labels_as_input'] else 'no'}",
        f"hardware          {block['hardware']}",
        f"versions          {', '.join(f'{name} {version}' for name, version in block['versions'].items())}",
        f"date              {block['date']}",
        f"command           {block['command']}",
    ]
    lines += [f"not a submission  {reason}" for reason in block["not_a_submission"]]
    if block["generated"]:
        lines = [banner(), *lines, banner()]
    return "\n".join(lines) + "\n"


def banner() -> str:
    """Stands above and below every figure of a stand-in."""
    return "*** GENERATED STAND-IN, NOT OGB'S DATA: these figures say nothing about any leaderboard ***"


def hardware(device: torch.device, world_size: int) -> str:
    """The processor or the accelerators that were used."""
    if device.type == "cuda":
        one = torch.cuda.get_device_properties(device)
        return f"{world_size} x {one.name} ({one.total_memory / 1e9:.0f} GB)"
    processes = f", {world_size} processes" if world_size > 1 else ""
    return f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{processes}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of everything that decides a number."""
    found = {"ogb": metadata.version("ogb"), "lcat": __version__ + _commit(), "torch": torch.__version__}
    found["torch-geometric"] = metadata.version("torch-geometric")
    return {**found, "python": platform.python_version()}


def _commit() -> str:
    """The commit that the package lies in, if it lies in a repository of its own."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f"+{done.stdout.strip()}" if done.returncode == 0 else ""


def _mean_std(values: list[float]) -> dict[str, float | None]:
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


def _score(values: dict[str, float | None]) -> str:
    return f"{values['mean']:.4f}" + (f" ± {values['std']:.4f}" if values["std"] is not None else " (one seed)")


def _shortcomings(dataset: OGBDataset, settings: Settings, seeds: list[int]) -> list[str]:
    wanted = 3 if dataset.name == "ogbn-papers100M" else 10
    found = []
    if dataset.generated:
        found.append("the data are generated")
    if len(seeds) < wanted:
        found.append(f"{wanted} seeds are wanted; these are {len(seeds)}")
    elif seeds != list(range(wanted)):
        found.append(f"the seeds 0 .. {wanted - 1} are wanted, or ones that were not fixed")
    if settings.noise:
        found.append(f"the graph has {settings.noise:.0%} noise")
    return found
