"""Gradients of gradients: the naive implementation, differentiated twice, from what a fused pass was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lcat.graph import Graph, SortedEdges

__all__ = ["double_backward", "gradients_of", "graph_of"]


def graph_of(by_target: SortedEdges, num_sources: int) -> Graph:
    """The graph that was sorted, with its edges in their own order."""
    num_edges, num_targets = by_target.edge_ids.shape[0], by_target.indptr.shape[0] - 1
    slots = torch.arange(num_edges, device=by_target.edge_ids.device)
    edge_ids = by_target.edge_ids.long()
    # Slots beyond the last row are dead: they get the target num_targets.
    target = torch.searchsorted(by_target.indptr, slots, right=True) - 1
    return Graph(
        torch.empty_like(edge_ids).scatter(0, edge_ids, by_target.indices.long()),
        torch.empty_like(edge_ids).scatter(0, edge_ids, target),
        num_sources,
        num_targets,
        padded=True,
    )


def double_backward(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    grad: Tensor,
    cotangents: Sequence[Tensor | None],
    needs: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of a backward pass, by differentiating the naive implementation twice.

    Args:
        function: the naive implementation as a function of ``inputs``.
        inputs: the differentiable arguments of the forward pass; ``None`` where absent.
        grad: the gradient that the backward pass was given.
        cotangents: for each input, the gradient with respect to the gradient that the backward pass returned.
        needs: for ``grad`` and then each input, whether its gradient is needed.

    Returns:
        the gradients with respect to ``grad`` and each input.
    """
    create_graph = torch.is_grad_enabled()
    result: list[Tensor | None] = [None] * len(needs)
    with torch.enable_grad():
        outer = _variable(grad)
        variables = [None if x is None else _variable(x) for x in inputs]
        out = function(*variables)
        pairs = [(x, c) for x, c in zip(variables, cotangents, strict=True) if x is not None and c is not None]
        if not pairs:
            return result
        first = torch.autograd.grad(
            out, [x for x, _ in pairs], outer.to(out.dtype), create_graph=True, materialize_grads=True
        )
        differentiable = [(f, c) for f, (_, c) in zip(first, pairs, strict=True) if f.requires_grad]
        targets = [(i, x) for i, x in enumerate((outer, *variables)) if needs[i] and x is not None]
        if not differentiable or not targets:
            return result
        second = torch.autograd.grad(
            [f for f, _ in differentiable],
            [x for _, x in targets],
            [c.to(f.dtype) for f, c in differentiable],
            create_graph=create_graph,
            allow_unused=True,
        )
    for (i, _), gradient in zip(targets, second, strict=True):
        result[i] = gradient
    return result


def gradients_of(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    grad: Tensor,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """The gradients of a function of other differentiable functions, as differentiable as these are.

    Args:
        function: of ``inputs``.
        inputs: the arguments of the forward pass; ``None`` where absent.
        grad: the gradient of the result.
        needs: for each input, whether its gradient is needed.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        variables = [None if x is None else _variable(x) for x in inputs]
        out = function(*variables)
        wanted = [x for x, need in zip(variables, needs, strict=True) if need and x is not None]
        gradients = iter(
            torch.autograd.grad(out, wanted, grad.to(out.dtype), create_graph=create_graph, materialize_grads=True)
        )
    return tuple(next(gradients) if need and x is not None else None for x, need in zip(inputs, needs, strict=True))


def _variable(x: Tensor) -> Tensor:
    """An alias of ``x`` to differentiate by: arguments that are one tensor must stay apart."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
