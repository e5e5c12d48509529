"""A node's own features beside those of its neighbors, or mixed with them: GAT, GAT-sep, L-CAT and L-CAT-sep.

    python benchmarks/paper/separation.py --data DIR
    python benchmarks/paper/separation.py --quick

The settings are those of ``plans/separation.toml``, the same for all. For every data set and layer: both means, and
their paired difference over the ten masks with an interval of 95 % (a t test; the masks of a data set share nodes, so
that the true interval is wider).
"""

from __future__ import annotations

from typing import Any

import _paper
import pandas as pd

from lcat.study.statistics import corrected_t_test

PARTS = (_paper.Part("separation", "separation", {"grid": {"separate_self": [False, True]}}),)


def differences(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A row per data set and layer: mean without and with separation, in percent, and the paired difference."""
    rows = []
    for (dataset, layer), group in frame.groupby(["dataset", "layer"], sort=False):
        table = group.pivot_table(index="seed", columns="hyper.separate_self", values="test").dropna()
        if table.shape[1] < 2 or table.empty:
            continue
        mixed, apart = 100 * table[False], 100 * table[True]
        row = {"dataset": dataset, "layer": layer, "metric": group["metric"].iloc[0], "runs": len(table)}
        row |= {"mixed": mixed.mean(), "mixed_std": mixed.std(), "separate": apart.mean(), "separate_std": apart.std()}
        if len(table) > 2:
            test = corrected_t_test(apart, mixed, test_train_ratio=0.0)
            row |= {"difference": test.difference, "low": test.low, "high": test.high, "p_value": test.p_value}
        rows.append({name: _paper.plain(value) for name, value in row.items()})
    return rows


def main() -> None:
    """Run, print, write."""
    options = _paper.make_parser(__doc__).parse_args()
    studies = {part.name: study for part in PARTS if (study := _paper.run_part(part, options)) is not None}

    def conclude(content: dict[str, Any]) -> None:
        content["rows"] = differences(pd.DataFrame(content["runs"])) if content["runs"] else []
        print(*content["rows"], sep="\n")

    _paper.write(__file__, options, studies, {"rows": []}, conclude)


if __name__ == "__main__":
    main()
