"""Plain layers with a strong recipe: tunedGNN's settings for GCN, GraphSAGE and GAT, and L-CAT beside them.

    python benchmarks/paper/strong_recipe.py --data DIR
    python benchmarks/paper/strong_recipe.py --datasets photo --layers gat lcat --seeds 0-2
    python benchmarks/paper/strong_recipe.py --quick

L-CAT and L-CATv2 run twice, with the settings that were tuned for GAT and with those that were tuned for GCN. Beside
our mean stands the published one and the difference in standard errors of both.
"""

from __future__ import annotations

import math
from typing import Any

import _paper
import pandas as pd

from lcat.study import StudyPlan

LCAT = {"layers": ["lcat", "lcatv2"], "recipe": "tuned-gcn", "published": []}
NAMES = ("fixed-splits", "heterophilous", "filtered")
PARTS = (
    *(_paper.Part(f"tuned-{name}", f"tuned-{name}") for name in NAMES),
    *(_paper.Part(f"tuned-gcn-{name}", f"tuned-{name}", LCAT) for name in NAMES),
)


def beside_published(part: str, frame: pd.DataFrame, plan: StudyPlan) -> list[dict[str, Any]]:
    """A row per data set and layer, in percent, with the published value where there is one."""
    published = {(one.dataset, one.layer): one for one in plan.published}
    rows = []
    for (dataset, layer), group in frame.groupby(["dataset", "layer"], sort=False):
        ours, spread, runs = 100 * group["test"].mean(), 100 * group["test"].std(), len(group)
        entry = {"part": part, "recipe": plan.recipe, "dataset": dataset, "layer": layer}
        entry |= {"metric": group["metric"].iloc[0], "runs": runs, "mean": ours, "std": spread}
        one = published.get((dataset, layer))
        if one is not None:
            entry |= {"published": one.mean, "published_std": one.std, "published_runs": one.runs}
            if one.std is not None and one.runs and runs > 1:
                error = math.sqrt(spread**2 / runs + one.std**2 / one.runs)
                entry["standard_errors"] = (ours - one.mean) / error if error > 0 else math.nan
        rows.append({name: _paper.plain(value) for name, value in entry.items()})
    return rows


def main() -> None:
    """Run, print, write."""
    options = _paper.make_parser(__doc__).parse_args()
    studies = {part.name: study for part in PARTS if (study := _paper.run_part(part, options)) is not None}

    def conclude(content: dict[str, Any]) -> None:
        rows = []
        for part in PARTS:
            frame = _paper.of_part(content["runs"], part.name)
            if len(frame):
                rows += beside_published(part.name, frame, _paper.plan_of(part))
        content["rows"] = rows
        print(*rows, sep="\n")

    _paper.write(__file__, options, studies, {"rows": []}, conclude)


if __name__ == "__main__":
    main()
