"""What a study leaves for people: ``report.html`` and its tables, and the plain files beside them.

The page is :mod:`lcat.study.report.page`, made from :mod:`lcat.study.report.data`; it loads matplotlib and jinja2,
which :mod:`lcat.study` alone does not.
"""

from __future__ import annotations

from lcat.study.report.files import write_study

__all__ = ["write_study"]
