"""One plain training loop for every task: a task says what a step learns from, and how good a model is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from lcat._numbers import as_float, read_bool
from lcat.train._checks import check_callable, check_module, check_trainable, config_of, explain_small_batch, kind_of
from lcat.train._tracking import Best, follow_lambdas, modules_with_lambdas
from lcat.train.config import FitConfig, NonFiniteLoss
from lcat.train.optimizers import build_optimizer, scale_scalar_lr
from lcat.train.result import FitResult, History
from lcat.train.schedules import build_schedule
from lcat.train.seeds import seed_for

__all__ = ["Figures", "TrainingTask", "fit_task"]


#: What a :class:`TrainingTask` must have.
_OF_A_TASK = ("metric", "higher_is_better", "batches", "loss", "measure")


class Figures(NamedTuple):
    """How good a model is on the three parts, and its loss on the second.

    Attributes:
        train: ``nan`` where the metric is undefined.
        val, test: numbers.
        val_loss: decides among equal ``val``.
    """

    train: float
    val: float
    test: float
    val_loss: float


class TrainingTask(Protocol):
    """What :func:`fit_task` trains a model for.

    Attributes:
        metric: name of what :meth:`measure` measures.
        higher_is_better: its direction.
    """

    metric: str
    higher_is_better: bool

    def batches(self, epoch: int) -> Iterable[Any]:
        """What the steps of an epoch learn from, one at a time."""

    def loss(self, model: nn.Module, batch: Any) -> tuple[Tensor, int]:
        """The mean loss of a batch, with a gradient, and the number of items that it is the mean of."""

    def measure(self, model: nn.Module) -> Figures:
        """The figures of a model in evaluation mode; called without gradients."""


def fit_task(
    model: nn.Module,
    task: TrainingTask,
    config: FitConfig | None = None,
    *,
    ema: float | None = None,
    seed: int | None = None,
    progress: bool = False,
    on_epoch: Callable[[int, History], None] | None = None,
) -> FitResult:
    """Train ``model`` for a task; keep the epoch that validates best.

    Every epoch takes one step per batch of the task, then measures all three parts. The best epoch has the best
    validation metric, in the direction of the task, and, among equals, the lowest validation loss. The test part is
    measured but decides nothing. At the end the model holds the weights of the best epoch.

    Args:
        model: whatever the task can call.
        task: see :class:`TrainingTask`.
        config: the settings; ``FitConfig()`` by default.
        ema: see :func:`lcat.train.fit`.
        seed: seeds every generator before the first epoch (the dropout masks), ``None`` leaves them as they are.
        progress: show a progress bar with the time left on standard error.
        on_epoch: called after every epoch with its number and the history so far.

    Returns:
        The figures at the best epoch and the whole history; the training loss of an epoch is the mean over the items of
        its batches.

    Raises:
        NonFiniteLoss: the loss became nan or infinite; the model holds the best weights up to then.
        ValueError: on settings that cannot be used, and if no batch of an epoch has an item.
        KeyboardInterrupt: Ctrl-C passes through, after the best weights so far have been put back.

    Example:
        >>> import torch
        >>> from lcat.train import Figures, FitConfig, fit_task
        >>> class Line:  # y = 2 x
        ...     metric, higher_is_better = "mae", False
        ...     x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
        ...
        ...     def batches(self, epoch):
        ...         return [None]
        ...
        ...     def loss(self, model, batch):
        ...         return torch.nn.functional.mse_loss(model(self.x), self.y), 2
        ...
        ...     def measure(self, model):
        ...         error = float((model(self.x) - self.y).abs().mean())
        ...         return Figures(error, error, error, error)
        >>> result = fit_task(
        ...     torch.nn.Linear(1, 1),
        ...     Line(),
        ...     FitConfig(epochs=400, lr=0.05, weight_decay=0.0),
        ...     seed=0,
        ... )
        >>> result.test < 0.1
        True
    """
    check_module(model, "fit_task(model, task)")
    missing = [name for name in _OF_A_TASK if not hasattr(task, name)]
    if missing:
        raise TypeError(
            f"expected a TrainingTask as the task, with {', '.join(_OF_A_TASK)}, got {kind_of(task)} without "
            f"{', '.join(missing)}: fit(model, data, split) trains on a graph"
        )
    progress = read_bool("progress", progress)
    check_trainable(model)
    config = config_of(config, FitConfig)
    if on_epoch is not None:
        check_callable("on_epoch", on_epoch, "a function (epoch, history)")
    decay = None if ema is None else as_float(ema)
    if ema is not None and (decay is None or not 0 < decay < 1):
        raise ValueError(f"expected ema as a number between 0 and 1, such as 0.99, or None; got {ema!r}")
    if seed is not None:
        seed_for(seed, "training")
    optimizer = build_optimizer(
        config.optimizer, model, lr=config.lr, weight_decay=config.weight_decay, **config.optimizer_options
    )
    scale_scalar_lr(optimizer, config.scalar_lr, model)
    changes = config.schedule != "constant" or config.warmup > 0
    schedule = build_schedule(optimizer, config.schedule, config.epochs, config.warmup) if changes else None

    history = History()
    average = None
    if decay is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=False)
    judged: nn.Module = model if average is None else average.module
    lambdas = modules_with_lambdas(judged)
    follow_lambdas(lambdas, history)
    best = Best(judged, higher_is_better=task.higher_is_better)
    stopped = "epochs"
    start = time.perf_counter()
    bar = tqdm(range(config.epochs), desc="training", unit="epoch", disable=not progress, leave=False)
    try:
        for epoch in bar:
            history.lr.append(optimizer.param_groups[0]["lr"])
            history.loss.append(_steps(model, task, optimizer, config, epoch, average))
            if schedule is not None:
                schedule.step()
            if average is not None:
                # Running means are those of the weights that are trained, and not averaged.
                for ours, theirs in zip(judged.buffers(), model.buffers(), strict=True):
                    ours.copy_(theirs)
            _measure(judged, task, history)
            follow_lambdas(lambdas, history)
            best.update(judged, epoch, history)
            if on_epoch is not None:
                on_epoch(epoch, history)
            if progress:
                bar.set_postfix(loss=f"{history.loss[-1]:.3f}", val=f"{history.val[-1]:.3f}")
            if config.patience is not None and epoch - best.epoch >= config.patience:
                stopped = "patience"
                break
    finally:
        # Also on Ctrl-C and on a diverged loss: the caller is left with the best model so far, not a broken one.
        bar.close()
        best.restore(judged)
        if average is not None:
            model.load_state_dict(judged.state_dict())
    return FitResult(
        metric=task.metric,
        train=history.train[best.epoch],
        val=history.val[best.epoch],
        test=history.test[best.epoch],
        best_epoch=best.epoch,
        epochs=len(history),
        stopped=stopped,
        seconds=time.perf_counter() - start,
        lambdas={name: path[best.epoch + 1] for name, path in history.lambdas.items()},
        history=history,
    )


def _steps(
    model: nn.Module,
    task: TrainingTask,
    optimizer: torch.optim.Optimizer,
    config: FitConfig,
    epoch: int,
    average: AveragedModel | None,
) -> float:
    """One step per batch; the mean loss of the epoch."""
    model.train()
    total, items = 0.0, 0
    for batch in task.batches(epoch):
        optimizer.zero_grad()
        try:
            loss, count = task.loss(model, batch)
        except ValueError as error:
            explain_small_batch(error, f"a batch of epoch {epoch}")
            raise
        if count == 0:
            continue
        value = float(loss.detach())
        # Checked before the step, so that a bad loss never reaches the weights.
        if not math.isfinite(value):
            raise NonFiniteLoss(
                f"the training loss became {value} in epoch {epoch} (optimizer {config.optimizer}, lr {config.lr}, "
                f"clip_norm {config.clip_norm}); lower lr, set clip_norm, or look for nan in the features"
            )
        loss.backward()
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        if average is not None:
            average.update_parameters(model)
        total, items = total + value * count, items + count
    if items == 0:
        raise ValueError(f"expected at least one item to train on in an epoch, got none in epoch {epoch}")
    return total / items


def _measure(model: nn.Module, task: TrainingTask, history: History) -> None:
    model.eval()
    with torch.no_grad():  # as a decorator it would be copied in each call
        figures = task.measure(model)
    history.train.append(figures.train)
    history.val.append(figures.val)
    history.test.append(figures.test)
    history.val_loss.append(figures.val_loss)
