"""The command ``fasttrt`` in this process, which takes a fraction of the time of one of its own."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout

import pytest

from fasttrt._cli import main


def run_command(
    *arguments: str | os.PathLike[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line, with more environment variables, and return its output and exit code."""
    out, err = io.StringIO(), io.StringIO()
    logger = logging.getLogger("fasttrt")
    handlers, level = logging.root.handlers[:], logger.level
    words = ["fasttrt", *(os.fspath(argument) for argument in arguments)]
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        warnings.simplefilter("default")
        patch.setattr(sys, "argv", words)
        logging.root.handlers.clear()  # else the command takes them for the program's own
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        finally:
            logging.root.handlers[:] = handlers
            logger.setLevel(level)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
