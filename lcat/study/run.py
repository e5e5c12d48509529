"""Run the cells of a plan, one after the other, in this process."""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch_geometric

import lcat
from lcat.data import NodeDataset
from lcat.study.layers import build_model
from lcat.study.plan import Cell, StudyPlan
from lcat.study.sources import Sources
from lcat.train import FitResult, History, fit, seed_everything

__all__ = ["CellResult", "run", "run_cell", "versions"]


@dataclass
class CellResult:
    """What one cell left behind.

    Attributes:
        cell: what was run.
        fit: figures and history; ``None`` if the cell failed.
        error: the traceback of a failed cell; ``None`` if it finished.
        parameters: number of learned numbers in the model.
        metric: name of the metric.
        split_rule: how the nodes were split, in words.
        split_sizes: number of train, validation and test nodes.
        seconds: wall-clock time of the cell, loading left out.
    """

    cell: Cell
    fit: FitResult | None
    error: str | None = None
    parameters: int = 0
    metric: str = ""
    split_rule: str = ""
    split_sizes: tuple[int, int, int] = (0, 0, 0)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """The cell finished."""
        return self.fit is not None

    def to_dict(self) -> dict[str, Any]:
        """Nested plain Python values, ready for ``json.dumps``."""
        values = {key: value for key, value in asdict(self).items() if key not in ("cell", "fit")}
        values["split_sizes"] = list(self.split_sizes)
        return {
            "key": self.cell.key,
            "cell": self.cell.model_dump(),
            "fit": self.fit.to_dict() if self.fit is not None else None,
            **values,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CellResult:
        """The inverse of :meth:`to_dict`."""
        rest = {key: value for key, value in values.items() if key not in ("key", "cell", "fit")}
        rest["split_sizes"] = tuple(rest["split_sizes"])
        result = FitResult.from_dict(values["fit"]) if values["fit"] is not None else None
        return cls(cell=Cell(**values["cell"]), fit=result, **rest)


def run(
    plan: StudyPlan,
    *,
    data_root: str | Path | None = None,
    own: Mapping[str, NodeDataset] | None = None,
    metric: str | None = None,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[Cell, int, History], None] | None = None,
) -> Iterator[CellResult]:
    """Train every cell of ``plan`` and yield its result as soon as it is there.

    All data sets are looked for first. A cell that raises is yielded with its traceback, and the next one runs.

    Args:
        plan: what to run.
        data_root: folder with the files of public data sets; ``lcat.data.default_root()`` by default.
        own: own data sets by the names that ``plan.own`` lists.
        metric: metric of data sets read from a file that does not name one.
        device: where to train.
        on_epoch: called after every epoch with the cell, the epoch and the history so far.

    Yields:
        One :class:`CellResult` a cell, in the order of ``plan.cells()``.

    Raises:
        lcat.data.DataError: before the first cell, if a data set cannot be had.
        KeyboardInterrupt: Ctrl-C ends the study; what was yielded stays valid.

    Example:
        >>> from lcat.study import make_plan, run
        >>> plan = make_plan(datasets=["csbm:easy,n=100"], layers=["gcn"], seeds=[0], overrides={"epochs": 20})
        >>> [result.ok for result in run(plan)]
        [True]
    """
    sources = Sources(Path(data_root) if data_root is not None else None, own or {}, metric)
    sources.prepare(plan.datasets)
    for cell in plan.cells():
        yield run_cell(cell, sources, device=device, on_epoch=on_epoch)


def run_cell(
    cell: Cell,
    sources: Sources,
    *,
    device: str | torch.device = "cpu",
    on_epoch: Callable[[Cell, int, History], None] | None = None,
) -> CellResult:
    """Train one cell; a failure becomes part of the result.

    Everything that an ``Exception`` can stop is caught, as a study must go on; ``KeyboardInterrupt`` passes.
    """
    result = CellResult(cell=cell, fit=None)
    start = time.perf_counter()
    try:
        dataset = sources.load(cell.dataset, cell.seed)
        split = dataset.split(cell.seed)
        result.metric, result.split_rule, result.split_sizes = dataset.metric, dataset.split_rule, split.sizes
        data = dataset.data.to(device)
        start = time.perf_counter()
        seed_everything(cell.seed)
        model = build_model(cell.layer, data.num_features, dataset.num_classes, cell.hyper).to(device)
        result.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        result.fit = fit(
            model,
            data,
            split,
            cell.hyper.fit_config(),
            metric=dataset.metric,
            on_epoch=None if on_epoch is None else lambda epoch, history: on_epoch(cell, epoch, history),
        )
    except Exception:
        result.error = traceback.format_exc()
    result.seconds = time.perf_counter() - start
    return result


def versions() -> dict[str, str]:
    """Versions and machine that a result was made with."""
    return {
        "lcat": lcat.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch-geometric": torch_geometric.__version__,
        "platform": platform.platform(),
        "threads": str(torch.get_num_threads()),
    }
