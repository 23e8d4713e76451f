"""Write the reference of the command line into the documentation, at each build of the site.

A hook of MkDocs: `<!-- all commands -->` on a page is replaced by the help of every command, as the
command itself makes it (`fasttrt build --help`), in Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from fasttrt._cli import app

MARKER = "<!-- all commands -->"
_HELP = "-h, --help"  # the same everywhere
_CODE = re.compile(r"(?<![\w/`-])(--[a-z][\w-]*|\$?[A-Z][A-Z0-9]+_[A-Z0-9_]+|fasttrt\.toml)")


class MarkdownFormatter:
    """What a command writes its help into: Markdown, in place of click's text for terminals."""

    width = 10_000  # descriptions of commands are cut at it

    def __init__(self) -> None:
        self.text = ""

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Give what is written in the block a heading; none if that is nothing."""
        before, self.text = self.text, ""
        yield
        self.text = before + (f"**{name}**\n\n{self.text}" if self.text else "")

    @contextmanager
    def indentation(self) -> Iterator[None]:
        """Indent nothing, as Markdown takes indented lines for code."""
        yield

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the line that shows how a command is called."""
        self.text += f"```text\n{prog} {args}\n```\n\n"

    def write_text(self, text: str) -> None:
        """Write paragraphs; options and variables in them become code."""
        self.text += _with_code(text) + "\n\n"

    def write_paragraph(self) -> None:
        """Begin a paragraph: all that is written here ends one."""

    def write_dl(self, rows: Sequence[tuple[str, str]], *_: Any, **__: Any) -> None:
        """Write options or commands with what they do."""
        for name, text in rows:
            if name != _HELP:
                self.text += f"`{name}`\n:   {_with_code(text)}\n\n"


def reference() -> str:
    """Return the help of all commands in Markdown, with a heading for each."""
    root = typer.main.get_command(app)
    return "\n".join(
        _pages(root, typer.Context(root, info_name="fasttrt", **root.context_settings), 2)
    )


def _with_code(text: str) -> str:
    return _CODE.sub(r"`\1`", text)


def _pages(command: Any, context: Any, level: int) -> Iterator[str]:
    formatter = MarkdownFormatter()
    command.format_help(context, formatter)
    yield f"{'#' * level} {context.command_path}\n\n{formatter.text}"
    for name in getattr(command, "commands", ()):
        child = command.get_command(context, name)
        yield from _pages(child, typer.Context(child, parent=context, info_name=name), level + 1)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marker on a page, if it has one."""
    return markdown.replace(MARKER, reference()) if MARKER in markdown else markdown
