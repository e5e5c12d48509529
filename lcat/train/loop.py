"""One plain full-batch training loop for node classification."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat.data.splits.splits import Split
from lcat.train._checks import (
    check_callable,
    check_graph,
    check_logits,
    check_loss,
    check_module,
    check_split,
    check_trainable,
    config_of,
    first_mean_loss,
    kind_of,
    outside_inference,
    warn_of_probabilities,
    with_whole_labels,
)
from lcat.train._tracking import read_lambdas
from lcat.train.config import FitConfig, NonFiniteLoss
from lcat.train.metrics import metric_by_name
from lcat.train.ranges import TRAINING_RANGES
from lcat.train.result import FitResult, History
from lcat.train.task_loop import Figures, fit_task

__all__ = ["FitConfig", "NodeClasses", "NonFiniteLoss", "fit", "read_lambdas"]


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
    if loss is not None:
        check_callable("loss", loss, "a function (logits, y) -> scalar")
        check_loss(loss)
    task = NodeClasses(data, split, metric, loss or F.cross_entropy)
    return fit_task(model, task, config, ema=ema, seed=seed, progress=progress, on_epoch=on_epoch)


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


class NodeClasses:
    """The task of :func:`fit`: classes of the nodes of one graph, which every step sees as a whole.

    Args:
        data: see :func:`fit`.
        split: of its nodes.
        metric: ``"accuracy"`` or ``"roc-auc"``.
        loss: ``f(logits, y)`` of the training nodes, their mean.

    Raises:
        TypeError: for an argument of another kind.
        ValueError: on labels or masks that cannot be used.

    Example:
        >>> from lcat.data import Split, csbm
        >>> from lcat.train import NodeClasses
        >>> data = csbm(n=100, seed=0)
        >>> NodeClasses(data, Split(data.train_mask, data.val_mask, data.test_mask)).metric
        'accuracy'
    """

    higher_is_better = True

    def __init__(
        self,
        data: Data,
        split: Split,
        metric: str = "accuracy",
        loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    ) -> None:
        data = _checked_task(data, split)
        self.metric = metric
        self._loss = loss
        self._metrics = metric_by_name(metric)
        self._x, self._edge_index, self._num_nodes = data.x, data.edge_index, data.y.numel()
        split = split.to(data.x.device)
        parts = []
        for mask in (split.train, split.val, split.test):
            nodes = mask.nonzero().view(-1)
            parts.append(_Part(nodes, data.y[nodes]))
        self._train, self._val, self._test = parts
        self._epochs = 0  # that have been measured
        self._stepped = False

    def batches(self, epoch: int) -> tuple[int]:
        """The graph."""
        return (epoch,)

    def loss(self, model: nn.Module, batch: int) -> tuple[Tensor, int]:
        """Of the training nodes; one item, as the loss is whatever the caller makes of all of them."""
        del batch
        logits = model(self._x, self._edge_index)
        if not self._stepped:
            self._check_logits(logits, training=True)
            self._stepped = True
            if self._loss is F.cross_entropy:
                warn_of_probabilities(logits)
            return first_mean_loss(self._loss, self._train.of(logits), self._train.y), 1
        return self._loss(self._train.of(logits), self._train.y), 1

    def measure(self, model: nn.Module) -> Figures:
        """From one call of the model."""
        logits = model(self._x, self._edge_index)
        if self._epochs == 0:
            self._check_logits(logits, training=False)
        # The sum is finite unless a number is not, or the numbers are huge.
        if not math.isfinite(float(logits.sum())) and not bool(torch.isfinite(logits).all()):
            raise NonFiniteLoss(
                f"the logits hold nan or inf after epoch {self._epochs}; lower lr, set clip_norm, or look for nan in "
                "the features"
            )
        val = self._val.of(logits)
        figures = Figures(
            self._metrics(self._train.of(logits), self._train.y),
            self._metrics(val, self._val.y),
            self._metrics(self._test.of(logits), self._test.y),
            float(F.cross_entropy(val, self._val.y)),
        )
        if self._epochs == 0:
            self._metrics = metric_by_name(self.metric, checks=False)
        self._epochs += 1
        return figures

    def _check_logits(self, logits: Tensor, training: bool) -> None:
        check_logits(logits, training)
        classes = int(max(part.y.max() for part in (self._train, self._val, self._test))) + 1
        if logits.dim() != 2 or logits.shape[0] != self._num_nodes or logits.shape[1] < classes:
            raise ValueError(
                f"model(x, edge_index) must return logits [N, C] of N = {self._num_nodes} nodes and C = {classes} "
                f"classes or more; got {list(logits.shape)}"
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
