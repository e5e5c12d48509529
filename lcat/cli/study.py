"""``lcat study``: make a plan, run it, print and write what came out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

try:
    import typer
except ModuleNotFoundError:
    typer = None  # type: ignore[assignment]

from lcat.cli.stop import stop

if TYPE_CHECKING:
    from lcat.study import StudyPlan

__all__ = ["study"]


def study(
    plan_file: Annotated[
        Path | None, typer.Argument(help="Plan in a TOML file; options go before what it says.", metavar="[PLAN.toml]")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Public data set, csbm:easy,q=0.4 (synthetic), or a .pt or .npz file of your own. Repeatable.",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", "-l", help="gcn, gcn-mean, gat, gatv2, cat, catv2, lcat, lcatv2. Repeatable; default all."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with data sets that are there already.", metavar="DIR")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds 0 .. N-1; each also takes its own split.", metavar="N")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="own, file:PATH, kfold:5, stratified:5, repeated:5x3 or nested:5x3.")
    ] = None,
    noise_edges: Annotated[
        list[float] | None, typer.Option(help="Also with this share of random new edges. Repeatable.")
    ] = None,
    noise_features: Annotated[
        list[float] | None, typer.Option(help="Also with noise on the features, relative to theirs. Repeatable.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option(help="Try every value of a setting: lr=0.01,0.001. Repeatable.", metavar="N=V,V")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(help="Search a setting: lr=1e-4..0.1:log or hidden_channels=16,64. Repeatable.", metavar="N=A..B"),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Trials of the search for each layer and test set.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the study; lcat-study, or PLAN-study beside a plan.", metavar="DIR"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Longest training.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without a better validation; 0 never stops.")] = None,
    num_layers: Annotated[int | None, typer.Option(help="Number of layers.")] = None,
    hidden_channels: Annotated[int | None, typer.Option(help="Width of hidden layers, all heads together.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads.")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropout between layers (and on attention).")] = None,
    norm: Annotated[str | None, typer.Option(help="none, batch or layer.")] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="adam, adamw, sgd; or, with orthonormal hidden weights, pogo, landing, landing-pc, rsgd and "
            "radam (Riemannian SGD and Adam), rsdm, slpg."
        ),
    ] = None,
    orthogonal_lr: Annotated[
        float | None, typer.Option(help="Learning rate of orthonormal weights; ten times --lr by default.")
    ] = None,
    orthogonal_include: Annotated[
        str | None, typer.Option(help="Which weights are orthonormal: patterns of names, separated by spaces.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay.")] = None,
    schedule: Annotated[str | None, typer.Option(help="constant, cosine, linear or step.")] = None,
    metric: Annotated[str | None, typer.Option(help="accuracy or roc-auc, for files of your own.")] = None,
    objective: Annotated[
        list[str] | None, typer.Option(help="What the report weighs: accuracy=1, time=0.5, ... Repeatable.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="processes (the default), inline or ray.")] = None,
    workers: Annotated[int | None, typer.Option(help="Cells at a time; by default what cores or GPUs serve.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of each cell; 1 by default.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")] = None,
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; without it, ray runs on this machine.")] = None,
    max_cells: Annotated[int | None, typer.Option(help="Stop when so many cells have finished.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Start no cell after so many seconds.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with the study in the folder, or set it aside.")
    ] = True,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and a time estimate, and stop.")] = False,
    list_datasets: Annotated[bool, typer.Option("--list-datasets", help="List public data sets and stop.")] = False,
    list_defaults: Annotated[bool, typer.Option("--list-defaults", help="List default settings and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")] = False,
) -> None:
    """Train the chosen layers on the chosen data sets over several seeds, and compare them.

    Without --dataset or a plan it runs a built-in comparison on synthetic graphs where GCN, GAT and CAT each win and
    fail. Settings that are not given take the defaults of each data set (--list-defaults). Results are kept as they
    come: the same command goes on where it was stopped. See also: lcat study report DIR.
    """
    from lcat.cli.lists import print_datasets, print_defaults
    from lcat.cli.options import make_plan_of, split_lists, split_spaces, weights
    from lcat.cli.running import print_estimate, run_and_report

    if list_datasets:
        return print_datasets(data)
    if list_defaults:
        return print_defaults()
    overrides = {
        "epochs": epochs,
        "patience": patience,
        "num_layers": num_layers,
        "hidden_channels": hidden_channels,
        "heads": heads,
        "dropout": dropout,
        "norm": norm,
        "optimizer": optimizer,
        "orthogonal_lr": orthogonal_lr,
        "orthogonal_include": orthogonal_include,
        "lr": lr,
        "weight_decay": weight_decay,
        "schedule": schedule,
    }
    changes = {
        "datasets": dataset,
        "layers": layer,
        "seeds": seeds,
        "split": split,
        "noise": {"edges": noise_edges, "features": noise_features},
        "grid": split_lists(grid),
        "search": {"space": split_spaces(search), "trials": trials},
        "metric": metric,
        "objectives": weights(objective),
        "budget": {"cells": max_cells, "seconds": max_seconds},
        "run": {
            "engine": engine,
            "workers": workers,
            "threads": threads,
            "device": device,
            "address": address,
            "data": str(data) if data is not None else None,
        },
    }
    plan = make_plan_of(plan_file, changes, overrides)
    _check_surroundings(plan)
    folder = out or (Path("lcat-study") if plan_file is None else plan_file.with_name(f"{plan_file.stem}-study"))
    if dry_run:
        return print_estimate(plan, folder, resume=resume, quiet=quiet)
    run_and_report(plan, folder, resume=resume, retry_failed=retry_failed, quiet=quiet)


def _check_surroundings(plan: StudyPlan) -> None:
    import torch

    if plan.run.data is not None and not Path(plan.run.data).is_dir():
        stop(f"--data: there is no folder {plan.run.data}", 2)
    try:
        torch.empty(1, device=plan.run.device)
    except (RuntimeError, AssertionError) as error:
        stop(f"--device {plan.run.device}: {str(error).splitlines()[0]}", 2)
