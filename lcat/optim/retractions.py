"""Retractions: from a point ``X`` and a tangent step ``V`` to a point on the manifold, ``(B, p, n)`` batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lcat.optim.normal import half_polynomial
from lcat.optim.options import Retraction
from lcat.optim.products import BATCHED

__all__ = ["RETRACTIONS", "cayley", "newton_schulz", "polar", "qr"]


def qr(X: Tensor, V: Tensor, max_step: float | None = None) -> Tensor:  # noqa: ARG001 - all take the same
    """The Q factor of ``(X + V)^H``, transposed, its signs fixed so that ``V = 0`` gives ``X`` back.

    Complexity: one QR factorization, about ``4 p^2 n`` flops.
    """
    Q, R = torch.linalg.qr((X + V).mH)
    phase = torch.sgn(R.diagonal(dim1=-2, dim2=-1))
    Y: Tensor = (Q * phase[..., None, :]).mH
    return Y


def polar(X: Tensor, V: Tensor, max_step: float | None = None) -> Tensor:
    r"""``(M M^H)^(-1/2) M`` for ``M = X + V``, the orthonormal matrix nearest to ``M``.

    For steps that the guard keeps within ``max_step`` the root is computed by Newton-Schulz of order two on
    ``p x p`` matrices: ``M M^H`` has its eigenvalues in ``[1, 1 + max_step^2]``, divided by the middle of that
    interval three steps reach double precision for ``max_step <= 1``. Otherwise by an eigendecomposition.

    Complexity: two products of ``p x p x n`` and eleven of ``p x p x p`` (``max_step <= 1``).
    """
    M = X + V
    C = BATCHED.gram(M)
    if max_step is None or max_step > 4:
        values, vectors = torch.linalg.eigh(C)
        roots = values.clamp_min(torch.finfo(values.dtype).tiny).rsqrt()
        Y: Tensor = (vectors * roots[..., None, :]) @ vectors.mH @ M
        return Y
    middle = 1 + 0.5 * max_step * max_step
    C = C / middle
    root = None
    for _ in range(3 if max_step <= 1 else 10):
        E = BATCHED.add_identity_(C.clone(), -1.0)
        W = BATCHED.add_identity_(BATCHED.addmm(E, E, E, beta=-1 / 2, alpha=3 / 8), 1.0)
        C = BATCHED.mm(BATCHED.mm(W, C), W)
        root = W if root is None else BATCHED.mm(root, W)
    assert root is not None
    scale: float = middle**-0.5
    return BATCHED.mm(root, M) * scale


def cayley(X: Tensor, V: Tensor, max_step: float | None = None) -> Tensor:  # noqa: ARG001
    r"""``X (I + W/2) (I - W/2)^(-1)`` with ``W`` skew-Hermitian and ``X W = V``.

    ``W = [X^H, -Z^H] [Z; X]`` with ``Z = V - V X^H X / 2``, so for ``2 p < n`` only a ``2p x 2p`` system is
    solved (Sherman, Morrison, Woodbury).

    Complexity: a linear solve with ``min(n, 2p)`` unknowns.
    """
    p, n = X.shape[-2:]
    Z = V - 0.5 * (V @ X.mH) @ X
    if n <= 2 * p:
        half_W = 0.5 * (X.mH @ Z - Z.mH @ X)
        eye = torch.eye(n, dtype=X.dtype, device=X.device)
        Y: Tensor = torch.linalg.solve(eye - half_W, X @ (eye + half_W), left=False)
        return Y
    left = torch.cat((X.mH, -Z.mH), dim=-1)
    right = torch.cat((Z, X), dim=-2)
    eye = torch.eye(2 * p, dtype=X.dtype, device=X.device)
    solution: Tensor = torch.linalg.solve(eye - 0.5 * right @ left, right)
    return X + (X @ left) @ solution


def newton_schulz(X: Tensor) -> Tensor:
    """``(3 I - X X^H) X / 2``: one Newton-Schulz step on ``X (B, p, n)``."""
    return BATCHED.mm(half_polynomial(BATCHED, BATCHED.gram(X)), X)


RETRACTIONS: dict[Retraction, Callable[[Tensor, Tensor, float | None], Tensor]] = {
    "qr": qr,
    "polar": polar,
    "cayley": cayley,
}
