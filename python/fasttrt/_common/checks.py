"""What options are checked with: each message names the option, what was expected and what came."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from fasttrt.errors import InputError, OutOfMemoryError

_MOST_SHOWN = 200  # characters of a value


def refuse(name: str, expected: object, got: object) -> NoReturn:
    """Say that an option does not fit.

    Raises:
        InputError: always.
    """
    raise InputError(f"{name}: expected {expected}, got {shown(got)}")


def shown(value: object) -> str:
    """A value in a message: not too long, whatever it makes of it itself."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


@contextmanager
def host_memory(what: str) -> Iterator[None]:
    """For work that allocates on a caller's behalf.

    Args:
        what: what it is for, for the message.

    Raises:
        OutOfMemoryError: where Python, numpy or ONNX Runtime say that there is no memory for it.
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{what}: the host has no memory for it: {error}") from error


def is_one_of(value: object, choices: Sequence[Any]) -> bool:
    """Whether a value is one of some strings, numbers, booleans or None, and of its type."""
    return any(type(value) is type(choice) and value == choice for choice in choices)


def check_mapping(name: str, value: Any, expected: str) -> None:
    """See that an option is a mapping from names, or None.

    Raises:
        InputError: it is not.
    """
    if value is not None and not (
        isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    ):
        refuse(name, expected, value)


def as_path(name: str, value: Any, expected: str = "a path") -> Path:
    """A path of the file system.

    Raises:
        InputError: it is none; it may well name nothing that exists.
    """
    try:
        path = os.fspath(value)
    except TypeError:
        refuse(name, expected, value)
    if not isinstance(path, str) or not path or "\0" in path:
        refuse(name, expected, value)
    return Path(path)


def as_user_path(name: str, value: Any, expected: str = "a path") -> Path:
    """The same, absolute, with ``~`` for a home.

    Raises:
        InputError: it is none, or there is no such home.
    """
    path = as_path(name, value, expected)
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:  # as of pathlib
        raise InputError(f"{name}: expected {expected}, got {shown(value)}: {error}") from None
