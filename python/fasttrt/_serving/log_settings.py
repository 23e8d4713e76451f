"""Which of fasttrt's messages are logged, as clients may set it."""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from fasttrt._common.checks import is_integer
from fasttrt._common.log import logger
from fasttrt._serving.errors import UnsupportedRequestError
from fasttrt._serving.http import kind
from fasttrt.errors import InputError

_FLAGS = {"log_info": logging.INFO, "log_warning": logging.WARNING, "log_error": logging.ERROR}
_VERBOSE = "log_verbose_level"
_FIXED = {"log_file": "", "log_format": "default"}
_NONE = logging.CRITICAL + 1
_LOGGERS = (logger, logging.getLogger("fasttrt.tensorrt"))
"""A filter of the first one does not see what goes to the second."""


class LogSettings:
    """The levels of the logger ``fasttrt``, by Triton's names; where it writes is the program's.

    Nothing changes until somebody sets something; `close` undoes it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._filter = _Levels()
        self._level_before: int | None = None

    def settings(self) -> dict[str, Any]:
        """Return all settings."""
        with self._lock:
            return dict(self._settings())

    def update(self, changes: Mapping[str, Any]) -> None:
        """Change some settings, all or none.

        Args:
            changes: ``log_info``, ``log_warning``, ``log_error`` (bool), and ``log_verbose_level``
                (int; from 1 on messages of the level DEBUG are logged).

        Raises:
            InputError: a name or a value is wrong.
            UnsupportedRequestError: the setting cannot be changed.
        """
        for name, value in changes.items():
            _check(name, value)
        with self._lock:
            wanted = {**self._settings(), **changes}
            if self._level_before is None:
                self._level_before = logger.level
                for own in _LOGGERS:
                    own.addFilter(self._filter)
            self._filter.verbose_level = wanted[_VERBOSE]
            self._filter.hidden = {level for name, level in _FLAGS.items() if not wanted[name]}
            shown = [level for name, level in _FLAGS.items() if wanted[name]]
            logger.setLevel(logging.DEBUG if wanted[_VERBOSE] else min(shown, default=_NONE))

    def close(self) -> None:
        """Set the logger as it was before."""
        with self._lock:
            if self._level_before is not None:
                for own in _LOGGERS:
                    own.removeFilter(self._filter)
                logger.setLevel(self._level_before)
                self._level_before = None
                self._filter = _Levels()

    def _settings(self) -> dict[str, Any]:
        is_shown = {
            name: logger.isEnabledFor(level) and level not in self._filter.hidden
            for name, level in _FLAGS.items()
        }
        verbose = (self._filter.verbose_level or 1) if logger.isEnabledFor(logging.DEBUG) else 0
        return {"log_file": "", **is_shown, _VERBOSE: verbose, "log_format": "default"}


class _Levels(logging.Filter):
    """Hides the messages of some levels."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[int] = set()
        self.verbose_level = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        return record.levelno not in self.hidden


def _check(name: str, value: Any) -> None:
    if name in _FIXED:
        if name == "log_format" and value == _FIXED[name]:
            return
        raise UnsupportedRequestError(f"{name}: it cannot be changed through the network")
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise InputError(f"{name}: expected true or false, got {kind(value)}")
    elif name == _VERBOSE:
        if not is_integer(value, 0, 2**32 - 1):
            raise InputError(f"{name}: expected an integer >= 0, got {kind(value)}")
    else:
        known = ", ".join((*_FLAGS, _VERBOSE))
        raise InputError(f"log settings: expected some of {known}, got '{name}'")
