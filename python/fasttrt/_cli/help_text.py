"""Formatting of commands' help and of errors in values: plain text, never truncated."""

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

_FIRST = ("Arguments", "Options", "Model", "Inputs")
_LAST = "Output"


class Command(TyperCommand):
    """A command whose help groups its options by their ``rich_help_panel``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line; an error quotes the invalid value."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            value = _last_value(error.param.opts if error.param else (), words)
            if value and repr(value) not in error.message:
                error.message = f"{error.message.rstrip('.')}, got {value!r}"
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then the options on the model, the command and the output."""
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


def _last_value(options: Sequence[str], words: Sequence[str]) -> str:
    """Return the last value of an option among the words; empty for none."""
    last = ""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in options and equals:
            last = value
        elif word in options and index + 1 < len(words):
            last = words[index + 1]
    return last
