"""One plain full-batch training loop for node classification."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch_geometric.data import Data
from tqdm import tqdm

from lcat._text import hint
from lcat.data.splits.splits import Split
from lcat.train._checks import (
    check_callable,
    check_graph,
    check_logits,
    check_module,
    check_split,
    check_trainable,
    config_of,
    kind_of,
    outside_inference,
    with_whole_labels,
)
from lcat.train._tracking import Best, follow_lambdas, modules_with_lambdas, read_lambdas
from lcat.train.metrics import metric_by_name
from lcat.train.optimizers import build_optimizer, scale_scalar_lr
from lcat.train.ranges import TRAINING_RANGES, check_ranges, use_plain_numbers
from lcat.train.result import FitResult, History
from lcat.train.schedules import ScheduleName, build_schedule
from lcat.train.seeds import seed_for

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["FitConfig", "NonFiniteLoss", "fit", "read_lambdas"]


class NonFiniteLoss(ArithmeticError):
    """The training loss became nan or infinite; the message says when and with which settings."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of :func:`fit`.

    Args:
        epochs: number of epochs planned, at least 1.
        patience: stop after this many epochs without a better validation result; ``None`` never stops early.
        optimizer: name, see :func:`lcat.train.optimizer_names`.
        lr: learning rate.
        weight_decay: see :func:`lcat.train.optimizers.parameter_groups`.
        scalar_lr: learning rate of single numbers (the lambdas of L-CAT) relative to ``lr``, see
            :func:`lcat.train.optimizers.scale_scalar_lr`.
        schedule: name, see :data:`lcat.train.schedules.SCHEDULES`.
        warmup: epochs of linear warm-up of the learning rate.
        clip_norm: largest norm of the whole gradient, ``None`` for no clipping.
        optimizer_options: further arguments of the optimizer.
    """

    epochs: int = 200
    patience: int | None = 100
    optimizer: str = "adam"
    lr: float = 0.01
    weight_decay: float = 5e-4
    scalar_lr: float = 1.0
    schedule: ScheduleName = "constant"
    warmup: int = 0
    clip_norm: float | None = None
    optimizer_options: dict[str, Any] = field(default_factory=dict)

    def __new__(cls, *args: Any, **settings: Any) -> Self:  # noqa: ARG004 - __init__ takes what is accepted here
        """Name the setting that was meant before Python refuses an unknown one."""
        accepted = [name for name in inspect.signature(cls.__init__).parameters if name != "self"]
        for name in settings:
            if name not in accepted:
                raise TypeError(
                    f"{cls.__name__} has no setting {name!r}{hint(name, accepted)}; expected some of "
                    f"{', '.join(accepted)}"
                )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        use_plain_numbers(self)
        check_ranges(vars(self))


def fit(
    model: nn.Module,
    data: Data,
    split: Split,
    config: FitConfig | None = None,
    *,
    metric: str = "accuracy",
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    ema: float | None = None,
    seed: int | None = None,
    progress: bool = False,
    on_epoch: Callable[[int, History], None] | None = None,
) -> FitResult:
    """Train ``model`` on the whole graph in every step; keep the epoch that validates best.

    Every epoch takes one step on the cross-entropy of the training nodes, then measures all three parts without
    dropout. The best epoch has the highest validation metric and, among equals, the lowest validation loss. The
    test nodes are measured but decide nothing. At the end the model holds the weights of the best epoch.

    Args:
        model: called as ``model(x, edge_index)``, returns logits ``[N, C]``.
        data: ``x`` ``[N, F]``, ``edge_index`` ``[2, E]``, ``y`` ``[N]`` labels of any integer
            type or bool; on the model's device.
        split: train, validation and test masks of length ``N``.
        config: the settings; ``FitConfig()`` by default. A :class:`lcat.train.MinibatchConfig` is one, too, as long as
            it changes none of the settings that only :func:`lcat.train.fit_minibatch` uses.
        metric: ``"accuracy"`` or ``"roc-auc"``.
        loss: ``f(logits, y)`` of the training nodes, their mean; the cross-entropy by default. The validation loss
            stays the cross-entropy.
        ema: measure, and keep, an exponential moving average of the weights, with this decay in (0, 1), such as 0.99;
            ``None`` keeps the weights themselves.
        seed: seeds every generator before the first epoch (the dropout masks), ``None`` leaves them as they are.
            Seed with :func:`lcat.train.seed_everything` before building the model to fix its weights as well.
        progress: show a progress bar with the time left on standard error.
        on_epoch: called after every epoch with its number and the history so far.

    Returns:
        The figures at the best epoch and the whole history.

    Raises:
        NonFiniteLoss: the loss became nan or infinite; the model holds the best weights up to then.
        TypeError: for an argument of another kind, such as masks instead of a :class:`lcat.data.Split`.
        ValueError: on settings, labels or masks that cannot be used, and for logits without a gradient.
        KeyboardInterrupt: Ctrl-C passes through, after the best weights so far have been put back.

    Example:
        >>> from torch_geometric.nn.models import GCN
        >>> from lcat.data import Split, csbm
        >>> from lcat.train import FitConfig, fit
        >>> data = csbm(n=100, q=0.05, regime="easy", seed=0)
        >>> split = Split(data.train_mask, data.val_mask, data.test_mask)
        >>> model = GCN(data.num_features, 8, num_layers=1, out_channels=2)
        >>> result = fit(model, data, split, FitConfig(epochs=40, lr=0.1), seed=0)
        >>> result.test > 0.9
        True
    """
    check_module(model, "fit(model, data, split)")
    check_trainable(model)
    config = config_of(config, FitConfig)
    _check_used(config)
    data = _checked_task(data, split)
    if loss is not None:
        check_callable("loss", loss, "a function (logits, y) -> scalar")
    if on_epoch is not None:
        check_callable("on_epoch", on_epoch, "a function (epoch, history)")
    if ema is not None and not (isinstance(ema, float) and 0 < ema < 1):
        raise ValueError(f"expected ema as a number between 0 and 1, such as 0.99, or None; got {ema!r}")
    measure = metric_by_name(metric)
    measure_again = metric_by_name(metric, checks=False)
    if seed is not None:
        seed_for(seed, "training")
    optimizer = build_optimizer(
        config.optimizer, model, lr=config.lr, weight_decay=config.weight_decay, **config.optimizer_options
    )
    scale_scalar_lr(optimizer, config.scalar_lr, model)
    changes = config.schedule != "constant" or config.warmup > 0
    schedule = build_schedule(optimizer, config.schedule, config.epochs, config.warmup) if changes else None

    task = _task(data, split)
    history = History()
    average = None
    if ema is not None:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=False)
    judged: nn.Module = model if average is None else average.module
    lambdas = modules_with_lambdas(judged)
    follow_lambdas(lambdas, history)
    best = Best(judged)
    stopped = "epochs"
    start = time.perf_counter()
    bar = tqdm(range(config.epochs), desc="training", unit="epoch", disable=not progress, leave=False)
    try:
        for epoch in bar:
            history.lr.append(optimizer.param_groups[0]["lr"])
            history.loss.append(_train_step(model, task, optimizer, config, epoch, loss or F.cross_entropy))
            if schedule is not None:
                schedule.step()
            if average is not None:
                average.update_parameters(model)
                # Running means are those of the weights that are trained, and not averaged.
                for ours, theirs in zip(judged.buffers(), model.buffers(), strict=True):
                    ours.copy_(theirs)
            _evaluate(judged, task, measure if epoch == 0 else measure_again, history)
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
        metric=metric,
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


def _check_used(config: FitConfig) -> None:
    """Refuse settings that only :func:`lcat.train.fit_minibatch` uses, where they would change something."""
    own = {setting.name for setting in fields(FitConfig)}
    for setting in fields(config):
        value = getattr(config, setting.name)
        if setting.name in TRAINING_RANGES and setting.name not in own and value != setting.default:
            raise ValueError(
                f"fit has no {setting.name}={value!r}, which only fit_minibatch uses: train with fit_minibatch, or "
                f"pass a FitConfig without it"
            )


@dataclass(frozen=True)
class _Part:
    """Nodes by number, and their labels: a mask would be searched in every epoch."""

    nodes: Tensor
    y: Tensor

    def of(self, logits: Tensor) -> Tensor:
        """The rows of the part."""
        return logits.index_select(0, self.nodes)


@dataclass(frozen=True)
class _Task:
    """What all epochs read."""

    x: Tensor
    edge_index: Any
    num_nodes: int
    train: _Part
    val: _Part
    test: _Part


def _task(data: Data, split: Split) -> _Task:
    split = split.to(data.x.device)
    parts = []
    for mask in (split.train, split.val, split.test):
        nodes = mask.nonzero().view(-1)
        parts.append(_Part(nodes, data.y[nodes]))
    train, val, test = parts
    return _Task(x=data.x, edge_index=data.edge_index, num_nodes=data.y.numel(), train=train, val=val, test=test)


def _train_step(
    model: nn.Module,
    task: _Task,
    optimizer: torch.optim.Optimizer,
    config: FitConfig,
    epoch: int,
    measure: Callable[[Tensor, Tensor], Tensor],
) -> float:
    model.train()
    optimizer.zero_grad()
    logits = model(task.x, task.edge_index)
    if epoch == 0:
        _check_logits(logits, task, training=True)
    loss = measure(task.train.of(logits), task.train.y)
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
    return value


@torch.no_grad()
def _evaluate(model: nn.Module, task: _Task, measure: Callable[[Tensor, Tensor], float], history: History) -> None:
    model.eval()
    logits = model(task.x, task.edge_index)
    if not history.val:
        _check_logits(logits, task, training=False)
    # The sum is finite unless a number is not, or the numbers are huge.
    if not math.isfinite(float(logits.sum())) and not bool(torch.isfinite(logits).all()):
        raise NonFiniteLoss(
            f"the logits hold nan or inf after epoch {len(history.val)} (lr {history.lr[-1]:g}); "
            "lower lr, set clip_norm, or look for nan in the features"
        )
    val = task.val.of(logits)
    history.train.append(measure(task.train.of(logits), task.train.y))
    history.val.append(measure(val, task.val.y))
    history.test.append(measure(task.test.of(logits), task.test.y))
    history.val_loss.append(float(F.cross_entropy(val, task.val.y)))


def _check_logits(logits: Tensor, task: _Task, training: bool) -> None:
    check_logits(logits, training)
    classes = int(max(part.y.max() for part in (task.train, task.val, task.test))) + 1
    if logits.dim() != 2 or logits.shape[0] != task.num_nodes or logits.shape[1] < classes:
        raise ValueError(
            f"model(x, edge_index) must return logits [N, C] of N = {task.num_nodes} nodes and C = {classes} classes "
            f"or more; got {list(logits.shape)}"
        )


def _checked_task(data: Data, split: Split) -> Data:
    """The data with labels of 64 bits."""
    check_graph(data)
    check_split(split)
    if not isinstance(data.x, Tensor):
        way_out = "set data.x" if data.x is None else "use data.x = torch.as_tensor(data.x)"
        raise ValueError(f"expected a tensor of features [nodes, F] as data.x, got {kind_of(data.x)}: {way_out}")
    data = outside_inference(with_whole_labels(data))
    if split.num_nodes != data.y.numel():
        raise ValueError(f"the split has {split.num_nodes} nodes and the data {data.y.numel()}; they must agree")
    if bool((data.y[(split.train | split.val | split.test).to(data.y.device)] < 0).any()):
        raise ValueError("a node of the split has a negative label; leave unlabeled nodes out of all three masks")
    return data
