"""Open the store of a study to run a plan: a new one, the same one, a longer one, or a refusal."""

from __future__ import annotations

import itertools
import os
import sqlite3
from contextlib import closing, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lcat._text import counted
from lcat.study._folder import OutputError
from lcat.study.plan.errors import PlanError
from lcat.study.plan.own_data import is_own_file
from lcat.study.plan.plan import StudyPlan
from lcat.study.plan.splits import SPLITS_NAME
from lcat.study.store.journal import JOURNAL_NAME
from lcat.study.store.kept_files import KEEP_NAMES, is_kept_name
from lcat.study.store.store import STORE_NAME, OwnSource, Store

__all__ = ["holds_other_cells", "open_study"]

# These parts of a plan decide no result.
_FREE = ("run", "budget", "objectives", "margin", "published")
# What belongs to one study. The log of SQLite goes before its store: beside a new store it would be deleted.
_ALL = (f"{STORE_NAME}-wal", f"{STORE_NAME}-shm", STORE_NAME, JOURNAL_NAME, SPLITS_NAME)


def open_study(plan: StudyPlan, folder: Path | None, *, resume: bool = True) -> Store:
    """The store of ``folder``, ready for the cells of ``plan``; the caller holds the lock of the study.

    Args:
        plan: to run.
        folder: of the study; ``None`` for a new one in memory.
        resume: ``False`` sets an older study aside, with its splits, models and predictions, under names with the
            time, and begins anew.

    Raises:
        PlanError: if the folder holds a study with cells that are not in the plan; it says what differs.
        StoreError, OutputError: if the store cannot be opened or written.
    """
    if folder is not None and not resume:
        _fold_log(folder)
        _set_aside(folder, _ALL)
    store = Store(folder, write=True)
    try:
        planned = plan.model_dump(mode="json")
        if holds_other_cells(plan, store) and folder is not None:
            _set_aside(folder, (SPLITS_NAME,))
            store.forget_cells()
        for model in _new_models(plan, store):
            store.put_model(model)
        store.mended = store.mend(plan)
        if store.get("plan") != planned:
            store.put("plan", planned)
        store.add_cells(plan.cells())
    except BaseException:
        store.close()
        raise
    return store


def holds_other_cells(plan: StudyPlan, store: Store) -> bool:
    """Whether the store holds cells of another plan that never came to a result, over a mistyped name perhaps.

    Those are no study yet: the folder is free.

    Raises:
        PlanError: if it holds results of another study.
    """
    _new_models(plan, store)
    if not store.has_plan():
        return _is_free(plan, store)
    stored, planned = store.plan().model_dump(mode="json"), plan.model_dump(mode="json")
    if _extends(plan, planned, stored, store):
        return False
    if store.statuses():
        hint = "a search takes more data sets, layers or trials alone: " if plan.search and stored["search"] else ""
        raise PlanError(
            f"{store.path.parent} holds another study ({_difference(stored, planned)}); {hint}choose another folder "
            "with --out, take the plan that belongs to it, or set it aside with --no-resume"
        )
    return True


def _new_models(plan: StudyPlan, store: Store) -> list[OwnSource]:
    """The own models of the plan whose source is not kept yet.

    Raises:
        PlanError: if the store holds results of another model of the same name.
    """
    old = {model.layer: model for model in store.models()}
    new = []
    for layer, (text, source) in plan.own_models.sources().items():
        model = OwnSource(layer, text, source.hash, source.file, source.text)
        before = old.get(layer)
        if before is not None and before.hash != model.hash and store.keys_of(layer, "done"):
            where = source.file or text
            raise PlanError(
                f"layers: {text} is not the {layer} that {store.path.parent} has results of: {where} has changed "
                f"(hash {model.hash or 'unknown'} now, {before.hash or 'unknown'} then; Study.load(...).models() has "
                f"its old text). Put the file back to go on, give the new one its own name, as in "
                f"{layer}2={text.rpartition('=')[2] if ':' in text else text}, choose another folder with --out, or "
                "set the study aside with --no-resume"
            )
        if before != model:
            new.append(model)
    return new


def _is_free(plan: StudyPlan, store: Store) -> bool:
    """Whether a store without a plan, or with a damaged one, holds cells of another study without any result.

    Its cells must be those of ``plan`` then; the cells of a search are in no plan.

    Raises:
        PlanError: if it holds results that are not those of ``plan``.
    """
    others = set(store.keys()) - {cell.key for cell in plan.cells()}
    if others and store.statuses():
        raise PlanError(
            f"{store.path} is damaged: its plan cannot be read, and this plan lacks {counted(len(others), 'cell')} of "
            "it; choose another folder with --out, take the plan that belongs to it, or set it aside with --no-resume"
        )
    return bool(others)


def _extends(plan: StudyPlan, planned: dict[str, Any], stored: dict[str, Any], store: Store) -> bool:
    """Every cell of the study is one of the plan, or the search is the same and no shorter."""
    # Keys of cells do not say what files are judged by; other data sets bring their metric along.
    files = any(is_own_file(name) and name not in plan.own for name in stored["datasets"])
    if (files or plan.search is not None) and planned["metric"] != stored.get("metric"):
        return False
    if plan.search is None and stored.get("search") is None:
        # Those of an own model that never worked may have had other settings, which its signature says.
        replaced = {key for model in _new_models(plan, store) for key in store.keys_of(model.layer)}
        return set(store.keys()) - replaced <= {cell.key for cell in plan.cells()}
    for name in set(planned) - {*_FREE, "datasets", "layers", "search", "metric"}:
        # What older plans did not have was as it is by default.
        if planned[name] != stored.get(name, StudyPlan.model_fields[name].default):
            return False
    old, new = dict(stored.get("search") or {}), dict(planned["search"] or {})
    longer = new.pop("trials", 0) >= old.pop("trials", 0)
    more = all(set(stored[name]) <= set(planned[name]) for name in ("datasets", "layers"))
    return old == new and longer and more


def _difference(stored: dict[str, Any], planned: dict[str, Any]) -> str:
    """The keys of two plans that differ, with both values, in one line."""
    old, new = _flat(stored), _flat(planned)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    names = [name for name in names if name.split(".")[0] not in _FREE]
    parts = [f"{name}: {_short(old.get(name))} there, {_short(new.get(name))} here" for name in names]
    return "; ".join(parts[:4]) + (f"; and {len(parts) - 4} more" if len(parts) > 4 else "") or "with other defaults"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            result.update(_flat(value, f"{prefix}{name}."))
        else:
            result[f"{prefix}{name}"] = value
    return result


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _set_aside(folder: Path, names: tuple[str, ...]) -> None:
    """Rename files and folders of an older study, each as ``name-TIME.suffix``.

    Models and predictions go first: beside a new store they would be written over.
    """
    stamp = _unused_stamp(folder)
    for kind in KEEP_NAMES:
        _set_kept_aside(folder / kind, folder / _stamped(kind, stamp))
    for name in names:
        path = folder / name
        if path.exists():
            try:
                os.replace(path, folder / _stamped(name, stamp))  # noqa: PTH105 - tests cut it off
            except OSError as error:
                raise OutputError(f"cannot set {path} aside: {error.strerror or error}") from error


def _set_kept_aside(folder: Path, target: Path) -> None:
    """Move the files of cells to another folder; others, which are not of a study, stay where they are."""
    files = [path for path in folder.glob("*") if is_kept_name(path.name)] if folder.is_dir() else []
    try:
        if files:
            target.mkdir()
        for path in files:
            os.replace(path, target / path.name)  # noqa: PTH105 - tests cut it off
    except OSError as error:
        raise OutputError(f"cannot set {folder} aside: {error.strerror or error}") from error


def _unused_stamp(folder: Path) -> str:
    """The time, with a number where something of this second has been set aside already."""
    now = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
    stamps = itertools.chain([now], (f"{now}-{number}" for number in itertools.count(2)))
    names = (*_ALL, *KEEP_NAMES)
    return next(stamp for stamp in stamps if not any((folder / _stamped(name, stamp)).exists() for name in names))


def _stamped(name: str, stamp: str) -> str:
    stem, dot, suffix = name.partition(".")
    return f"{stem}-{stamp}{dot}{suffix}"


def _fold_log(folder: Path) -> None:
    """Fold the log of SQLite back into the store, so that one rename takes the whole of it."""
    path = folder / STORE_NAME
    if path.is_file():
        # A store that cannot be read is set aside as it is.
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
