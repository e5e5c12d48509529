"""Colors and marks of all figures, on the page and in PNG files.

A layer has the color of its family in every figure. The palette is that of Okabe and Ito, which color-blind readers can
distinguish, lightened for dark pages; marks differ in shape as well.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "PAGE", "Mark", "Palette"]

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
    "depth0": "#00875f",
    "depth1": "#b1508d",
    "depth2": "#0072b2",
    "depth3": "#a97500",
    "depth4": "#2a93c9",
    "depth5": "#c85200",
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
    "depth0": "#2fc598",
    "depth1": "#e29ac4",
    "depth2": "#56b4e9",
    "depth3": "#e6b422",
    "depth4": "#9bd3f2",
    "depth5": "#f0904a",
}
_DEPTHS = sum(name.startswith("depth") for name in LIGHT)


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
    """

    colors: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.colors[name]

    def mark(self, layer: str) -> Mark:
        """The mark of a layer, the same in every figure."""
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
        return self[f"depth{number % _DEPTHS}"]


#: What figures of the page are drawn with: colors that nothing else has, which the SVG replaces by the variables of the
#: style sheet, so that the figures follow the light or dark theme of the reader.
PAGE = Palette({name: f"#{3 * n + 1:02x}{3 * n + 2:02x}{3 * n + 3:02x}" for n, name in enumerate(LIGHT)})
