"""The stub of the C++ core says what the built extension is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import _core

STUB = Path(fasttrt.__file__).parent / "_core.pyi"
ALLOWED = Path(__file__).parent / "stubtest_allowlist.txt"


def declared() -> dict[str, list[str]]:
    """Parameter names of every function and method in the stub, by qualified name."""
    found = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{node.name}.")
            elif isinstance(node, ast.FunctionDef) and not node.decorator_list:
                arguments = node.args
                named = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
                if arguments.vararg:
                    named.append(f"*{arguments.vararg.arg}")
                elif arguments.kwonlyargs:
                    named.append("*")
                named += [a.arg for a in arguments.kwonlyargs]
                if arguments.kwarg:
                    named.append(f"**{arguments.kwarg.arg}")
                found[prefix + node.name] = named

    visit(ast.parse(STUB.read_text()).body, "")
    return found


def attributes() -> dict[str, set[str]]:
    """Names in the stub: the module's, and each class's."""
    tree = ast.parse(STUB.read_text())
    found: dict[str, set[str]] = {"": set()}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[""].add(node.name)
        if isinstance(node, ast.ClassDef):
            functions = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            variables = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
            found[node.name] = functions | {ast.unparse(target) for target in variables}
    return found


def resolve(name: str) -> Any:
    found: Any = _core
    for part in name.split("."):
        found = getattr(found, part)
    return found


def signature(text: str) -> list[str]:
    """Parameter names in the first line of a pybind11 docstring."""
    match = re.fullmatch(r"\w+\((.*)\) -> .+", text.splitlines()[0])
    assert match, text
    depth, parts = 0, [""]
    for character in match[1]:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.split(":")[0].strip() for part in parts if part.strip()]


def test_the_parser_of_docstrings_parses_them() -> None:
    text = "infer(self: a.B, arrays: Sequence[int, tuple[int, int]], out: X | None) -> list[int]\n"
    assert signature(text) == ["self", "arrays", "out"]
    assert signature("has_log() -> bool") == []


@pytest.mark.parametrize("name", declared())
def test_parameters_are_those_of_the_extension(name: str) -> None:
    if name.endswith("__str__"):  # CPython's own wrapper or pybind11's: one parameter either way
        assert declared()[name] == ["self"]
        return
    assert signature(resolve(name).__doc__) == declared()[name]


def test_names_are_those_of_the_extension() -> None:
    stub = attributes()
    assert {name for name in vars(_core) if not name.startswith("_")} == stub[""]
    inherited = {"__init__", "__new__", "__doc__", "__module__", "__qualname__"}
    for name in stub.keys() - {""}:
        there = {n for n in vars(getattr(_core, name)) if not n.startswith("_pybind11")}
        unwritten = inherited | {"__annotations__", "__dict__", "__weakref__"}
        written = stub[name] - inherited
        assert there - unwritten == written, name


def test_private_constructors_stay_private() -> None:
    for name, found in attributes().items():
        if name and "__init__" not in found:
            with pytest.raises(TypeError, match="No constructor defined"):
                getattr(_core, name)()


def test_stubtest_finds_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest", "fasttrt._core"),
            *("--allowlist", str(ALLOWED), "--ignore-unused-allowlist"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,  # away from files that shadow modules
    )
    assert done.returncode == 0, done.stdout + done.stderr
