"""Python in a process of its own: for what must not be in this one, or may end it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from support.randomness import child_environment

_TESTS = Path(__file__).parent.parent


def run_python(
    code: str, *arguments: str | os.PathLike[str], timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run code with every warning an error; it can import ``support``.

    FASTTRT_LIBRARY is not handed down unless given.
    """
    inherited = {name: text for name, text in os.environ.items() if name != "FASTTRT_LIBRARY"}
    path = os.pathsep.join(filter(None, [str(_TESTS), inherited.get("PYTHONPATH", "")]))
    return subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            textwrap.dedent(code),
            *(os.fspath(a) for a in arguments),
        ],
        env=inherited | child_environment() | {"PYTHONPATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def python_output(
    code: str, *arguments: str | os.PathLike[str], timeout: float = 120, **environment: str
) -> str:
    """What code prints; it has to end well."""
    done = run_python(code, *arguments, timeout=timeout, **environment)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.rstrip("\n")
