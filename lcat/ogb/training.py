"""One seed: train, measure with OGB's evaluator, keep the epoch that validates best, continue after a kill."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from lcat._json import with_nan, without_nan
from lcat._numbers import as_float, as_int
from lcat.data import OGBDataset
from lcat.ogb.batches import Batch, Batches
from lcat.ogb.environment import hardware, versions
from lcat.ogb.labels import label_features
from lcat.ogb.model import NodeModel
from lcat.ogb.settings import Settings
from lcat.train import FitResult, History, NodeObjective, NonFiniteLoss
from lcat.train.distributed import Processes
from lcat.train.inference import layerwise_inference
from lcat.train.minibatch import MinibatchConfig, fit_minibatch
from lcat.train.seeds import seed_for

__all__ = ["Evaluator", "SeedResult", "build_node_model", "num_outputs", "train_seed"]


@dataclass
class SeedResult:
    """What one seed leaves behind.

    Attributes:
        seed: its seed.
        train, valid, test: OGB's metric at the epoch that validates best.
        best_epoch: that epoch, counted from 1.
        epochs: epochs run.
        seconds: of training and evaluation, all attempts of a resumed run together.
        parameters: number of learned numbers.
        lambdas: ``[lambda1, lambda2]`` of each layer that has them, at the best epoch.
        curve: for each epoch that was measured its number, the training loss and the three metrics.
        versions: of the packages that it was run with.
        hardware: that it was trained on, at its end if it was resumed; empty in files of before this was kept.
    """

    seed: int
    train: float
    valid: float
    test: float
    best_epoch: int
    epochs: int
    seconds: float
    parameters: int
    lambdas: dict[str, list[float]] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no ``nan``: ``None`` for what is no finite number."""
        values: dict[str, Any] = without_nan(asdict(self))
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SeedResult:
        """The inverse of :meth:`to_dict`: ``None`` becomes ``nan``.

        Raises:
            ValueError: if a value is missing or of another kind, in a few words.
        """
        values = with_nan(values)
        known = {spec.name: spec for spec in fields(cls)}
        for name in values:
            if name not in known:
                raise ValueError(f"{name!r} is no part of a result")
        for name, spec in known.items():
            if name not in values and spec.default is MISSING and spec.default_factory is MISSING:
                raise ValueError(f"its {name} is missing")
        result = cls(**values)
        for names, fits, words in _KINDS:
            for name in names:
                if not fits(getattr(result, name)):
                    raise ValueError(f"its {name} must be {words}; got {getattr(result, name)!r}")
        return result


def _is_table(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


def _is_number(value: Any) -> bool:
    return as_float(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_lambdas(value: Any) -> bool:
    return _is_table(value, lambda pair: isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)))


def _is_curve(value: Any) -> bool:
    return isinstance(value, list) and all(_is_table(row, _is_number) for row in value)


#: What files of results hold: names, a test, and the same in words.
_KINDS: tuple[tuple[tuple[str, ...], Callable[[Any], bool], str], ...] = (
    (("seed", "best_epoch", "epochs", "parameters"), lambda value: as_int(value) is not None, "a whole number"),
    (("train", "valid", "test", "seconds"), _is_number, "a number"),
    (("lambdas",), _are_lambdas, "a table of pairs of numbers"),
    (("curve",), _is_curve, "a list of tables of numbers"),
    (("versions",), lambda value: _is_table(value, _is_text), "a table of text"),
    (("hardware",), _is_text, "text"),
)


def train_seed(
    dataset: OGBDataset,
    graph: Data,
    settings: Settings,
    seed: int,
    group: Processes,
    *,
    checkpoint: Path | None = None,
    on_epoch: Callable[[int, History], None] | None = None,
) -> tuple[SeedResult, nn.Module]:
    """Train one model.

    Args:
        dataset: measures.
        graph: as :func:`lcat.ogb.node_graph` makes it.
        settings: what to do.
        seed: of weights, dropout and batches.
        group: the processes that train together.
        checkpoint: file to continue from and to write after every epoch.
        on_epoch: called after every epoch with its number and the history so far.

    Returns:
        The figures, and the model with the weights of the best epoch.
    """
    outputs = num_outputs(dataset)
    seed_for(seed, "weights")
    model = build_node_model(settings, graph, outputs).to(group.device)
    result = fit_minibatch(
        model,
        Batches(graph, settings, seed, outputs, group),
        Evaluator(dataset, graph, settings, group.device),
        _config(settings),
        objective=_loss_of_classes if dataset.metric == "acc" else _loss_of_tasks,
        metric=dataset.metric,
        seed=seed,
        group=group,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )
    return _seed_result(seed, model, result, hardware(group.device, group.world_size)), model


def build_node_model(settings: Settings, graph: Data, num_outputs: int) -> NodeModel:
    """The model of a run, with freshly drawn weights.

    Raises:
        TypeError: if ``graph`` is none.
    """
    if not isinstance(graph, Data):
        raise TypeError(f"expected 'graph' as lcat.ogb.node_graph returns it, a Data, got {type(graph).__name__}")
    edge_attr = graph.get("edge_attr")
    return NodeModel(
        graph.x.size(1) + (num_outputs if settings.labels else 0),
        num_outputs,
        edge_dim=None if edge_attr is None else edge_attr.size(1),
        **{name: getattr(settings, name) for name in _OF_THE_MODEL},
    )


class Evaluator:
    """Measures a model on the whole graph, without dropout, with all training labels shown if labels are used.

    Args:
        dataset: evaluates.
        graph: as :func:`lcat.ogb.node_graph` makes it.
        settings: ``labels`` and ``inference`` are used.
        device: where to compute.
    """

    def __init__(self, dataset: OGBDataset, graph: Data, settings: Settings, device: torch.device) -> None:
        self.dataset, self.settings, self.device = dataset, settings, device
        # One graph for all evaluations, so that its edges are checked and sorted once.
        self.graph = graph.to(device) if settings.inference == "whole" else graph

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """OGB's metric of the three parts, as ``train``, ``val`` and ``test``."""
        logits = self.predict(model)
        if not bool(torch.isfinite(logits).all()):
            raise NonFiniteLoss(
                f"the logits of {self.dataset.name} hold nan or inf (lr {self.settings.lr:g}, clip_norm "
                f"{self.settings.clip_norm}); lower lr or set clip_norm"
            )
        names = {"train": "train", "valid": "val", "test": "test"}
        return {name: self.dataset.evaluate(logits, part) for part, name in names.items()}

    @torch.no_grad()
    def predict(self, model: Any) -> Tensor:
        """Logits of all nodes."""
        graph, x = self.graph, self.graph.x
        model.eval()
        if self.settings.labels:
            x = label_features(x, graph.y, graph.train_mask, num_outputs(self.dataset))
        if self.settings.inference == "whole":
            logits: Tensor = model(x, graph.edge_index, graph.get("edge_attr"))
            return logits
        return layerwise_inference(
            model, model.enter_in_blocks(x), graph.edge_index, device=self.device,
            **model.edge_inputs(graph.get("edge_attr")),
        )  # fmt: skip


def num_outputs(dataset: OGBDataset) -> int:
    """Number of columns of the model's output: classes, or tasks for ogbn-proteins.

    Args:
        dataset: from :func:`lcat.data.load_ogb`.
    """
    return dataset.num_classes if dataset.metric == "acc" else dataset.num_tasks


def _loss_of_classes(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """Sum of cross-entropies over the nodes that are learned, and how many they are."""
    return NodeObjective("cross-entropy").total(*batch.through(model))


def _loss_of_tasks(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """The same of yes-or-no tasks, a mean over the tasks whose labels are known."""
    return NodeObjective("binary").total(*batch.through(model))


def _config(settings: Settings) -> MinibatchConfig:
    same = ("epochs", "patience", "optimizer", "lr", "weight_decay", "scalar_lr", "schedule", "warmup", "clip_norm",
            "eval_every", "accumulate", "compile")  # fmt: skip
    return MinibatchConfig(autocast=settings.precision == "bf16", **{name: getattr(settings, name) for name in same})


def _seed_result(seed: int, model: nn.Module, result: FitResult, machine: str) -> SeedResult:
    history = result.history
    rows = zip(history.loss, history.train, history.val, history.test, strict=True)
    return SeedResult(
        seed=seed,
        train=result.train,
        valid=result.val,
        test=result.test,
        best_epoch=result.best_epoch + 1,
        epochs=result.epochs,
        seconds=result.seconds,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        lambdas=result.lambdas,
        curve=[
            {"epoch": epoch, "loss": loss, "train": train, "valid": valid, "test": test}
            for epoch, (loss, train, valid, test) in enumerate(rows, start=1)
            if not math.isnan(valid)
        ],
        versions=versions(),
        hardware=machine,
    )


_OF_THE_MODEL = (
    "layer", "num_layers", "hidden_channels", "heads", "out_heads", "norm", "residual", "activation",
    "activation_first", "linear_ends", "bias", "dropout", "attention_dropout", "input_dropout", "recompute",
)  # fmt: skip
