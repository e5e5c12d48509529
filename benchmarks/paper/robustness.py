"""Robustness: random edges, noise on the features, and the scale of the first weights, for every layer.

    python benchmarks/paper/robustness.py --data DIR
    python benchmarks/paper/robustness.py --quick

Noise is that of ``plans/robustness.toml``: random edges between nodes that have none, as a share of the edges of the
graph, and normal noise as a share of the standard deviation of the features; both in training and in testing. The
scale multiplies every weight matrix before training (``scaled.py``).
"""

from __future__ import annotations

from typing import Any

import _paper
import pandas as pd

KINDS = ("gcn", "gat", "gatv2", "cat", "catv2", "lcat", "lcatv2")
SCALES = [0.1, 0.3, 1.0, 3.0, 10.0]
SCALED = {
    "datasets": ["cora", "twitch-en"],
    "layers": ["../benchmarks/paper/scaled.py:Scaled"],  # from the folder of the plan
    "noise": {"edges": [], "features": []},
    "grid": {"kind": list(KINDS), "scale": SCALES},
}
PARTS = (_paper.Part("robustness", "robustness"), _paper.Part("scales", "robustness", SCALED))


def curves(frame: pd.DataFrame, what: str, layer: str, level: str) -> list[dict[str, Any]]:
    """A row per data set, layer and level: mean and standard deviation of the test metric, in percent."""
    rows = []
    for (dataset, name, value), group in frame.groupby(["dataset", layer, level], sort=False):
        scores = 100 * group["test"]
        row = {"what": what, "dataset": dataset, "layer": name, "level": value, "metric": group["metric"].iloc[0]}
        row |= {"runs": len(group), "mean": scores.mean(), "std": scores.std()}
        rows.append({key: _paper.plain(entry) for key, entry in row.items()})
    return rows


def main() -> None:
    """Run, print, write."""
    options = _paper.make_parser(__doc__).parse_args()
    studies = {part.name: study for part in PARTS if (study := _paper.run_part(part, options)) is not None}

    def conclude(content: dict[str, Any]) -> None:
        rows = []
        frame = _paper.of_part(content["runs"], "robustness")
        if len(frame):
            for kind in ("edges", "features"):
                rows += curves(frame[frame["noise"].isin(["none", kind])], kind, "layer", "noise_level")
        frame = _paper.of_part(content["runs"], "scales")
        if len(frame):
            rows += curves(frame, "scale", "hyper.kind", "hyper.scale")
        content["rows"] = rows
        print(*rows, sep="\n")

    _paper.write(__file__, options, studies, {"rows": []}, conclude)


if __name__ == "__main__":
    main()
