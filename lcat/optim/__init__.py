"""lcat.optim: orthogonal optimizers."""

from __future__ import annotations

from lcat.optim.measure import orthogonality_error, orthogonalize_, project_
from lcat.optim.pogo import POGO

__all__ = ["POGO", "orthogonality_error", "orthogonalize_", "project_"]
