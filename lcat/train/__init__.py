"""Training loops, on whole graphs and on mini-batches, and the small parts they are made of."""

from __future__ import annotations

from lcat.train.checkpoint import (
    CheckpointError,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)
from lcat.train.distributed import Processes, processes
from lcat.train.inference import layerwise_inference
from lcat.train.layer_steps import LayerStep
from lcat.train.loop import FitConfig, NodeClasses, NonFiniteLoss, fit, read_lambdas
from lcat.train.metrics import METRICS, accuracy, metric_by_name, roc_auc
from lcat.train.minibatch import MinibatchConfig, fit_minibatch
from lcat.train.objective import NodeObjective
from lcat.train.optimizers import (
    build_optimizer,
    load_optimizer_state,
    optimizer_names,
    orthogonal_optimizer_names,
    register_optimizer,
)
from lcat.train.result import FitResult, History
from lcat.train.schedules import SCHEDULES, build_schedule, schedule_factor
from lcat.train.seeds import seed_everything
from lcat.train.task_loop import Figures, TrainingTask, fit_task
from lcat.train.whole_graph import WholeGraph

__all__ = [
    "METRICS",
    "SCHEDULES",
    "CheckpointError",
    "Figures",
    "FitConfig",
    "FitResult",
    "History",
    "LayerStep",
    "MinibatchConfig",
    "NodeClasses",
    "NodeObjective",
    "NonFiniteLoss",
    "Processes",
    "TrainingTask",
    "WholeGraph",
    "accuracy",
    "build_optimizer",
    "build_schedule",
    "fit",
    "fit_minibatch",
    "fit_task",
    "layerwise_inference",
    "load_checkpoint",
    "load_optimizer_state",
    "metric_by_name",
    "optimizer_names",
    "orthogonal_optimizer_names",
    "processes",
    "random_state",
    "read_lambdas",
    "register_optimizer",
    "restore_random_state",
    "roc_auc",
    "save_checkpoint",
    "schedule_factor",
    "seed_everything",
]
