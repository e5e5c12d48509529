"""Where the matrices lie in a parameter."""

from __future__ import annotations

import pytest
import torch

from lcat.optim import (
    POGO,
)
from lcat.optim.layout import resolve
from tests.optim.optim_support import orthonormal, random, step


def test_layouts_by_hand():
    assert resolve((3, 5)) == resolve((3, 5), None, "rows")
    assert (resolve((5, 3)).p, resolve((5, 3)).n, resolve((5, 3)).transposed) == (3, 5, True)
    assert not resolve((4, 4)).transposed
    assert resolve((4, 4), None, "cols").transposed
    assert resolve((2, 7, 3, 5)).batch == (2, 7)
    assert resolve((6, 4, 3, 3), "conv") == resolve((6, 36))
    assert resolve((12, 5), (3, 4, -1)) == resolve((3, 4, 5))


@pytest.mark.parametrize(
    ("shape", "matrix", "orientation", "message"),
    [
        ((3,), None, "auto", "is no matrix"),
        ((), None, "auto", "is no matrix"),
        ((5, 3), None, "rows", r"cannot have orthonormal rows \(at most 3.*orientation='cols'"),
        ((3, 5), None, "cols", "cannot have orthonormal columns"),
        ((3, 5), None, "up", "orientation must be one of auto, rows, cols, got 'up'"),
        ((3, 5), "kernel", "auto", "matrix must be None, 'conv' or a tuple"),
        ((3,), "conv", "auto", "needs a kernel"),
        ((12, 5), (5, -1, 7), "auto", "does not fit a tensor of shape"),
        ((12, 5), (3, -1, -1), "auto", "does not fit"),
        ((12, 5), (3, 0), "auto", "matrix must be None"),
        ((0, 5), None, "auto", "no entries"),
    ],
)
def test_layout_errors(shape, matrix, orientation, message):
    with pytest.raises(ValueError, match=message):
        resolve(shape, matrix, orientation)


def test_matrix_option_is_a_view_of_the_weights():
    X, G = orthonormal(3, 4, 6), random(3, 4, 6, seed=1)
    got = step(POGO, X.reshape(12, 6), [G.reshape(12, 6)], lr=0.1, matrix=(3, 4, -1))
    torch.testing.assert_close(got.view(3, 4, 6), step(POGO, X, [G], lr=0.1), rtol=0, atol=0)
    kernel = step(POGO, X[0].view(4, 2, 3), [G[0].view(4, 2, 3)], lr=0.1, matrix="conv")
    torch.testing.assert_close(kernel.view(4, 6), step(POGO, X[0], [G[0]], lr=0.1), rtol=0, atol=0)


def test_square_rows_and_columns_agree_on_the_manifold():
    X, G = orthonormal(4, 4), random(4, 4, seed=1)
    a, b = (step(POGO, X, [G], lr=0.05, orientation=o) for o in ("rows", "cols"))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-14)
