"""TensorRT's messages, forwarded to the logger ``fasttrt.tensorrt``."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fasttrt import _core
from fasttrt._common.log import logger

_tensorrt = logging.getLogger("fasttrt.tensorrt")
# Exceptions quote the errors; the rest would be noise unless the caller installs a handler.
_tensorrt.addHandler(logging.NullHandler())

_trial = threading.local()


class _TrialFilter(logging.Filter):
    """Lowers everything that a thread logs during a trial to the level DEBUG."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record."""
        if not getattr(_trial, "is_on", False):
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


for _logger in (logger, _tensorrt):
    _logger.addFilter(_TrialFilter())

# TensorRT's severities: internal error, error, warning, info, verbose.
_LEVELS = (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def forward() -> None:
    """Forward what TensorRT has logged, on any of its threads, to Python's logging."""
    if _core.has_log():
        for severity, text in _core.take_log():
            _tensorrt.log(_LEVELS[min(severity, len(_LEVELS) - 1)], "%s", text)


@contextmanager
def forwarded() -> Iterator[None]:
    """Collect TensorRT's log up to the level enabled in Python, and forward it at the end."""
    enabled = [i for i, level in enumerate(_LEVELS) if _tensorrt.isEnabledFor(level)]
    _core.set_log_threshold(max(enabled, default=0))
    try:
        yield
    finally:
        forward()


@contextmanager
def trial() -> Iterator[None]:
    """Log what TensorRT says in the block as DEBUG: it is an attempt that may fail."""
    forward()
    _trial.is_on = True
    try:
        yield
    finally:
        forward()
        _trial.is_on = False
