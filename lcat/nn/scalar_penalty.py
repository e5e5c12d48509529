"""A penalty on the scalars of L-CAT layers, to be added to a loss."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from lcat._text import hint
from lcat.nn.scalars import lambda_layers, read_lambda

__all__ = ["Pull", "lambda_penalty"]

Pull: TypeAlias = Literal["corners", "gcn", "gat", "cat"]

_PRIORS: dict[Pull, tuple[float, float]] = {"gcn": (0.0, 0.0), "gat": (1.0, 0.0), "cat": (1.0, 1.0)}


def lambda_penalty(model: nn.Module, towards: Pull | tuple[float, float] = "corners") -> Tensor:
    r"""How far the scalars of a model are from where they shall be: a number to add to a loss, times a strength.

    The mean over the layers (and heads) of

    .. math::
        \text{"corners"}: \lambda_1 (1 - \lambda_1) + \lambda_1 \lambda_2 (1 - \lambda_2), \qquad
        (a, b): (\lambda_1 - a)^2 + a (\lambda_2 - b)^2 .

    The first is 0 at GCN, GAT and CAT, and nowhere else: layers decide for one of them. The second is the distance from
    a prior; "gcn", "gat" and "cat" are (0, 0), (1, 0) and (1, 1). At lambda1 = 0 lambda2 has no effect, so there it
    does not count.

    Args:
        model: any module, or a single layer.
        towards: "corners", the name of one corner, or (lambda1, lambda2).

    Returns:
        a tensor without dimensions, 0 for a model without CAT and L-CAT layers; fixed scalars count, too.

    Raises:
        TypeError, ValueError: ``model`` is no module, or ``towards`` is none of these.

    Example:
        >>> import torch
        >>> from lcat.nn import lambda_penalty, models
        >>> model = models.LCAT(8, 16, num_layers=2)
        >>> round(lambda_penalty(model).item(), 3)
        0.375
        >>> (0.1 * lambda_penalty(model, "gat")).backward()
    """
    terms = []
    prior = None if towards == "corners" else _prior(towards)
    for layer in lambda_layers(model).values():
        lambda1, lambda2 = layer.lambda1, layer.lambda2
        if prior is None:
            term = lambda1 * (1 - lambda1) + lambda1 * lambda2 * (1 - lambda2)
        else:
            term = (lambda1 - prior[0]).square() + prior[0] * (lambda2 - prior[1]).square()
        terms.append(term.mean())
    if not terms:
        return torch.zeros(())
    device = next((term.device for term in terms if term.requires_grad), terms[0].device)
    return torch.stack([term.to(device) for term in terms]).mean()


def _prior(towards: object) -> tuple[float, float]:
    if isinstance(towards, str):
        if towards not in _PRIORS:
            known = get_args(Pull)
            raise ValueError(
                f"'towards' is {towards!r}{hint(towards, known)}; it takes {', '.join(map(repr, known))}, or a pair "
                f"(lambda1, lambda2)"
            )
        return _PRIORS[towards]
    if not isinstance(towards, (tuple, list)) or len(towards) != 2:
        raise TypeError(f"expected 'towards' as a text or a pair (lambda1, lambda2), got {towards!r}")
    return read_lambda("towards[0]", towards[0]), read_lambda("towards[1]", towards[1])
