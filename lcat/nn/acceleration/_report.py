"""What :func:`lcat.accelerate` has done, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar, NoReturn


@dataclass(frozen=True)
class SwappedLayer:
    """A layer that runs on lcat now.

    Attributes:
        path: where it is in the model, as in ``model.named_modules()``; empty for the model itself.
        layer: the name of its class.
    """

    path: str
    layer: str


@dataclass(frozen=True)
class LeftLayer:
    """A layer that is as it was.

    Attributes:
        path: where it is in the model, as in ``model.named_modules()``; empty for the model itself.
        layer: the name of its class.
        reason: why it is left alone.
    """

    path: str
    layer: str
    reason: str


@dataclass(frozen=True)
class AccelerationReport:
    """What :func:`lcat.accelerate` has swapped and what it has left, by the path in the model.

    ``len(report)`` is the number of layers swapped; ``print(report)`` is a table, in notebooks as well.

    Attributes:
        swapped: the layers that run on lcat now.
        left: the message passing layers that are as they were, each with the reason.

    Example:
        >>> import lcat
        >>> from torch import nn
        >>> from torch_geometric.nn import GATConv, HypergraphConv
        >>> print(lcat.accelerate(nn.ModuleList([GATConv(8, 8), HypergraphConv(8, 8)])))
        1 layer swapped, 1 layer left as it was
          swapped  0  GATConv
          left     1  HypergraphConv  lcat has no faster form of this class
    """

    swapped: tuple[SwappedLayer, ...]
    left: tuple[LeftLayer, ...]
    _function: ClassVar[str] = "lcat.accelerate"
    _block: ClassVar[str] = "it accelerates for good. For a block, write `with lcat.accelerated(model):`"

    def __len__(self) -> int:
        return len(self.swapped)

    def __bool__(self) -> bool:
        return True

    def __call__(self, *_: Any, **__: Any) -> NoReturn:
        """Raises TypeError: the model is called, and not its report."""
        raise TypeError(
            f"this is the report of {self._function}(model), which changes the model in place, and no model: write "
            f"{self._function}(model) without `model =`, and call the model"
        )

    def __enter__(self) -> NoReturn:
        """Raises TypeError: :func:`lcat.accelerated` is for a block."""
        raise TypeError(f"{self._function}(model) is not for a `with` block: {self._block}")

    def __exit__(self, *_: object) -> None:
        """Never reached."""

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True)) for row in rows]
        lines = [f"  {line}  {row[3]}".rstrip() for line, row in zip(lines, rows, strict=True)]
        return "\n".join([self._headline(), *lines])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("", "path", "layer", "reason"))
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in self._rows())
        return f"<p>{escape(self._headline())}</p><table><tr>{head}</tr>{body}</table>"

    def _headline(self) -> str:
        were = "it was" if len(self.left) == 1 else "they were"
        return f"{_count(len(self.swapped))} swapped, {_count(len(self.left))} left as {were}"

    def _rows(self) -> list[tuple[str, str, str, str]]:
        swapped = [("swapped", _shown(one.path), one.layer, "") for one in self.swapped]
        return swapped + [("left", _shown(one.path), one.layer, one.reason) for one in self.left]


def _count(number: int) -> str:
    return f"{number} layer" if number == 1 else f"{number} layers"


def _shown(path: str) -> str:
    return path or "(the model)"
