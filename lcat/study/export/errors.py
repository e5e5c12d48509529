"""What an export refuses."""

from __future__ import annotations

__all__ = ["ExportError"]


class ExportError(RuntimeError):
    """A study cannot be exported; one line says why and what to do."""
