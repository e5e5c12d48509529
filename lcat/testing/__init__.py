"""lcat.testing: contracts that third parties can run on their own layers and optimizers."""

from __future__ import annotations

from lcat.testing.layers import LayerContract
from lcat.testing.optimizers import OptimizerContract
from lcat.testing.orthogonal import OrthogonalContract

__all__ = ["LayerContract", "OptimizerContract", "OrthogonalContract"]
