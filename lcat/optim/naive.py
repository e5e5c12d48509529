"""The formulas of :mod:`lcat.optim`, one function each, as one would write them on paper.

This file is the place to read the mathematics. It is plain torch without tricks, exact in float64, and the
optimizers are tested against it. Everywhere ``X`` is a matrix ``(p, n)`` with ``p <= n`` and orthonormal
rows, ``X X^H = I`` (or a batch of them, ``(..., p, n)``), ``G`` the Euclidean gradient of the loss and
``eta`` the learning rate. ``^H`` is the conjugate transpose, so every formula holds for complex matrices.
A tall matrix with orthonormal columns is treated as its transpose.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "euclidean_projection",
    "eye_like",
    "gram",
    "landing_field",
    "landing_polynomial",
    "newton_schulz",
    "newton_schulz_order2",
    "pogo",
    "pogo_four_products",
    "relative_gradient",
    "retract_cayley",
    "retract_polar",
    "retract_qr",
    "skew",
    "slpg",
    "submanifold",
    "symmetric",
]


def eye_like(X: Tensor) -> Tensor:
    """The ``p x p`` identity in the dtype and on the device of ``X (..., p, n)``."""
    return torch.eye(X.shape[-2], dtype=X.dtype, device=X.device)


def gram(X: Tensor) -> Tensor:
    """``X X^H``, the identity when the rows of ``X`` are orthonormal."""
    return X @ X.mH


def symmetric(A: Tensor) -> Tensor:
    """The Hermitian part ``(A + A^H) / 2``."""
    return (A + A.mH) / 2


def skew(A: Tensor) -> Tensor:
    """The skew-Hermitian part ``(A - A^H) / 2``."""
    return (A - A.mH) / 2


def relative_gradient(X: Tensor, G: Tensor) -> Tensor:
    r"""``R = (X X^H G - X G^H X) / 2 = X skew(X^H G)``, tangent at ``X`` even off the manifold.

    It moves ``X`` without changing ``X X^H`` to first order: for every ``X`` and ``eta``,
    ``(X - eta R)(X - eta R)^H = X X^H + eta^2 R R^H``.
    """
    return X @ skew(X.mH @ G)


def euclidean_projection(X: Tensor, G: Tensor) -> Tensor:
    """``G - sym(G X^H) X``: the projection of ``G`` onto the tangent space at ``X``."""
    return G - symmetric(G @ X.mH) @ X


def newton_schulz(M: Tensor) -> Tensor:
    r"""``(3 I - M M^H) M / 2``: one Newton-Schulz step towards the nearest orthonormal matrix.

    With ``D = M M^H - I`` the new error is ``-3/4 D^2 + 1/4 D^3``.
    """
    return 0.5 * (3 * eye_like(M) - gram(M)) @ M


def newton_schulz_order2(M: Tensor) -> Tensor:
    """``(15 I - 10 C + 3 C^2) M / 8`` with ``C = M M^H``: the next polynomial, error ``O(D^3)``."""
    C = gram(M)
    return (15 * eye_like(M) - 10 * C + 3 * C @ C) @ M / 8


def landing_polynomial(M: Tensor, weight: Tensor) -> Tensor:
    r"""``|| X' X'^H - I ||_F^2`` for ``X' = M + weight (I - M M^H) M``, a quartic in ``weight``."""
    eye = eye_like(M)
    W = weight[..., None, None]
    error: Tensor = torch.linalg.matrix_norm(gram(M + W * (eye - gram(M)) @ M) - eye)
    return error**2


def pogo(X: Tensor, G: Tensor, eta: float) -> Tensor:
    """POGO: ``M = X - eta R``, then one Newton-Schulz step (Javaloy and Vergari, ICML 2026)."""
    return newton_schulz(X - eta * relative_gradient(X, G))


def pogo_four_products(X: Tensor, G: Tensor, eta: float) -> Tensor:
    """POGO with ``X X^H`` taken for the identity in the relative gradient: four products, not six."""
    return newton_schulz(X - eta * (G - X @ G.mH @ X) / 2)


def landing_field(X: Tensor, G: Tensor, attraction: float) -> Tensor:
    """``R + attraction (X X^H - I) X``: the landing field (Ablin and Peyre, AISTATS 2022)."""
    return relative_gradient(X, G) + attraction * (gram(X) - eye_like(X)) @ X


def retract_qr(X: Tensor, V: Tensor) -> Tensor:
    """The rows of ``M = X + V`` orthonormalized one after the other: ``L^(-1) M`` with Cholesky's ``M M^H = L L^H``."""
    M = X + V
    L = torch.linalg.cholesky(gram(M))
    Y: Tensor = torch.linalg.solve_triangular(L, M, upper=False)
    return Y


def retract_polar(X: Tensor, V: Tensor) -> Tensor:
    """``(M M^H)^(-1/2) M`` for ``M = X + V``: the orthonormal matrix nearest to ``M``."""
    U, _, Vh = torch.linalg.svd(X + V, full_matrices=False)
    Y: Tensor = U @ Vh
    return Y


def retract_cayley(X: Tensor, V: Tensor) -> Tensor:
    """``X (I + W/2) (I - W/2)^(-1)`` with ``W`` skew-Hermitian and ``X W = V`` (``V`` tangent at ``X``)."""
    Vh = V - 0.5 * (V @ X.mH) @ X
    W = X.mH @ Vh - Vh.mH @ X
    eye = torch.eye(X.shape[-1], dtype=X.dtype, device=X.device)
    Y: Tensor = X @ (eye + W / 2) @ torch.linalg.inv(eye - W / 2)
    return Y


def submanifold(X: Tensor, G: Tensor, eta: float, P: Tensor) -> Tensor:
    r"""One RSDM step with the sampled rows ``P (r, n)`` (Han, Poirion and Takeda, ICML 2025).

    ``Q(Y) = I + P^H (Y - I) P`` is orthogonal when the ``r x r`` matrix ``Y`` is; the step is a Riemannian
    gradient step in ``Y`` from ``Y = I`` on ``f(X Q(Y))``, retracted by QR.
    """
    A = skew((X @ P.mH).mH @ (G @ P.mH))
    eye = torch.eye(P.shape[-2], dtype=X.dtype, device=X.device)
    Y = retract_qr(eye.expand_as(A), -eta * A)
    return X + (X @ P.mH) @ (Y - eye) @ P


def slpg(X: Tensor, G: Tensor, eta: float) -> Tensor:
    """SLPG without a regularizer: a projected gradient step, then Newton-Schulz (Xiao, Liu, Yuan, 2021)."""
    return newton_schulz(X - eta * euclidean_projection(X, G))
