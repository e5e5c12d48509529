"""The figures of a study, as PNG bytes: accuracy of every layer, and the ways of lambda1 and lambda2."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from lcat.study.models.layers import LAYERS
from lcat.study.store.result import CellResult
from lcat.study.store.summary import SummaryRow

__all__ = ["accuracy_figure", "lambda_figure"]

# Families keep one color in every figure; the palette of Okabe and Ito stays apart for color-blind readers.
_COLORS = {"gcn": "#5b5b5b", "gat": "#0072b2", "cat": "#d55e00", "lcat": "#009e73"}
_DEPTH_COLORS = ("#009e73", "#cc79a7", "#0072b2", "#e69f00", "#56b4e9", "#d55e00")
_METRIC_LABELS = {"accuracy": "test accuracy (%)", "roc-auc": "test ROC-AUC (%)"}


def accuracy_figure(rows: Sequence[SummaryRow]) -> bytes:
    """One panel a data set: mean test metric of every layer, bars of one standard deviation, numbers beside.

    Args:
        rows: of :func:`lcat.study.summarize`; layers without a finished run are left out.

    Returns:
        A PNG file.
    """
    datasets = list(dict.fromkeys(row.dataset for row in rows if row.runs))
    layers = [layer for layer in LAYERS if any(row.layer == layer and row.runs for row in rows)]
    columns = min(2, len(datasets))
    lines = math.ceil(len(datasets) / columns)
    figure = Figure(figsize=(1.2 + 5.2 * columns, lines * (1.3 + 0.3 * len(layers))), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes, dataset in zip(grid.flat, datasets, strict=False):
        _accuracy_panel(axes, dataset, [row for row in rows if row.dataset == dataset and row.runs], layers)
    for axes in grid.flat[len(datasets) :]:
        axes.set_visible(False)
    return _png(figure)


def _accuracy_panel(axes: Axes, dataset: str, rows: Sequence[SummaryRow], layers: Sequence[str]) -> None:
    texts = []
    for position, layer in enumerate(layers):
        row = next((row for row in rows if row.layer == layer), None)
        if row is None:
            texts.append("")
            continue
        std = 0.0 if math.isnan(row.test_std) else 100 * row.test_std
        theory = layer.endswith("-theory")
        axes.errorbar(
            100 * row.test,
            position,
            xerr=std,
            fmt="D" if theory else "o",
            markersize=6.5,
            markerfacecolor="white" if theory else _color(layer),
            color=_color(layer),
            capsize=3,
        )
        number = f"{100 * row.test:.1f}" + ("" if math.isnan(row.test_std) else f" ± {std:.1f}")
        texts.append(number)
        if row.best:
            axes.axhspan(position - 0.42, position + 0.42, color=_color(layer), alpha=0.12, linewidth=0)
    axes.set_title(dataset, fontsize=11, parse_math=False)  # a file's name may hold dollars
    axes.set_xlabel(_METRIC_LABELS[rows[0].metric])
    axes.set_yticks(range(len(layers)), layers)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.margins(x=0.08)
    axes.autoscale_view()
    low, _ = axes.get_xlim()
    # Near 100 % the free scale would show values that no metric has.
    if max(row.test for row in rows) > 0.985:
        axes.set_xlim(min(low, 95.0), 101.0)
    axes.grid(axis="x", color="0.88")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    numbers = axes.secondary_yaxis("right")
    numbers.set_yticks(range(len(layers)), texts)
    numbers.tick_params(axis="y", length=0)
    numbers.spines["right"].set_visible(False)


def lambda_figure(results: Sequence[CellResult]) -> bytes | None:
    """The ways of (lambda1, lambda2) over training, one panel a data set and L-CAT layer, one line a layer and run.

    An open circle is the start, a filled one the epoch whose weights were kept; both scales are logit. The left
    edge is the mean of GCN (lambda1 = 0, whatever lambda2), the lower right corner GAT, the upper right corner CAT.

    Args:
        results: of all cells; only finished ones whose layers learn lambda are drawn.

    Returns:
        A PNG file, or ``None`` if nothing learned a lambda.
    """
    panels: dict[tuple[str, str], list[CellResult]] = {}
    for result in results:
        if result.fit is not None and LAYERS[result.cell.layer].learns_lambda:
            panels.setdefault((result.cell.dataset, result.cell.layer), []).append(result)
    if not panels:
        return None
    layers = list(dict.fromkeys(layer for _, layer in panels))
    datasets = list(dict.fromkeys(dataset for dataset, _ in panels))
    # One row a data set and one column a layer; one data set alone lies flat as well.
    figure = Figure(figsize=(0.8 + 3.5 * len(layers), 0.5 + 3.4 * len(datasets)), layout="constrained")
    grid = figure.subplots(len(datasets), len(layers), squeeze=False)
    depth = 0
    for line, dataset in enumerate(datasets):
        for column, layer in enumerate(layers):
            axes = grid[line, column]
            runs = panels.get((dataset, layer))
            if runs is None:
                axes.set_visible(False)
                continue
            axes.set_title(f"{dataset}\n{layer}", fontsize=10, parse_math=False)
            depth = max(depth, _lambda_panel(axes, runs))
            axes.set_xlabel("λ1")
            axes.set_ylabel("λ2")
    handles = [Line2D([], [], color=_depth_color(i), label=f"layer {i + 1}") for i in range(depth)]
    handles += [
        Line2D([], [], color="0.3", marker="o", markerfacecolor="white", linestyle="", label="start"),
        Line2D([], [], color="0.3", marker="o", linestyle="", label="best epoch"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=9)
    return _png(figure)


def _lambda_panel(axes: Axes, runs: Sequence[CellResult]) -> int:
    depth = 0
    for result in runs:
        assert result.fit is not None
        for number, path in enumerate(result.fit.history.lambdas.values()):
            depth = max(depth, number + 1)
            color = _depth_color(number)
            clipped = [[min(max(value, 0.002), 0.998) for value in pair] for pair in path]
            first, second = zip(*clipped[: result.fit.best_epoch + 2], strict=True)
            axes.plot(first, second, color=color, linewidth=1.3, alpha=0.75)
            axes.plot(first[0], second[0], "o", color=color, markerfacecolor="white", markersize=6, zorder=3)
            axes.plot(first[-1], second[-1], "o", color=color, markersize=6, zorder=4, clip_on=False)
    # On dense graphs all that matters happens where lambda2 is near 1 / degree, and learned values settle near 0 or
    # 1: the logit scale keeps both ends apart where a linear one would draw everything into a corner.
    for name in ("x", "y"):
        axes.set(**{f"{name}scale": "logit", f"{name}lim": (0.0015, 0.9985)})
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([0.01, 0.1, 0.5, 0.9, 0.99], ["0.01", "0.1", "0.5", "0.9", "0.99"])
        axis.set_minor_locator(NullLocator())
    axes.set_box_aspect(1)
    axes.axvline(0.002, color=_COLORS["gcn"], linewidth=4, alpha=0.35, zorder=0)
    style: dict[str, Any] = {"fontsize": 10, "fontweight": "bold", "alpha": 0.55, "transform": axes.transAxes}
    axes.text(0.06, 0.5, "GCN", rotation=90, ha="left", va="center", color=_COLORS["gcn"], **style)
    axes.text(1.03, 0.02, "GAT", ha="left", va="bottom", color=_COLORS["gat"], **style)
    axes.text(1.03, 0.98, "CAT", ha="left", va="top", color=_COLORS["cat"], **style)
    return depth


def _color(layer: str) -> str:
    family = layer.split("-")[0].removesuffix("v2")
    return _COLORS[family]


def _depth_color(number: int) -> str:
    return _DEPTH_COLORS[number % len(_DEPTH_COLORS)]


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    # The canvas is named here, so that no display and no global pyplot state is ever involved.
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=150)
    return buffer.getvalue()
