"""A finished study in the forms of other tools, from its store alone."""

from __future__ import annotations

from lcat.study.export.errors import ExportError
from lcat.study.export.export import EXPORTS, ExportName, export_study

__all__ = ["EXPORTS", "ExportError", "ExportName", "export_study"]
