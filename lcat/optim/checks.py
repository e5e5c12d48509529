"""What cannot be optimized orthogonally: errors at construction and at a step, each with the way out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lcat.optim.bucket import COMPUTE
from lcat.optim.layout import Layout, resolve
from lcat.optim.measure import gram_error, orthogonalized
from lcat.optim.options import OrthogonalizeMethod

__all__ = [
    "accepted_error",
    "check_gradient",
    "check_group",
    "check_orthonormal",
    "check_parameter",
    "check_trainable",
    "check_weights",
    "check_written",
    "describe",
    "is_sharded",
    "orthogonalize_group",
    "tolerance",
]

DTYPES = (
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex32,
    torch.complex64,
    torch.complex128,
)


def tolerance(p: int, dtype: torch.dtype) -> float:
    """How far from orthonormal the first weights may be: ``sqrt(p) max(1e-3, 16 eps)`` in Frobenius norm.

    Loose on purpose: it accepts what a float16 checkpoint can hold (one in bfloat16 errs more), and refuses what is not
    orthonormal at all; the first steps remove errors of this size.
    """
    return float(p**0.5 * max(1e-3, 16 * torch.finfo(dtype).eps))


def describe(index: int, group: dict[str, Any]) -> str:
    """A parameter by name, or by its position where the optimizer was given no names."""
    names = group.get("param_names")
    return f"parameter {names[index]!r}" if names else f"parameter {index} of its group"


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor holds a piece of a larger one (DTensor, as FSDP and tensor parallelism make them)."""
    return hasattr(tensor, "placements") or type(tensor).__name__ == "ShardedTensor"


#: what a run of the method with the options of a group leaves, see ``OrthogonalOptimizer.max_error``
MaxError = Callable[[dict[str, Any], int], float]


def accepted_error(p: int, dtype: torch.dtype, left: float) -> float:
    """How far from orthonormal the first weights may be, by a method that leaves an error of ``left``."""
    return max(tolerance(p, dtype), left * (1 + 1e-3))


def check_trainable(group: dict[str, Any]) -> None:
    """Raise a ValueError for parameters that no step outside of inference mode can write."""
    for i, param in enumerate(group["params"]):
        if not torch.nn.parameter.is_lazy(param) and param.is_inference():
            raise ValueError(
                f"{describe(i, group)} was made under torch.inference_mode(), so it never gets a gradient and cannot "
                f"be changed outside of it; make or load the model outside of it"
            )


def check_group(group: dict[str, Any], max_error: MaxError) -> None:
    """Check the parameters of an orthogonal group, and warn of what they cannot do.

    Raises:
        ValueError: see :func:`check_parameter`.
    """
    for i, param in enumerate(group["params"]):
        check_parameter(param, i, group, max_error)
    if group["weight_decay"] != 0:
        warnings.warn(
            "weight_decay in an orthogonal group cannot shrink the weights, whose singular values are one; it "
            "has no effect with base='sgd' and only rescales the step with base='vadam'. Set it in the groups "
            "with orthogonal=False",
            UserWarning,
            stacklevel=5,
        )
    narrow_dtypes = {p.dtype for p in group["params"] if p.dtype in COMPUTE}
    if narrow_dtypes:
        warnings.warn(
            f"orthogonal parameters stored in {', '.join(sorted(map(str, narrow_dtypes)))} are computed in single "
            f"precision but rounded when stored: |X X^H - I| stays near sqrt(p) eps (2e-2 for a 64 x 64 "
            f"bfloat16 matrix). Keep float32 parameters and use autocast where that matters",
            UserWarning,
            stacklevel=5,
        )


@torch.no_grad()
def orthogonalize_group(group: dict[str, Any], method: OrthogonalizeMethod, max_error: MaxError) -> None:
    """Make the weights of a group orthonormal in place where the method does not accept them as a start."""
    results = []
    for i, param in enumerate(group["params"]):
        if torch.nn.parameter.is_lazy(param) or param.dtype not in DTYPES or is_sharded(param) or param.is_meta:
            continue  # the checks say what is wrong
        try:
            layout = resolve(tuple(param.shape), group["matrix"], group["orientation"])
            size = gram_error(param.detach()[None], layout).item()
            if not size <= accepted_error(layout.p, param.dtype, max_error(group, layout.p)):
                results.append((param, orthogonalized(param, method, group["matrix"], group["orientation"])))
        except ValueError as error:
            raise ValueError(f"{describe(i, group)}: {error}") from None
    for param, result in results:
        param.copy_(result)


def check_weights(group: dict[str, Any], max_error: MaxError) -> None:
    """Raise a RuntimeError if a matrix of an orthogonal group has left the manifold (synchronizes)."""
    for i, param in enumerate(group["params"]):
        try:
            layout = resolve(tuple(param.shape), group["matrix"], group["orientation"])
            check_orthonormal(param, layout, describe(i, group), max_error(group, layout.p))
        except ValueError as error:
            raise RuntimeError(f"after a step (check='always'): {error}") from None


def check_written(group: dict[str, Any], versions: list[int], max_error: MaxError) -> None:
    """Raise a ValueError for weights written from outside that the method would not accept as a start.

    Args:
        group: the group.
        versions: torch's count of the writes of each parameter after the last step.
        max_error: what the method leaves.
    """
    for i, param in enumerate(group["params"]):
        is_new = i >= len(versions) or param._version != versions[i]
        # Reading a number is not allowed while a CUDA graph is captured.
        if not is_new or param.is_meta or (param.is_cuda and torch.cuda.is_current_stream_capturing()):
            continue
        try:
            layout = resolve(tuple(param.shape), group["matrix"], group["orientation"])
            check_orthonormal(param, layout, describe(i, group), max_error(group, layout.p))
        except ValueError as error:
            raise ValueError(
                f"weights were written after the optimizer was made or made its last step (initialized anew, loaded), "
                f"and they must be orthonormal; optimizer.project_() replaces them by the nearest such ones: {error}"
            ) from None


def check_parameter(param: Tensor, index: int, group: dict[str, Any], max_error: MaxError) -> Layout:
    """The layout of a parameter of an orthogonal group.

    Raises:
        ValueError: it is lazy, of a type without the arithmetic (integers, 8-bit floats), no matrix, sharded or
            not orthonormal.
    """
    name = describe(index, group)
    if torch.nn.parameter.is_lazy(param):
        raise ValueError(
            f"{name} is lazy: it has no shape yet. Run one forward pass, then make its matrices orthonormal with "
            f"lcat.optim.orthogonalize_, then build the optimizer"
        )
    if param.dtype not in DTYPES:
        raise ValueError(
            f"{name} has dtype {param.dtype}; orthogonal parameters are floating point or complex "
            f"({', '.join(str(d).removeprefix('torch.') for d in DTYPES)}). Leave it out"
        )
    if is_sharded(param):
        raise ValueError(
            f"{name} is sharded ({type(param).__name__}): an orthogonal step needs the whole matrix. Keep it "
            f"replicated, or put it into a group with orthogonal=False"
        )
    try:
        layout = resolve(tuple(param.shape), group["matrix"], group["orientation"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if group["check"] != "off" and not param.is_meta:
        try:
            check_orthonormal(param, layout, name, max_error(group, layout.p))
        except ValueError as error:
            raise ValueError(
                f"{error}. If these are all parameters of a model, pass lcat.optim.orthogonal_groups(model) instead: "
                f"it constrains only weight matrices, and makes them orthonormal"
            ) from None
    return layout


def check_orthonormal(param: Tensor, layout: Layout, name: str, left: float) -> None:
    """Raise a ValueError where the error of a parameter is beyond :func:`accepted_error` (synchronizes)."""
    error = gram_error(param.detach()[None], layout).item()
    accepted = accepted_error(layout.p, param.dtype, left)
    if not error <= accepted:
        side = "columns" if layout.transposed else "rows"
        shape = f"{layout.height} x {layout.width}"
        matrices = "a matrix" if layout.matrices == 1 else f"{layout.matrices} matrices"
        raise ValueError(
            f"{name} of shape {tuple(param.shape)} is not orthonormal: read as {matrices} {shape} with orthonormal "
            f"{side}, the largest |X X^H - I| is {error:.3g}, accepted up to {accepted:.3g}. Make it so with "
            f"lcat.optim.orthogonalize_ (or torch.nn.init.orthogonal_), name its matrix shape with matrix= "
            f"(matrix='conv' for kernels), or pass check='off' for weights of a checkpoint, before or after loading"
        )


def check_gradient(grad: Tensor, index: int, group: dict[str, Any]) -> None:
    """Raise a RuntimeError for gradients that an orthogonal step cannot use."""
    if grad.layout != torch.strided:
        raise RuntimeError(
            f"{describe(index, group)} has a sparse gradient; an orthogonal step moves every entry of a matrix. "
            f"Use sparse=False in its embedding, or put it into a group with orthogonal=False"
        )
    if is_sharded(grad):
        raise RuntimeError(
            f"{describe(index, group)} has a sharded gradient ({type(grad).__name__}); an orthogonal step needs the "
            f"whole matrix. Gather it first, or put the parameter into a group with orthogonal=False"
        )
