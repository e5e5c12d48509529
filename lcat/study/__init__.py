"""Comparisons of layers over data sets, seeds and splits: plan, run, report.

:func:`make_plan` says what to run, :func:`run` trains the cells one after the other and yields their results,
:func:`summarize` and :func:`write_report` turn results into tables, files and figures. :func:`compare`,
:func:`choose` and :func:`regret` are the statistics behind the report. The command ``lcat study`` is a thin layer over
these. Needs the extra: ``pip install 'lcat-gnn[study]'``.
"""

from __future__ import annotations

from lcat._environment import versions
from lcat.study._folder import OutputError, prepare_folder
from lcat.study.analysis.choose import choose
from lcat.study.analysis.compare import Comparison, Ranking, compare, robustness
from lcat.study.analysis.objectives import Objective
from lcat.study.analysis.regret import regret
from lcat.study.analysis.samples import with_samples
from lcat.study.driver import Outcome, Status, run_study
from lcat.study.models.defaults import default_hyper_parameters, defaults_table
from lcat.study.models.hyper import HyperParameters, Overrides
from lcat.study.models.layers import LAYERS, build_model
from lcat.study.plan.cell import Cell, Noise, SplitChoice
from lcat.study.plan.plan import PlanError, StudyPlan, demo_plan, make_plan
from lcat.study.plan.plan_file import load_plan
from lcat.study.plan.settings import Budget, NoisePlan, Range, RunSettings, SearchPlan
from lcat.study.report import read_results, write_report, write_study
from lcat.study.running.engines import EngineError
from lcat.study.running.run import run, run_cell
from lcat.study.store.frame import history_frame, lambda_frame, results_frame
from lcat.study.store.lock import StudyBusy
from lcat.study.store.result import CellResult
from lcat.study.store.store import Store, StoreError
from lcat.study.store.summary import SummaryRow, summarize
from lcat.study.study import Study

__all__ = [
    "LAYERS",
    "Budget",
    "Cell",
    "CellResult",
    "Comparison",
    "EngineError",
    "HyperParameters",
    "Noise",
    "NoisePlan",
    "Objective",
    "Outcome",
    "OutputError",
    "Overrides",
    "PlanError",
    "Range",
    "Ranking",
    "RunSettings",
    "SearchPlan",
    "SplitChoice",
    "Status",
    "Store",
    "StoreError",
    "Study",
    "StudyBusy",
    "StudyPlan",
    "SummaryRow",
    "build_model",
    "choose",
    "compare",
    "default_hyper_parameters",
    "defaults_table",
    "demo_plan",
    "history_frame",
    "lambda_frame",
    "load_plan",
    "make_plan",
    "prepare_folder",
    "read_results",
    "regret",
    "results_frame",
    "robustness",
    "run",
    "run_cell",
    "run_study",
    "summarize",
    "versions",
    "with_samples",
    "write_report",
    "write_study",
]
