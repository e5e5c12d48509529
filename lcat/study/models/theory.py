"""Attention with the scores that the theory of the contextual stochastic block model prescribes.

With ``w`` the direction between the two feature means, the score of "Graph Attention Retrospective" (Fountoulakis
et al., 2023) compares the signs of ``w.x_i`` and ``w.x_j``:

    score_ij = R (1, 1, -1, -1) . LeakyReLU(S (w.x_i, w.x_j)),   S = [[1, 1], [-1, -1], [1, -1], [-1, 1]]

It is large where both projections are large with one sign and small where the signs differ: an intra-class edge
detector. It is a GATv2 layer with fixed weights; CAT evaluates it on neighborhood averages, and L-CAT learns how
far to go either way. Trained attention may do better than these scores where they fail (it can learn to switch
itself off), so the two kinds of rows in a table answer different questions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lcat.nn import LCATv2Conv

__all__ = ["TheoryModel"]


class TheoryModel(nn.Module):
    """One L-CATv2 layer with closed-form scores and values; only lambda, a scale and an offset are learned.

    The value of a node is ``w.x_j`` with ``w = (1, ..., 1) / sqrt(F)``, the direction of the means in
    :func:`lcat.data.csbm`; the logit of class 1 against class 0 is ``scale * sum_j alpha_ij w.x_j + offset``.

    Args:
        in_channels: number of features ``F``.
        lambda1, lambda2: ``None`` learns, a float in [0, 1] fixes.
        temperature: ``R`` above.
        lambda1_init, lambda2_init: where learned ones start.

    Shapes:
        ``x`` ``[N, F]``, ``edge_index`` ``[2, E]``, output ``[N, 2]``.
    """

    def __init__(
        self,
        in_channels: int,
        lambda1: float | None,
        lambda2: float | None,
        temperature: float = 100.0,
        lambda1_init: float = 0.5,
        lambda2_init: float = 0.5,
    ) -> None:
        super().__init__()
        self.conv = LCATv2Conv(
            in_channels,
            4,
            lambda1=lambda1,
            lambda2=lambda2,
            lambda1_init=lambda1_init,
            lambda2_init=lambda2_init,
        )
        direction = torch.full((in_channels,), 1.0 / math.sqrt(in_channels))
        source = torch.tensor([1.0, -1.0, -1.0, 1.0])
        target = torch.tensor([1.0, -1.0, 1.0, -1.0])
        with torch.no_grad():
            for linear, signs in ((self.conv.lin_l, source), (self.conv.lin_r, target)):
                linear.weight.copy_(torch.outer(signs, direction))
                linear.bias.zero_()
            self.conv.att.copy_(temperature * torch.tensor([1.0, 1.0, -1.0, -1.0]).view(1, 1, 4))
        for name, parameter in self.conv.named_parameters():
            parameter.requires_grad_(name.startswith("raw_lambda"))
        self.scale = nn.Parameter(torch.tensor(10.0))
        self.offset = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        """Logits ``[N, 2]``."""
        mean = self.conv(x, edge_index)[:, 0]  # the first row of the source map is +w, so this is sum alpha w.x
        logit = self.scale * mean + self.offset
        return torch.stack([-logit / 2, logit / 2], dim=-1)
