"""What one cell of a study leaves behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lcat._json import without_nan
from lcat._text import error_line
from lcat.study.plan.cell import Cell
from lcat.train import FitResult

__all__ = ["CellResult", "Status"]

#: What became of a cell.
Status = Literal["done", "failed"]


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
        peak_memory: most bytes held beyond what was held when the model was built: on a GPU of tensors, on a CPU of
            the resident set (Linux); ``None`` where it cannot be measured.
        split_hash: 16 hexadecimal digits of the three masks.
        test_set: 16 hexadecimal digits of the graph and its test nodes. Only cells with one test set may be pooled
            when a configuration is chosen: elsewhere one cell's test nodes validate another.
        started, finished: UTC, ISO 8601.
        worker: process that ran the cell, ``host:pid``.
        device: where it trained.
        versions: of packages, machine and threads.
        graph: facts about the graph, see :func:`lcat.data.datasets.facts.graph_facts`; empty in results of earlier
            versions of lcat.
        files: to keep in the folder of the study, by their paths there; empty once they are written.
        task: what was predicted.
        figures: all metrics of the task at the best epoch, see :func:`lcat.study.tasks.figures.figures_of`; empty in
            results of earlier versions of lcat.
    """

    cell: Cell
    fit: FitResult | None
    error: str | None = None
    parameters: int = 0
    metric: str = ""
    split_rule: str = ""
    split_sizes: tuple[int, int, int] = (0, 0, 0)
    seconds: float = 0.0
    peak_memory: int | None = None
    split_hash: str = ""
    test_set: str = ""
    started: str = ""
    finished: str = ""
    worker: str = ""
    device: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    graph: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    task: str = "node-classification"
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """The cell finished."""
        return self.fit is not None

    @property
    def status(self) -> Status:
        """``"done"`` or ``"failed"``."""
        return "done" if self.fit is not None else "failed"

    @property
    def error_line(self) -> str:
        """The error of a failed cell, with the first line of its message; empty if the cell finished."""
        return error_line(self.error or "")

    @property
    def epoch_seconds(self) -> float | None:
        """Mean wall-clock time of an epoch, evaluation included; ``None`` for a failed cell."""
        return self.fit.seconds / self.fit.epochs if self.fit is not None and self.fit.epochs else None

    def to_dict(self) -> dict[str, Any]:
        """Nested plain Python values, ready for ``json.dumps``: ``None`` for what is no finite number."""
        values = {key: value for key, value in asdict(self).items() if key not in ("cell", "fit", "files")}
        values["split_sizes"] = list(self.split_sizes)
        plain: dict[str, Any] = without_nan(
            {
                "key": self.cell.key,
                "cell": self.cell.model_dump(),
                "fit": self.fit.to_dict() if self.fit is not None else None,
                **values,
            }
        )
        return plain

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CellResult:
        """The inverse of :meth:`to_dict`."""
        rest = {key: value for key, value in values.items() if key not in ("key", "cell", "fit")}
        rest["split_sizes"] = tuple(rest["split_sizes"])
        result = FitResult.from_dict(values["fit"]) if values["fit"] is not None else None
        return cls(cell=Cell(**values["cell"]), fit=result, **rest)
