"""Send the operators' CPU calls through the GPU kernels: ``pytest -p tests.support.through_gpu tests/nn``.

The tests of layers and operators are written for CPU tensors. With this plugin the functions behind the operators on
the CPU move their tensors to the GPU, call the GPU kernels, and move the results back, so that all of these tests
check the GPU kernels unchanged. Without a GPU, Triton's interpreter runs the kernels (slowly).

Needs the compiled CPU kernels: the operators are only used on the CPU if they are available.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

FUNCTIONS = {
    "aggregate": ("forward", "weight_grad"),
    "extremes": ("forward", "backward"),
    "gat_attention": ("forward", "backward", "scores", "scores_backward"),
    "gatv2_attention": ("forward", "backward"),
    "dot_attention": ("forward", "backward"),
}


def moved(value: Any, device: torch.device) -> Any:
    """The same value with all tensors on ``device``: tuples (named ones too) and lists are entered."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(moved(item, device) for item in value)
    if isinstance(value, tuple | list):
        return type(value)(moved(item, device) for item in value)
    return value


def through(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """``function`` on ``device``, for arguments and results on the CPU."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        through.calls += 1  # type: ignore[attr-defined]
        options = {name: moved(value, device) for name, value in options.items()}
        return moved(function(*moved(arguments, device), **options), torch.device("cpu"))

    return call


through.calls = 0  # type: ignore[attr-defined]


def install(device: torch.device) -> None:
    """Put the GPU kernels, on ``device``, behind the operators' CPU calls."""
    from lcat.ops._eager import ROWS_APART
    from lcat.ops._fused import native_objection
    from lcat.ops._gat_attention import fused
    from lcat.ops._sorted import SCHEDULED
    from lcat.ops.dispatch import Call

    SCHEDULED.add("cpu")
    ROWS_APART.add("cpu")
    objection = native_objection(Call(torch.device("cpu"), torch.float32))
    if objection is not None:
        raise RuntimeError(f"calls cannot go through the GPU kernels: no compiled CPU kernels ({objection})")
    for name, functions in FUNCTIONS.items():
        native, triton = (import_module(f"lcat.ops._{name}.{module}") for module in ("native", "triton"))
        for function in functions:
            setattr(native, function, through(getattr(triton, function), device))
    # The CPU kernels compute the gradient of target_score from the edges where these are few; the GPU's never do.
    fused.has_few_edges = lambda graph, value: False


def pytest_configure(config: pytest.Config) -> None:
    """Install it before any test is collected."""
    del config
    import tests.ops.triton_support  # noqa: F401 - decides whether kernels are interpreted

    install(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Add the calls of a process of pytest-xdist."""
    del error
    through.calls += getattr(node, "workeroutput", {}).get("calls", 0)  # type: ignore[attr-defined]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run in which nothing went through proves nothing: it fails."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["calls"] = through.calls  # type: ignore[attr-defined]
    elif exitstatus == 0 and through.calls == 0:  # type: ignore[attr-defined]
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say that it happened."""
    terminalreporter.write_line(f"calls that went through the GPU kernels: {through.calls}")  # type: ignore[attr-defined]
