"""The code in Markdown pages, block by block."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<rest>.*)$")
_NEEDS = re.compile(r"^ *<!-- needs: (?P<needs>[a-z0-9 ]+) -->$")


class Block(NamedTuple):
    """What stands between two fences."""

    page: Path
    line: int
    """Of its first line, counted from 1."""
    language: str
    needs: frozenset[str]
    """What the comment ``<!-- needs: ... -->`` in the line before it names."""
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order.

    Raises:
        ValueError: a block does not end, or a comment about needs has another form or no block.
    """
    needs: frozenset[str] = frozenset()
    lines = iter(enumerate(page.read_text("utf-8").splitlines(), 1))
    for number, line in lines:
        if marker := _NEEDS.match(line):
            needs = frozenset(marker["needs"].split())
            continue
        if line.lstrip().startswith("<!-- need"):
            raise ValueError(f"{page}:{number}: expected <!-- needs: a b -->, got {line}")
        fence = _FENCE.match(line)
        if fence is None:
            if needs:
                raise ValueError(f"{page}:{number}: a comment about needs without a block after it")
            continue
        body = []
        for _, inner in lines:
            if inner == f"{fence['indent']}```":
                break
            body.append(inner)
        else:
            raise ValueError(f"{page}:{number}: the block does not end")
        text = textwrap.dedent("\n".join(body)) + "\n"
        yield Block(page, number + 1, fence["language"], needs, text)
        needs = frozenset()


def example_needs(text: str) -> list[frozenset[str]]:
    """What each line of a docstring needs: a comment counts up to the next empty line."""
    needs, lines = frozenset[str](), []
    for line in text.splitlines():
        if marker := _NEEDS.match(line):
            needs = frozenset(marker["needs"].split())
        elif not line.strip():
            needs = frozenset()
        lines.append(needs)
    return lines


def commands(block: Block) -> Iterator[str]:
    """The commands of a shell block; a backslash at a line's end goes on in the next."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.strip():
            yield line.strip()
