"""One table, written four ways: for the page, as CSV with full digits, as Markdown and as LaTeX."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from lcat.study.models.layers import layer_title

__all__ = [
    "Column",
    "Table",
    "bytes_text",
    "count_text",
    "p_phrase",
    "p_text",
    "percent",
    "percent_points",
    "percent_points_size",
    "seconds_text",
    "text",
]

_MISSING = "–"


def text(value: Any) -> str:
    """As it is."""
    return str(value)


def percent(value: Any) -> str:
    """A share as per cent with one digit."""
    return f"{100 * float(value):.1f}"


def percent_points(value: Any) -> str:
    """A difference of shares in percentage points, with its sign."""
    shown = f"{100 * float(value):+.2f}"
    return {"+0.00": "0.00", "-0.00": "0.00"}.get(shown, shown).replace("-", "−")


def percent_points_size(value: Any) -> str:
    """The size of a difference of shares in percentage points, without a sign."""
    return f"{100 * abs(float(value)):.3g}"


def p_text(value: Any) -> str:
    """A p-value: three digits, no zero where there is none, and a dash where there was no test."""
    if math.isnan(float(value)):
        return _MISSING
    return "< 0.001" if float(value) < 0.001 else f"{float(value):.3f}"


def p_phrase(value: float) -> str:
    """A p-value in a sentence: ``p = 0.012`` or ``p < 0.001``."""
    text = p_text(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def seconds_text(value: Any) -> str:
    """Seconds in the unit that reads best."""
    seconds = float(value)
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.3g} s" if seconds < 10 else f"{seconds:.0f} s"


def bytes_text(value: Any) -> str:
    """Bytes in the unit that reads best."""
    size = float(value)
    for unit in ("B", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def count_text(value: Any) -> str:
    """A whole number with its thousands apart."""
    return f"{round(float(value)):,}"


@dataclass(frozen=True)
class Column:
    """A column of a :class:`Table`.

    Attributes:
        name: in the frame and in the CSV.
        title: for people.
        show: from a value to text; missing values are a dash.
        number: aligned to the right.
        spread: name of a column whose value follows behind ±, shown in the same way.
        to: name of a column whose value follows behind "to", shown in the same way: the other end of an interval.
        paper: shown in LaTeX, too; a printed page is narrow.
        layers: holds names of layers.
    """

    name: str
    title: str
    show: Callable[[Any], str] = text
    number: bool = False
    spread: str = ""
    to: str = ""
    paper: bool = True
    layers: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        name: of its files, and of its place on the page.
        caption: what it shows.
        columns: what is shown, in order.
        frame: the values; columns that are not shown are in the CSV all the same.
        bold: row and column of the figures that are best of their group.
        limit: most rows on the page; the files hold all.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    frame: pd.DataFrame
    bold: frozenset[tuple[int, str]] = field(default_factory=frozenset)
    limit: int = 300

    def __len__(self) -> int:
        return len(self.frame)

    def rows(self) -> list[list[str]]:
        """The text of every cell."""
        return [list(row) for row in zip(*(self._shown(column) for column in self.columns), strict=True)]

    def _shown(self, column: Column) -> list[str]:
        values = self.frame[column.name].tolist()
        shown = [_MISSING if _missing(value) else column.show(value) for value in values]
        for name, word in ((column.spread, "±"), (column.to, "to")):
            if name:
                for index, other in enumerate(self.frame[name].tolist()):
                    if not _missing(other) and not _missing(values[index]):
                        shown[index] += f" {word} {column.show(other)}"
        return shown

    def csv(self) -> str:
        """All columns with all digits, empty where a value is missing."""
        buffer = io.StringIO()
        self.frame.to_csv(buffer, index=False, lineterminator="\n")
        return buffer.getvalue()

    def markdown(self) -> str:
        """A pipe table with the caption above."""
        head = [_escape_markdown(column.title) for column in self.columns]
        rules = ["---:" if column.number else "---" for column in self.columns]
        lines = [f"**{_escape_markdown(self.caption)}**", "", _pipes(head), _pipes(rules)]
        for number, row in enumerate(self.rows()):
            cells = [
                f"**{_escape_markdown(value)}**" if (number, column.name) in self.bold else _escape_markdown(value)
                for column, value in zip(self.columns, row, strict=True)
            ]
            lines.append(_pipes(cells))
        return "\n".join(lines) + "\n"

    def latex(self) -> str:
        """A table for the package booktabs: the columns that fit on a page, and layers called as papers call them."""
        columns = [column for column in self.columns if column.paper]
        texts = [[_on_paper(column, value) for value in self._shown(column)] for column in columns]
        titles = [column.title for column in columns]
        align = "".join("r" if column.number else "l" for column in columns)
        letters = sum(max(map(len, [title, *values])) + 2 for title, values in zip(titles, texts, strict=True))
        size = next((line for limit, line in _SIZES if letters > limit), "")
        head = [
            "    \\toprule",
            "    " + " & ".join(map(_escape_latex, titles)) + " \\\\",
            "    \\midrule",
        ]
        caption = f"\\caption{{{_escape_latex(self.caption)}}}"
        label = f"\\label{{tab:{self.name}}}"
        body = []
        for number, row in enumerate(zip(*texts, strict=True)):
            cells = [
                f"\\textbf{{{_escape_latex(value)}}}" if (number, column.name) in self.bold else _escape_latex(value)
                for column, value in zip(columns, row, strict=True)
            ]
            body.append("    " + " & ".join(cells) + " \\\\")
        if len(self) > _PAGE:
            lines = ["% needs \\usepackage{booktabs,longtable}", "{", f"  \\begin{{longtable}}{{{align}}}"]
            lines += [f"    {caption} {label} \\\\", *head, "    \\endhead", *body, "    \\bottomrule"]
            lines += ["  \\end{longtable}", "}"]
        else:
            lines = ["% needs \\usepackage{booktabs}", "\\begin{table}", "  \\centering", f"  {caption}", f"  {label}"]
            lines += [f"  \\begin{{tabular}}{{{align}}}", *head, *body, "    \\bottomrule", "  \\end{tabular}"]
            lines += ["\\end{table}"]
        if size:
            lines.insert(2 if len(self) > _PAGE else 3, size)
        return "\n".join([*lines, ""])

    def html(self) -> str:
        """A box that scrolls by itself, with the table inside."""
        label = f'aria-labelledby="caption-{self.name}"'
        parts = [
            f'<p class="caption" id="caption-{self.name}">{html.escape(self.caption)}</p>',
            f'<div class="scroll" role="region" tabindex="0" {label}>',
            f'<table id="table-{self.name}" {label}><thead><tr>',
        ]
        for column in self.columns:
            parts.append(f'<th scope="col"{_css(column)}>{html.escape(column.title)}</th>')
        parts.append("</tr></thead><tbody>")
        for number, row in enumerate(self.rows()[: self.limit]):
            parts.append("<tr>")
            for position, (column, value) in enumerate(zip(self.columns, row, strict=True)):
                inner = html.escape(value)
                if (number, column.name) in self.bold:
                    inner = f"<strong>{inner}</strong>"
                tag = 'th scope="row"' if position == 0 else "td"
                parts.append(f"<{tag}{_css(column)}>{inner}</{tag.split()[0]}>")
            parts.append("</tr>")
        parts.append("</tbody></table></div>")
        if len(self) > self.limit:
            parts.append(
                f'<p class="note">The first {self.limit:,} of {len(self):,} rows; '
                f"<code>tables/{self.name}.csv</code> holds all.</p>"
            )
        return "".join(parts)


#: Letters of a line from which on a table is set smaller, to fit into the 345 points of an article's page.
_SIZES = (
    (88, "  \\scriptsize \\setlength{\\tabcolsep}{3pt}"),
    (74, "  \\footnotesize \\setlength{\\tabcolsep}{3pt}"),
    (64, "  \\small"),
)
#: Rows from which on a table is broken over pages.
_PAGE = 45


def _on_paper(column: Column, value: str) -> str:
    """Names of layers as papers have them, also in lists and counts such as ``gcn 2, gat 1``."""
    if not column.layers:
        return value
    return re.sub(r"[^\s,]+", lambda word: layer_title(word[0]), value)


def _css(column: Column) -> str:
    return ' class="n"' if column.number else ""


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape_markdown(value: str) -> str:
    for character in ("\\", "|", "*", "_", "<"):
        value = value.replace(character, f"\\{character}")
    return " ".join(value.split())


_LATEX = {
    "\\": "\\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": "$\\pm$",
    "−": "$-$",
    "–": "--",
    "λ": "$\\lambda$",
    "×": "$\\times$",
    "₁": "$_1$",
    "₂": "$_2$",
    "…": "\\dots{}",
}


def _escape_latex(value: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(value.split()))
