"""What a study can be asked once it has results: compare, choose, regret, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lcat.study.analysis.choose import choose
from lcat.study.analysis.compare import Comparison, compare, robustness
from lcat.study.analysis.regret import regret

if TYPE_CHECKING:
    import pandas as pd

    from lcat.study.analysis.objectives import Objective

__all__ = ["Analysis"]


class Analysis:
    """Methods of :class:`lcat.study.Study` that work on its results; each reads them afresh from the store."""

    def results(self) -> pd.DataFrame:
        """One row a cell with a result."""
        raise NotImplementedError

    def compare(self, **options: Any) -> Comparison:
        """Means, intervals, paired tests and ranks; see :func:`lcat.study.compare`."""
        return compare(self.results(), **options)

    def robustness(self, *, level: float = 0.95) -> pd.DataFrame:
        """The metric under noise; see :func:`lcat.study.robustness`."""
        return robustness(self.results(), level=level)

    def choose(
        self,
        objectives: Sequence[str | Objective] = ("accuracy",),
        weights: Mapping[str, float] | None = None,
        p: float = 2.0,
        *,
        over_datasets: bool = False,
    ) -> pd.DataFrame:
        """A choice by COPA, without the test metric; see :func:`lcat.study.choose`."""
        return choose(self.results(), objectives, weights, p, over_datasets=over_datasets)

    def regret(self, **options: Any) -> pd.DataFrame:
        """What always taking L-CAT costs; see :func:`lcat.study.regret`."""
        return regret(self.results(), **options)

    def report(self, folder: str | Path | None = None) -> list[Path]:
        """Write ``report.html``, tables and figures, to the folder of the study by default.

        Returns:
            The paths written.

        Raises:
            lcat.study.OutputError: if the folder cannot be written.
        """
        from lcat.study.report import write_study
        from lcat.study.study import Study

        assert isinstance(self, Study)
        return write_study(self, folder)
