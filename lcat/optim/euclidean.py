"""The other parameters of a model: torch's own AdamW and SGD, for groups with ``orthogonal=False``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from lcat.optim.checks import describe

__all__ = ["check_euclidean_gradient", "step"]


def step(group: dict[str, Any], params: list[Tensor], states: list[dict[str, Any]]) -> None:
    """One step of torch's functional AdamW or SGD on the parameters of a group that have a gradient.

    The state has the names and shapes that torch.optim gives it, so checkpoints hold the same entries.
    """
    grads = [p.grad for p in params if p.grad is not None]
    if group["euclidean"] == "sgd":
        _sgd(group, params, grads, states)
    else:
        _adamw(group, params, grads, states)


def check_euclidean_gradient(grad: Tensor, index: int, group: dict[str, Any]) -> None:
    """Raise a RuntimeError for a sparse gradient where the group's method takes none."""
    if group["euclidean"] == "adamw" and grad.layout != torch.strided:
        raise RuntimeError(
            f"{describe(index, group)} has a sparse gradient, and AdamW, which updates groups with orthogonal=False, "
            f"takes none. Use sparse=False in its embedding, or euclidean='sgd' in its group"
        )


def _capturable(group: dict[str, Any], params: list[Tensor]) -> bool:
    # Nothing is captured on a CPU, and torch's AdamW refuses the option there, which orthogonal groups ignore.
    return bool(group["capturable"]) and params[0].device.type != "cpu"


def _foreach(group: dict[str, Any], params: list[Tensor]) -> bool | None:
    # torch's foreach paths refuse a tensor learning rate outside CUDA graphs; its loops take it.
    return False if isinstance(group["lr"], Tensor) and not _capturable(group, params) else group["foreach"]


def _adamw(group: dict[str, Any], params: list[Tensor], grads: list[Tensor], states: list[dict[str, Any]]) -> None:
    capturable = _capturable(group, params)
    for param, state in zip(params, states, strict=True):
        if "exp_avg" not in state:
            device = param.device if capturable else "cpu"
            state["step"] = torch.zeros((), dtype=torch.float32, device=device)
            state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
    adamw(
        params,
        grads,
        [s["exp_avg"] for s in states],
        [s["exp_avg_sq"] for s in states],
        [],
        [s["step"] for s in states],
        foreach=_foreach(group, params),
        capturable=capturable,
        differentiable=False,
        fused=None,
        has_complex=any(p.is_complex() for p in params),
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=group["maximize"],
    )


def _sgd(group: dict[str, Any], params: list[Tensor], grads: list[Tensor], states: list[dict[str, Any]]) -> None:
    buffers: list[Tensor | None] = [s.get("momentum_buffer") for s in states]
    sgd(
        params,
        grads,
        buffers,
        has_sparse_grad=any(g.is_sparse for g in grads),
        foreach=_foreach(group, params),
        fused=None,
        weight_decay=group["weight_decay"],
        momentum=group["momentum"],
        lr=group["lr"],
        dampening=group["dampening"],
        nesterov=group["nesterov"],
        maximize=group["maximize"],
    )
    if group["momentum"] != 0:
        for state, buffer in zip(states, buffers, strict=True):
            state["momentum_buffer"] = buffer
