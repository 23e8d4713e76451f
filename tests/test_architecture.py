"""Who may know whom: dependencies run one way, and nothing is linked that is bound at run time."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import fasttrt
from fasttrt import _core

ROOT = Path(__file__).parent.parent
CPP = ROOT / "cpp"

# What each folder may include, besides itself.
LAYERS = {
    "common": set[str](),
    "cuda": {"common"},
    "nvinfer": {"common", "cuda"},
    "engine": {"common", "cuda", "nvinfer"},
    "serving": {"common", "cuda", "nvinfer", "engine"},
    "bindings": {"common", "cuda", "nvinfer", "engine", "serving"},
}
pytestmark = pytest.mark.skipif(not CPP.is_dir(), reason="the sources are not here")


def includes(folder: str) -> list[tuple[str, str]]:
    """(file, what it includes) of all sources of a folder; vendor checks include the vendor."""
    found = []
    for path in sorted((CPP / folder).rglob("*.[chi]*")):
        for name in re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)', path.read_text(), re.MULTILINE):
            found.append((path.name, name))
    return found


def test_every_folder_has_its_place() -> None:
    assert {path.name for path in CPP.iterdir() if path.is_dir()} == LAYERS.keys()
    assert all(includes(folder) for folder in LAYERS)


@pytest.mark.parametrize("folder", LAYERS)
def test_includes_run_one_way(folder: str) -> None:
    others = LAYERS.keys() - LAYERS[folder] - {folder}
    wrong = [(f, name) for f, name in includes(folder) if name.split("/")[0] in others]
    assert wrong == []


@pytest.mark.parametrize("folder", sorted(LAYERS.keys() - {"bindings"}))
def test_only_bindings_know_python(folder: str) -> None:
    wrong = [
        (f, name)
        for f, name in includes(folder)
        if re.match(r"pybind11|Python\.h|numpy", name, re.IGNORECASE)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", LAYERS)
def test_only_checks_include_the_vendors_headers(folder: str) -> None:
    wrong = [
        (f, name)
        for f, name in includes(folder)
        if re.match(r"Nv\w+\.h|cuda\w*\.h|nvinfer\.h", name)
        and not re.search(r"_check\.cpp$|^abi_compare\.hpp$|^vendor_release\.hpp$", f)
    ]
    assert wrong == []


def test_the_core_names_what_it_calls_of_python_in_one_file() -> None:
    naming = {
        path.name for path in CPP.rglob("*.[ch]pp") if re.search(r'"fasttrt\.\w+', path.read_text())
    }
    assert naming == {"python_function.hpp", "errors.cpp"}
    text = (CPP / "bindings/python_function.hpp").read_text()
    functions = re.findall(r'PythonFunction \w+\{\s*"([\w.]+)",\s*"(\w+)"\}', text)
    assert len(functions) == text.count("const PythonFunction ")
    for module, name in functions:
        assert callable(getattr(importlib.import_module(module), name))


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(
        [*command, _core.__file__], capture_output=True, text=True, check=True
    ).stdout


def test_the_extension_links_nothing_of_the_vendors() -> None:
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-d"))
    assert "libc.so.6" in needed
    assert [name for name in needed if re.search("cuda|nv|tensorrt|python", name)] == []


def test_the_extension_wants_no_symbol_of_the_vendors() -> None:
    undefined = [line.split()[-1] for line in run("nm", "-D", "--undefined-only").splitlines()]
    assert any(name.startswith("dlopen") for name in undefined)
    vendors = re.compile(r"^(cu[A-Z]|cuda|nv|createInfer|createNv|getInfer|getPlugin|_ZN\d*nv)")
    assert [name for name in undefined if vendors.match(name)] == []


def test_the_extension_shows_no_function_but_its_first() -> None:
    shown = [line.split()[-1] for line in run("nm", "-D", "--defined-only").splitlines()]
    ours = [name for name in shown if name.startswith(("_ZN7fasttrt", "_ZNK7fasttrt", "PyInit"))]
    assert ours == ["PyInit__core"]


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert fasttrt.__version__ == version("fasttrt")
