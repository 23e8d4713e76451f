"""How commands show their help and refuse wrong values: in plain text, nothing cut at any width."""

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

_FIRST = ("Arguments", "Options", "Model", "Inputs")
_LAST = "Output"


class Command(TyperCommand):
    """A command whose help lists its options by their ``rich_help_panel``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; a value that is refused is quoted."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            given = _given(error.param.opts if error.param else (), words)
            if given and repr(given) not in error.message:
                error.message = f"{error.message.rstrip('.')}, got {given!r}"
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the model's options, the command's own, and those of the output."""
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in _FIRST}
        last: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            panel = getattr(parameter, "rich_help_panel", None) or "Options"
            if parameter.param_type_name == "argument":
                groups["Arguments"].append(record)
            elif panel == _LAST or "--help" in parameter.opts:
                last.append(record)
            else:
                groups.setdefault(panel, []).append(record)
        for title, records in (groups | {_LAST: last}).items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _given(options: Sequence[str], words: Sequence[str]) -> str:
    """The last value that the words have for an option; empty for none."""
    found = ""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in options and equals:
            found = value
        elif word in options and index + 1 < len(words):
            found = words[index + 1]
    return found
