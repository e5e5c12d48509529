"""Measuring orthogonality, and making matrices orthonormal."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from lcat.optim import (
    POGO,
    orthogonality_error,
    orthogonalize_,
    project_,
)
from lcat.testing import OrthogonalContract
from tests.optim.optim_support import error, orthonormal, parameter, polar_by_svd, random


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_orthogonality_error_is_the_frobenius_norm(dtype):
    X = orthonormal(2, 3, 5, dtype=dtype)
    X[1] *= 1.1
    expected = abs(1.21 - 1) * 3**0.5
    assert orthogonality_error(X) == pytest.approx(expected, abs=1e-6)
    assert orthogonality_error(X.mT) == pytest.approx(expected, abs=1e-6)
    assert orthogonality_error([X[0], X[1]]) == pytest.approx(expected, abs=1e-6)
    assert orthogonality_error(X.reshape(6, 5), matrix=(2, 3, 5)) == pytest.approx(expected, abs=1e-6)


def test_orthogonalize():
    X = random(4, 3, 5)
    nearest, qr = X.clone(), X.clone()
    project_(nearest)
    torch.testing.assert_close(nearest, polar_by_svd(X), rtol=0, atol=1e-13)
    orthogonalize_(qr, "qr")
    assert error(qr) < 1e-14
    L = X @ qr.mH  # the rows of X in the new basis: lower triangular with a positive diagonal
    assert L.triu(1).abs().max() < 1e-13
    assert L.diagonal(dim1=-2, dim2=-1).min() > 0
    module = nn.Linear(6, 4).double()
    orthogonalize_(module)
    assert orthogonality_error(module) < 1e-14
    tall = random(5, 3)
    assert error(orthogonalize_(tall)[0]) < 1e-14


@pytest.mark.parametrize("method", ["qr", "nearest"])
def test_orthogonalize_refuses_what_has_no_answer(method):
    for bad in (torch.zeros(3, 5), torch.ones(3, 5), torch.full((3, 5), float("inf"))):
        with pytest.raises(ValueError, match="cannot be made orthonormal"):
            orthogonalize_(bad, method)
    with pytest.raises(ValueError, match="method must be one of qr, nearest, got 'svd'"):
        orthogonalize_(torch.eye(3), "svd")


@pytest.mark.parametrize("order", [1, -1])
def test_the_largest_error_is_no_number_where_one_is_none(order):
    matrices = [torch.eye(3), torch.full((3, 3), torch.nan), torch.eye(3)][::order][1:]
    assert math.isnan(orthogonality_error(matrices))
    params = [parameter(orthonormal(3, 5)), parameter(orthonormal(5, 3))][::order]
    optimizer = POGO(params, lr=0.1)
    params[1].data.fill_(torch.nan)
    assert math.isnan(optimizer.orthogonality_error())


def test_the_contract_notices_what_becomes_no_number():
    class Broken(POGO):
        def update(self, X, D, scale, group, bucket):
            result = super().update(X, D, scale, group, bucket)
            return result * torch.nan if bucket.layout.transposed else result

    class Suite(OrthogonalContract):
        def optimizer(self, params, **options):
            return Broken(params, **options)

    suite = Suite()
    for clause in (
        suite.test_any_learning_rate_stays_finite,
        suite.test_any_gradient_stays_finite,
        suite.test_orthogonality_survives_noise,
        suite.test_half_precision_stays_near,
    ):
        with pytest.raises(AssertionError):
            clause()


def test_orthogonalize_changes_all_or_nothing():
    good, bad = torch.randn(3, 5), torch.zeros(3, 5)
    before = good.clone()
    with pytest.raises(ValueError, match="cannot be made orthonormal"):
        orthogonalize_([good, bad])
    assert torch.equal(good, before)


def test_lazy_modules_must_run_first():
    for function in (orthogonality_error, orthogonalize_):
        with pytest.raises(ValueError, match="lazy parameter has no shape yet; run one forward"):
            function(torch.nn.LazyLinear(3))


def test_optimizer_projects_and_measures():
    p = parameter(orthonormal(3, 5) * 1.0001)
    optimizer = POGO([p], lr=0.1)
    assert optimizer.orthogonality_error() > 1e-4
    optimizer.project_()
    assert optimizer.orthogonality_error() < 1e-14


@pytest.mark.parametrize("function", [orthogonality_error, orthogonalize_, project_])
@pytest.mark.parametrize(
    ("value", "error", "pattern"),
    [
        ("a", TypeError, r"expected a tensor, several, or a module, got 'a'"),
        (None, TypeError, r"got None"),
        (3, TypeError, r"got int"),
        ([1, 2], TypeError, r"got int among several"),
        ([None], TypeError, r"got None among several"),
        (np.eye(3), TypeError, r"got ndarray: pass torch.from_numpy\(array\)"),
        ([np.eye(3)], TypeError, r"got ndarray among several: pass torch.from_numpy"),
        ({"params": [torch.eye(3)]}, TypeError, r"got dict: pass group\['params'\]"),
        ([("weight", torch.eye(3))], TypeError, r"got tuple among several: pass the parameters without their names"),
        (nn.Linear, TypeError, r"got the class Linear"),
        (POGO([nn.Parameter(torch.eye(3))]), TypeError, r"got POGO: call the methods"),
        (torch.empty(3, 3, device="meta"), ValueError, r"'meta' has no values"),
        (nn.Linear(3, 3, device="meta"), ValueError, r"'meta' has no values"),
        (torch.eye(3).to_sparse(), ValueError, r"expected a dense tensor, got a sparse_coo one"),
        (torch.eye(3).to_sparse_csr(), ValueError, r"expected a dense tensor, got a sparse_csr one"),
    ],
)
def test_what_is_no_matrix_is_named(function, value, error, pattern):
    with pytest.raises(error, match=pattern):
        function(value)


@pytest.mark.parametrize("function", [orthogonality_error, orthogonalize_, project_])
def test_options_that_cannot_be_read_are_named(function):
    for matrix in (3, True, {}, np.array([3, 3])):
        with pytest.raises(ValueError, match="matrix must be None, 'conv' or a tuple"):
            function(torch.eye(3), matrix=matrix)
    for orientation in ("x", None, ["rows"]):
        with pytest.raises(ValueError, match="orientation must be one of auto, rows, cols"):
            function(torch.eye(3), orientation=orientation)
    function(torch.eye(3), matrix=[1, 3, 3])


def test_memory_that_cannot_be_written_is_refused_and_nothing_changes():
    with torch.inference_mode():
        made_there = torch.ones(2, 3)
    first = torch.diag(torch.tensor([2.0, 3.0]))
    for tensor, pattern in ((made_there, r"made in torch.inference_mode"), (torch.eye(2).expand(3, 2, 2), r"expand")):
        with pytest.raises(ValueError, match=pattern):
            orthogonalize_([first, tensor])
    assert torch.equal(first, torch.diag(torch.tensor([2.0, 3.0])))
