"""Translation of messages to the command line: ``--freeze axes=[1]`` for ``freeze={"axes": [1]}``.

Errors, warnings and advice of the package name its arguments. Each has a command-line option of the
same name, except for those that are named as in trtexec.
"""

import ast
import logging
import re
import shlex
from collections.abc import Iterator
from typing import Any

from fasttrt import _terminal

_TRTEXEC = {
    "workspace": "--memPoolSize",
    "timing_cache": "--timingCacheFile",
    "optimization_level": "--builderOptimizationLevel",
    "max_aux_streams": "--maxAuxStreams",
    "hardware_compatibility": "--hardwareCompatibilityLevel",
    "profiling_verbosity": "--profilingVerbosity",
    "version_compatible": "--versionCompatible",
    "exclude_lean_runtime": "--excludeLeanRuntime",
    "nan": "--nan",
    "refit": "--refit",
    "strip_weights": "--stripWeights",
    "weight_streaming": "--allowWeightStreaming",
}
_NAMED = {
    name: f"--{name}"
    for name in (
        "shapes", "freeze", "dims", "precision", "device", "library", "plugins", "batch",
        "contexts", "concurrency", "duration", "against", "validation", "method", "percentile",
        "exclude", "samples", "seed",
    )
} | {"ranges": "--range", "operators": "--operator", "isolate": "--isolate"}  # fmt: skip
_OPTIONS = _TRTEXEC | _NAMED

_CONFIG = re.compile(r"(?:config=)?BuildConfig\((\w+=[^()]*)\)")
_FIRST = re.compile(rf"(?m)^(?:BuildConfig\.)?({'|'.join(_OPTIONS)}): ")
_FIELD = re.compile(rf"\bBuildConfig\.({'|'.join(_TRTEXEC)})\b")
_SAMPLES = re.compile(
    r"(?m)^inputs(?=: expected \d+ arrays|: expected (?:a )?\.npy|: .*/|: .* cannot be|, )"
)
_ARGUMENT = re.compile(rf"\b(?<![.-])({'|'.join(_OPTIONS)}|inputs)=")
_QUOTED = re.compile(r"(?:['\"]|--\w+ )$")
_SHAPE = re.compile(r'"([^"]*)": \(min (\([^()]*\)|values), opt [^;]*?, max (?:\2)\)')


def in_options(message: str) -> str:
    """Replace the package's arguments in a message by command-line options."""
    if message.startswith("--"):  # a command's own message
        return message
    message = _CONFIG.sub(r"\1", message)
    message = _FIRST.sub(lambda match: f"{_OPTIONS[match[1]]}: ", message)
    message = _FIELD.sub(lambda match: _OPTIONS[match[1]], message)
    message = _SAMPLES.sub("--inputs", message)
    return "".join(_parts(message))


def _parts(message: str) -> Iterator[str]:
    end = 0
    for match in _ARGUMENT.finditer(message):
        if match.start() < end or _QUOTED.search(message, 0, match.start()):
            continue  # within the value of another option, or in the user's own text
        yield message[end : match.start()]
        text, end = _with_value(_OPTIONS.get(match[1], "--inputs"), message, match.end())
        yield text
    yield message[end:]


def _with_value(option: str, message: str, start: int) -> tuple[str, int]:
    """Return an option with the value at ``start``, and where the value ends."""
    rest = message[start:]
    if rest.startswith("{"):
        end = _closing(rest)
        if option == "--shapes" and (shapes := _SHAPE.findall(rest[:end])):
            parts = (
                f"{option} {name}=MIN:OPT:MAX, each {'a shape ' * form.startswith('(')}{form}"
                for name, form in shapes
            )
            return "; ".join(parts), start + end
        return _entries(option, rest[:end]), start + end
    if listed := re.match(r"\[[^\[\]]*\]", rest):
        return f"{option} {'VALUE' if '...' in listed[0] else listed[0]}", start + listed.end()
    if quoted := re.match(r"\"[^\"]*\"|'[^']*'", rest):
        return f"{option} {quoted[0][1:-1]}", start + quoted.end()
    if plain := re.match(r"\d+\.\d+|\w+", rest):
        value = {"True": "", "None": " none"}.get(plain[0], f" {plain[0]}")
        return f"{option}{value}", start + plain.end()
    return option, start


def _closing(text: str) -> int:
    """Return the end of the braces that the text begins with."""
    depth = 0
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return index + 1
    return len(text)


def _entries(option: str, literal: str) -> str:
    try:
        entries: Any = ast.literal_eval(literal)
        return " ".join(
            f"{option} " + shlex.quote(f"{name}={_value(value)}") for name, value in entries.items()
        )
    except (ValueError, SyntaxError, AttributeError):
        return f"{option} name=VALUE"


def _value(value: Any) -> str:
    """Format a value as JSON without spaces."""
    return re.sub(r"\s", "", str(value)).replace("True", "true").replace("False", "false")


class LogFormatter(logging.Formatter):
    """Formats log records for a terminal; warnings look like a command's own."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        message = _terminal.message(in_options(super().format(record)))
        if record.levelno >= logging.WARNING:
            return f"{record.levelname.lower()}: {message}"
        return f"{record.name}: {record.levelname}: {message}"


def show_logs() -> None:
    """Write fasttrt's log to standard error: warnings, and more if a command lowers the level."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(handlers=[handler])
