"""What all commands have in common."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from fasttrt._cli import app

_SERVERS = {"serve"}  # run until they are told to stop, and have a log alone
# What shows no log of TensorRT's.
_TEXT_ALONE = {"doctor", "path", "list", "verify", "clear", "top"}


def commands(group: Any = None) -> Iterator[tuple[str, Any]]:
    top: Any = typer.main.get_command(app)
    for name, command in (group or top).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command)
        else:
            yield name, command


def options(command: Any) -> dict[str, Any]:
    return {name: parameter for parameter in command.params for name in parameter.opts}


def test_every_command_speaks_json_and_has_a_log() -> None:
    found = dict(commands())
    assert len(found) > len(_TEXT_ALONE)
    assert found.keys() >= _TEXT_ALONE | _SERVERS
    for name, command in found.items():
        assert ("--json" in options(command)) == (name not in _SERVERS), name
        assert ("--verbose" in options(command)) == (name not in _TEXT_ALONE), name


@pytest.mark.parametrize("command", ["build", "run", "inspect", "compare", "bench", "tune"])
def test_what_is_no_model_is_a_message_and_a_code(command: str, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    done = subprocess.run(
        [sys.executable, "-m", "fasttrt", command, "m.onnx"],
        capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == (2 if command == "compare" else 1)
    assert done.stderr.startswith(
        "error: not an ONNX model\n  m.onnx cannot be read as an ONNX model"
    )
    assert not done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
