"""The scale of the targets of a regression: models learn targets of mean 0 and standard deviation 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ScaledOutputs", "TargetScale"]

# A smaller standard deviation, relative to the largest value, is rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class TargetScale:
    """The scale of targets.

    Attributes:
        mean, std: ``[T]``, of the training items; 1 as the standard deviation of a target that is constant there.

    Example:
        >>> import torch
        >>> from lcat.study.models.target_scale import TargetScale
        >>> scale = TargetScale.of(torch.tensor([[1.0, 5.0], [3.0, float("nan")]]))
        >>> (
        ...     scale.mean.tolist(),
        ...     scale.std.tolist(),
        ...     scale.scaled(torch.tensor([[2.0, 6.0]])).tolist(),
        ... )
        ([2.0, 5.0], [1.0, 1.0], [[0.0, 1.0]])
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, y: Tensor) -> TargetScale:
        """The scale of the training items.

        Args:
            y: their targets, ``[n]`` or ``[n, T]``, nan where unknown.

        Raises:
            ValueError: names a target of which none is known.
        """
        values = y.double().reshape(y.size(0), -1)
        unknown = values.isnan().all(dim=0)
        if bool(unknown.any()):
            number = int(unknown.nonzero()[0])
            raise ValueError(
                f"expected every target to be known for at least one training item, got none for target {number}: "
                "leave it out, or take another split"
            )
        mean = values.nanmean(dim=0)
        std = (values - mean).square().nanmean(dim=0).sqrt()
        largest = values.nan_to_num().abs().amax(dim=0)
        return cls(mean.float(), torch.where(std > _ROUNDING * largest, std, 1.0).float())

    def scaled(self, y: Tensor) -> Tensor:
        """Targets ``[n]`` or ``[n, T]`` as models learn them, ``[n, T]``."""
        scaled: Tensor = (y.reshape(y.size(0), -1) - self.mean.to(y.device)) / self.std.to(y.device)
        return scaled

    def unscaled(self, outputs: Tensor) -> Tensor:
        """Outputs ``[n, T]`` of a model in the units of the targets."""
        return outputs * self.std.to(outputs.device) + self.mean.to(outputs.device)


class ScaledOutputs(nn.Module):
    """A model of a regression whose outputs are in the units of the targets.

    Args:
        model: as it was trained.
        scale: of its targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, scale: TargetScale) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", scale.mean)
        self.register_buffer("std", scale.std)

    def use_edge_values(self, data: Any) -> None:
        """Take weights and features of edges from the graph, as models of nodes do."""
        model: Any = self.model
        model.use_edge_values(data)

    def forward(self, *inputs: Any) -> Tensor:
        """Numbers ``[n, T]``."""
        outputs: Tensor = self.model(*inputs)
        return outputs * self.std + self.mean
