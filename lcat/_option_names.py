"""What options are called elsewhere, so that a command can name its own for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lcat._text import hint

__all__ = ["option_hint"]

# Our option -> its names in other programs, as in the example scripts of OGB, PyG and DGL, without dashes in front.
_ELSEWHERE = {
    "seeds": "runs n-runs num-runs seed n-seeds num-seeds repeats random-state random-seed",
    "layer": "model conv gnn gnn-type method arch architecture layers net",
    "num-layers": "layers n-layers num-hidden-layers n-layer",
    "hidden-channels": "n-hidden hidden-dim hidden-size hidden-units num-hidden hid-dim hdim width nhid dim-hidden",
    "heads": "n-heads num-heads nheads head n-head attention-heads",
    "out-heads": "num-out-heads n-out-heads output-heads",
    "dataset": "datasets data-set name data-name",
    "data": "data-dir data-path data-root root datadir dataset-dir dataset-path root-dir",
    "out": "output output-dir out-dir outdir save-dir save log-dir logdir results results-dir result-dir save-path",
    "dropout": "drop dropout-rate drop-rate dropout-ratio p-dropout",
    "attention-dropout": "attn-drop attn-dropout att-dropout attention-drop edge-drop",
    "input-dropout": "input-drop in-drop feat-drop",
    "epochs": "n-epochs num-epochs max-epochs nepochs n-epoch num-epoch iterations",
    "patience": "early-stop early-stopping early-stop-patience es-patience stopping",
    "lr": "learning-rate learn-rate learningrate init-lr base-lr",
    "weight-decay": "wd l2 decay weightdecay l2-reg",
    "optimizer": "optim opt",
    "schedule": "scheduler lr-scheduler lr-schedule lrscheduler sched",
    "warmup": "warmup-epochs n-warmup warm-up",
    "clip-norm": "clip grad-clip clip-grad max-norm gradient-clip grad-norm",
    "norm": "normalization norm-type batch-norm layer-norm bn use-bn",
    "batch-size": "batchsize bs batch",
    "num-neighbors": "fanout fan-outs fanouts n-neighbors neighbors num-samples sizes",
    "eval-every": "eval-steps eval-interval eval-freq test-every",
    "labels": "use-labels use-label label-input",
    "precision": "fp16 amp bf16 autocast half dtype",
    "device": "gpu cuda cpu no-cuda use-gpu gpus gpu-id device-id",
    "workers": "jobs n-jobs num-workers njobs n-workers parallel processes",
    "threads": "n-threads num-threads",
    "engine": "backend executor",
    "split": "folds cv n-folds k-fold kfold num-folds n-splits splits",
    "trials": "n-trials num-trials",
    "objective": "objectives weights",
    "metric": "metrics score eval-metric",
    "grid": "sweep",
    "search": "tune hpo optuna",
    "resume": "continue restart",
    "retry-failed": "retry rerun-failed",
    "dry-run": "dryrun test-run",
    "stand-in": "fake synthetic debug toy",
    "predictions": "save-predictions save-pred",
    "max-seconds": "timeout time-limit max-time",
    "max-cells": "max-runs",
    "quiet": "silent no-progress",
    "help": "usage options",
    "version": "v ver",
}
# What has no option here: the option that comes closest, and what it does.
_NO_OPTION = {
    "use-sage": ("--layer", "GraphSAGE is none of the layers; --layer names one"),
    "use-node-embedding": ("--data", "the features are those of the data set, without node embeddings"),
    "use-linear": ("--linear-ends", "--linear-ends adds linear maps before and after the layers"),
    **dict.fromkeys(
        ("log-steps", "log-interval", "log-every", "verbose"), ("--quiet", "progress is shown; --quiet hides it")
    ),
}


def option_hint(option: str, known: Iterable[str], *, show: Callable[[str], str] = str) -> str:
    """The options that were probably meant, to be put behind a wrong one.

    First comes the same name in another spelling, then what the option of another program is called here, then names
    that look alike.

    Args:
        option: as it was written, with its dashes.
        known: the options of the command, with their dashes.
        show: how an option is written in the hint.

    Returns:
        Text to follow the name, such as ``" (did you mean --seeds?)"``; empty if nothing is close.

    Example:
        >>> from lcat._option_names import option_hint
        >>> (
        ...     option_hint("--runs", ["--seeds", "--lr"]),
        ...     option_hint("--num_layers", ["--layer", "--num-layers"]),
        ... )
        (' (did you mean --seeds?)', ' (did you mean --num-layers?)')
    """
    options = list(known)
    word = option.lstrip("-").lower().replace("_", "-")
    same = [name for name in options if name.lstrip("-") == word and name.startswith("--")]
    others = [f"--{ours}" for ours, names in _ELSEWHERE.items() if word in names.split()]
    meant = same[:1] or [name for name in others if name in options]
    if meant:
        return f" (did you mean {' or '.join(map(show, meant))}?)"
    closest, explanation = _NO_OPTION.get(word, ("", ""))
    if closest in options:
        return f" ({explanation})"
    return hint(option, options, show=show)
