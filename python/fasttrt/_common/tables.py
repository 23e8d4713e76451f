"""Tables as text: fitted to the terminal's width, or else as wide as their content.

Numbers are never truncated or wrapped, and names are always shown in full: long names are wrapped.
If the table still does not fit, each row becomes a block of ``title value`` pairs.
"""

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from fasttrt._common.optional_packages import require
from fasttrt._terminal import printable

_GAP = "  "
_MIN_WRAPPED = 12
"""The minimum width of a column of wrapped names."""
_BREAKS = re.compile(r"[,;/\\._:-]")
"""Names are preferably wrapped after one of these characters."""


class Column(NamedTuple):
    """A column of a table. Its cells, numbers or short words, stay on one line unless it wraps."""

    title: str
    is_number: bool = False
    """Whether it is right-aligned."""
    wraps: bool = False
    """Whether its cells may continue on the next line."""


Row: TypeAlias = str | Sequence[str]
"""A cell for each column, or a heading for the rows that follow."""


def name(title: str) -> Column:
    """Create a column of names, which are wrapped if they are too long."""
    return Column(title, wraps=True)


def number(title: str) -> Column:
    """Create a column of numbers."""
    return Column(title, is_number=True)


def cell_len(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Raises:
        MissingPackageError: rich is not installed.
    """
    require("a table", "rich")
    from rich.cells import cell_len as rich_cell_len

    return rich_cell_len(text)


def output_width() -> int | None:
    """Return the terminal's width (``$COLUMNS``, if set); None if the output is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def render(columns: Sequence[Column], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """Format a table as lines without trailing spaces.

    Args:
        columns: the columns, from left to right.
        rows: rows with a cell for each column, or headings.
        width: the terminal's width; None for no limit.
    """
    rows = [printable(row) if isinstance(row, str) else [*map(printable, row)] for row in rows]
    cells = [[column.title for column in columns], *(r for r in rows if not isinstance(r, str))]
    natural = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    widths = natural if width is None else _fitted(columns, natural, width)
    if width is not None and widths is None:
        return list(_blocks(columns, rows, width))
    widths = widths or natural
    lines = _row_lines(columns, [column.title for column in columns], widths)
    lines.append(_GAP.join("-" * w for w in widths))
    for row in rows:
        if isinstance(row, str):
            lines += wrap([row], width)
        else:
            lines += _row_lines(columns, row, widths)
    return lines


def wrap(lines: Iterable[str], width: int | None) -> list[str]:
    """Wrap lines of text at spaces."""
    return [part.rstrip() for line in lines for part in fold(line, width)]


def fold(text: str, width: int | None) -> list[str]:
    """Split a text into lines of at most ``width`` columns; joined, they are the text again."""
    lines = []
    while width is not None and cell_len(text) > width:
        cut = _cut(text, width)
        lines.append(text[:cut])
        text = text[cut:]
    return [*lines, text]


def _cut(text: str, width: int) -> int:
    """Count the characters for the first line: up to a space, or a break in its second half."""
    fits, used = 0, 0
    for character in text:
        used += cell_len(character)
        if used > width and fits:
            break
        fits += 1
    if words := text.rfind(" ", 0, fits) + 1:  # numbers in a sentence stay whole
        return words
    ends = [match.end() for match in _BREAKS.finditer(text, fits // 2, fits)]
    return ends[-1] if ends else fits


def _fitted(columns: Sequence[Column], natural: list[int], width: int) -> list[int] | None:
    """Choose widths with which a row fits, wrapping the longest names first; None if none fit."""
    available = width - len(_GAP) * (len(columns) - 1)
    min_width = max([_MIN_WRAPPED, *(cell_len(c.title) for c in columns if c.wraps)])
    for max_width in range(max(natural, default=0), min_width - 1, -1):
        widths = [
            min(own, max_width) if column.wraps else own
            for column, own in zip(columns, natural, strict=True)
        ]
        if sum(widths) <= available:
            return widths
    return natural if sum(natural) <= available else None


def _row_lines(columns: Sequence[Column], cells: Sequence[str], widths: list[int]) -> list[str]:
    wrapped = [
        fold(cell, width if column.wraps else None)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    ]
    lines = []
    for index in range(max(map(len, wrapped))):
        parts = []
        for column, part, width in zip(columns, wrapped, widths, strict=True):
            text = part[index] if index < len(part) else ""
            space = " " * (width - cell_len(text))
            parts.append(space + text if column.is_number else text + space)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _blocks(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Iterator[str]:
    """Yield each row's first cell, and below it the others with their titles, filling each line."""
    for row in rows:
        if isinstance(row, str):
            yield from wrap([row], width)
            continue
        yield from fold(row[0], width)
        line = ""
        for column, cell in zip(columns[1:], row[1:], strict=True):
            pair = f"{column.title} {cell}"
            if not cell:
                continue
            if line and cell_len(line + _GAP + pair) > width:
                yield line
                line = ""
            if column.wraps and cell_len(_GAP + pair) > width:
                *first, pair = fold(pair, max(1, width - len(_GAP)))
                yield from (_GAP + part for part in first)
            line += _GAP + pair
        if line:
            yield line
