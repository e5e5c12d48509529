"""What tests of studies share."""

from __future__ import annotations

from tests.support.figures import figure_formats, only_these_formats

__all__ = ["figure_formats", "only_these_formats"]
