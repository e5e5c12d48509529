"""How the fused primitives become ``torch.library`` operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

__all__ = ["EDGES_ARGUMENTS", "contiguous", "define", "kernels"]

# The graph by target and by source, as arguments of every operator. Tensors, because operators take no objects; the
# second half may be missing where no gradient is asked for.
EDGES_ARGUMENTS = (
    "Tensor csr_pointer, Tensor csr_other, Tensor csr_edge, Tensor? csc_pointer, Tensor? csc_other, Tensor? csc_edge"
)

_AUTOCAST = ("AutocastCPU", "AutocastCUDA")
_libraries: list[torch.library.Library] = []  # what is registered stays so for as long as these live


def kernels(primitive: str, run: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """``run(backend, *arguments)`` with the compiled kernels on the CPU and with Triton's on GPUs."""

    def on(module: str) -> Callable[..., Any]:
        def kernel(*arguments: Any) -> Any:
            return run(import_module(f"lcat.ops._{primitive}.{module}"), *arguments)

        return kernel

    return {"cpu": on("native"), "cuda": on("triton")}


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The same tensors, in memory as kernels read them; gradients often arrive expanded."""
    return [None if t is None else t.contiguous() for t in tensors]


def define(
    name: str,
    schema: str,
    kernels: dict[str, Callable[..., Any]],
    fake: Callable[..., Any],
    remember: Callable[..., None],
    differentiate: Callable[..., Any],
) -> Callable[..., Any]:
    """The operator ``lcat::<name>``, with everything that torch may ask of it.

    Args:
        name: its name.
        schema: its arguments and results.
        kernels: what computes it on each kind of device.
        fake: the shapes and types of its results, for tracing.
        remember: ``setup_context`` of its autograd formula.
        differentiate: ``backward`` of its autograd formula.
    """
    (first, kernel), *others = kernels.items()
    operator = torch.library.custom_op(f"lcat::{name}", kernel, mutates_args=(), device_types=first, schema=schema)
    for device, kernel in others:
        operator.register_kernel(device, kernel)
    operator.register_fake(fake)
    operator.register_autograd(differentiate, setup_context=remember)
    _register_autocast(name)
    overload: Callable[..., Any] = getattr(torch.ops.lcat, name).default
    return overload


def _register_autocast(name: str) -> None:
    """Under autocast an operator takes its arguments as they come: kernels accept any mixture of types and sum in
    float32 (as the plain ops that they replace promote), so nothing is gained by a cast before the call.
    """
    library = torch.library.Library("lcat", "FRAGMENT")
    _libraries.append(library)

    def without_autocast(*arguments: Any) -> Any:
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
        keys = keys | torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)
        with torch._C._ExcludeDispatchKeyGuard(keys):
            return getattr(torch.ops.lcat, name).default(*arguments)

    for key in _AUTOCAST:
        library.impl(name, without_autocast, key)
