"""How orthogonal matrices are, and making them so."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lcat.optim.layout import Layout, Matrix, resolve

METHODS = ("qr", "nearest")

Tensors = Tensor | nn.Module | Iterable[Tensor]


def gram_error(stacked: Tensor, layout: Layout) -> Tensor:
    """The largest ``|| X X^H - I ||_F`` among the matrices of ``stacked (N, *shape)``, in float64."""
    wider = torch.complex128 if stacked.is_complex() else torch.float64
    if stacked.device.type == "mps":
        wider = stacked.dtype
    X = layout.wide(stacked.to(wider))
    K = X @ X.mH
    K.diagonal(dim1=-2, dim2=-1).sub_(1)
    return torch.linalg.matrix_norm(K).max()


def largest(errors: Iterable[Tensor]) -> float:
    """The largest of several numbers, 0 of none; not a number if one of them is none (Python's ``max`` loses it)."""
    values = [float(error) for error in errors]
    return math.nan if any(map(math.isnan, values)) else max(values, default=0.0)


def _tensors(tensors: Tensors) -> list[Tensor]:
    """A tensor, an iterable of them, or the parameters of a module with 2 or more dimensions."""
    if isinstance(tensors, Tensor):
        found = [tensors]
    else:
        found = list(tensors.parameters() if isinstance(tensors, nn.Module) else tensors)
    if any(nn.parameter.is_lazy(t) for t in found):
        raise ValueError(
            "a lazy parameter has no shape yet; run one forward pass through the model (under torch.no_grad()) first"
        )
    return [t for t in found if t.dim() >= 2] if isinstance(tensors, nn.Module) else found


def orthogonality_error(tensors: Tensors, *, matrix: Matrix = None, orient: str = "auto") -> float:
    """The largest ``|| X X^H - I ||_F`` of all matrices, computed in float64 (reads from the device).

    Not a number if one of the matrices has entries that are none.

    Args:
        tensors: a tensor, several, or a module (its parameters with 2 or more dimensions).
        matrix, orient: how to read them as matrices, as in :class:`lcat.optim.POGO`.

    >>> import torch
    >>> orthogonality_error(torch.eye(3, 5))
    0.0
    """
    found = _tensors(tensors)
    return largest(gram_error(t.detach()[None], resolve(tuple(t.shape), matrix, orient)) for t in found)


@torch.no_grad()
def orthogonalize_(
    tensors: Tensors, method: str = "qr", *, matrix: Matrix = None, orient: str = "auto"
) -> list[Tensor]:
    """Make matrices orthonormal in place.

    Args:
        tensors: a tensor, several, or a module (its parameters with 2 or more dimensions).
        method: ``"qr"`` keeps the span of the leading rows and makes the triangular factor's diagonal positive,
            so that random normal matrices become uniformly distributed ones; ``"nearest"`` is the orthonormal
            matrix closest to the present one (the polar factor), for pretrained weights.
        matrix, orient: how to read them as matrices, as in :class:`lcat.optim.POGO`.

    Returns:
        The tensors, changed in place; none of them if one is refused.

    Raises:
        ValueError: unknown method, no matrix, lazy, whole numbers, or a matrix without full rank (its answer is
            not unique).

    Complexity: ``O(p^2 n)`` a matrix, in float64.

    >>> import torch
    >>> weight = torch.nn.Linear(8, 4).weight
    >>> _ = orthogonalize_(weight, method="nearest")
    >>> orthogonality_error(weight) < 1e-6
    True
    """
    found = _tensors(tensors)
    for tensor, result in [(tensor, orthonormal(tensor, method, matrix, orient)) for tensor in found]:
        tensor.copy_(result)
    return found


def orthonormal(tensor: Tensor, method: str, matrix: Matrix = None, orient: str = "auto") -> Tensor:
    """What :func:`orthogonalize_` writes into one tensor."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    layout = resolve(tuple(tensor.shape), matrix, orient)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"a tensor of dtype {tensor.dtype} cannot hold orthonormal rows; convert it to floats first")
    wider = torch.complex128 if tensor.is_complex() else torch.float64
    X = layout.wide(tensor.detach()[None].to(wider if tensor.device.type != "mps" else tensor.dtype))
    finite = bool(torch.isfinite(X).all())
    Y = nearest(X) if finite and method == "nearest" else orthonormal_rows(X) if finite else X
    if not bool(torch.isfinite(Y).all()):
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} cannot be made orthonormal: it has entries that are not "
            f"finite or rows that depend on each other; initialize it anew, e.g. with torch.nn.init.orthogonal_"
        )
    return layout.narrow(Y, tuple(tensor.shape))[0]


def project_(tensors: Tensors, *, matrix: Matrix = None, orient: str = "auto") -> list[Tensor]:
    """Replace every matrix by the nearest orthonormal one: ``orthogonalize_(tensors, "nearest")``."""
    return orthogonalize_(tensors, "nearest", matrix=matrix, orient=orient)


def nearest(X: Tensor) -> Tensor:
    """``(X X^H)^(-1/2) X`` for ``X (B, p, n)`` of full rank; not a number where the rank is deficient."""
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    deficient = S[..., -1] <= S[..., 0] * torch.finfo(X.dtype).eps * max(X.shape[-2:])
    return (U @ Vh).masked_fill(deficient[..., None, None], float("nan"))


def orthonormal_rows(X: Tensor) -> Tensor:
    """Gram-Schmidt on the rows of ``X (B, p, n)``, by QR with a positive diagonal."""
    Q, R = torch.linalg.qr(X.mH)
    diagonal = R.diagonal(dim1=-2, dim2=-1)
    size = diagonal.abs()
    deficient = size.amin(-1) <= size.amax(-1) * torch.finfo(X.dtype).eps * max(X.shape[-2:])
    Y = (Q * torch.sgn(diagonal)[..., None, :]).mH
    return Y.masked_fill(deficient[..., None, None], float("nan"))
