"""The question of the paper: does always taking L-CAT do as well as cross-validating GCN, GAT and CAT?

    python benchmarks/paper/question.py --data DIR                      # all; JSON in benchmarks/results
    python benchmarks/paper/question.py --datasets cora --layers gcn gat --seeds 0
    python benchmarks/paper/question.py --quick

Every layer has the same small search (``plans/question.toml``). For each run, the candidates' best on validation
nodes stands beside L-CAT's; the verdict is that of two one-sided tests within one point (``lcat.study.regret``). Over
all data sets: the mean regret of each, its 90 % interval over data sets, and whether that lies within one point.
"""

from __future__ import annotations

import math
from typing import Any

import _paper
import numpy as np
import pandas as pd
from scipy import stats

PARTS = (_paper.Part("question", "question"),)
_SUMMARY = (
    "dataset",
    "layer",
    "metric",
    "runs",
    "test",
    "std",
    "low",
    "high",
    "validation",
    "total_seconds",
    "parameters",
)


def overall(frame: pd.DataFrame, margin: float) -> list[dict[str, Any]]:
    """Mean regret over data sets by question, with a t interval of 90 %, that of two one-sided tests at 5 %."""
    rows = []
    for question, group in frame.groupby("question", sort=False):
        values = group["regret"].to_numpy()
        low = high = math.nan
        if len(values) > 1:
            half = stats.t.ppf(0.95, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
            low, high = values.mean() - half, values.mean() + half
        verdict = "equivalent" if -margin < low and high < margin else "better" if high < 0 else "undecided"
        verdict = "worse" if low > 0 and verdict == "undecided" else verdict
        row = {"question": question, "datasets": len(values), "regret": float(values.mean()), "low": low, "high": high}
        row |= {"verdict": verdict, "by_verdict": group["verdict"].value_counts().to_dict()}
        rows.append(row)
    return rows


def main() -> None:
    """Run, print, write."""
    options = _paper.make_parser(__doc__).parse_args()
    _paper.only_whole_data_sets(options)
    studies = {part.name: study for part in PARTS if (study := _paper.run_part(part, options)) is not None}
    report: dict[str, Any] = {"margin": None, "summary": [], "regret": [], "overall": []}
    for study in studies.values():
        comparison, regret = study.compare(), study.regret()
        report["margin"] = study.plan.margin_or_default
        report["summary"] += _paper.rows_of(comparison.summary, _SUMMARY)
        report["regret"] += _paper.rows_of(regret)
        print(comparison.summary[["dataset", "layer", "runs", "test", "std"]].to_string())
        print(regret[["dataset", "question", "regret", "low", "high", "verdict", "picked"]].to_string())

    def conclude(content: dict[str, Any]) -> None:
        rows = overall(pd.DataFrame(content["regret"]), content["margin"]) if content["regret"] else []
        content["overall"] = [{name: _paper.plain(value) for name, value in row.items()} for row in rows]
        print(*content["overall"], sep="\n")

    _paper.write(__file__, options, studies, report, conclude)


if __name__ == "__main__":
    main()
