"""Numbers of README and pages that come from results files of the benchmarks: what each sentence must say.

    python docs/figures/claims.py            # sentences that differ from the committed results
    python docs/figures/claims.py --write    # put the numbers of the results in

A claim is a sentence, or a row of a table, of a page, with ``{}`` in place of each number. A test fails while a page
says anything else than the results.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


@cache
def results(name: str) -> Any:
    """A results file."""
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


class Claim(NamedTuple):
    """A sentence of a page and the numbers in it.

    Attributes:
        page: path from the root of the repository.
        sentence: with ``{}`` for each number, or word such as a verdict; line breaks are spaces.
        numbers: makes them, as they are printed.
    """

    page: str
    sentence: str
    numbers: Callable[[], Sequence[str]]

    def text(self) -> str:
        """The sentence as the results have it."""
        return self.sentence.format(*self.numbers())

    def pattern(self) -> re.Pattern[str]:
        """Finds the sentence with any numbers."""
        parts = [re.escape(part).replace(r"\ ", r"\s+") for part in self.sentence.split("{}")]
        return re.compile(r"(-?[\d.,]+|[a-z]+)".join(parts))


def _summary(file: str, what: str) -> float:
    [entry] = [entry for entry in results(file)["summary"] if entry["what"] == what]
    return float(entry.get("value", entry.get("ratio")))


def _ratios(file: str, digits: int, *whats: str) -> Callable[[], list[str]]:
    return lambda: [f"{_summary(file, what):.{digits}f}" for what in whats]


def _range(file: str, key: str, digits: int, *, allocator: str | None = None, **facts: Any) -> list[str]:
    """Smallest and largest value of the rows with these facts."""
    rows = [row for row in results(file)["rows"] if allocator in (None, row["allocator"])]
    values = [row[key] for row in rows if all(row[name] == fact for name, fact in facts.items())]
    return [f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"]


def _transformer(edge_width: int) -> list[str]:
    facts = {"features per edge": edge_width}
    speeds = [_range("transformer", "speed", 1, allocator=mode, **facts) for mode in ("default", "keep")]
    return [*speeds[0], *speeds[1], *_range("transformer", "memory", 2, **facts)]


def _small(way: str) -> list[str]:
    pairs = ("PyG GCNConv / GCNConv", "PyG GATConv / GATConv", "PyG GATv2Conv / GATv2Conv")
    return _ratios("small_graphs", 2, *(f"{pair}, {way}, least of at most 3000 nodes" for pair in pairs))()


def _slower() -> list[str]:
    """How many times as long CAT and L-CAT take as the layer of PyG that they replace, at most."""
    pairs = ("PyG GATConv / CATConv", "PyG GATConv / LCATConv", "PyG GATv2Conv / LCATv2Conv")
    ratios = [_summary("small_graphs", f"{pair}, forward and backward, least of at most 3000 nodes") for pair in pairs]
    return [f"{1 / min(ratios):.1f}"]


def _accelerated() -> list[str]:
    """The smallest ratio of a row, and the geometric mean of all rows, by allocator mode."""
    *rows, mean = results("accelerate")["summary"]
    smallest = min(row["value"] for row in rows)
    return [f"{mean['modes']['default']:.1f}", f"{mean['modes']['keep']:.1f}", f"{smallest:.2f}"]


def _epochs(dataset: str, digits: int = 1, file: str = "epochs") -> list[str]:
    return _ratios(file, digits, *(f"{dataset}: PyG {name} / {name}" for name in ("GCN", "GAT", "GATv2")))()


def _least_and_most(dataset: str, file: str = "epochs") -> list[str]:
    values = sorted(float(text) for text in _epochs(dataset, 6, file))
    return [f"{values[0]:.1f}", f"{values[-1]:.1f}"]


def _products() -> list[str]:
    return [f"{results('products_scale')['peak GiB of the process']:.1f}"]


def _theory(layers: Sequence[str]) -> list[str]:
    """The largest distance to the best trained layer, in points, over the graphs of the theory."""
    scores = {(row["dataset"], row["layer"]): 100 * row["test"] for row in results("paper_theory")["rows"]}
    datasets = {dataset for dataset, _ in scores}
    best = {name: max(scores[name, layer] for layer in layers) for name in datasets}
    return [f"{max(best[name] - scores[name, layer] for name in datasets):.1f}" for layer in layers]


def _question() -> list[str]:
    """How far always taking L-CAT is behind cross-validation, in points, and the verdict over the data sets."""
    [row] = [row for row in results("paper_question")["overall"] if row["question"] == "v1"]
    points = [f"{100 * row[key]:.1f}" for key in ("regret", "low", "high")]
    return [str(row["datasets"]), *points, row["verdict"]]


def _below_published(*cells: tuple[str, str]) -> list[str]:
    """How many published standard deviations the mean of a layer is below the published one."""
    rows = results("paper_strong_recipe")["rows"]
    by_cell = {(row["dataset"], row["layer"]): row for row in rows if row["recipe"] == "tuned"}
    rows = [by_cell[cell] for cell in cells]
    return [f"{(row['published'] - row['mean']) / row['published_std']:.1f}" for row in rows]


_KERNELS = {
    "time of PyG's GCNConv / ours": ("PyG GCNConv / GCNConv", 1),
    "time of PyG's GATConv / ours": ("PyG GATConv / GATConv", 1),
    "time of PyG's GATv2Conv / ours": ("PyG GATv2Conv / GATv2Conv", 1),
    "time of LCATConv / our GATConv": ("LCATConv / GATConv", 2),
    "time of LCATv2Conv / our GATv2Conv": ("LCATv2Conv / GATv2Conv", 2),
    "time of PyG's GCNConv / our LCATConv": ("PyG GCNConv / LCATConv", 1),
    "peak memory of PyG's GATv2Conv / ours, 8 heads of 64, the smaller graph": (
        "peak memory, PyG / ours, GATv2Conv, 8 x 64, small",
        1,
    ),
}
_PAGE = "docs/kernels.md"

CLAIMS = [
    *(Claim(_PAGE, f"| {row} | {{}} |", _ratios("kernels", digits, what)) for row, (what, digits) in _KERNELS.items()),
    Claim(
        _PAGE,
        "PyG's GCNConv, GATConv and GATv2Conv take {}, {} and {} times as long as ours in that mode",
        _ratios("kernels_avx2", 1, *(what for what, _ in list(_KERNELS.values())[:3])),
    ),
    Claim(
        _PAGE,
        "PyG's GCNConv, GATConv and GATv2Conv take at least {}, {} and {} times as long as ours, forward and backward",
        lambda: _small("forward and backward"),
    ),
    Claim(_PAGE, "and {}, {} and {} times in inference", lambda: _small("inference")),
    Claim(_PAGE, "they take up to {} times as long as the PyG layer that they replace", _slower),
    Claim("README.md", "L-CAT takes up to {} times as long as the PyG layer that it replaces", _slower),
    Claim(
        "docs/accelerate.md",
        "an epoch takes {} times as long before as after in the first mode, and {} times in the second one; the "
        "smallest ratio of a row is {}",
        _accelerated,
    ),
    Claim(
        "README.md",
        "| epochs of 23 PyG models without `lcat.accelerate`: mean in each memory mode, least of all | {}, {}, {} |",
        _accelerated,
    ),
    Claim(_PAGE, "PyG's GCN, GAT and GATv2 take {}, {} and {} times as long on Cora", lambda: _epochs("cora")),
    Claim(_PAGE, "{}, {} and {} times as long on Coauthor CS", lambda: _epochs("cs")),
    Claim(
        _PAGE,
        "{} to {} times as long where features stay the same, and {} to {} times as long where they are new",
        lambda: [
            text for key in ("dense over kept", "dense over new") for text in _range("sparse_features", key, digits=1)
        ],
    ),
    Claim(
        _PAGE,
        "{} to {} times on Photo, {} to {} times on Computers, and {} to {} times on Tolokers",
        lambda: [text for name in ("photo", "computers", "tolokers") for text in _least_and_most(name)],
    ),
    Claim(
        _PAGE,
        "in the less favorable mode {} to {} times as long on Cora, {} to {} times on Photo, {} to {} times on "
        "Computers, {} to {} times on Tolokers and {} to {} times on Coauthor CS",
        lambda: [
            text
            for name in ("cora", "photo", "computers", "tolokers", "cs")
            for text in _least_and_most(name, "epochs_avx2")
        ],
    ),
    Claim(
        _PAGE,
        "| `TransformerConv`, 8 heads of 16 to 64 | {} to {} | {} to {} | {} to {} |",
        lambda: _transformer(0),
    ),
    Claim(
        _PAGE, "| `TransformerConv`, 16 features per edge | {} to {} | {} to {} | {} to {} |", lambda: _transformer(16)
    ),
    Claim(_PAGE, "{} GiB at peak", _products),
    Claim(
        "README.md",
        "| PyG's GCN, GAT and GATv2 layers take this many times as long | {}, {}, {} |",
        _ratios("kernels", 1, *(what for what, _ in list(_KERNELS.values())[:3])),
    ),
    Claim(
        "README.md",
        "| PyG's GATv2 layer needs this many times the memory | {} |",
        _ratios("kernels", 1, "peak memory, PyG / ours, GATv2Conv, 8 x 64, small"),
    ),
    Claim(
        "README.md",
        "| an L-CAT layer takes this many times as long as our GAT | {} |",
        _ratios("kernels", 2, "LCATConv / GATConv"),
    ),
    Claim(
        "README.md",
        "| on graphs of at most 2,708 nodes, PyG's layers take at least this many times as long | {}, {}, {} |",
        lambda: _small("forward and backward"),
    ),
    Claim("README.md", "| whole epochs on Cora: PyG's models | {}, {}, {} |", lambda: _epochs("cora")),
    Claim("README.md", "| whole epochs on Coauthor CS: PyG's models | {}, {}, {} |", lambda: _epochs("cs")),
    Claim("README.md", "| whole epochs on Tolokers: PyG's models | {}, {}, {} |", lambda: _epochs("tolokers")),
    Claim(
        "README.md",
        "| PyG's `TransformerConv` takes this many times as long, by size and memory mode | {} to {} |",
        lambda: _range("transformer", "speed", 1),
    ),
    Claim(
        "README.md",
        "| always taking L-CAT, GAT, CAT or GCN: most points of accuracy behind the best of them | {}, {}, {}, {} |",
        lambda: _theory(("lcat", "gat", "cat", "gcn")),
    ),
    Claim(
        "README.md",
        "On {} real graphs so far, always taking L-CAT is {} points of accuracy behind cross-validating GCN, GAT and "
        "CAT on average (90 % interval from {} to {}): {} within one point.",
        _question,
    ),
    Claim(
        "docs/results.md",
        "GAT on Computers is {}, GCN on Minesweeper {} and GCN on CS {} below the published mean.",
        lambda: _below_published(("computers", "gat"), ("minesweeper", "gcn"), ("cs", "gcn")),
    ),
    Claim("README.md", "| full-batch training of L-CAT on a graph as large as ogbn-products | {} GiB |", _products),
]


def main() -> None:
    """Name the sentences that differ, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the numbers of the results in")
    options = parser.parse_args()
    wrong = 0
    for claim in CLAIMS:
        path = ROOT / claim.page
        text = path.read_text(encoding="utf-8")
        match = claim.pattern().search(text)
        if match is None:
            wrong += 1
            print(f"{claim.page} lacks: {claim.text()}")
        elif list(match.groups()) != list(claim.numbers()):
            print(f"{claim.page}: {claim.text()}")
            if options.write:
                numbers = iter(claim.numbers())
                spans = [match.span(number + 1) for number in range(len(match.groups()))]
                for (start, end), number in reversed(list(zip(spans, numbers, strict=True))):
                    text = text[:start] + number + text[end:]
                path.write_text(text, encoding="utf-8")
            else:
                wrong += 1
    if wrong:
        sys.exit(f"{wrong} sentences are not those of the results; --write puts the numbers in")


if __name__ == "__main__":
    main()
