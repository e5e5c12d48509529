"""lcat.testing: contracts that third parties can run on their own optimizers."""

from __future__ import annotations

from lcat.testing.optimizers import OptimizerContract
from lcat.testing.orthogonal import OrthogonalContract

__all__ = ["OptimizerContract", "OrthogonalContract"]
