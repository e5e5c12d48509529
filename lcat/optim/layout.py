"""Where the orthogonal matrix lies inside a parameter: its shape, its batch and which side is orthonormal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

from torch import Tensor

from lcat._numbers import as_int
from lcat.optim.options import Matrix, Orientation

__all__ = ["Layout", "check_orientation", "plain", "resolve"]

_CONV: Literal["conv"] = "conv"


@dataclass(frozen=True)
class Layout:
    """A parameter seen as a batch of matrices with orthonormal rows.

    Attributes:
        batch: shape of the batch, ``()`` for one matrix.
        height, width: the matrix as it lies in the parameter.
        transposed: whether the columns, not the rows, are orthonormal.
    """

    batch: tuple[int, ...]
    height: int
    width: int
    transposed: bool

    @property
    def p(self) -> int:
        """Number of orthonormal vectors."""
        return self.width if self.transposed else self.height

    @property
    def n(self) -> int:
        """Their length."""
        return self.height if self.transposed else self.width

    @property
    def matrices(self) -> int:
        """Matrices in one parameter."""
        return math.prod(self.batch)

    def wide(self, stacked: Tensor) -> Tensor:
        """``(N, *parameter shape)`` as ``(N * matrices, p, n)``; a view where ``stacked`` is contiguous."""
        X = stacked.reshape(-1, self.height, self.width)
        return X.mT if self.transposed else X

    def narrow(self, X: Tensor, shape: tuple[int, ...]) -> Tensor:
        """``(N * matrices, p, n)`` back to ``(N, *shape)``."""
        if self.transposed:
            X = X.mT
        return X.reshape(-1, *shape)


def plain(matrix: object) -> Matrix:
    """The option ``matrix`` as plain data: None, ``"conv"`` or a tuple of whole numbers (lists are accepted).

    Raises:
        ValueError: anything else.
    """
    if matrix is None:
        return None
    if isinstance(matrix, str) and matrix == _CONV:
        return _CONV
    sizes = [as_int(size) for size in matrix] if isinstance(matrix, (tuple, list)) else [None]
    if None not in sizes:
        return tuple(size for size in sizes if size is not None)
    raise ValueError(f"matrix must be None, 'conv' or a tuple of sizes with at most one -1, got {matrix!r}")


def check_orientation(orientation: object) -> None:
    """Raise a ValueError unless the option is one of its values."""
    if not isinstance(orientation, str) or orientation not in get_args(Orientation):
        raise ValueError(f"orientation must be one of {', '.join(get_args(Orientation))}, got {orientation!r}")


@lru_cache(maxsize=4096)
def resolve(shape: tuple[int, ...], matrix: Matrix = None, orientation: Orientation = "auto") -> Layout:
    """The layout of a parameter of this shape.

    Args:
        shape: shape of the parameter.
        matrix: ``None`` for the last two dimensions (all others are a batch), ``"conv"`` for a convolution
            kernel ``(out, in, ...)`` read as the matrix ``(out, in * ...)``, or a shape to view the parameter
            in, whose last two dimensions are the matrix, e.g. ``(heads, channels, -1)``.
        orientation: ``"rows"`` or ``"cols"`` orthonormal; ``"auto"`` takes the smaller side (rows of a square).

    Raises:
        ValueError: the parameter cannot be read as such a matrix, or that side cannot be orthonormal.

    >>> resolve((128, 64), (8, 16, -1))
    Layout(batch=(8,), height=16, width=64, transposed=False)
    >>> resolve((64, 16)).transposed
    True
    """
    check_orientation(orientation)
    view = _view_shape(shape, matrix)
    if len(view) < 2:
        raise ValueError(
            f"a tensor of shape {tuple(shape)} is no matrix: an orthogonal group takes tensors of at least 2 "
            f"dimensions; put vectors and scalars into a group with orthogonal=False "
            f"(lcat.optim.orthogonal_groups(model) makes the groups), or give a shape with matrix=(..., rows, columns)"
        )
    *batch, height, width = view
    if math.prod(view) == 0:
        raise ValueError(f"a tensor of shape {tuple(shape)} has no entries; there is nothing to constrain")
    if (orientation == "rows" and height > width) or (orientation == "cols" and width > height):
        side, max_vectors = ("rows", width) if orientation == "rows" else ("columns", height)
        raise ValueError(
            f"a {height} x {width} matrix cannot have orthonormal {side} (at most {max_vectors} vectors of that length "
            f"are orthonormal); use orientation='auto' or orientation={'cols' if orientation == 'rows' else 'rows'!r}"
        )
    transposed = orientation == "cols" or (orientation == "auto" and height > width)
    return Layout(tuple(batch), height, width, transposed)


def _view_shape(shape: tuple[int, ...], matrix: Matrix) -> tuple[int, ...]:
    """``matrix`` applied to ``shape``: the full shape with nothing left to infer."""
    if matrix is None:
        return tuple(shape)
    if matrix == _CONV:
        if len(shape) < 2:
            raise ValueError(f"matrix='conv' needs a kernel (out, in, ...), got shape {tuple(shape)}")
        return (shape[0], math.prod(shape[1:]))
    is_shape = isinstance(matrix, tuple)
    if not is_shape or not all(isinstance(d, int) and d >= -1 and d != 0 for d in matrix):
        raise ValueError(f"matrix must be None, 'conv' or a tuple of sizes with at most one -1, got {matrix!r}")
    known = math.prod(d for d in matrix if d != -1)
    total = math.prod(shape)
    free = matrix.count(-1)
    if free > 1 or total % known or (free == 0 and known != total):
        raise ValueError(
            f"matrix={matrix} does not fit a tensor of shape {tuple(shape)} with {total} entries; the sizes must "
            f"multiply to {total}, with at most one -1"
        )
    return tuple(total // known if d == -1 else d for d in matrix)
