"""Base updates: what turns a gradient into the direction that an orthogonal step then follows.

Each returns ``(D, scale)``: a direction ``D (B, p, n)`` and the real factor that multiplies it besides the
learning rate. ``scale`` is a float or one number per matrix, ``(B, 1, 1)``; keeping it apart from ``D`` saves a
pass over the matrices, because a step folds it into a product.

All of them but ``muon`` are linear in the direction, with one scalar per matrix. So they keep what an orthogonal
method relies on: ``D`` turns with ``X`` (replace ``X`` by ``X Q`` and ``D`` becomes ``D Q``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lcat.optim.options import Base
from lcat.optim.products import BATCHED, Algebra, Scale

if TYPE_CHECKING:
    from lcat.optim.bucket import Bucket

__all__ = [
    "BASES",
    "QUINTIC",
    "BaseUpdate",
    "Direction",
    "Projection",
    "gradient",
    "limited",
    "muon",
    "quintic",
    "sgd",
    "tangent_part",
    "vadam",
]

Direction = tuple[Tensor, Scale]
#: what is done to a buffer, in place, after the gradient has been added to it
Projection = Callable[[Tensor], None]

#: coefficients of the quintic of Muon (Jordan et al., 2024): singular values go to about [0.7, 1.2]
QUINTIC = (3.4445, -4.7750, 2.0315)


def sgd(G: Tensor, group: dict[str, Any], bucket: Bucket, project: Projection | None = None) -> Direction:
    """Gradient descent with momentum, torch.optim.SGD's recursion: the first buffer is the gradient.

    ``buf = momentum buf + (1 - dampening) G``; the direction is ``buf``, or ``G + momentum buf`` (Nesterov).
    """
    return _momentum(G, group, bucket, project), 1.0


def _momentum(G: Tensor, group: dict[str, Any], bucket: Bucket, project: Projection | None) -> Tensor:
    momentum, dampening = group["momentum"], group["dampening"]
    if momentum == 0:
        return G
    buffer = bucket.matrices("momentum_buffer")
    if dampening == 0:
        buffer.mul_(momentum).add_(G)  # the buffer starts at zero, so the first one is the gradient
    else:
        is_later = (bucket.per_matrix(bucket.step) > 1).to(bucket.real)
        buffer.mul_(momentum).addcmul_(G, (1 - dampening * is_later).to(G.dtype))
    if project is not None:
        project(buffer)
    return torch.add(G, buffer, alpha=momentum) if group["nesterov"] else buffer


def vadam(G: Tensor, group: dict[str, Any], bucket: Bucket, project: Projection | None = None) -> Direction:
    r"""Adam with one second moment per matrix (VectorAdam, Ling et al., 2022, applied to whole matrices).

    ``m = b1 m + (1 - b1) G``, ``v = b2 v + (1 - b2) |G|_F^2``, direction
    ``m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)``; ``t`` counts the updates of each parameter separately.
    """
    beta1, beta2 = group["betas"]
    first = bucket.matrices("exp_avg")
    first.lerp_(G, 1 - beta1)
    if project is not None:
        project(first)
    second = bucket.per_matrix(bucket.scalars("exp_avg_sq"))
    # A square beyond the largest number would stay infinite forever.
    squared_norm = BATCHED.norm(G).square_().clamp_max_(torch.finfo(second.dtype).max)
    second.lerp_(squared_norm, 1 - beta2)
    # 1 - b^t loses digits in float32 (b2^1 = 0.999), so the corrections are computed in float64.
    exact = torch.float64 if second.device.type != "mps" else second.dtype
    t = bucket.per_matrix(bucket.step).to(exact)
    correction1 = 1 - torch.pow(beta1, t)
    correction2 = (1 - torch.pow(beta2, t)).sqrt_()
    denominator = second.sqrt() / correction2.to(second.dtype) + group["eps"]
    return first, 1 / (denominator * correction1.to(second.dtype))


def muon(G: Tensor, group: dict[str, Any], bucket: Bucket, project: Projection | None = None) -> Direction:
    """Momentum, then the direction with all its singular values near one, for each matrix separately.

    The orthogonalized momentum of Muon (Jordan et al., 2024) with its five quintic Newton-Schulz steps, in the
    dtype of the parameter. A parameter holding a batch is treated matrix by matrix.
    """
    return quintic(_momentum(G, group, bucket, project), group["ns_steps"]), 1.0


def quintic(D: Tensor, steps: int = 5) -> Tensor:
    """``steps`` quintic Newton-Schulz steps on ``D (B, p, n)``, ``p <= n``; zero stays zero."""
    a, b, c = QUINTIC
    tiny = torch.finfo(D.dtype).tiny
    X = D / D.abs().amax((-2, -1), keepdim=True).clamp_min(tiny)  # or the norm of small numbers underflows
    X = X / BATCHED.norm(X).clamp_min(tiny)
    for _ in range(steps):
        A = BATCHED.gram(X)
        X = BATCHED.addmm(X, torch.baddbmm(A, A, A, beta=b, alpha=c), X, beta=a)
    return X


BaseUpdate = Callable[[Tensor, dict[str, Any], "Bucket", Projection | None], Direction]

BASES: dict[Base, BaseUpdate] = {
    "sgd": sgd,
    "vadam": vadam,
    "muon": muon,
}


def tangent_part(algebra: Algebra, X: Tensor, G: Tensor) -> Tensor:
    """``G - sym(G X^H) X``, the orthogonal projection onto the tangent space at ``X``."""
    H = algebra.mm(G, algebra.mH(X))
    return algebra.addmm(G, (H + algebra.mH(H)).mul_(0.5), X, alpha=-1.0)


def gradient(X: Tensor, G: Tensor, group: dict[str, Any]) -> Tensor:
    """The gradient to descend: negated for ``maximize``, with the weight decay added; writes neither tensor."""
    if group["maximize"]:
        G = -G
    if group["weight_decay"] != 0:
        # X adds nothing to the relative gradient, so for "sgd" this is invisible; it rescales "vadam".
        G = torch.add(G, X, alpha=group["weight_decay"])
    return G


def limited(G: Tensor, looks: bool) -> Tensor:
    """``G`` with the norm of every matrix at most the 0.4th power of the largest number (2.6e15 in float32).

    Above that, products of a step overflow, and so would the buffers: longer gradients count as that long. Where
    ``looks``, the norm is read from the device first, and usually ``G`` is returned as it is.
    """
    max_norm = torch.finfo(G.dtype).max ** 0.4
    parts = torch.view_as_real(G.resolve_conj()) if G.is_complex() else G
    if looks and float(torch.linalg.vector_norm(parts)) <= max_norm:
        return G
    dims = tuple(range(1, parts.dim()))
    largest = parts.abs().amax(dims, keepdim=True).clamp_min(1.0)  # or the squares overflow
    norm = torch.linalg.vector_norm(parts / largest, dim=dims, keepdim=True)
    factor: Tensor = (max_norm / largest / norm.clamp_min(1e-30)).clamp_max(1.0)
    result: Tensor = G * factor.view(-1, 1, 1)
    return result
