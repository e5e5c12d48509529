"""Colors and marks of all figures, on the page and in PNG files.

A layer has the color of its family in every figure, in the palette of Okabe and Ito, which color-blind readers can
distinguish, lightened for dark pages; marks differ in shape as well. Own models, and layers without a family, have a
color each, by their order in the study. The layers of one model have colors of their own:
no color has two meanings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from lcat.study.models.layers import LAYERS, layer_title

__all__ = ["DARK", "DEPTHS", "LIGHT", "OWN", "PAGE", "Mark", "Palette", "colors_for", "family_of", "in_place_of_page"]

#: Colors of the light page and of PNG files, by the names that the page's style sheet uses; ``depth0`` is the first
#: layer of a model.
LIGHT = {
    "ink": "#1d2025",
    "muted": "#5f6670",
    "rule": "#dfe3e8",
    "paper": "#ffffff",
    "card": "#f5f6f8",
    "accent": "#6b35a8",
    "gcn": "#5c5c5c",
    "gat": "#0072b2",
    "cat": "#c85200",
    "lcat": "#00875f",
    "band": "#eef0f3",
    "depth0": "#6a3d9a",
    "depth1": "#c2408a",
    "depth2": "#8a7000",
    "depth3": "#7a4a2e",
    "depth4": "#9c7bd0",
    "depth5": "#d9688f",
    "depth6": "#4a4f9e",
    "depth7": "#a58a2e",
    "own0": "#c1121f",
    "own1": "#0095b3",
    "own2": "#5a8f00",
    "own3": "#b5179e",
    "own4": "#b98300",
    "own5": "#1d3f72",
}
#: The same of the dark page.
DARK = {
    "ink": "#e6e8eb",
    "muted": "#9aa3ad",
    "rule": "#343a42",
    "paper": "#15181c",
    "card": "#1d2126",
    "accent": "#c7a3f0",
    "gcn": "#b4b4b4",
    "gat": "#56b4e9",
    "cat": "#f0904a",
    "lcat": "#2fc598",
    "band": "#20252b",
    "depth0": "#b795e6",
    "depth1": "#f07fbd",
    "depth2": "#d8bd3a",
    "depth3": "#c39274",
    "depth4": "#8567c2",
    "depth5": "#ffb3cf",
    "depth6": "#8d95e8",
    "depth7": "#f0e08a",
    "own0": "#ff7b7b",
    "own1": "#4dd0e8",
    "own2": "#a8d94a",
    "own3": "#ff7ae0",
    "own4": "#ffcf5c",
    "own5": "#9db8ff",
}
#: Colors of the layers of one model; deeper models use them again.
DEPTHS = sum(name.startswith("depth") for name in LIGHT)
#: Colors of layers without a family of their own, such as own models; further ones use them again, with other marks.
OWN = sum(name.startswith("own") for name in LIGHT)
_FAMILIES = ("gcn", "gat", "cat", "lcat")
# Marks and lines of layers without a family: the first ones differ by their color alone.
_SHAPES, _LINES = ("o", "s", "D"), ("-", "--", ":")
_OTHERS: ContextVar[tuple[str, ...]] = ContextVar("layers without a family", default=())


def family_of(layer: str) -> str | None:
    """The family that gives a layer its color; ``None`` for own models and for layers that are alone."""
    family = layer.partition("-")[0].removesuffix("v2")
    return family if layer in LAYERS and family in _FAMILIES else None


@contextmanager
def colors_for(layers: Iterable[str]) -> Iterator[None]:
    """Context in which each of these layers that has no family has a color of its own.

    Args:
        layers: of a study, in the order of its tables, so that a layer has one color in all figures.
    """
    token = _OTHERS.set(tuple(dict.fromkeys(layer for layer in layers if family_of(layer) is None)))
    try:
        yield
    finally:
        _OTHERS.reset(token)


@dataclass(frozen=True)
class Mark:
    """How a layer is drawn: color by family, shape by version, open where its scores are not learned."""

    color: str
    shape: str
    filled: bool
    line: str


@dataclass(frozen=True)
class Palette:
    """Colors to draw with.

    Attributes:
        colors: by the names of :data:`LIGHT`.
        titles: call layers as papers do, not as the commands do.
    """

    colors: dict[str, str]
    titles: bool = False

    def name(self, layer: str) -> str:
        """What a figure calls a layer."""
        return layer_title(layer) if self.titles else layer

    def __getitem__(self, name: str) -> str:
        return self.colors[name]

    def mark(self, layer: str) -> Mark:
        """The mark of a layer, the same in every figure."""
        others = _OTHERS.get()
        if layer in others:
            round_, number = divmod(others.index(layer), OWN)
            color = self.colors[f"own{number}"]
            return Mark(color, _SHAPES[round_ % len(_SHAPES)], filled=True, line=_LINES[round_ % len(_LINES)])
        head, _, variant = layer.partition("-")
        family = head.removesuffix("v2")
        second = head.endswith("v2")
        shape = "D" if variant == "theory" else "s" if second else "o"
        line = ":" if variant else "--" if second else "-"
        return Mark(self.colors.get(family, self["muted"]), shape, not variant, line)

    def face(self, mark: Mark) -> str:
        """What fills a mark."""
        return mark.color if mark.filled else self["paper"]

    def depth(self, number: int) -> str:
        """The color of a layer of a model, counted from 0."""
        return self[f"depth{number % DEPTHS}"]


class _PagePalette(Palette):
    """The palette of the page, or that which figures of the page are drawn with for a file."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name) if (other := _IN_PLACE.get()) is None else other[name]

    def name(self, layer: str) -> str:
        return super().name(layer) if (other := _IN_PLACE.get()) is None else other.name(layer)

    def mark(self, layer: str) -> Mark:
        return super().mark(layer) if (other := _IN_PLACE.get()) is None else other.mark(layer)


#: What figures of the page are drawn with: colors that nothing else has, which the SVG replaces by the variables of the
#: style sheet, so that the figures follow the light or dark theme of the reader.
PAGE: Palette = _PagePalette({name: f"#{3 * n + 1:02x}{3 * n + 2:02x}{3 * n + 3:02x}" for n, name in enumerate(LIGHT)})
_IN_PLACE: ContextVar[Palette | None] = ContextVar("palette in place of that of the page", default=None)


@contextmanager
def in_place_of_page(palette: Palette) -> Iterator[None]:
    """Context in which figures of the page are drawn with another palette, as for a file."""
    token = _IN_PLACE.set(palette)
    try:
        yield
    finally:
        _IN_PLACE.reset(token)
