"""Tables as text: for a terminal as wide as it is, else as wide as their content.

A figure is never cut or wrapped, and a name is always there in full: long names are folded onto
more lines. Where even that does not fit, each row becomes a block of ``title value`` pairs.
"""

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len

from fasttrt._terminal import printable

_GAP = "  "
_MIN_FOLDED = 12
"""The least width to which a column of names is folded."""
_BREAKS = re.compile(r"[,;/\\._:-]")
"""After these characters a name is folded rather than elsewhere."""


class Column(NamedTuple):
    """A column: of figures or short words, which stay whole, unless it ``folds``."""

    title: str
    is_number: bool = False
    """Whether it is aligned to the right."""
    folds: bool = False
    """Whether its cells may go on in the next line."""


Row: TypeAlias = str | Sequence[str]
"""A cell for each column, or a heading for the rows that follow."""


def name(title: str) -> Column:
    """A column of names, which are folded where they are too long."""
    return Column(title, folds=True)


def number(title: str) -> Column:
    """A column of figures."""
    return Column(title, is_number=True)


def output_width() -> int | None:
    """Columns of the terminal (``COLUMNS``, if it is set); None if the output is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def render(columns: Sequence[Column], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """The lines of a table, without trailing spaces.

    Args:
        columns: from left to right.
        rows: as many cells as columns each, or headings.
        width: of the terminal; None for no limit.
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
    """Lines of text, wrapped at spaces."""
    return [part.rstrip() for line in lines for part in fold(line, width)]


def fold(text: str, width: int | None) -> list[str]:
    """The text in lines that are at most so wide; together they are the text, nothing is lost."""
    lines = []
    while width is not None and cell_len(text) > width:
        cut = _cut(text, width)
        lines.append(text[:cut])
        text = text[cut:]
    return [*lines, text]


def _cut(text: str, width: int) -> int:
    """How many characters go into the first line: up to a space, or a break in its second half."""
    fits, used = 0, 0
    for character in text:
        used += cell_len(character)
        if used > width and fits:
            break
        fits += 1
    if words := text.rfind(" ", 0, fits) + 1:  # so that figures in a sentence stay whole
        return words
    ends = [found.end() for found in _BREAKS.finditer(text, fits // 2, fits)]
    return ends[-1] if ends else fits


def _fitted(columns: Sequence[Column], natural: list[int], width: int) -> list[int] | None:
    """Widths with which a row fits, the longest names folded first; None if there are none."""
    room = width - len(_GAP) * (len(columns) - 1)
    least = max([_MIN_FOLDED, *(cell_len(c.title) for c in columns if c.folds)])
    for most in range(max(natural, default=0), least - 1, -1):
        widths = [
            min(own, most) if column.folds else own
            for column, own in zip(columns, natural, strict=True)
        ]
        if sum(widths) <= room:
            return widths
    return natural if sum(natural) <= room else None


def _row_lines(columns: Sequence[Column], cells: Sequence[str], widths: list[int]) -> list[str]:
    folded = [
        fold(cell, width if column.folds else None)
        for column, cell, width in zip(columns, cells, widths, strict=True)
    ]
    lines = []
    for index in range(max(map(len, folded))):
        parts = []
        for column, part, width in zip(columns, folded, widths, strict=True):
            text = part[index] if index < len(part) else ""
            space = " " * (width - cell_len(text))
            parts.append(space + text if column.is_number else text + space)
        lines.append(_GAP.join(parts).rstrip())
    return lines


def _blocks(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Iterator[str]:
    """Each row's first cell, and under it the others with their titles, as many as fit a line."""
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
            if column.folds and cell_len(_GAP + pair) > width:
                *first, pair = fold(pair, max(1, width - len(_GAP)))
                yield from (_GAP + part for part in first)
            line += _GAP + pair
        if line:
            yield line
