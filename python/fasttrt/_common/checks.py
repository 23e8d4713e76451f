"""Checks of options: each message names the option, what was expected and what was passed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NoReturn

from fasttrt.errors import InputError, OutOfMemoryError

_MAX_SHOWN = 200  # characters of a value


def refuse(name: str, expected: object, got: object) -> NoReturn:
    """Raise the error for an invalid option.

    Raises:
        InputError: always.
    """
    raise InputError(f"{name}: expected {expected}, got {shown(got)}")


def shown(value: object) -> str:
    """Format a value for a message: shortened, and without failing if its ``repr`` does."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


@contextmanager
def prefixed(prefix: str, instead_of: str = "") -> Iterator[None]:
    """Let errors in the block begin with a prefix, such as the option or file they are about.

    Args:
        prefix: with what separates it, as in ``"engine: "``.
        instead_of: a prefix that errors lose if they have it.

    Raises:
        InputError: the error.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{str(error).removeprefix(instead_of)}") from None


@contextmanager
def host_memory(what: str) -> Iterator[None]:
    """Turn a `MemoryError` in the block into an `OutOfMemoryError` that says what needed memory.

    Args:
        what: what the memory is for, as in ``"the inputs"``.

    Raises:
        OutOfMemoryError: Python, numpy or ONNX Runtime could not allocate.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{what}: not enough host memory: {error}") from error


def is_one_of(value: object, choices: Sequence[Any]) -> bool:
    """Return whether a value equals one of the choices and has its type, so that 1 is not True."""
    return any(type(value) is type(choice) and value == choice for choice in choices)


def is_number(value: object) -> bool:
    """Return whether a value is a real number of Python or numpy, and not a boolean."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_integer(value: object, min_: int, max_: int | None = None) -> bool:
    """Return whether a value is a Python or numpy integer within the limits, and not a boolean."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return min_ <= int(value) and (max_ is None or int(value) <= max_)


def integers(min_: int, max_: int) -> str:
    """Return how an error names the integers within the limits.

    Examples:
        >>> integers(1, 8)
        'an integer from 1 to 8'
    """
    return f"an integer from {min_} to {max_}"


def check_mapping(name: str, value: Any, expected: str) -> None:
    """Check that an option is None or a mapping with strings as keys.

    Raises:
        InputError: it is neither.
    """
    if value is not None and not (
        isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    ):
        refuse(name, expected, value)


def as_path(name: str, value: Any, expected: str = "a path") -> Path:
    """Convert an option to a path, which need not exist.

    Raises:
        InputError: it is not a path.
    """
    try:
        path = os.fspath(value)
    except TypeError:
        refuse(name, expected, value)
    if not isinstance(path, str) or not path or "\0" in path:
        refuse(name, expected, value)
    return Path(path)


def as_user_path(name: str, value: Any, expected: str = "a path") -> Path:
    """Convert an option to an absolute path in which ``~`` is expanded.

    Raises:
        InputError: it is not a path, or the home folder is unknown.
    """
    path = as_path(name, value, expected)
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # pathlib's error for an unknown home folder
        raise InputError(f"{name}: expected {expected}, got {shown(value)}: {error}") from None
