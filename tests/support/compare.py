"""Comparing two ways to compute the same thing: outputs and all gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def gradients(out: Tensor, inputs: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Gradients of <out, random cotangent> to the inputs; zeros where there is none."""
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed), dtype=out.dtype)
    if not out.requires_grad:
        return {name: torch.zeros_like(tensor) for name, tensor in inputs.items()}
    gradients = torch.autograd.grad(out, list(inputs.values()), cotangent, allow_unused=True)
    return {
        name: torch.zeros_like(tensor) if grad is None else grad
        for (name, tensor), grad in zip(inputs.items(), gradients, strict=True)
    }


def assert_same(ours: Tensor, theirs: Tensor, what: str, tolerance: float = 1e-10) -> None:
    """Equal shape, and equal to ``tolerance`` relative to the largest entry (at least 1)."""
    assert ours.shape == theirs.shape, f"{what}: shape {tuple(ours.shape)} against {tuple(theirs.shape)}"
    if ours.numel() == 0:
        return
    scale = max(1.0, float(theirs.detach().abs().max()))
    worst = float((ours - theirs).detach().abs().max()) / scale
    assert worst <= tolerance, f"{what}: off by {worst:.3g}, allowed {tolerance:.3g}"


def assert_same_gradients(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    """Every gradient equal."""
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert_same(ours[name], theirs[name], f"gradient of {name}", tolerance)
