"""Comparisons of layers over data sets, seeds and splits: plan, run, report.

:func:`make_plan` says what to run, :func:`run` trains the cells one after the other and yields their results,
:func:`summarise` and :func:`write_report` turn results into tables, files and figures. The command ``lcat study``
is a thin layer over these. Needs the extra: ``pip install 'lcat-gnn[study]'``.
"""

from __future__ import annotations

from lcat.study.defaults import default_hyper_parameters, defaults_table
from lcat.study.hyper import HyperParameters, Overrides
from lcat.study.layers import LAYERS, build_model
from lcat.study.plan import Cell, PlanError, StudyPlan, demo_plan, make_plan
from lcat.study.report import OutputError, prepare_folder, read_results, write_report
from lcat.study.run import CellResult, run, run_cell
from lcat.study.summary import SummaryRow, summarise

__all__ = [
    "LAYERS",
    "Cell",
    "CellResult",
    "HyperParameters",
    "OutputError",
    "Overrides",
    "PlanError",
    "StudyPlan",
    "SummaryRow",
    "build_model",
    "default_hyper_parameters",
    "defaults_table",
    "demo_plan",
    "make_plan",
    "prepare_folder",
    "read_results",
    "run",
    "run_cell",
    "summarise",
    "write_report",
]
