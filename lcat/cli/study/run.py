"""``lcat study run``: make a plan, run it, print and write what came out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lcat.cli.paths import read_path
from lcat.cli.study.plan import plan_of

__all__ = ["HELP", "run"]

HELP = (
    "Train layers on data sets over several seeds, and compare them.\n\n"
    "\blcat study -d cora -l gcn -l gat -l lcat --seeds 5\n"
    "lcat study -d mine.pt --grid lr=0.01,0.001 --dry-run\n"
    "lcat study plan.toml --workers 2\n\n"
    "Without --dataset or a plan it runs a demo on synthetic graphs where GCN, GAT and CAT each win and fail. "
    "Settings that are not given have the defaults of each data set (lcat study defaults). "
    "Results are kept as they come: the same command continues where it was stopped."
)

_COMPARE = "What to compare"
_TRAINING = "Training"
_SEARCH = "Grid and search"
_RUNNING = "Running"
_OUTPUT = "Output"


def run(
    plan_file: Annotated[
        Path | None,
        typer.Argument(
            help="A plan in a file, or the folder of a study; options replace what it says.",
            parser=read_path,
            metavar="PLAN.toml",
        ),
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            "-d",
            help="Public data set (lcat study datasets), csbm:easy,q=0.4 (synthetic), tu:MUTAG (graphs), or your own: "
            "a .pt, .npz or .csv file, or data.py:make_data. Repeatable.",
            metavar="NAME",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            "-l",
            help="gcn, gcn-mean, gat, gatv2, cat, catv2, lcat, lcatv2, sage or transformer, or your own: "
            "models.py:MyNet, or my_package.models:MyNet. Repeatable; the first eight by default.",
            metavar="NAME",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Where settings come from: plain (the defaults of lcat), paper (those of GCN's and GAT's papers) or "
            "tuned (those of tunedGNN; tuned-gcn, tuned-sage or tuned-gat has those of one for all layers).",
            metavar="NAME",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="3 for the first three (0, 1, 2), or a list such as 0,3,5 or 0-9; the first 5 by default, 3 in the "
            "demo. Each seed may have its own split.",
            metavar="N or LIST",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="own, file:PATH, kfold:5, stratified:5, repeated:5x3 or nested:5x3.",
            metavar="RULE",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    noise_edges: Annotated[
        list[str] | None,
        typer.Option(
            help="Run again with this share of random edges added. Repeatable.",
            metavar="SHARE",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    noise_features: Annotated[
        list[str] | None,
        typer.Option(
            help="Run again with noise on the features, relative to their standard deviation. Repeatable.",
            metavar="LEVEL",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="What decides, instead of the metric of each data set: accuracy, balanced-accuracy, macro-f1, "
            "micro-f1, roc-auc, average-precision, r2, rmse, mae, mrr or hits@20.",
            metavar="NAME",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="What is predicted: node-classification, node-multilabel, node-regression, graph-classification, "
            "graph-regression or link-prediction; what the data set has labels for by default.",
            metavar="NAME",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            parser=read_path,
            help="Folder with the files of public data sets; without it they are downloaded once.",
            metavar="DIR",
            rich_help_panel=_COMPARE,
        ),
    ] = None,
    epochs: Annotated[
        str | None, typer.Option(help="Largest number of epochs.", metavar="N", rich_help_panel=_TRAINING)
    ] = None,
    patience: Annotated[
        str | None,
        typer.Option(
            help="Stop after this many epochs without a better validation metric; none never stops early.",
            metavar="N",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    num_layers: Annotated[
        str | None, typer.Option(help="Number of layers; also --depth.", metavar="N", rich_help_panel=_TRAINING)
    ] = None,
    hidden_channels: Annotated[
        str | None,
        typer.Option(
            help="Width of hidden layers, all heads together; also --hidden.",
            metavar="N",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    heads: Annotated[
        str | None, typer.Option(help="Number of attention heads.", metavar="N", rich_help_panel=_TRAINING)
    ] = None,
    dropout: Annotated[
        str | None,
        typer.Option(help="Dropout between layers and on attention.", metavar="RATE", rich_help_panel=_TRAINING),
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="none, batch, layer or pair.", metavar="NAME", rich_help_panel=_TRAINING)
    ] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(
            help="adam, adamw or sgd; or, with orthonormal hidden weights, pogo, landing, landing-pc, rsgd, radam "
            "(Riemannian SGD and Adam), rsdm or slpg.",
            metavar="NAME",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    lr: Annotated[str | None, typer.Option(help="Learning rate.", metavar="RATE", rich_help_panel=_TRAINING)] = None,
    weight_decay: Annotated[
        str | None, typer.Option(help="Weight decay.", metavar="RATE", rich_help_panel=_TRAINING)
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Of the learning rate: constant, cosine, linear or step.", metavar="NAME", rich_help_panel=_TRAINING
        ),
    ] = None,
    orthogonal_lr: Annotated[
        str | None,
        typer.Option(
            help="Learning rate of orthonormal weights; ten times --lr by default.",
            metavar="RATE",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    orthogonal_include: Annotated[
        str | None,
        typer.Option(
            help="Which weights are orthonormal: patterns of parameter names, separated by spaces.",
            metavar="PATTERNS",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    batching: Annotated[
        str | None,
        typer.Option(
            help="Mini-batches: neighbor (sampled neighborhoods) or cluster (parts of the graph); the whole graph by "
            "default. The size of a batch is --set batch_size=512.",
            metavar="NAME",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any setting of a plan's [overrides], those of your own models too: --set warmup=10. Repeatable.",
            metavar="NAME=VALUE",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            help="Try every value of a setting: lr=0.01,0.001. Repeatable; all combinations run.",
            metavar="NAME=V,V",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            help="Search a setting by validation: lr=1e-4..0.1:log or hidden_channels=16,64. Repeatable.",
            metavar="NAME=A..B",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option(
            help="Trials of the search for each layer and test set; 20 by default.",
            metavar="N",
            rich_help_panel=_SEARCH,
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="processes (the default), inline or ray.", metavar="NAME", rich_help_panel=_RUNNING),
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Cells (training runs) at the same time; by default one per GPU, or as many as the cores serve.",
            metavar="N",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(help="Threads of each cell; 1 by default.", metavar="N", rich_help_panel=_RUNNING),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu (the default), cuda, cuda:1, mps, ...", metavar="NAME", rich_help_panel=_RUNNING),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of a Ray cluster; without it, ray runs on this machine.", metavar="URL", rich_help_panel=_RUNNING
        ),
    ] = None,
    max_cells: Annotated[
        str | None,
        typer.Option(help="Stop when this many cells have finished.", metavar="N", rich_help_panel=_RUNNING),
    ] = None,
    max_seconds: Annotated[
        str | None,
        typer.Option(help="Start no cell after this many seconds.", metavar="SECONDS", rich_help_panel=_RUNNING),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep models (trained weights) or predictions (outputs for every node, graph or pair) in the folder. "
            "Repeatable.",
            metavar="NAME",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            metavar="",
            help="Add seeds until no verdict is undecided, or the budget is used up. Each look at the results tests at "
            "a stricter level, so that looking often claims nothing false.",
            rich_help_panel=_RUNNING,
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--no-resume",
            metavar="",
            help="Continue the study in the folder, or set it aside and start anew.",
            rich_help_panel=_RUNNING,
        ),
    ] = True,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", metavar="", help="Run failed cells again.", rich_help_panel=_RUNNING)
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            metavar="",
            help="Print the cells and an estimate of their time, and stop.",
            rich_help_panel=_RUNNING,
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            parser=read_path,
            help="Folder of the study; by default lcat-study, or PLAN-study beside a plan.",
            metavar="DIR",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="What the report weighs models by: accuracy=1, time=0.5, ... Repeatable.",
            metavar="NAME=W",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option(
            help="Largest difference that does not matter, in the unit of the metric: layers within it are equivalent. "
            "0.01 by default, which is one percentage point; with rmse and mae, name yours.",
            metavar="NUMBER",
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", metavar="", help="No progress on standard error.", rich_help_panel=_OUTPUT)
    ] = False,
    list_datasets: Annotated[bool, typer.Option("--list-datasets", hidden=True)] = False,
    list_defaults: Annotated[bool, typer.Option("--list-defaults", hidden=True)] = False,
) -> None:
    """Run a study; ``HELP`` says it to users.

    Numbers are taken as text: the plan checks them, as those of a file.
    """
    options = dict(locals())  # by the names in lcat.cli.study.options.PLAN_KEYS
    from lcat.cli.study.datasets import print_datasets
    from lcat.cli.study.defaults import defaults
    from lcat.cli.study.estimate import print_estimate
    from lcat.cli.study.running import run_and_report

    if list_datasets:
        return print_datasets(data)
    if list_defaults:
        return defaults()
    plan = plan_of(plan_file, options)
    folder = out or _folder_of(plan_file)
    if dry_run:
        return print_estimate(plan, folder, resume=resume, quiet=quiet)
    run_and_report(plan, folder, resume=resume, retry_failed=retry_failed, until_decided=until_decided, quiet=quiet)


def _folder_of(plan_file: Path | None) -> Path:
    if plan_file is None:
        return Path("lcat-study")
    return plan_file if plan_file.is_dir() else plan_file.with_name(f"{plan_file.stem}-study")
