"""Comparisons of layers over data sets, seeds and splits: plan, run, report.

:func:`make_plan` says what to run. :func:`run_study` runs it, in a folder or in memory, and returns a :class:`Study`,
which is asked for frames, statistics and the report. :func:`compare`, :func:`choose` and :func:`regret` are the
statistics behind the report. The command ``lcat study`` is a thin layer over these. Needs the extra:
``pip install 'lcat-gnn[study]'``.
"""

from __future__ import annotations

from lcat.study._folder import OutputError
from lcat.study.analysis.choose import choose
from lcat.study.analysis.compare import Comparison, Ranking, compare, robustness
from lcat.study.analysis.objectives import Objective
from lcat.study.analysis.regret import regret
from lcat.study.decide import Decision, Look, run_until_decided
from lcat.study.driver import Outcome, Status, run_study
from lcat.study.export import ExportError, export_study
from lcat.study.models.defaults import default_hyper_parameters, defaults_table
from lcat.study.models.hyper import HyperParameters, Overrides
from lcat.study.models.layers import LAYERS, build_model
from lcat.study.models.own_registration import register_model
from lcat.study.models.recipes import recipe_hyper_parameters
from lcat.study.plan.batching import Batching
from lcat.study.plan.cell import Cell, Noise, SplitChoice
from lcat.study.plan.extend import extended_plan
from lcat.study.plan.plan import PlanError, StudyPlan, make_plan
from lcat.study.plan.plan_file import load_plan
from lcat.study.plan.settings import Budget, NoisePlan, Published, Range, RunSettings, SearchPlan
from lcat.study.report import write_study
from lcat.study.retrain import RetrainError, train_best_model
from lcat.study.running.engines import EngineError
from lcat.study.store.columns import FRAMES
from lcat.study.store.frame import COLUMNS
from lcat.study.store.lock import StudyBusy
from lcat.study.store.model_file import ModelFileError, load_model
from lcat.study.store.record import StudyRecord
from lcat.study.store.result import CellResult
from lcat.study.store.store import StoreError
from lcat.study.study import Study

__all__ = [
    "COLUMNS",
    "FRAMES",
    "LAYERS",
    "Batching",
    "Budget",
    "Cell",
    "CellResult",
    "Comparison",
    "Decision",
    "EngineError",
    "ExportError",
    "HyperParameters",
    "Look",
    "ModelFileError",
    "Noise",
    "NoisePlan",
    "Objective",
    "Outcome",
    "OutputError",
    "Overrides",
    "PlanError",
    "Published",
    "Range",
    "Ranking",
    "RetrainError",
    "RunSettings",
    "SearchPlan",
    "SplitChoice",
    "Status",
    "StoreError",
    "Study",
    "StudyBusy",
    "StudyPlan",
    "StudyRecord",
    "build_model",
    "choose",
    "compare",
    "default_hyper_parameters",
    "defaults_table",
    "export_study",
    "extended_plan",
    "load_model",
    "load_plan",
    "make_plan",
    "recipe_hyper_parameters",
    "register_model",
    "regret",
    "robustness",
    "run_study",
    "run_until_decided",
    "train_best_model",
    "write_study",
]
