"""Tables of which nothing is cut off: what is too wide for the terminal goes on below, in a second block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from lcat._output import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

__all__ = ["BlockTable"]

#: What the frame adds to a column, and the frame's last line.
_FRAME, _EDGE = 3, 1
#: A name of a user's that is folded keeps at least so many characters a line.
_NARROWEST = 12


@dataclass
class _Column:
    header: Text
    justify: Literal["left", "right"]
    cells: list[Text] = field(default_factory=list)

    def width(self) -> int:
        texts = [self.header, *self.cells]
        return max((cell_len(line) for text in texts for line in text.plain.split("\n")), default=0)


class BlockTable:
    """A table whose first columns name its rows, and stand in every block.

    Args:
        title: a line above.
        keys: number of columns that name a row. The last of them is never folded, the others only where even a single
            further column has no room beside them.
    """

    def __init__(self, title: str = "", keys: int = 1) -> None:
        self._title, self._keys = title, keys
        self._columns: list[_Column] = []

    def add_column(self, header: str, justify: Literal["left", "right"] = "left") -> None:
        """One more column."""
        self._columns.append(_Column(Text(header), justify))

    def add_row(self, *cells: str | Text) -> None:
        """One cell for every column; names of users' files, too, for nothing in them is markup."""
        for column, cell in zip(self._columns, cells, strict=True):
            column.cells.append(cell if isinstance(cell, Text) else Text(cell))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text | Table]:
        columns = [
            _Column(_fitting(column.header, options.encoding), column.justify, [
                _fitting(cell, options.encoding) for cell in column.cells
            ])
            for column in self._columns
        ]  # fmt: skip
        if self._title:
            yield Text(printable(self._title, options.encoding), overflow="fold")
        keys, rest = columns[: self._keys], columns[self._keys :]
        widths = _key_widths(keys, rest, options.max_width)
        room = options.max_width - sum(widths) - len(keys) * _FRAME - _EDGE
        for block in _blocks(rest, room):
            table = Table(show_header=True)
            for column, width in [*zip(keys, widths, strict=True), *block]:
                table.add_column(
                    column.header, justify=column.justify, width=width, overflow="fold", header_style="bold"
                )
            for row in zip(*(column.cells for column in [*keys, *(column for column, _ in block)]), strict=True):
                table.add_row(*row)
            yield table


def _key_widths(keys: list[_Column], rest: list[_Column], width: int) -> list[int]:
    """Those of the columns that name rows; a long name is folded where no other column would fit beside it."""
    widths = [column.width() for column in keys]
    beside = max((column.width() for column in rest), default=0) + _FRAME
    room = width - _EDGE - len(keys) * _FRAME - beside
    for number in range(len(keys) - 1):
        too_much = sum(widths) - room
        if too_much > 0:
            widths[number] = max(widths[number] - too_much, min(widths[number], _NARROWEST))
    return widths


def _blocks(columns: list[_Column], room: int) -> Iterator[list[tuple[_Column, int]]]:
    """The columns with their widths, as many in a block as there is room for."""
    block: list[tuple[_Column, int]] = []
    used = 0
    for column in columns:
        width = min(column.width(), max(room - _FRAME, _NARROWEST))
        if block and used + width + _FRAME > room:
            yield block
            block, used = [], 0
        block.append((column, width))
        used += width + _FRAME
    yield block


def _fitting(text: Text, encoding: str) -> Text:
    """The text in characters of the encoding, in which rich measures it."""
    return Text(printable(text.plain, encoding), style=text.style)
