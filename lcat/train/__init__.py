"""One plain training loop, and the small parts it is made of."""

from __future__ import annotations

from lcat.train.loop import FitConfig, NonFiniteLoss, fit, read_lambdas
from lcat.train.metrics import METRICS, accuracy, metric_by_name, roc_auc
from lcat.train.optimizers import build_optimizer, optimizer_names, register_optimizer
from lcat.train.result import FitResult, History
from lcat.train.schedules import SCHEDULES, build_schedule, schedule_factor
from lcat.train.seeds import seed_everything

__all__ = [
    "METRICS",
    "SCHEDULES",
    "FitConfig",
    "FitResult",
    "History",
    "NonFiniteLoss",
    "accuracy",
    "build_optimizer",
    "build_schedule",
    "fit",
    "metric_by_name",
    "optimizer_names",
    "read_lambdas",
    "register_optimizer",
    "roc_auc",
    "schedule_factor",
    "seed_everything",
]
