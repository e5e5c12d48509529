"""The block that a leaderboard submission asks for, as text and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from lcat._names import LAYER_TITLES, has_attention
from lcat.data import OGBDataset
from lcat.ogb.settings import Settings
from lcat.ogb.training import SeedResult

__all__ = ["banner", "block_text", "leaderboard_block"]


def leaderboard_block(
    dataset: OGBDataset,
    settings: Settings,
    results: Sequence[SeedResult],
    *,
    command: str,
    commands: Mapping[int, str] | None = None,
) -> dict[str, Any]:
    """What OGB's rules want to know of a result, as plain values.

    Mean and *unbiased* standard deviation over seeds of OGB's metric on the test nodes, the validation metric of the
    same models, number of parameters, hardware and versions of the training, and the exact command.

    Args:
        dataset: what was trained on.
        settings: how.
        results: one per seed.
        command: what was typed.
        commands: what was typed for each seed, where that was another command.

    Returns:
        Plain values; ``not_a_submission`` lists what the rules of the leaderboard still want.

    Raises:
        ValueError: without a result.
    """
    if not results:
        raise ValueError("expected the results of at least one seed, as run_seeds returns them, got none")
    seeds = [result.seed for result in results]
    heads = f", {settings.heads} head" + "s" * (settings.heads > 1) if has_attention(settings.layer) else ""
    return {
        "generated": dataset.generated,
        "dataset": dataset.name,
        "method": f"{LAYER_TITLES[settings.layer]} ({settings.num_layers} layers{heads})"
        + " + labels" * settings.labels,
        "metric": dataset.metric,
        "test": _mean_std([result.test for result in results]),
        "valid": _mean_std([result.valid for result in results]),
        "seeds": seeds,
        "parameters": results[0].parameters,
        "external_data": "none",
        "labels_as_input": settings.labels,
        "command": "; ".join(_per_seed({seed: (commands or {}).get(seed, command) for seed in seeds})),
        "hardware": "; ".join(_per_seed({result.seed: result.hardware or "not recorded" for result in results})),
        "versions": results[0].versions,
        "date": date.today().isoformat(),
        "not_a_submission": _shortcomings(dataset, settings, results),
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


def _mean_std(values: list[float]) -> dict[str, float | None]:
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else None}


def _score(values: dict[str, float | None]) -> str:
    return f"{values['mean']:.4f}" + (f" ± {values['std']:.4f}" if values["std"] is not None else " (one seed)")


def _per_seed(values: Mapping[int, str]) -> list[str]:
    """The different values, with the numbers of the seeds where that is not the same for all."""
    seeds: dict[str, list[int]] = {}
    for seed, value in values.items():
        seeds.setdefault(value, []).append(seed)
    if len(seeds) == 1:
        return list(seeds)
    return [f"{value} ({_named(numbers)})" for value, numbers in seeds.items()]


def _named(seeds: list[int]) -> str:
    return "seed" + "s" * (len(seeds) > 1) + f" {', '.join(map(str, seeds))}"


def _shortcomings(dataset: OGBDataset, settings: Settings, results: Sequence[SeedResult]) -> list[str]:
    seeds = [result.seed for result in results]
    wanted = 3 if dataset.name == "ogbn-papers100M" else 10
    reasons = []
    if dataset.generated:
        reasons.append("the data are generated")
    if len(seeds) < wanted:
        reasons.append(f"{wanted} seeds are wanted; these are {len(seeds)}")
    elif seeds != list(range(wanted)):
        reasons.append(f"the seeds 0 .. {wanted - 1} are wanted, or ones that were not fixed")
    if any(result.versions != results[0].versions for result in results):
        reasons.append("seeds were run with different versions")
    if len({result.hardware for result in results if result.hardware}) > 1:
        reasons.append("seeds were run on different hardware")
    unknown = [result.seed for result in results if not result.hardware]
    if unknown:
        reasons.append(f"the hardware of {_named(unknown)} is not recorded")
    if settings.noise:
        reasons.append(f"the graph has {settings.noise:.0%} noise")
    return reasons
