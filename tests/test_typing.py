"""What type checkers make of programs that use fasttrt.

The programs are in ``typing/programs``. A line with an error says so: ``# error: code of mypy``.
A few lines of stubs stand for PyTorch, so that the result is the same with and without it.
"""

import inspect
import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt._engine.engine_options import EngineOptions

FOLDER = Path(__file__).parent / "typing"
PROGRAMS = sorted((FOLDER / "programs").glob("*.py"))
SOURCE = Path(fasttrt.__file__).parents[1]


def expected() -> set[tuple[str, int, str]]:
    """Where the programs are wrong: file, line, mypy's code."""
    return {
        (path.name, number, code)
        for path in PROGRAMS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for code in re.findall(r"# error: ([a-z-]+)", line)
    }


def run(*command: str, **environment: str) -> str:
    result = subprocess.run(
        command,
        env=os.environ | environment,
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return result.stdout


def test_mypy_takes_the_good_programs_and_finds_each_mistake(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    path = "stubs" if SOURCE.name == "site-packages" else f"stubs:{SOURCE}"
    output = run(
        *(sys.executable, "-m", "mypy", "--config-file=", "--strict", "--python-version=3.10"),
        *("--follow-imports=silent", "--no-pretty", f"--cache-dir={tmp_path}"),
        *map(str, PROGRAMS),
        MYPYPATH=path,
    )
    found = re.findall(r"^(.+?):(\d+): error: .*\[([a-z-]+)\]$", output, re.MULTILINE)
    assert {(Path(file).name, int(line), code) for file, line, code in found} == expected(), output


@pytest.mark.skipif(find_spec("basedpyright") is None, reason="basedpyright is not installed")
def test_pyright_takes_the_good_programs_and_finds_each_mistake(tmp_path: Path) -> None:
    settings = {
        "include": [str(FOLDER / "programs")],
        "stubPath": str(FOLDER / "stubs"),
        "extraPaths": [str(SOURCE)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.10",
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    output = run(
        *(sys.executable, "-m", "basedpyright", "--outputjson"),
        *("-p", str(tmp_path / "settings.json"), "--pythonpath", sys.executable),
    )
    found = {
        (Path(problem["file"]).name, problem["range"]["start"]["line"] + 1)
        for problem in json.loads(output)["generalDiagnostics"]
        if problem["severity"] == "error"
    }
    assert found == {(file, line) for file, line, _ in expected()}, output


def test_options_that_are_passed_on_are_those_of_the_engine() -> None:
    parameters = list(inspect.signature(fasttrt.Engine).parameters.values())
    keywords = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}

    def text(annotation: Any) -> str:
        return str(getattr(annotation, "__forward_arg__", annotation))

    passed_on = EngineOptions.__annotations__
    assert {n: text(a) for n, a in passed_on.items()} == {n: text(a) for n, a in keywords.items()}
