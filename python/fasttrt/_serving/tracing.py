"""Traces of single requests, and their settings: for all models, and for each."""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from fasttrt import _core
from fasttrt._common.checks import as_path
from fasttrt._serving.errors import UnsupportedRequestError
from fasttrt._serving.http import kind
from fasttrt.errors import InputError

_MODE = "chrome"


@dataclass(frozen=True)
class _Settings:
    """What may be set; None for what a model has in common with all others."""

    level: Literal["OFF", "TIMESTAMPS"] | None = None
    rate: int | None = None
    count: int | None = None

    def over(self, other: "_Settings") -> "_Settings":
        """Return these, and the other's where there are none."""
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{name: value for name, value in own.items() if value is not None})


class Tracing:
    """Decides which requests are traced to a file in Chrome's format, which the core writes.

    Settings have Triton's names: ``trace_level`` (``["OFF"]`` or ``["TIMESTAMPS"]``),
    ``trace_rate`` (one of so many requests), ``trace_count`` (how many more; -1: no limit),
    ``log_frequency``, ``trace_file`` and ``trace_mode``, which are fixed.

    Attributes:
        tracer: what writes the file; None: tracing is off.
    """

    def __init__(self, file: str | os.PathLike[str] | None = None, rate: int = 1000) -> None:
        """Trace requests to all models from now on.

        Args:
            file: where to write them, in place of an earlier trace; None: tracing is off.
            rate: of how many requests one is traced.

        Raises:
            InputError: the file cannot be written, or is of another kind.
        """
        self._file = "" if file is None else str(as_path("trace_file", file).absolute())
        self._lock = threading.Lock()
        self._first = _Settings("OFF" if file is None else "TIMESTAMPS", rate, -1)
        self._all = self._first
        self._own: dict[str, _Settings] = {}
        self.tracer = _open(self._file) if self._file else None
        if self.tracer is not None:
            self.tracer.set("", True, rate, -1)

    def close(self) -> None:
        """Write what is left to the file."""
        if self.tracer is not None:
            self.tracer.close()

    def settings(self, model: str = "") -> dict[str, Any]:
        """Return the settings for a model, or, without a name, those for all others."""
        with self._lock:
            self._count()
            found = self._own.get(model, _Settings()).over(self._all)
        return {
            "trace_file": self._file,
            "trace_level": [found.level],
            "trace_rate": str(found.rate),
            "trace_count": str(found.count),
            "log_frequency": "0",
            "trace_mode": _MODE,
        }

    def update(self, changes: Mapping[str, Any], model: str = "") -> None:
        """Change some settings, all or none.

        Args:
            changes: by their names: text, integers, lists of text, or None, which for a model means
                those for all models, and for all models those of the start.
            model: whose they are; empty: those of all models that have none of their own.

        Raises:
            InputError: a name or a value is wrong.
            UnsupportedRequestError: tracing is off, or the setting cannot be changed.
        """
        tracer = self.tracer
        if tracer is None:
            raise UnsupportedRequestError("tracing is off: start the server with --trace-file")
        read = {name: _read(name, value) for name, value in changes.items()}
        read.pop("log_frequency", None)
        values = {name.removeprefix("trace_"): value for name, value in read.items()}
        with self._lock:
            self._count()
            if model:
                own = replace(self._own.get(model, _Settings()), **values)
                self._own.pop(model, None)
                if own != _Settings():
                    self._own[model] = own
            else:
                self._all = replace(self._all, **values).over(self._first)
            self._apply(tracer, model)

    def _count(self) -> None:
        """Take note of what was traced meanwhile."""
        if self.tracer is None:
            return
        self._all = replace(self._all, count=self.tracer.remaining(""))
        for model, own in self._own.items():
            if own.count is not None:
                self._own[model] = replace(own, count=self.tracer.remaining(model))

    def _apply(self, tracer: "_core.Tracer", model: str) -> None:
        """Tell the core."""
        if not model:
            _set(tracer, "", self._all)
        elif model not in self._own:
            tracer.clear(model)
        for name, own in self._own.items():
            if name == model or not model:
                _set(tracer, name, own.over(self._all))


def _open(file: str) -> "_core.Tracer":
    try:
        return _core.Tracer(file)
    except InputError as error:
        raise InputError(f"trace_file: {error}") from None


def _set(tracer: "_core.Tracer", model: str, settings: _Settings) -> None:
    is_on = settings.level == "TIMESTAMPS"
    tracer.set(model, is_on, settings.rate or 1, -1 if settings.count is None else settings.count)


def _read(name: str, value: Any) -> Any:
    """Return a setting's value; None to clear it."""
    if name in ("trace_file", "trace_mode"):
        raise UnsupportedRequestError(f"{name}: it cannot be changed through the network")
    reader = _READERS.get(name)
    if reader is None:
        known = ", ".join(_READERS)
        raise InputError(f"trace settings: expected some of {known}, got '{name}'")
    if value is None or value == []:
        return None
    return reader(name, value)


def _read_level(name: str, value: Any) -> str:
    levels = value if isinstance(value, list) else [value]
    if "TENSORS" in levels:
        raise UnsupportedRequestError(f"{name}: TENSORS is not supported")
    if levels not in (["OFF"], ["TIMESTAMPS"]):
        raise InputError(f'{name}: expected ["OFF"] or ["TIMESTAMPS"], got {_shown(value)}')
    return str(levels[0])


def _read_integer(least: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        item = value[0] if isinstance(value, list) and len(value) == 1 else value
        text = str(item) if type(item) in (int, str) else ""
        if not (text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 19):
            raise InputError(f"{name}: expected an integer >= {least}, got {_shown(value)}")
        if int(text) < least:
            raise InputError(f"{name}: expected an integer >= {least}, got {text}")
        return int(text)

    return read


def _read_frequency(name: str, value: Any) -> None:
    if _read_integer(0)(name, value):
        raise UnsupportedRequestError(f"{name}: expected 0, as all traces go to one file")


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "trace_level": _read_level,
    "trace_rate": _read_integer(1),
    "trace_count": _read_integer(-1),
    "log_frequency": _read_frequency,
}


def _shown(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return str(value)[:100]
    return kind(value)
