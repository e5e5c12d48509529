"""Matrices, gradients and independent oracles that the tests of lcat.optim share."""

from __future__ import annotations

import torch

from lcat.optim import naive

SHAPES = [(3, 5), (5, 3), (4, 4), (2, 3, 7), (3, 6, 2), (1, 4), (2, 2, 2, 3)]
DTYPES = [torch.float64, torch.complex128]
NAIVE_RETRACTIONS = {"qr": naive.retract_qr, "polar": naive.retract_polar, "cayley": naive.retract_cayley}


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def orthonormal(*shape, dtype=torch.float64, seed=0):
    """Orthonormal along the smaller side, by SVD (not by the library's own functions).

    Its numbers are not those of ``random`` with the same seed: that gradient would be normal, and nothing move.
    """
    U, _, Vh = torch.linalg.svd(random(*shape, dtype=dtype, seed=seed + 777_777), full_matrices=False)
    return U @ Vh


def wide(X):
    """The orientation in which the library computes."""
    return X.mT if X.shape[-2] > X.shape[-1] else X


def error(X):
    """The largest Frobenius norm of X X^H - I."""
    X = wide(X)
    return torch.linalg.matrix_norm(X @ X.mH - torch.eye(X.shape[-2], dtype=X.dtype)).max().item()


def parameter(X, grad=None):
    p = torch.nn.Parameter(X.clone())
    p.grad = grad
    return p


def step(cls, X, grads, **options):
    """The weight after one step for each gradient."""
    p = parameter(X)
    optimizer = cls([p], **options)
    for G in grads:
        p.grad = G.clone()
        optimizer.step()
    return p.detach()


def polar_by_svd(M):
    U, _, Vh = torch.linalg.svd(M, full_matrices=False)
    return U @ Vh


def pogo_by_svd(X, G, eta):
    """POGO's step through singular values alone: no product with a Gram matrix appears.

    In the basis of the singular vectors of X the relative gradient is X skew(X^H G); a Newton-Schulz step maps
    each singular value s of M to s (3 - s^2) / 2 and keeps the singular vectors.
    """
    X, G = wide(X), wide(G)
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    V = Vh.mH
    inner = S[..., :, None].to(X.dtype) * (U.mH @ G)  # X^H G = V inner
    # skew(V inner) seen by X = U S V^H: X skew(V inner) = U S (inner - V^H inner^H V^H) / 2
    R = 0.5 * (U * S[..., None, :].to(X.dtype)) @ (inner - (V.mH @ inner.mH) @ Vh)
    U, S, Vh = torch.linalg.svd(X - eta * R, full_matrices=False)
    return (U * (S * (3 - S**2) / 2)[..., None, :].to(X.dtype)) @ Vh
