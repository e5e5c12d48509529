"""What the scripts of this folder have in common: run plans of ``plans/``, keep their studies, write the results.

A study is a folder under ``--folder``; whatever interrupts it, the same command continues from there. The results
file holds the plans, so that a number can be traced: the plan, the seed and the hash of the split stand with every
run, and ``--datasets``, ``--layers`` and ``--seeds`` run a part of a table alone. With ``--add``, such a part goes into
the results file beside what it holds already, so that a table can be measured on several days.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
import _measure
import torch_geometric

import lcat
from lcat.cli.progress import progress
from lcat.data import DataError
from lcat.study import PlanError, Study, StudyPlan, load_plan, run_study

__all__ = [
    "PLANS",
    "Part",
    "make_parser",
    "of_part",
    "only_whole_data_sets",
    "plain",
    "plan_of",
    "rows_of",
    "run_part",
    "write",
]

PLANS = Path(__file__).parents[2] / "plans"
#: What a quick look has: two seeds, a few epochs, one point of each grid.
QUICK: dict[str, Any] = {"seeds": 2, "overrides": {"epochs": 3}}
_RUN = ("dataset", "layer", "noise", "noise_level", "seed")
_MEASURED = ("metric", "test", "validation", "best_epoch", "epochs", "seconds")
_KEYS = ("split_hash", "config")
#: What tells the rows of a table apart; those of a new measurement replace the old ones that agree in all of these.
_IDENTITY = ("dataset", "layer", "question")


@dataclass(frozen=True)
class Part:
    """One study of a table.

    Attributes:
        name: of its folder and in the results.
        plan: name of its file in ``plans/``.
        changes: to what the file says.
    """

    name: str
    plan: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the shared options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets; by default that of lcat.data")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where studies are kept; runs by default")
    parser.add_argument("--datasets", nargs="+", help="a part of the table")
    parser.add_argument("--layers", nargs="+", help="a part of the table")
    parser.add_argument("--parts", nargs="+", help="a part of the table, by the name of its study's folder")
    parser.add_argument("--seeds", help="instead of those of the plan, such as 0-2")
    parser.add_argument("--workers", type=int, help="cells at a time; each has one thread")
    parser.add_argument(
        "--quick", action="store_true", help="two seeds and three epochs; no file unless --out names one"
    )
    parser.add_argument("--collect", action="store_true", help="run nothing; write what the studies hold so far")
    parser.add_argument("--add", action="store_true", help="keep the other rows of the results file")
    parser.add_argument("--out", type=Path, help="JSON; by default in benchmarks/results")
    return parser


def only_whole_data_sets(options: argparse.Namespace) -> None:
    """Refuse to add a part of a data set to a table whose rows are answers of one study.

    Raises:
        SystemExit: it is one.
    """
    if options.add and (options.layers or options.seeds):
        raise SystemExit("--add of this table takes whole data sets: leave out --layers and --seeds")


def plan_of(part: Part) -> StudyPlan:
    """The whole plan of a part."""
    return load_plan(PLANS / f"{part.plan}.toml", part.changes)


def _plan(part: Part, options: argparse.Namespace) -> StudyPlan | None:
    """The plan of a part with the options; ``None`` if they leave nothing of it."""
    file = PLANS / f"{part.plan}.toml"
    changes = dict(part.changes)
    plan = plan_of(part)
    for key in ("datasets", "layers"):
        wanted = getattr(options, key)
        if wanted:
            changes[key] = [name for name in getattr(plan, key) if name in wanted]
            if not changes[key]:
                return None
    if options.seeds:
        changes["seeds"] = options.seeds
    if options.quick:
        grid = {name: list(values)[:1] for name, values in plan.grid.items()}
        grid |= part.changes.get("grid", {})  # which the script compares
        noise = {name: list(getattr(plan.noise, name))[:1] for name in ("edges", "features")}
        changes = {"datasets": plan.datasets[:2], **changes, **QUICK, "grid": grid, "noise": noise}
    run = {"data": str(options.data.resolve())} if options.data else {}
    return load_plan(file, {**changes, "run": run})


def run_part(part: Part, options: argparse.Namespace) -> Study | None:
    """Run what is left of a part.

    Returns:
        Its study; ``None`` if the options leave nothing of it.
    """
    if options.parts and part.name not in options.parts:
        return None
    name = f"{part.name}-quick" if options.quick else part.name
    folder = options.folder / name
    if options.collect:
        return Study.load(folder) if (folder / "study.sqlite").is_file() else None
    try:
        plan = _plan(part, options)
        if plan is None:
            return None
        print(f"\n== {name}: {len(plan.cells())} cells in {folder}", flush=True)
        with progress(quiet=False) as on_status:
            outcome = run_study(plan, folder, on_status=on_status, workers=options.workers)
    except (PlanError, DataError) as error:
        raise SystemExit(f"{name}: {error}") from None
    if outcome.failed:
        raise SystemExit(f"{name}: {outcome.failed} cells failed, for example: {outcome.study.failures()['error'][0]}")
    return outcome.study


def plain(value: Any) -> Any:
    """A value of a frame as JSON takes it: missing ones are ``None``, and numbers have six digits."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value.item() if hasattr(value, "item") else value


def rows_of(frame: pd.DataFrame, columns: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a frame as plain values, without columns that the frame lacks."""
    names = list(frame.columns) if columns is None else [name for name in columns if name in frame.columns]
    return [{name: plain(value) for name, value in row.items()} for row in frame[names].to_dict("records")]


def _runs_of(study: Study) -> list[dict[str, Any]]:
    """Every finished cell: scores, time, the hash of its split, and the settings of the grid."""
    frame = study.results()
    frame = frame[frame["status"] == "done"]
    settings = [f"hyper.{name}" for name in study.plan.grid]
    return rows_of(frame, [*_RUN, *_MEASURED, *settings, *_KEYS])


def _ran(study: Study) -> dict[str, list[Any]]:
    """What of a plan has run: all of it, but for a study that is collected before its end."""
    frame = study.results()
    frame = frame[frame["status"] == "done"]
    kinds = {"datasets": "dataset", "layers": "layer", "seeds": "seed"}
    return {
        kind: [value for value in getattr(study.plan, kind) if value in set(frame[column])]
        for kind, column in kinds.items()
    }


def _joined(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Two contents of a results file as one: the rows of ``new``, and those of ``old`` that it does not replace.

    Raises:
        SystemExit: if the plan of a part is another one, but for what was left out of it.
    """
    for part, entry in new["plans"].items():
        before = old["plans"].get(part, entry)
        differ = [name for name in {**before, **entry} if before.get(name) != entry.get(name)]
        if differ:
            raise SystemExit(f"--add: {', '.join(differ)} of the plan {part!r} differ from those in the results file")
    content = {**old, **new, "plans": {**old["plans"], **new["plans"]}}
    content["measured"] = [*old["measured"], *new["measured"]]
    for name, rows in new.items():
        if name != "measured" and isinstance(rows, list):
            identity = _run_identity if name == "runs" else _row_identity
            replaced = {identity(row) for row in rows}
            content[name] = [row for row in old.get(name, []) if identity(row) not in replaced] + rows
    return content


def _row_identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in _IDENTITY)


def _run_identity(run: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """The part, the cell and its settings."""
    return frozenset((name, value) for name, value in run.items() if name not in (*_MEASURED, *_KEYS))


def write(
    script: str,
    options: argparse.Namespace,
    studies: Mapping[str, Study],
    report: Mapping[str, Any],
    conclude: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Write the results file: what was asked, on which machine, the plans, the answers and every run.

    Args:
        script: ``__file__`` of the script.
        options: of :func:`make_parser`.
        studies: by part.
        report: what the script adds: lists of rows, and values that are the same in every measurement.
        conclude: adds what follows from all runs and rows, those of earlier measurements included; called in any case.

    Raises:
        SystemExit: if the options left nothing of the table, or the rest of it has another plan.
    """
    if not studies:
        raise SystemExit("nothing to write: --parts, --datasets and --layers leave nothing of the table")
    name = Path(script).stem
    output = options.out or (None if options.quick else PLANS.parent / "benchmarks" / "results" / f"paper_{name}.json")
    plans, parts = {}, {}
    for part, study in studies.items():
        plan = study.plan.model_dump(mode="json", exclude_defaults=True, exclude={"run", "published"})
        parts[part] = _ran(study)
        plans[part] = {key: value for key, value in plan.items() if key not in parts[part]}
    measured = {
        "command": f"python benchmarks/paper/{name}.py {' '.join(sys.argv[1:])}".strip(),
        "machine": _measure.machine(),
        "versions": {"lcat": lcat.__version__, "torch_geometric": torch_geometric.__version__},
        "parts": parts,
    }
    content: dict[str, Any] = {
        "measured": [measured],
        "plans": plans,
        **report,
        "runs": [{"part": part, **run} for part, study in studies.items() for run in _runs_of(study)],
    }
    if options.add and output is not None and output.is_file():
        content = _joined(json.loads(output.read_text()), content)
    if conclude is not None:
        conclude(content)
    if output is not None:
        _measure.write_results(output, content, one_line="runs")


def of_part(runs: Iterable[Mapping[str, Any]], part: str) -> pd.DataFrame:
    """The runs of a part, of all measurements, as a frame; the settings of a grid are columns ``hyper.NAME``."""
    return pd.DataFrame([run for run in runs if run["part"] == part])
