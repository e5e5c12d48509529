"""Files that a cell leaves on request: its model, and its predictions."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch_geometric.data import Data

from lcat.data import NodeDataset, Split
from lcat.study.models.own_model import OwnModel
from lcat.study.plan.cell import Cell
from lcat.study.store.model_file import model_bytes
from lcat.study.store.predictions import prediction_bytes
from lcat.study.tasks.losses import losses_of
from lcat.train import FitResult

__all__ = ["files_of"]


def files_of(
    keep: Collection[str],
    model: nn.Module,
    cell: Cell,
    *,
    dataset: Any,
    split: Split,
    data: Data | None,
    fit: FitResult,
    own: OwnModel | None,
    base: Path,
) -> dict[str, bytes]:
    """What is kept of a cell beside its result: paths in the folder of the study, and their content.

    Args:
        keep: ``"models"``, ``"predictions"``.
        model: with the weights of the best epoch.
        cell: that was trained.
        dataset, split, data: what it was trained on, ``data`` on the device of the model.
        fit: its figures.
        own: the own model that it is.
        base: folder that the path of an own model starts from.

    Raises:
        ValueError: for models of whole graphs and of links, and of mini-batches, which are not kept.
    """
    files: dict[str, bytes] = {}
    if not keep:
        return files
    if not isinstance(dataset, NodeDataset) or data is None:
        raise ValueError("keep is for models of nodes that train on a whole graph; leave it out")
    is_regression = dataset.task == "node-regression"
    if is_regression and "models" in keep:
        raise ValueError("models of regression are not kept, as their outputs are scaled; keep predictions, or nothing")
    if "models" in keep:
        files[f"models/{cell.key}.pt"] = model_bytes(
            model,
            cell,
            in_channels=int(data.x.size(1)),
            out_channels=dataset.num_classes,
            edge_dim=dataset.num_edge_features or None,
            own=own,
            base=base,
            figures={"train": fit.train, "validation": fit.val, "test": fit.test},
        )
    if "predictions" in keep:
        model.eval()
        with torch.no_grad():
            outputs = model(data.x, data.edge_index)
        if is_regression:  # in the unit of the targets
            losses = losses_of(dataset.task, cell.hyper, dataset.data.y[split.train], 1)
            outputs = outputs * losses.std + losses.mean
        files[f"predictions/{cell.key}.npz"] = prediction_bytes(outputs, data.y, (split.train, split.val, split.test))
    return files
