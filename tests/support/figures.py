"""Reports of tests: figures as PNG files alone, where nobody looks at the others."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def figure_formats():
    """Formats of the files in ``figures/``: fonts in PDF files take more time than all the rest of a small report.

    A module that looks at the files has a fixture of this name with all three.
    """
    return ("png",)


@pytest.fixture(scope="module", autouse=True)
def only_these_formats(figure_formats):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lcat.study.report.figures_files._FORMATS", figure_formats)
        yield
