"""Run one job in the process of `isolation`, which may crash, and report its result."""

import ctypes
import json
import logging
import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fasttrt._builder.isolation import HEADER, LOGGERS, describe_exception
from fasttrt._common.progress import BuildProgress
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import retransformed
from fasttrt._plan.build_config import BuildConfig

_PR_SET_PDEATHSIG = 1  # of Linux's prctl

Source = tuple[Path | bytes, dict[str, Any]]
"""A model's file or bytes, and the arguments of its changes."""


def source_of(model: OnnxModel) -> Source:
    """Return what `model_of` needs to restore a model.

    Raises:
        InputError: a model in memory is larger than 2 GiB.
    """
    original = model.original
    return original.path or original.to_bytes(), model.arguments


def model_of(source: Source) -> OnnxModel:
    """Read a model, and apply its changes."""
    content, arguments = source
    return retransformed(OnnxModel(content), arguments)


class _Connection:
    def __init__(self, pipe: int, made: int) -> None:
        self._pipe, self._made = pipe, made

    def say(self, kind: str, **values: Any) -> None:
        content = json.dumps({"kind": kind, **values}).encode()
        for part in (HEADER.pack(len(content)), content):
            self._write(self._pipe, part)

    def make(self, data: bytes | memoryview) -> None:
        self._write(self._made, data)

    def progress(self, step: BuildProgress) -> None:
        self.say("progress", step=list(step))

    @staticmethod
    def _write(descriptor: int, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


class _Forwarding(logging.Handler):
    def __init__(self, connection: _Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._connection.say("log", name=record.name, level=record.levelno, text=text)


def _build(connection: _Connection, source: Source, config: BuildConfig, **options: Any) -> None:
    from fasttrt._builder.build import build

    plan = build(model_of(source), config, progress=connection.progress, **options)
    connection.make(plan.data)
    connection.say("done", metadata=plan.metadata)


def _parse(
    connection: _Connection, source: Source, library: str, device: int | None, **options: Any
) -> None:
    from fasttrt._library.discovery import find
    from fasttrt._library.plugins import load
    from fasttrt._library.tensorrt_log import forwarded
    from fasttrt._precision.typed_parse import parse_as_stated

    found = find(library, device)
    load(found, options["plugins"])
    with forwarded():
        builder = parse_as_stated(
            found, device, model_of(source), options["precision"], bool(options["plugins"])
        )
    connection.say("done", layers=builder.layer_count)


_JOBS: dict[str, Callable[..., None]] = {"build": _build, "parse": _parse}


def main() -> None:
    """Run the job that is passed on standard input."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # end with the parent process
    connection = _Connection(*map(int, sys.argv[1:3]))
    job, arguments, levels = pickle.load(sys.stdin.buffer)
    os.dup2(2, 1)  # libraries' output must not mix with a command's
    for name in LOGGERS:
        logging.getLogger(name).setLevel(levels[name])
    forwarding = logging.getLogger("fasttrt")
    forwarding.addHandler(_Forwarding(connection))
    forwarding.propagate = False
    try:
        _JOBS[job](connection, **arguments)
    except Exception as error:
        connection.say("error", **describe_exception(error))


if __name__ == "__main__":
    main()
