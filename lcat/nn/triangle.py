"""The triangle of GCN, GAT and CAT: where the layers of a model are in it, and the ways they took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from lcat.nn.scalars import Lambdas, lambdas, read_lambda

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_triangle"]

_CORNERS = {"GCN": (0.0, 0.0), "GAT": (1.0, -1.0), "CAT": (1.0, 1.0)}
_COLORS = ("#6a3d9a", "#c2408a", "#8a7000", "#7a4a2e", "#0072b2", "#00875f", "#d9688f", "#4a4f9e")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MUTED, _RULE, _BAND = "#5f6670", "#dfe3e8", "#f5f6f8"
_POINTS_OF_A_PATH = 400  # more cannot be seen


def plot_triangle(
    model: nn.Module | Mapping[str, Any], paths: Mapping[str, Sequence[Any]] | None = None, axes: Axes | None = None
) -> Axes:
    """Draw the layers of a model between GCN, GAT and CAT.

    From left to right the scores get stronger (lambda1), from bottom to top they see averages (lambda2): GCN is the
    left corner, GAT the lower, CAT the upper one. Each layer has a color and a mark; where each head has its own
    scalars, each head is a mark.

    Args:
        model: a model, or what :func:`lcat.nn.lambdas` returned for one.
        paths: by the path of a layer, the pairs (lambda1, lambda2) that it went through: ``history.lambdas`` of
            :func:`lcat.train.fit`, or :class:`~lcat.nn.Lambdas` that you have collected. A ring is where a
            path begins.
        axes: to draw on; ``None`` makes a figure.

    Returns:
        the axes; ``axes.figure.savefig("triangle.png")`` writes the figure.

    Raises:
        ImportError: matplotlib is missing.
        TypeError, ValueError: ``model`` has no CAT or L-CAT layer, or something is no pair of numbers in [0, 1].

    Example:
        >>> from lcat.nn import models, plot_triangle
        >>> axes = plot_triangle(models.LCAT(8, 16, num_layers=2))
        >>> [text.get_text() for text in axes.texts[:3]]
        ['GCN', 'GAT', 'CAT']
    """
    is_mapping = isinstance(paths, Mapping)
    if paths is not None and not (is_mapping and all(isinstance(path, Iterable) for path in paths.values())):
        raise TypeError(
            f"expected 'paths' as a mapping from layers to lists of pairs, got {paths!r:.80}: history.lambdas of "
            f"lcat.train.fit is one"
        )
    points = {
        name: _pairs(name, one) for name, one in (model if isinstance(model, Mapping) else lambdas(model)).items()
    }
    ways = {name: [_pairs(name, one) for one in path] for name, path in (paths or {}).items()}
    if not points:
        raise ValueError("the model has no CAT or L-CAT layer, which would be in the triangle: lcat.upgrade makes some")
    unknown = [name for name in ways if name not in points]
    if unknown:
        raise ValueError(f"'paths' has {unknown[0]!r}, which is no layer of the model; those are {', '.join(points)}")
    if axes is None:
        axes = _new_axes()
    _draw_triangle(axes)
    for number, (name, pairs) in enumerate(points.items()):
        color, mark = _COLORS[number % len(_COLORS)], _MARKS[number % len(_MARKS)]
        for head in range(len(pairs)):
            way = [step[min(head, len(step) - 1)] for step in _thin(ways.get(name, []))]
            if way:
                x, y = zip(*[_in_triangle(*pair) for pair in way], strict=True)
                axes.plot(x, y, color=color, linewidth=1.2, alpha=0.6, zorder=3)
                axes.plot(x[:1], y[:1], "o", color=color, markerfacecolor="none", markersize=9, clip_on=False, zorder=3)
        x, y = zip(*[_in_triangle(*pair) for pair in pairs], strict=True)
        axes.plot(
            x, y, mark, color=color, markeredgecolor="white", markeredgewidth=0.8, markersize=9, clip_on=False,
            zorder=4, label=name or "the layer",
        )  # fmt: skip
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    return axes


def _pairs(name: str, values: Any) -> list[tuple[float, float]]:
    """The pairs of the heads; one where they share it."""
    if not isinstance(values, (tuple, list)) or len(values) != 2:
        raise TypeError(f"expected a pair (lambda1, lambda2) for {name!r}, got {values!r}")
    pair = Lambdas(*values)
    columns = [tuple(one) if isinstance(one, (tuple, list)) else (one,) for one in pair]
    count = max(map(len, columns))
    for field, column in zip(Lambdas._fields, columns, strict=True):
        if len(column) not in (1, count):
            raise ValueError(f"{field} of {name!r} has {len(column)} numbers, the other one has {count}")
    numbers = [[read_lambda(name, number) for number in column] for column in columns]
    first, second = (column * count if len(column) == 1 else column for column in numbers)
    return list(zip(first, second, strict=True))


def _in_triangle(lambda1: float, lambda2: float) -> tuple[float, float]:
    """All points with lambda1 = 0 are one: lambda2 has no effect there."""
    return lambda1, lambda1 * (2 * lambda2 - 1)


def _thin(path: list[Any]) -> list[Any]:
    stride = -(-len(path) // _POINTS_OF_A_PATH) or 1
    thinned = path[::stride]
    return thinned if not path or thinned[-1] is path[-1] else [*thinned, path[-1]]


def _new_axes() -> Axes:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot_triangle needs matplotlib: pip install 'lcat-gnn[study]'") from error
    figure, axes = pyplot.subplots(figsize=(5.6, 4.2), layout="constrained")
    del figure
    return axes


def _draw_triangle(axes: Axes) -> None:
    axes.axis("off")
    axes.set_xlim(-0.02, 1.14)
    axes.set_ylim(-1.3, 1.15)
    outline = [_CORNERS[name] for name in ("GCN", "GAT", "CAT", "GCN")]
    x, y = zip(*outline, strict=True)
    axes.fill(x, y, color=_BAND, linewidth=0)
    for share in (0.25, 0.5, 0.75):
        axes.plot([share, share], [-share, share], color=_RULE, linewidth=0.8)
        axes.plot([0, 1], [0, 2 * share - 1], color=_RULE, linewidth=0.8)
    axes.plot(x, y, color=_MUTED, linewidth=1)
    alignments: Iterable[tuple[str, dict[str, Any]]] = (
        ("GCN", {"ha": "center", "va": "top", "xytext": (0, -12)}),
        ("GAT", {"ha": "left", "va": "center", "xytext": (10, 0)}),
        ("CAT", {"ha": "left", "va": "center", "xytext": (10, 0)}),
    )
    for name, alignment in alignments:
        axes.annotate(name, _CORNERS[name], textcoords="offset points", fontsize=11, color=_MUTED, **alignment)
    style: dict[str, Any] = {"fontsize": 9, "color": _MUTED}
    axes.text(0.5, -1.12, "λ₁: strength of the scores →", ha="center", va="top", **style)
    axes.text(1.06, 0.0, "λ₂: averages →", ha="left", va="center", rotation=90, **style)
