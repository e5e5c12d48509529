"""Trained models as files that load in one line, own models included."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lcat._files import as_path
from lcat._measures import TaskName
from lcat._version import __version__
from lcat.study.models.own_model import OwnModel, find_model
from lcat.study.models.own_signature import read_signature
from lcat.study.models.predictor import build_predictor
from lcat.study.models.target_scale import ScaledOutputs, TargetScale
from lcat.study.plan.cell import Cell

__all__ = ["ModelFileError", "load_model", "model_bytes"]

#: Format 1 knew models of nodes with classes or labels, on whole graphs.
_FORMATS = (1, 2)


class ModelFileError(ValueError):
    """A file of a model that cannot be loaded; one line says why and what to do."""


def model_bytes(
    model: nn.Module,
    cell: Cell,
    *,
    task: TaskName,
    sizes: Mapping[str, int | None],
    scale: TargetScale | None,
    own: OwnModel | None,
    base: Path,
    figures: dict[str, float],
) -> bytes:
    """The content of a file that :func:`load_model` reads: weights, and what the model is made of.

    Args:
        model: of :func:`lcat.study.models.predictor.build_predictor`, with the weights to keep.
        cell: that it was trained in.
        task: that it was trained for.
        sizes: that it was made with: ``in_channels``, ``num_classes``, ``edge_dim``.
        scale: of the targets of a regression.
        own: the own model that it is, if it is one.
        base: folder that the path of an own model starts from.
        figures: metrics, for whoever opens the file.
    """
    values: dict[str, Any] = {
        "format": _FORMATS[-1],
        "lcat": __version__,
        "cell": cell.model_dump_json(),
        "task": task,
        "in_channels": sizes["in_channels"],
        "out_channels": sizes["num_classes"],
        "edge_dim": sizes["edge_dim"],
        "figures": figures,
        "weights": {name: value.detach().cpu() for name, value in model.state_dict().items()},
    }
    if scale is not None:
        values["scale"] = {"mean": scale.mean.cpu(), "std": scale.std.cpu()}
    if own is not None:
        source = own.source
        values["own"] = {"text": own.text, "base": str(base.absolute()), "hash": source.hash, "source": source.text}
    content = io.BytesIO()
    torch.save(values, content)
    return content.getvalue()


def load_model(
    path: str | Path, model: Callable[..., nn.Module] | None = None, *, trust_source: bool = False
) -> nn.Module:
    """The trained model in a file that a study kept, in evaluation mode, on the CPU.

    A model of nodes is called as ``model(x, edge_index)`` and returns logits of classes or labels, or numbers in the
    units of the targets. One of links is called in the same way, and returns a vector for each node; the score of a
    pair is the dot product of its vectors. On a graph with ``edge_weight`` or ``edge_attr``, call
    ``model.use_edge_values(data)`` first. A model of graphs is called as ``model(batch)``, with a PyG ``Batch`` or
    ``Data``, and returns a row for each graph.

    No code in the file runs, unless ``trust_source`` says so. An own model is imported from where it was, and must be
    the same.

    Args:
        path: of the file.
        model: class or function of an own model, if its file is somewhere else by now.
        trust_source: make an own model of the text of its file, which the study has kept. It runs: only for files of
            people that you trust.

    Raises:
        ModelFileError: if it is no such file, or an own model is not where it was, or has changed.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lcat.study import load_model, make_plan, run_study
        >>> plan = make_plan(
        ...     datasets=["csbm:easy,n=60"],
        ...     layers=["gcn"],
        ...     seeds=1,
        ...     overrides={"epochs": 3},
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     study = run_study(plan, folder, engine="inline", keep=["models"]).study
        ...     loaded = load_model(study.best_model("csbm:easy,n=60", "gcn"))
        >>> type(loaded).__name__, loaded.training
        ('NodeClassifier', False)
    """
    path = as_path("path", path)
    values = _read(path)
    try:
        cell = Cell.model_validate_json(values["cell"])
        if model is not None and "own" not in values:
            raise ModelFileError(f"{path} is of the layer {cell.layer} of lcat, which takes no 'model': leave it out")
        own = _own(path, cell, values["own"], model, trust_source=trust_source) if "own" in values else None
        made = build_predictor(
            values.get("task", "node-classification"), cell.layer, cell.hyper,
            in_channels=values["in_channels"], num_classes=values["out_channels"], edge_dim=values["edge_dim"], own=own,
        )  # fmt: skip
        made.load_state_dict(values["weights"])
        if "scale" in values:
            made = ScaledOutputs(made, TargetScale(**values["scale"]))
    except ModelFileError:
        raise
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelFileError(f"{path} does not fit the model that it is of: {reason}") from error
    return made.eval()


def _read(path: Path) -> dict[str, Any]:
    try:
        values = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ModelFileError(f"there is no file {path}; a study keeps models with --keep models") from None
    except Exception as error:  # what a damaged file makes torch's reader raise is not listed anywhere
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path} is no model that a study has kept, or is damaged ({reason})") from error
    if not isinstance(values, dict) or "weights" not in values or "cell" not in values:
        raise ModelFileError(f"{path} is no model that a study has kept; expected a file of models/ in its folder")
    if values.get("format") not in _FORMATS:
        raise ModelFileError(
            f"{path} has format {values.get('format')}, of lcat {values.get('lcat')}, and this lcat knows "
            f"{' and '.join(map(str, _FORMATS))}"
        )
    return values


def _own(
    path: Path, cell: Cell, stored: dict[str, str], build: Callable[..., nn.Module] | None, *, trust_source: bool
) -> OwnModel:
    if build is not None:
        settings, takes_any = read_signature(build, cell.layer)
        return OwnModel(cell.layer, stored["text"], build, settings, takes_any)
    if trust_source:
        return _from_text(path, stored)
    ways = (
        "pass the class, as in load_model(path, MyNet), or trust_source=True, which runs the text of the file that the "
        "study has kept"
    )
    try:
        own = find_model(stored["text"], Path(stored["base"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is of {stored['text']}, which is not there any more ({error}): {ways}") from None
    if own.build is None:
        raise ModelFileError(f"{path} is of {stored['text']}, which cannot be imported ({own.problem}): {ways}")
    if stored["hash"] and own.source.hash != stored["hash"]:
        raise ModelFileError(f"{path} is of {stored['text']}, which has changed since: put it back, or {ways}")
    return own


def _from_text(path: Path, stored: dict[str, str]) -> OwnModel:
    where, colon, name = stored["text"].rpartition("=")[2].rpartition(":")
    if not colon or not stored["source"]:
        raise ModelFileError(f"{path} has no text of {stored['text']}: pass the class, as in load_model(path, MyNet)")
    stem = Path(where).stem if where.endswith(".py") else where.rpartition(".")[2]
    with tempfile.TemporaryDirectory(prefix="lcat-model-") as folder:
        Path(folder, f"{stem}.py").write_text(stored["source"], encoding="utf-8")
        alias = stored["text"].rpartition("=")[0] or name.rpartition(".")[2]
        own = find_model(f"{alias}={stem}.py:{name}", Path(folder))
    if own.build is None:
        raise ModelFileError(f"{path}: the text of {stored['text']} cannot be imported alone: {own.problem}")
    return own
