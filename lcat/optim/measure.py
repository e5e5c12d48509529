"""Measure how orthogonal matrices are, and make them orthogonal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import get_args

import torch
from torch import Tensor, nn

from lcat._text import hint
from lcat.optim.layout import Layout, check_orientation, plain, resolve
from lcat.optim.options import Matrix, Orientation, OrthogonalizeMethod

__all__ = [
    "Tensors",
    "check_values",
    "gram_error",
    "largest",
    "layout_of",
    "nearest",
    "orthogonality_error",
    "orthogonalize_",
    "orthogonalized",
    "orthonormal_rows",
    "project_",
]

Tensors = Tensor | nn.Module | Iterable[Tensor]


def gram_error(stacked: Tensor, layout: Layout) -> Tensor:
    """The largest ``|| X X^H - I ||_F`` among the matrices of ``stacked (N, *shape)``, in float64."""
    wider = torch.complex128 if stacked.is_complex() else torch.float64
    if stacked.device.type == "mps":
        wider = stacked.dtype
    X = layout.wide(stacked.to(wider))
    K = X @ X.mH
    K.diagonal(dim1=-2, dim2=-1).sub_(1)
    error: Tensor = torch.linalg.matrix_norm(K).max()
    return error


def largest(errors: Iterable[Tensor | float]) -> float:
    """The largest of several numbers, 0 of none; NaN if one of them is NaN (which Python's ``max`` may lose)."""
    values = [float(error) for error in errors]
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def _tensors(tensors: Tensors) -> list[Tensor]:
    """A tensor, an iterable of them, or the parameters of a module that have at least 2 dimensions."""
    if isinstance(tensors, Tensor):
        listed = [tensors]
    elif isinstance(tensors, nn.Module):
        listed = list(tensors.parameters())
    else:
        is_one = isinstance(tensors, (str, bytes, Mapping, type)) or hasattr(tensors, "dtype")
        if is_one or not isinstance(tensors, Iterable):
            raise TypeError(f"expected a tensor, several, or a module, got {_kind(tensors)}{_way_out(tensors)}")
        listed = list(tensors)
    for tensor in listed:
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"expected a tensor, several, or a module, got {_kind(tensor)} among several{_way_out(tensor)}"
            )
        if nn.parameter.is_lazy(tensor):
            raise ValueError(
                "a lazy parameter has no shape yet; run one forward pass through the model (under torch.no_grad()) "
                "first"
            )
    listed = [t for t in listed if t.dim() >= 2] if isinstance(tensors, nn.Module) else listed
    for tensor in listed:
        check_values(tensor)
    return listed


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return "None" if value is None else repr(value) if isinstance(value, str) else type(value).__name__


def _way_out(value: object) -> str:
    """What to pass instead."""
    if type(value).__module__ == "numpy":
        return ": pass torch.from_numpy(array), which shares its memory"
    if isinstance(value, torch.optim.Optimizer):
        return ": call the methods orthogonality_error() and project_() of an optimizer of lcat.optim"
    if isinstance(value, Mapping):
        return ": pass group['params'] of a parameter group, dict.values() of other dicts"
    if isinstance(value, tuple):
        return ": pass the parameters without their names"
    return ""


def check_values(tensor: Tensor) -> None:
    """Raise a ValueError for a tensor without readable numbers: meta, sparse, nested or quantized."""
    if tensor.is_meta:
        raise ValueError(
            "a tensor on the device 'meta' has no values: call model.to_empty(device='cpu') and initialize or load the "
            "weights first"
        )
    if tensor.layout != torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        raise ValueError(f"expected a dense tensor, got a {kind} one; pass its matrices as dense tensors (to_dense())")
    if tensor.is_quantized:
        raise ValueError(f"expected a tensor of numbers, got one of dtype {tensor.dtype}; pass tensor.dequantize()")


def _check_writable(tensor: Tensor) -> None:
    """Raise a ValueError for a tensor that cannot be written in place."""
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise ValueError(
            "a tensor made in torch.inference_mode() cannot be changed outside of it; pass a clone of it, or make the "
            "model outside"
        )
    if any(stride == 0 and size > 1 for stride, size in zip(tensor.stride(), tensor.shape, strict=True)):
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} has several entries in one place of memory (expand) and cannot "
            f"be changed in place; pass a contiguous copy (tensor.clone(memory_format=torch.contiguous_format))"
        )


def layout_of(tensor: Tensor, matrix: object, orientation: object) -> Layout:
    """The layout of a tensor, for options as users pass them.

    Raises:
        ValueError: as :func:`lcat.optim.layout.resolve`.
    """
    check_orientation(orientation)
    return resolve(tuple(tensor.shape), plain(matrix), orientation)


def orthogonality_error(tensors: Tensors, *, matrix: Matrix = None, orientation: Orientation = "auto") -> float:
    """The largest ``|| X X^H - I ||_F`` of all matrices, computed in float64 (reads from the device).

    NaN if one of the matrices has an entry that is NaN.

    Args:
        tensors: a tensor, several, or a module (its parameters of at least 2 dimensions).
        matrix: how to read them as matrices, as in :class:`lcat.optim.POGO`.
        orientation: which side is orthonormal, as there.

    Raises:
        TypeError: for what is no tensor, such as NumPy's arrays.
        ValueError: a tensor that is no matrix, is lazy, sparse, quantized or on the device "meta".

    >>> import torch
    >>> orthogonality_error(torch.eye(3, 5))
    0.0
    """
    return largest(gram_error(t.detach()[None], layout_of(t, matrix, orientation)) for t in _tensors(tensors))


@torch.no_grad()
def orthogonalize_(
    tensors: Tensors, method: OrthogonalizeMethod = "qr", *, matrix: Matrix = None, orientation: Orientation = "auto"
) -> list[Tensor]:
    """Make matrices orthonormal in place.

    Args:
        tensors: a tensor, several, or a module (its parameters of at least 2 dimensions).
        method: ``"qr"`` keeps the span of the leading rows and makes the triangular factor's diagonal positive,
            so that random normal matrices become uniformly distributed ones; ``"nearest"`` is the orthonormal
            matrix nearest to the present one (the polar factor), for pretrained weights.
        matrix: how to read them as matrices, as in :class:`lcat.optim.POGO`.
        orientation: which side is orthonormal, as there.

    Returns:
        The tensors, changed in place; none of them if one is refused.

    Raises:
        TypeError: for what is no tensor, such as NumPy's arrays.
        ValueError: an unknown method, or a tensor that is no matrix, is lazy, sparse, on the device "meta" or expanded,
            holds integers, or has no full rank (its answer is not unique). Nothing is changed then.

    Complexity: ``O(p^2 n)`` per matrix, in float64.

    >>> import torch
    >>> weight = torch.nn.Linear(8, 4).weight
    >>> _ = orthogonalize_(weight, method="nearest")
    >>> orthogonality_error(weight) < 1e-6
    True
    """
    listed = _tensors(tensors)
    for tensor in listed:
        _check_writable(tensor)
    for tensor, result in [(t, orthogonalized(t, method, matrix, orientation)) for t in listed]:
        tensor.copy_(result)
    return listed


def orthogonalized(
    tensor: Tensor, method: OrthogonalizeMethod, matrix: Matrix = None, orientation: Orientation = "auto"
) -> Tensor:
    """What :func:`orthogonalize_` writes into one tensor."""
    if method not in get_args(OrthogonalizeMethod):
        meant = hint(method, get_args(OrthogonalizeMethod), show=repr)
        raise ValueError(f"method must be one of {', '.join(get_args(OrthogonalizeMethod))}, got {method!r}{meant}")
    check_values(tensor)
    layout = layout_of(tensor, matrix, orientation)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"a tensor of dtype {tensor.dtype} cannot hold orthonormal rows; convert it to floats first")
    wider = torch.complex128 if tensor.is_complex() else torch.float64
    X = layout.wide(tensor.detach()[None].to(wider if tensor.device.type != "mps" else tensor.dtype))
    is_finite = bool(torch.isfinite(X).all())
    Y = nearest(X) if is_finite and method == "nearest" else orthonormal_rows(X) if is_finite else X
    if not bool(torch.isfinite(Y).all()):
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} cannot be made orthonormal: it has entries that are not "
            f"finite or rows that depend on each other; initialize it anew, e.g. with torch.nn.init.orthogonal_"
        )
    return layout.narrow(Y, tuple(tensor.shape))[0]


def project_(tensors: Tensors, *, matrix: Matrix = None, orientation: Orientation = "auto") -> list[Tensor]:
    """Replace every matrix by the nearest orthonormal one: ``orthogonalize_(tensors, "nearest")``.

    >>> import torch
    >>> weight = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> project_(weight)
    [tensor([[1., 0.],
            [0., 1.]])]
    """
    return orthogonalize_(tensors, "nearest", matrix=matrix, orientation=orientation)


def nearest(X: Tensor) -> Tensor:
    """``(X X^H)^(-1/2) X`` for ``X (B, p, n)`` of full rank; NaN where the rank is deficient."""
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    deficient = S[..., -1] <= S[..., 0] * torch.finfo(X.dtype).eps * max(X.shape[-2:])
    Y: Tensor = U @ Vh
    return Y.masked_fill(deficient[..., None, None], float("nan"))


def orthonormal_rows(X: Tensor) -> Tensor:
    """Gram-Schmidt on the rows of ``X (B, p, n)``, by QR with a positive diagonal."""
    Q, R = torch.linalg.qr(X.mH)
    diagonal = R.diagonal(dim1=-2, dim2=-1)
    size = diagonal.abs()
    deficient = size.amin(-1) <= size.amax(-1) * torch.finfo(X.dtype).eps * max(X.shape[-2:])
    Y: Tensor = (Q * torch.sgn(diagonal)[..., None, :]).mH
    return Y.masked_fill(deficient[..., None, None], float("nan"))
