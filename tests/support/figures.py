"""Reports of tests: without the files of figures, where nobody looks at them."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def figure_formats():
    """Formats of the files in ``figures/``: none, for they take more time than all the rest of a small report.

    A module that looks at the files has a fixture of this name, with the formats that it looks at.
    """
    return ()


@pytest.fixture(scope="module", autouse=True)
def only_these_formats(figure_formats):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lcat.study.report.figures_files._FORMATS", figure_formats)
        yield
