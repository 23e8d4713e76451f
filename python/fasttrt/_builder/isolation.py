"""Run TensorRT's parser and builder in a separate process, which may crash or hang."""

import builtins
import json
import logging
import mmap
import os
import pickle
import select
import signal
import struct
import subprocess
import time
from collections.abc import Mapping
from typing import Any

from fasttrt import errors
from fasttrt._common.child_process import command, environment
from fasttrt._common.progress import BuildProgress, ProgressCallback
from fasttrt.errors import BuildError, Error, ParseError, ParseIssue

HEADER = struct.Struct("<Q")
_ATTRIBUTES = ("package", "extra")  # of a MissingPackageError
"""The size that precedes a message. Messages are JSON, so nothing in them is executed."""
LOGGERS = ("fasttrt", "fasttrt.tensorrt")
_WAKE_UP_S = 0.5
"""How long a Ctrl-C can go unnoticed."""


def run_isolated(
    job: str,
    arguments: Mapping[str, Any],
    *,
    timeout: float | None = None,
    progress: ProgressCallback = lambda step: None,
) -> tuple[dict[str, Any], memoryview]:
    """Run a job of `isolated_job` in a separate process.

    However this call ends, it ends that process, even on Ctrl-C and exceptions of ``progress``.

    Args:
        job: the job's name.
        arguments: its keyword arguments, which are pickled.
        timeout: the time limit in seconds; None for no limit.
        progress: called with each step of a build.

    Returns:
        The job's result, and the bytes that it produced.

    Raises:
        ParseError: the process crashed or timed out while the model was read and parsed.
        BuildError: it crashed or timed out while the engine was built.
        Exception: the job's own exception.
    """
    made = os.memfd_create("fasttrt-plan")
    reading, writing = os.pipe()
    process = None
    try:
        levels = {name: logging.getLogger(name).getEffectiveLevel() for name in LOGGERS}
        process = subprocess.Popen(
            [*command("_builder.isolated_job", str(writing), str(made))],
            stdin=subprocess.PIPE, env=environment(), pass_fds=(writing, made),
            start_new_session=True,  # so that only this process gets Ctrl-C
        )  # fmt: skip
        os.close(writing)
        writing = -1
        watch = _Watch(process, reading, timeout, progress)
        result = watch.follow(pickle.dumps((job, dict(arguments), levels)))
        size = os.fstat(made).st_size
        data = memoryview(mmap.mmap(made, size, access=mmap.ACCESS_READ) if size else b"")
        return result, data
    finally:
        if process is not None:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        for descriptor in (made, reading, writing):
            if descriptor >= 0:
                os.close(descriptor)


class _Watch:
    """Receive a process's messages until it ends."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        pipe: int,
        timeout: float | None,
        progress: ProgressCallback,
    ) -> None:
        self._process, self._pipe, self._timeout, self._progress = process, pipe, timeout, progress
        self._end = None if timeout is None else time.monotonic() + timeout
        self._phase = ""

    def follow(self, request: bytes) -> dict[str, Any]:
        """Send the request, and return the last message.

        Raises:
            Exception: see `run_isolated`.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request)
            self._process.stdin.close()
        except BrokenPipeError:
            self._fail(self._how_it_ended())
        while True:
            message = self._next()
            kind = message.pop("kind")
            if kind == "log" and message["name"] in LOGGERS:
                logging.getLogger(message["name"]).log(message["level"], "%s", message["text"])
            elif kind == "progress":
                step = BuildProgress(*message["step"])
                self._phase = step.phase
                self._progress(step)
            elif kind == "error":
                raise _exception(message)
            elif kind == "done":
                return message

    def _next(self) -> dict[str, Any]:
        (size,) = HEADER.unpack(self._read(HEADER.size))
        message: dict[str, Any] = json.loads(self._read(size))
        return message

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            if not self._wait():
                self._fail(f"it took longer than {self._timeout:g} s")
            part = os.read(self._pipe, min(size - len(content), 1 << 20))
            if not part:
                self._fail(self._how_it_ended())
            content += part
        return content

    def _wait(self) -> bool:
        """Return whether the pipe can be read before the time limit.

        A signal does not interrupt `select` if it arrives just before it, or in another thread; so
        this wakes up now and then for Python to handle signals.
        """
        while True:
            left = float("inf") if self._end is None else max(self._end - time.monotonic(), 0)
            if select.select([self._pipe], [], [], min(left, _WAKE_UP_S))[0]:
                return True
            if left <= _WAKE_UP_S:
                return False

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"it ended with exit code {code}"
        name = signal.Signals(-code).name
        memory = ", as the system does where memory is short" if name == "SIGKILL" else ""
        return f"it was ended by signal {-code} ({name}){memory}"

    def _fail(self, reason: str) -> None:
        where = "the process that reads and parses the model"
        if not self._phase:
            issue = ParseIssue(-1, "", "", f"{where}: {reason}")
            raise ParseError("TensorRT did not finish parsing the model", (issue,))
        raise BuildError(f'the process that builds the engine, in "{self._phase}": {reason}')


def describe_exception(error: BaseException) -> dict[str, Any]:
    """Convert an exception to JSON values, from which `_exception` restores it."""
    names = ("advice", "code", "call", "issues", "outputs", *_ATTRIBUTES)
    values = {name: value for name, value in vars(error).items() if name in names}
    arguments = [a if isinstance(a, (int, str)) else str(a) for a in error.args]
    if isinstance(error, OSError) and error.filename is not None:
        arguments.append(str(error.filename))
    return {"type": type(error).__name__, "arguments": arguments, "values": values}


def _exception(message: Mapping[str, Any]) -> Exception:
    name, arguments, values = (message[key] for key in ("type", "arguments", "values"))
    kind = getattr(errors, name, None) or getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return Error(f"{name}: {' '.join(map(str, arguments))}")
    if kind is ParseError:
        issues = tuple(ParseIssue(*issue) for issue in values.pop("issues"))
        return _with(ParseError(str(arguments[0]), issues, tuple(values.pop("outputs"))), values)
    if kind is errors.CudaError:
        return errors.CudaError(str(arguments[0]), values["code"], values["call"])
    return _with(kind(*arguments), values)


def _with(error: Exception, values: Mapping[str, Any]) -> Exception:
    for name, value in values.items():
        if name == "advice" or name in _ATTRIBUTES:
            setattr(error, name, value)
    return error
