"""Comparisons of layers over data sets, seeds and splits: plan, run, report.

:func:`make_plan` says what to run, :func:`run` trains the cells one after the other and yields their results,
:func:`summarise` and :func:`write_report` turn results into tables, files and figures. :func:`compare`,
:func:`choose` and :func:`regret` are the statistics behind the report. The command ``lcat study`` is a thin layer over
these. Needs the extra: ``pip install 'lcat-gnn[study]'``.
"""

from __future__ import annotations

from lcat.study.cell import Cell, Noise, SplitChoice
from lcat.study.choose import choose
from lcat.study.compare import Comparison, Ranking, compare, robustness
from lcat.study.defaults import default_hyper_parameters, defaults_table
from lcat.study.driver import Outcome, Status, run_study
from lcat.study.engines import EngineError
from lcat.study.frame import history_frame, lambda_frame, results_frame
from lcat.study.hyper import HyperParameters, Overrides
from lcat.study.layers import LAYERS, build_model
from lcat.study.lock import StudyBusy
from lcat.study.objectives import Objective
from lcat.study.output import OutputError, prepare_folder
from lcat.study.plan import PlanError, StudyPlan, demo_plan, make_plan
from lcat.study.plan_file import load_plan
from lcat.study.regret import regret
from lcat.study.report import read_results, write_report, write_study
from lcat.study.result import CellResult
from lcat.study.run import run, run_cell, versions
from lcat.study.samples import with_samples
from lcat.study.settings import Budget, NoisePlan, Range, RunSettings, SearchPlan
from lcat.study.store import Store, StoreError
from lcat.study.study import Study
from lcat.study.summary import SummaryRow, summarise

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
    "summarise",
    "versions",
    "with_samples",
    "write_report",
    "write_study",
]
