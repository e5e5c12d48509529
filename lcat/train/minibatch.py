"""The training loop on mini-batches: one process or several, one checkpoint that continues bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lcat._files import as_path
from lcat._numbers import read_bool
from lcat._text import counted
from lcat.data.loading.batches import SeedBatches
from lcat.train._checks import (
    check_callable,
    check_module,
    check_objective,
    check_trainable,
    config_of,
    explain_small_batch,
    figures_of,
    kind_of,
    sum_and_count,
)
from lcat.train._tracking import Best, follow_lambdas, modules_with_lambdas
from lcat.train.checkpoint import (
    CheckpointError,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from lcat.train.config import FitConfig, NonFiniteLoss
from lcat.train.distributed import Processes
from lcat.train.objective import NodeObjective
from lcat.train.optimizers import build_optimizer, load_optimizer_state, scale_scalar_lr
from lcat.train.ranges import check_ranges, optional, whole
from lcat.train.result import FitResult, History
from lcat.train.schedules import build_schedule
from lcat.train.seeds import seed_for

__all__ = ["MinibatchConfig", "fit_minibatch"]


class EpochLoader(Protocol):
    """What :func:`fit_minibatch` trains on: batches that follow from the epoch and their number."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def epoch(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """The batches of one epoch, from number ``batch`` on."""


@dataclass(frozen=True)
class MinibatchConfig(FitConfig):
    """Settings of :func:`fit_minibatch`: those of :class:`FitConfig`, and four more.

    Args:
        accumulate: batches per step: their gradients are added up as if they were one batch.
        autocast: compute in bfloat16 where torch's autocast does; weights and optimizer stay as they are.
        compile: ``True`` compiles the model with ``torch.compile`` for varying sizes; a name chooses the backend.
        eval_every: measure after every ``eval_every`` epochs and after the last; histories hold nan for the others.
            ``patience`` counts all epochs since the best one, and ends the training only right after a measured one.

    Example:
        >>> from lcat.train import MinibatchConfig
        >>> MinibatchConfig(epochs=10, lr=0.01, accumulate=4).accumulate
        4
    """

    accumulate: int = 1
    autocast: bool = False
    compile: bool | str = False
    eval_every: int = 1


def fit_minibatch(
    model: nn.Module,
    loader: EpochLoader,
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    config: MinibatchConfig | None = None,
    *,
    objective: Callable[[Any, Any], tuple[Tensor, int]] | None = None,
    metric: str | None = None,
    seed: int | None = None,
    group: Processes | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_steps: int | None = None,
    progress: bool = False,
    on_epoch: Callable[[int, History], None] | None = None,
) -> FitResult:
    """Train ``model`` on mini-batches; keep the epoch that validates best.

    A step takes the mean loss over all nodes of its batches (``accumulate`` of them, in all processes). After the
    epochs that are measured, ``evaluate`` tells how good the model is; the best epoch has the highest ``"val"`` and,
    among equals, the lowest ``"val_loss"``. At the end the model holds the weights of the best epoch.

    With ``checkpoint``, the state is saved after every epoch and every ``checkpoint_steps`` steps, see
    :func:`save_checkpoint`. If the file exists, training continues from it, and on the same machine ends bit for bit
    where it would have ended without the interruption.

    Args:
        model: on the group's device.
        loader: a :class:`lcat.data.NodeBatchLoader`, or whatever has its ``epoch`` and length. For several processes
            it is made with the group's ``rank`` and ``world_size``. Any other loader, such as PyG's own, goes into a
            :class:`lcat.data.SeededLoader`; in several processes, each trains on what its own one gives. Where it has a
            ``signature()`` (what its batches follow from, by name), a checkpoint fits loaders of the same one alone.
        evaluate: a :class:`WholeGraph`, or any function of the model; it is called with the model in evaluation mode,
            without gradients, in the main process. Returns ``"val"`` and ``"test"``, and may return ``"train"`` and
            ``"val_loss"``. If it has a method ``check_model``, that is called before the training.
        config: the settings; ``MinibatchConfig()`` by default.
        objective: ``(model, batch) -> (sum of losses, number of nodes)``; ``NodeObjective()`` by default.
        metric: how the result calls what ``evaluate`` measures; by default its ``metric``, or ``"accuracy"`` where it
            has none.
        seed: seeds every generator before the first epoch; processes other than the first get seeds of their own.
        group: the processes, from :func:`processes`; a single one by default.
        checkpoint: file of the checkpoint. What it was made with must be the same, but for ``patience``, and for a
            larger number of ``epochs`` where the learning rate is constant. Options of the model that are no weights,
            such as its dropout, are not compared.
        checkpoint_steps: steps between checkpoints inside an epoch; ``None`` for none.
        progress: show a progress bar with the time left on standard error.
        on_epoch: called in the main process after every epoch with its number and the history so far.

    Returns:
        The figures at the best epoch and the whole history, the same in all processes.

    Raises:
        NonFiniteLoss: the loss became nan or infinite; the model holds the best weights up to then.
        TypeError: the loader has no epochs that can be started anywhere, the model cannot be measured, or an argument
            is of another kind.
        ValueError: an epoch in which no node is trained on, a loader made for another number of processes, loaders of
            different lengths in several processes, an objective and an ``evaluate`` that pass different values of edges
            to the model, or an objective that returns something other than a sum of losses and a whole number of nodes.
        CheckpointError: the checkpoint cannot be read or written, or is of another model, seed or loader, or
            of other settings.
        KeyboardInterrupt: Ctrl-C passes through, after the best weights so far have been put back. The last checkpoint
            stays.

    Example:
        >>> from lcat.data import csbm, neighbor_loader
        >>> from lcat.nn.models import GAT
        >>> from lcat.train import MinibatchConfig, WholeGraph, fit_minibatch
        >>> data = csbm(n=200, q=0.05, regime="easy", seed=0)
        >>> model = GAT(data.num_features, 8, num_layers=1, out_channels=2)
        >>> loader = neighbor_loader(
        ...     data, [10], data.train_mask, batch_size=40, shuffle=True
        ... )
        >>> evaluate = WholeGraph(data, {"val": data.val_mask, "test": data.test_mask})
        >>> result = fit_minibatch(
        ...     model, loader, evaluate, MinibatchConfig(epochs=20, lr=0.1), seed=0
        ... )
        >>> result.test > 0.9
        True
    """
    check_module(model, "fit_minibatch(model, loader, evaluate)")
    check_trainable(model)
    config, progress = config_of(config, MinibatchConfig), read_bool("progress", progress)
    if group is not None and not isinstance(group, Processes):
        raise TypeError(
            f"expected 'group' from lcat.train.processes(), or None for one process, got {kind_of(group)}: use "
            "with processes() as group"
        )
    if metric is not None and not isinstance(metric, str):
        raise TypeError(f"expected the name of what 'evaluate' measures as 'metric', a text, got {kind_of(metric)}")
    group = group or Processes()
    _check_loader(loader, group)
    check_callable("evaluate", evaluate, "a WholeGraph, or a function (model) -> {'val': number, 'test': number},")
    objective = NodeObjective() if objective is None else objective
    check_objective(objective)
    _check_edge_values(objective, evaluate)
    metric = getattr(evaluate, "metric", "accuracy") if metric is None else metric
    if on_epoch is not None:
        check_callable("on_epoch", on_epoch, "a function (epoch, history)")
    check_ranges({"checkpoint_steps": checkpoint_steps}, {"checkpoint_steps": optional(whole(1))})
    if checkpoint_steps is not None and checkpoint is None:
        raise ValueError(
            f"checkpoint_steps needs a file: pass checkpoint=, too; got checkpoint_steps={checkpoint_steps}"
        )
    checkpoint = None if checkpoint is None else as_path("checkpoint", checkpoint)
    check_model = getattr(evaluate, "check_model", None)
    if callable(check_model):
        check_model(model)
    if seed is not None:
        seed_for(seed, "training", group.rank)
    run = _Run(model, loader, config, objective, group, seed, {"metric": metric, **_signature("evaluate", evaluate)})
    if checkpoint is not None:
        run.resume(Path(checkpoint))
        run.checkpoint = Path(checkpoint)
        run.checkpoint_steps = checkpoint_steps
    start = time.perf_counter() - run.seconds
    try:
        stopped = _epochs(run, evaluate, start, progress, on_epoch)
    finally:
        run.best.restore(model)
    history, best = run.history, max(run.best.epoch, 0)
    return FitResult(
        metric=metric,
        train=history.train[best],
        val=history.val[best],
        test=history.test[best],
        best_epoch=best,
        epochs=len(history),
        stopped=stopped,
        seconds=time.perf_counter() - start,
        lambdas={name: path[best + 1] for name, path in history.lambdas.items()},
        history=history,
    )


def _epochs(
    run: _Run,
    evaluate: Callable[[nn.Module], Mapping[str, float]],
    start: float,
    progress: bool,
    on_epoch: Callable[[int, History], None] | None,
) -> str:
    """All epochs from where the run stands; returns why it stopped."""
    config, history, group = run.config, run.history, run.group
    batches = len(run.loader)
    with tqdm(
        total=config.epochs * batches,
        initial=run.epoch * batches + run.batch,
        desc="training",
        unit="batch",
        disable=not (progress and group.is_main),
        leave=False,
    ) as bar:
        while run.epoch < config.epochs:
            if run.stopped_early():
                return "patience"
            epoch = run.epoch
            lr = run.optimizer.param_groups[0]["lr"]
            for _ in run.steps():
                run.seconds = time.perf_counter() - start
                bar.update(run.epoch * batches + run.batch - bar.n)
            history.lr.append(lr)
            history.loss.append(run.mean_loss())
            run.schedule.step()
            _measure(run, evaluate, epoch)
            follow_lambdas(run.lambdas, history)
            run.begin(epoch + 1)
            run.seconds = time.perf_counter() - start
            run.save()
            if on_epoch is not None and group.is_main:
                on_epoch(epoch, history)
            bar.set_postfix(loss=f"{history.loss[-1]:.3f}", val=f"{history.val[-1]:.3f}")
    return "patience" if run.stopped_early() else "epochs"


def _measure(run: _Run, evaluate: Callable[[nn.Module], Mapping[str, float]], epoch: int) -> None:
    """Append the figures of an epoch to the history, nan where it is not measured."""
    history, config = run.history, run.config
    nothing = dict.fromkeys(("train", "val", "test", "val_loss"), math.nan)
    measured = (epoch + 1) % config.eval_every == 0 or epoch + 1 == config.epochs
    figures = nothing
    if measured:
        run.group.share_buffers(run.model)

        def figures_of_main() -> dict[str, float]:
            run.model.eval()
            with torch.no_grad():
                return figures_of(evaluate(run.model))

        figures = {**nothing, **run.group.on_main(figures_of_main)}
        if math.isnan(figures["val"]) or math.isnan(figures["test"]):
            raise ValueError(f"evaluate must return 'val' and 'test' as numbers; got {figures}")
    for name in nothing:
        getattr(history, name).append(figures[name])
    if measured:
        run.best.update(run.model, epoch, history)


#: what a checkpoint holds
_PARTS = ("settings", "model", "optimizer", "schedule", "random", "place", "history", "best", "seconds")


class _Run:
    """The state of one training: everything that a checkpoint holds."""

    checkpoint: Path | None = None
    checkpoint_steps: int | None = None

    def __init__(
        self,
        model: nn.Module,
        loader: EpochLoader,
        config: MinibatchConfig,
        objective: Callable[[Any, Any], tuple[Tensor, int]],
        group: Processes,
        seed: int | None,
        measured: Mapping[str, Any],
    ) -> None:
        self.model, self.loader, self.config, self.objective, self.group = model, loader, config, objective, group
        self.seed, self.measured = seed, measured
        group.share_weights(model)  # before the optimizer looks at them
        self.called: Callable[..., Any] = model
        if config.compile:
            backend = config.compile if isinstance(config.compile, str) else "inductor"
            self.called = torch.compile(model, dynamic=True, backend=backend)
        self.optimizer = build_optimizer(
            config.optimizer, model, lr=config.lr, weight_decay=config.weight_decay, **config.optimizer_options
        )
        scale_scalar_lr(self.optimizer, config.scalar_lr, model)
        self.schedule = build_schedule(self.optimizer, config.schedule, config.epochs, config.warmup)
        self.history = History()
        self.lambdas = modules_with_lambdas(model)
        follow_lambdas(self.lambdas, self.history)
        self.best = Best(model)
        self.seconds = 0.0
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Stand at the beginning of an epoch."""
        self.epoch, self.batch = epoch, 0
        self._loss, self._count = 0.0, 0.0

    def mean_loss(self) -> float:
        """The training loss of the epoch so far, a mean over nodes."""
        if self._count == 0:
            raise ValueError(
                f"expected at least one node to train on in an epoch, got none in epoch {self.epoch} with "
                f"{counted(len(self.loader), 'batch')}: make batches of more nodes, or check the seeds of the loader "
                "and the mask of the objective"
            )
        return self._loss / self._count

    def stopped_early(self) -> bool:
        """True after a measured epoch that is ``patience`` epochs or more from the best one."""
        patience, val = self.config.patience, self.history.val
        if patience is None or not val or math.isnan(val[-1]):
            return False
        return self.epoch - 1 - self.best.epoch >= patience

    def steps(self) -> Iterable[None]:
        """Train on the rest of the epoch; yields after every step."""
        self.model.train()
        config, last = self.config, len(self.loader) - 1
        self.optimizer.zero_grad()
        loss, count, steps = torch.zeros((), dtype=torch.float64), 0, 0
        for batch in self.loader.epoch(self.epoch, self.batch):
            final = (self.batch + 1) % config.accumulate == 0 or self.batch == last
            total, nodes = self._losses(batch)
            total.backward()
            loss, count = loss + total.detach().double().cpu(), count + nodes
            self.batch += 1
            if not final:
                continue
            self._step(float(loss), count)
            loss, count, steps = torch.zeros((), dtype=torch.float64), 0, steps + 1
            yield
            if self.checkpoint_steps is not None and steps % self.checkpoint_steps == 0 and self.batch <= last:
                self.save()

    def _losses(self, batch: Any) -> tuple[Tensor, int]:
        device = self.group.device
        if not hasattr(batch, "to"):
            raise TypeError(
                f"expected batches of torch_geometric.data.Data from the loader, got {kind_of(batch)}: use a loader of "
                "lcat.data or of PyG"
            )
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.config.autocast):
                returned = self.objective(self.called, batch.to(device, non_blocking=True))
        except ValueError as error:
            explain_small_batch(error, f"batch {self.batch} of epoch {self.epoch}")
            raise
        return sum_and_count(returned)

    def _step(self, loss: float, count: int) -> None:
        loss, nodes = self.group.sum([loss, float(count)])
        config = self.config
        # Checked before the step, so that a bad loss never reaches the weights.
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the training loss became {loss} in epoch {self.epoch}, batch {self.batch - 1} (optimizer "
                f"{config.optimizer}, lr {config.lr}, clip_norm {config.clip_norm}); lower lr, set clip_norm, or look "
                "for nan in the features"
            )
        if nodes == 0:  # nothing to learn from: the optimizer would still decay weights and move on by its momentum
            self.optimizer.zero_grad()
            return
        self.group.sum_gradients(self.model.parameters())
        factor = 1 / nodes  # from sums to the mean over all nodes
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._loss += loss
        self._count += nodes

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        path = self.checkpoint
        if path is None:
            return
        generators = self.group.gather(random_state())
        state = {
            "settings": self._settings(),
            "source": self._source(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": generators,
            "place": [self.epoch, self.batch, self._loss, self._count],
            "history": asdict(self.history),
            "best": self.best.state_dict(),
            "seconds": self.seconds,
        }
        self.group.on_main(lambda: save_checkpoint(path, state))

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one."""
        state = self.group.on_main(lambda: load_checkpoint(path) if path.exists() else None)
        if state is None:
            return
        lacking = [name for name in _PARTS if name not in state]
        if lacking:
            raise CheckpointError(
                f"{path} holds no state of fit_minibatch ({', '.join(map(repr, lacking))} missing): name another file "
                "as the checkpoint, or delete it to start again"
            )
        # More epochs may be added where the learning rate does not depend on how many there are.
        free = {"epochs", "patience"} if self.config.schedule == "constant" else {"patience"}
        _compare(path, state["settings"], self._settings(), free)
        done = state["place"][0]
        if done > self.config.epochs:
            raise CheckpointError(
                f"the checkpoint {path} has trained for {counted(done, 'epoch')}, and now epochs is "
                f"{self.config.epochs}: ask for as many or more, or delete it to start again"
            )
        source = self._source()
        _compare(path, {**source, **state.get("source", {})}, source)  # the first checkpoints did not keep it
        try:
            self.model.load_state_dict(state["model"])
            load_optimizer_state(self.optimizer, state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"the checkpoint {path} is of another model: {reason}; delete it to start again"
            ) from error
        self.schedule.load_state_dict(state["schedule"])
        self.epoch, self.batch, self._loss, self._count = state["place"]
        self.history = History(**state["history"])
        self.best.load_state_dict(state["best"])
        self.seconds = state["seconds"]
        restore_random_state(state["random"][self.group.rank])

    def _settings(self) -> dict[str, Any]:
        settings = {name: value if _is_plain(value) else repr(value) for name, value in asdict(self.config).items()}
        return {**settings, "batches per epoch": len(self.loader), "processes": self.group.world_size}

    def _source(self) -> dict[str, Any]:
        """What random numbers, batches and the best epoch follow from."""
        parts = {**_signature("the loader", self.loader), **_signature("the objective", self.objective)}
        return {"seed": self.seed, **parts, **self.measured}


def _check_loader(loader: Any, group: Processes) -> None:
    if not callable(getattr(loader, "epoch", None)) or not hasattr(loader, "__len__"):
        raise TypeError(
            f"expected a loader whose epochs can be started anywhere, got {type(loader).__name__}: use one of "
            "lcat.data, or lcat.data.SeededLoader(loader, seed=0)"
        )
    batches = getattr(loader, "batches", None)
    if isinstance(batches, SeedBatches):
        made, needed = (batches.rank, batches.world_size), (group.rank, group.world_size)
        if made != needed:
            raise ValueError(
                f"the loader was made for process {made[0]} of {made[1]}, and this is process {needed[0]} of "
                f"{needed[1]}: pass rank=group.rank, world_size=group.world_size to the loader, and group=group to "
                "fit_minibatch"
            )
    lengths = group.gather(len(loader))
    if len(set(lengths)) > 1:  # the others would wait for gradients of the one with less
        raise ValueError(
            f"expected as many batches from the loader of each process, got {', '.join(map(str, lengths))}: loaders of "
            "lcat.data with rank= and world_size= share the nodes evenly"
        )
    if lengths[0] == 0:
        raise ValueError("the loader has no batch: give it seed nodes, or leave out drop_last")


def _check_edge_values(objective: Any, evaluate: Any) -> None:
    """Refuse to measure a model on other values of edges than it is trained on."""
    trained, measured = (getattr(one, "edge_values", None) for one in (objective, evaluate))
    if trained is not None and measured is not None and trained != measured:
        got = " and ".join(", ".join(names) or "none" for names in (trained, measured))
        raise ValueError(
            f"expected an objective and an evaluate that pass the same values of edges to the model, got {got}: "
            "NodeObjective and WholeGraph both take edge_attr=True and edge_weight=True"
        )


def _signature(owner: str, of: Any) -> dict[str, Any]:
    """What an argument says that its results follow from, by name."""
    signature = getattr(of, "signature", None)
    return {f"{owner}'s {name}": value for name, value in signature().items()} if callable(signature) else {}


def _compare(path: Path, saved: dict[str, Any], now: dict[str, Any], free: Collection[str] = ()) -> None:
    for name, value in now.items():
        if name not in free and saved.get(name) != value:
            raise CheckpointError(
                f"the checkpoint {path} was made with {name} {saved.get(name)!r}, and now it is {value!r}: use the "
                "same settings to continue, or delete it to start again"
            )


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(entry) for entry in value.values())
    return value is None or isinstance(value, (bool, int, float, str))
