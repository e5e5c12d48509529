"""Where L-CAT's scalars start and how fast they learn: one choice for all data sets, by validation alone.

    python benchmarks/paper/scalars.py --data DIR
    python benchmarks/paper/scalars.py --quick

For every data set, layer and setting of ``plans/scalars.toml``: the mean validation metric over seeds. A setting's
loss on a data set is how far it is behind the best setting there, and the setting with the smallest mean loss over
data sets and layers is chosen. Test nodes enter nothing.
"""

from __future__ import annotations

from typing import Any

import _paper
import pandas as pd

PARTS = (_paper.Part("scalars", "scalars"),)
SETTINGS = ["hyper.lambda1_init", "hyper.lambda2_init", "hyper.scalar_lr"]


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """Mean loss of each setting over the data sets and layers that have all settings, best first."""
    means = frame.groupby(["dataset", "layer", *SETTINGS], sort=False)["validation"].mean().reset_index()
    settings = len(means[SETTINGS].drop_duplicates())
    groups = means.groupby(["dataset", "layer"])["validation"]
    means = means[groups.transform("size") == settings]
    means["loss"] = means.groupby(["dataset", "layer"])["validation"].transform("max") - means["validation"]
    table = means.groupby(SETTINGS)["loss"].agg(["mean", "max"]).reset_index()
    table = table.rename(columns={"mean": "mean_loss", "max": "max_loss"})
    return table.sort_values("mean_loss").reset_index(drop=True)


def main() -> None:
    """Run, print, write."""
    options = _paper.make_parser(__doc__).parse_args()
    studies = {part.name: study for part in PARTS if (study := _paper.run_part(part, options)) is not None}

    def conclude(content: dict[str, Any]) -> None:
        table = losses(pd.DataFrame(content["runs"])) if content["runs"] else pd.DataFrame()
        content["settings"] = _paper.rows_of(table)
        print(table.to_string())

    _paper.write(__file__, options, studies, {"settings": []}, conclude)


if __name__ == "__main__":
    main()
