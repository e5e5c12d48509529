"""Figures of training and choice: lambdas, learning curves, robustness, Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from lcat._measures import sign_of
from lcat.study.report.palette import PAGE, Palette
from lcat.study.report.svg import Margins, Picture, panel, svg
from lcat.study.report.table import seconds_text
from lcat.study.report.unit import Unit, metric_name, unit_of
from lcat.study.store.result import CellResult

__all__ = [
    "TRIANGLE_MARGINS",
    "curves_picture",
    "draw_triangle",
    "pareto_picture",
    "path_picture",
    "robustness_picture",
    "triangle_picture",
]

_CORNERS = ((0.0, 0.0, "GCN", "λ₁ = 0"), (1.0, -1.0, "GAT", "λ₂ = 0"), (1.0, 1.0, "CAT", "λ₂ = 1"))
_NOISE = {"edges": "share of random edges added", "features": "noise on features, in standard deviations"}
#: Points of a curve on the page; more cannot be seen.
_POINTS = 120


#: Of the panel that :func:`draw_triangle` fills.
TRIANGLE_MARGINS = Margins(250, left=46, right=46, top=26, bottom=30)


def draw_triangle(axes: Axes, ends: pd.DataFrame, runs: Sequence[CellResult], palette: Palette = PAGE) -> None:
    """Where the layers of L-CAT models are between GCN, GAT and CAT at the best epoch, and the ways of some runs to it.

    Args:
        axes: to draw on.
        ends: rows of the lambda frame for one data set.
        runs: results with curves of the layers that learn lambda.
        palette: colors.
    """
    axes.axis("off")
    axes.set_xlim(0, 1)
    axes.set_ylim(-1, 1)
    corners = np.array([[0, 0], [1, -1], [1, 1], [0, 0]])
    axes.fill(corners[:, 0], corners[:, 1], color=palette["band"], linewidth=0)
    for share in (0.25, 0.5, 0.75):
        axes.plot([share, share], [-share, share], color=palette["rule"], linewidth=0.8)
        axes.plot([0, 1], [0, 2 * share - 1], color=palette["rule"], linewidth=0.8)
    axes.plot(corners[:, 0], corners[:, 1], color=palette["muted"], linewidth=1)
    for result in runs:
        if result.fit is None:
            continue
        for depth, path in enumerate(result.fit.history.lambdas.values()):
            points = _thin(np.asarray(path, dtype=float)[: result.fit.best_epoch + 2])
            axes.plot(*_in_triangle(points[:, 0], points[:, 1]), color=palette.depth(depth), linewidth=0.9, alpha=0.45)
    for (layer, depth), rows in ends.groupby(["layer", "depth"], sort=False):
        mark, color = palette.mark(str(layer)), palette.depth(int(depth) - 1)
        axes.plot(
            *_in_triangle(rows["lambda1"].to_numpy(float), rows["lambda2"].to_numpy(float)), mark.shape,
            color=color, markerfacecolor=color if mark.filled else palette["paper"], markeredgecolor=palette["paper"],
            markeredgewidth=0.7, markersize=7, clip_on=False, zorder=4,
        )  # fmt: skip
    for corner in _CORNERS:
        _name_corner(axes, *corner, color=palette["muted"])
    style: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 10, "color": palette["muted"]}
    axes.text(0.5, -1.1, "λ₁: strength of the scores →", **style)


def triangle_picture(number: int, dataset: str, ends: pd.DataFrame, runs: Sequence[CellResult]) -> Picture:
    """The lambdas of one data set, see :func:`draw_triangle`.

    Args:
        number: of the picture on the page.
        dataset: its name.
        ends: rows of the lambda frame for the data set.
        runs: results with curves of the layers that learn lambda.
    """
    figure, axes = panel(TRIANGLE_MARGINS)
    draw_triangle(axes, ends, runs)
    means = [
        f"{layer} layer {depth}: λ₁ {rows['lambda1'].mean():.2f}, λ₂ {rows['lambda2'].mean():.2f}"
        for (layer, depth), rows in ends.groupby(["layer", "depth"], sort=False)
    ]
    caption = f"Means at the best epoch: {'; '.join(means)}."
    name = f"triangle-{number}"
    return Picture(name, dataset, caption, svg(figure, name, f"{dataset}. {caption}"))


def _name_corner(axes: Axes, x: float, y: float, name: str, what: str, *, color: str) -> None:
    style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "annotation_clip": False}
    style["ha"], shift = ("right", -7) if x == 0 else ("left", 7)
    axes.annotate(name, (x, y), (shift, 2), fontsize=11, fontweight="bold", **style)
    axes.annotate(what, (x, y), (shift, -10), fontsize=10, color=color, **style)


def _in_triangle(lambda1: np.ndarray, lambda2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """lambda1 = 0 is one point, for lambda2 has no effect there."""
    return lambda1, lambda1 * (2 * lambda2 - 1)


def path_picture(number: int, dataset: str, layer: str, runs: Sequence[CellResult]) -> Picture:
    """lambda1 and lambda2 of every layer of a model over the epochs, the mean over some runs, with their best epoch."""
    figure, axes = panel(Margins(190, left=40, right=14, top=10, bottom=38))
    paths = _common([list(result.fit.history.lambdas.values()) for result in runs if result.fit is not None])
    for depth, path in enumerate(paths):
        epochs = _thin(np.arange(len(path)))
        points = _thin(path)
        axes.plot(epochs, points[:, 0], color=PAGE.depth(depth), linewidth=1.9)
        axes.plot(epochs, points[:, 1], color=PAGE.depth(depth), linewidth=1.6, linestyle=(0, (4, 2)))
    axes.set_ylim(-0.03, 1.03)
    axes.set_yticks([0, 0.5, 1])
    axes.set_xlabel("epoch")
    axes.margins(x=0.01)
    axes.locator_params(axis="x", nbins=6, integer=True)
    axes.grid(axis="y", color=PAGE["rule"], linewidth=0.7)
    for epoch in {result.fit.best_epoch for result in runs if result.fit is not None}:
        # The values after epoch e are entry e + 1: the first entry is the start.
        axes.plot(epoch + 1, -0.03, "^", color=PAGE["ink"], markersize=5, clip_on=False, zorder=4)
    best = [_at_best(runs, depth) for depth in range(len(paths))]
    moves = "; ".join(
        f"layer {depth + 1}: "
        + ", ".join(
            f"{name} {path[0, i]:.2f} → {best[depth][i]:.2f} → {path[-1, i]:.2f}" for i, name in enumerate(("λ₁", "λ₂"))
        )
        for depth, path in enumerate(paths)
    )
    over = f"mean of {len(runs)} runs" if len(runs) > 1 else "one run"
    caption = (
        f"Solid λ₁, dashed λ₂, {over}; triangles below mark the best epoch{'s' if len(runs) > 1 else ''}. "
        f"Start → best epoch → last epoch: {moves}."
    )
    name = f"path-{number}"
    return Picture(name, f"{dataset} · {layer}", caption, svg(figure, name, f"{dataset}, {layer}. {caption}"))


def _at_best(runs: Sequence[CellResult], depth: int) -> np.ndarray:
    """Mean lambdas of one layer of the model at the best epochs, which tables and the triangle show."""
    pairs = [list(result.fit.lambdas.values())[depth] for result in runs if result.fit is not None]
    mean: np.ndarray = np.mean(pairs, axis=0)
    return mean


def _common(runs: Sequence[Sequence[Sequence[Sequence[float]]]]) -> list[np.ndarray]:
    """Mean over runs for every layer of the model, while at least half of the runs were still training."""
    depth = min(len(paths) for paths in runs)
    return [_mean_path([np.asarray(paths[layer], dtype=float) for paths in runs]) for layer in range(depth)]


def _mean_path(paths: Sequence[np.ndarray]) -> np.ndarray:
    """Shorter paths keep their last value; the mean ends where half of them have."""
    length = int(np.median([len(path) for path in paths]))
    held = [path[np.minimum(np.arange(length), len(path) - 1)] for path in paths]
    mean: np.ndarray = np.mean(held, axis=0)
    return mean


def _thin(values: np.ndarray) -> np.ndarray:
    if len(values) <= _POINTS:
        return values
    positions = np.unique(np.linspace(0, len(values) - 1, _POINTS).round().astype(int))
    thinned: np.ndarray = values[positions]
    return thinned


def curves_picture(number: int, dataset: str, runs: Sequence[CellResult]) -> Picture:
    """The validation metric over epochs, the mean over some runs of every layer."""
    figure, axes = panel(Margins(215, left=56, right=12, top=10, bottom=38))
    layers = list(dict.fromkeys(result.cell.layer for result in runs))
    finals, highs, lows = {}, [], []
    unit, sign = unit_of([runs[0].metric]), sign_of(runs[0].metric)
    for layer in layers:
        fits = [result.fit for result in runs if result.cell.layer == layer and result.fit is not None]
        curve = unit.factor * _mean_path([np.asarray(fit.history.val, dtype=float) for fit in fits])
        best_epoch = int((sign * curve).argmax())
        finals[layer] = (float(curve[best_epoch]), best_epoch)
        # The first epochs are far from all others, and the end of the axis that is worse leaves them out.
        highs.append(curve.max() if sign > 0 else np.quantile(curve, 0.9))
        lows.append(np.quantile(curve, 0.1) if sign > 0 else curve.min())
        mark = PAGE.mark(layer)
        axes.plot(_thin(np.arange(len(curve))), _thin(curve), color=mark.color, linestyle=mark.line, linewidth=1.5)
    room = max(max(highs) - min(lows), 2.0 * unit.narrowest, 1e-3 * abs(max(highs)))
    bottom = max(min(min(lows), max(highs) - room) - 0.15 * room, unit.low)
    axes.set_ylim(bottom, min(max(highs) + 0.08 * room, unit.high + 1))
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit.axis(f"validation {metric_name(runs[0].metric)}"))
    axes.margins(x=0.01)
    axes.locator_params(axis="x", nbins=6, integer=True)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y", color=PAGE["rule"], linewidth=0.7)
    best = max(finals, key=lambda layer: sign * finals[layer][0])
    value = unit.value(finals[best][0] / unit.factor) + (" %" if unit.is_percent else "")
    caption = f"{'Highest' if sign > 0 else 'Lowest'} mean: {best}, {value} at epoch {finals[best][1]}."
    name = f"curves-{number}"
    return Picture(name, dataset, caption, svg(figure, name, f"{dataset}. {caption}"))


def robustness_picture(number: int, dataset: str, noise: str, rows: pd.DataFrame, metric: str) -> Picture:
    """The test metric at every level of one kind of noise."""
    figure, axes = panel(Margins(215, left=56, right=12, top=10, bottom=38))
    losses = {}
    unit = unit_of([metric])
    for layer, line in rows.groupby("layer", sort=False):
        line, mark = line.sort_values("noise_level"), PAGE.mark(str(layer))
        levels = line["noise_level"].to_numpy(float)
        axes.plot(levels, unit.factor * line["test"], color=mark.color, linestyle=mark.line, linewidth=1.5, zorder=3)
        axes.plot(levels, unit.factor * line["test"], mark.shape, color=mark.color, markersize=4.5, zorder=4,
                  markerfacecolor=PAGE.face(mark))  # fmt: skip
        if len(line) == rows["noise_level"].nunique():  # others did not get to the end
            losses[str(layer)] = sign_of(metric) * float(line["test"].iloc[0] - line["test"].iloc[-1])
    axes.set_xlabel(_NOISE.get(noise, noise))
    axes.set_ylabel(unit.axis(f"test {metric_name(metric)}"))
    axes.locator_params(axis="y", nbins=5)
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="y", color=PAGE["rule"], linewidth=0.7)
    caption = "No layer finished at all levels."
    if losses:
        lowest, highest = min(losses, key=lambda k: losses[k]), max(losses, key=lambda k: losses[k])
        caption = (
            f"From the lowest to the highest level {lowest} loses the least, {_loss(losses[lowest], unit)}"
            f"{unit.points}, and {highest} the most, {_loss(losses[highest], unit)}."
        )
    name = f"robustness-{number}"
    return Picture(name, f"{dataset} · {noise}", caption, svg(figure, name, f"{dataset}, noise on {noise}. {caption}"))


def _loss(value: float, unit: Unit) -> str:
    return f"{100 * value:.1f}" if unit.is_percent else f"{value:.3g}"


def pareto_picture(number: int, dataset: str, rows: pd.DataFrame, metric: str) -> Picture:
    """Validation metric against time: the Pareto front of these two, and what COPA chose by all objectives."""
    figure, axes = panel(Margins(225, left=56, right=16, top=12, bottom=38))
    unit = unit_of([metric])
    for row in rows.itertuples():
        mark = PAGE.mark(row.layer)
        face = PAGE.face(mark)
        axes.plot(
            row.time,
            unit.factor * row.accuracy,
            mark.shape,
            color=mark.color,
            markerfacecolor=face,
            markersize=6,
            zorder=3,
        )
        if row.chosen:
            axes.plot(row.time, unit.factor * row.accuracy, "o", markersize=14, markerfacecolor="none",
                      color=PAGE["ink"], markeredgewidth=1.4, zorder=4)  # fmt: skip
    front = _front(rows, sign_of(metric))
    axes.step(front["time"], unit.factor * front["accuracy"], where="post", color=PAGE["muted"], linewidth=1, zorder=1)
    axes.set_xscale("log")
    _log_ticks(axes, rows["time"].to_numpy(float))
    low, high = unit.factor * rows["accuracy"].min(), unit.factor * rows["accuracy"].max()
    pad = max(0.12 * (high - low), 0.5 * (unit.narrowest - (high - low)), 1e-4 * abs(high))
    axes.set_ylim(low - pad, high + pad)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("mean seconds per run")
    axes.set_ylabel(unit.axis(f"validation {metric_name(metric)}"))
    axes.locator_params(axis="y", nbins=5)
    axes.grid(color=PAGE["rule"], linewidth=0.7)
    axes.set_axisbelow(True)
    choice = rows[rows["chosen"]].iloc[0]
    reached = unit.value(choice["accuracy"]) + (" %" if unit.is_percent else "")
    caption = (
        f"Chosen (ring): {choice['layer']}, {reached} in {seconds_text(choice['time'])}. "
        f"The line is the Pareto front (not beaten in both): {', '.join(dict.fromkeys(front['layer']))}."
    )
    name = f"pareto-{number}"
    return Picture(name, dataset, caption, svg(figure, name, f"{dataset}. {caption}"))


def _front(rows: pd.DataFrame, sign: float) -> pd.DataFrame:
    order = rows.sort_values(["time", "accuracy"], ascending=[True, sign < 0])
    oriented = sign * order["accuracy"]
    return order[oriented > oriented.cummax().shift(fill_value=-np.inf)]


def _log_ticks(axes: Axes, values: np.ndarray) -> None:
    """Plain numbers at 1, 2 and 5 times powers of ten; matplotlib's own would be empty within one power."""
    low, high = values.min() / 1.15, values.max() * 1.15
    axes.set_xlim(low, high)
    steps = (1, 2, 5) if high / low < 80 else (1,)
    ticks = [step * 10.0**power for power in range(-6, 8) for step in steps if low <= step * 10.0**power <= high]
    if len(ticks) < 2:
        ticks = [float(f"{value:.2g}") for value in (values.min(), values.max())]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(LogLocator(subs=()))
    axes.xaxis.set_minor_formatter(NullFormatter())
