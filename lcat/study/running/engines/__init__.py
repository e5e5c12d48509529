"""Ways to run cells behind one small interface: in this process, in others, on a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lcat.study.models.own_model import OwnModels
from lcat.study.plan.as_task import AnyDataset
from lcat.study.plan.settings import EngineName, RunSettings
from lcat.study.running.engines.base import Engine, EngineError, Finished, Note, Progress, Setup

__all__ = ["Engine", "EngineError", "Finished", "Note", "Progress", "Setup", "engine_class", "make_engine"]


def engine_class(name: EngineName) -> type[Engine]:
    """The class of an engine; what it needs is imported when one is made."""
    if name == "inline":
        from lcat.study.running.engines.inline import InlineEngine

        return InlineEngine
    if name == "processes":
        from lcat.study.running.engines.processes import ProcessEngine

        return ProcessEngine
    from lcat.study.running.engines.ray import RayEngine

    return RayEngine


def make_engine(
    settings: RunSettings,
    *,
    own: Mapping[str, AnyDataset] | None = None,
    metric: str | None = None,
    splits: Path | None = None,
    models: OwnModels | None = None,
) -> Engine:
    """The engine that ``settings`` ask for; it starts nothing before the first cell.

    Args:
        settings: which engine, and how many workers with how many threads on which device.
        own: your own data sets by name.
        metric: of data sets read from a file, before what the file names.
        splits: folder that keeps splits.
        models: your own models by the names of their cells.

    Raises:
        EngineError: if the engine is not available here.
    """
    setup = Setup(
        data=Path(settings.data) if settings.data is not None else None,
        own=dict(own or {}),
        metric=metric,
        splits=splits,
        threads=settings.threads,
        device=settings.device,
        base=Path(settings.base),
        models=models or OwnModels(),
        keep=settings.keep,
    )
    return engine_class(settings.engine).of(setup, settings)
