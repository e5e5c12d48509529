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

from lcat.study import Study

LCAT = {"layers": ["lcat", "lcatv2"], "recipe": "tuned-gcn", "published": []}
NAMES = ("fixed-splits", "heterophilous", "filtered")
PARTS = (
    *(_paper.Part(f"tuned-{name}", f"tuned-{name}") for name in NAMES),
    *(_paper.Part(f"tuned-gcn-{name}", f"tuned-{name}", LCAT) for name in NAMES),
)


def beside_published(part: str, study: Study) -> list[dict[str, Any]]:
    """A row per data set and layer, in percent, with the published value where there is one."""
    published = {(one.dataset, one.layer): one for one in study.plan.published}
    rows = []
    for row in study.compare().summary.itertuples(index=False):
        ours, spread, runs = 100 * row.test, 100 * row.std, int(row.runs)
        entry = {"part": part, "recipe": study.plan.recipe, "dataset": row.dataset, "layer": row.layer}
        entry |= {"metric": row.metric, "runs": runs, "mean": ours, "std": spread}
        one = published.get((row.dataset, row.layer))
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
    studies, rows = {}, []
    for part in PARTS:
        study = _paper.run_part(part, options)
        if study is not None:
            studies[part.name] = study
            rows += beside_published(part.name, study)
    print(*rows, sep="\n")
    _paper.write(__file__, options, studies, {"rows": rows})


if __name__ == "__main__":
    main()
