"""``import fasttrt`` costs next to nothing and touches neither TensorRT nor the GPU."""

from __future__ import annotations

import ast

import pytest

import fasttrt
from support.free_threading import IS_FREE_THREADED
from support.process import python_output

MAX_MODULES = 93


def test_importing_loads_what_every_program_needs() -> None:
    code = """
        import sys, fasttrt
        print([
            name for name, module in sys.modules.items()
            if name.startswith("fasttrt") and not hasattr(module, "__path__")
        ])
    """
    loaded = ast.literal_eval(python_output(code))
    assert len(loaded) <= MAX_MODULES, loaded
    late = (
        "fasttrt._parser.passes",
        "fasttrt._precision.conversion",
        "fasttrt._accuracy",
        "fasttrt._cli",
    )
    assert not [name for name in loaded if name.startswith(late)]


def test_importing_loads_no_library_of_the_vendors() -> None:
    code = """
        from pathlib import Path
        import fasttrt
        maps = Path("/proc/self/maps").read_text().split()
        files = {Path(word).name for word in maps if word.startswith("/")}
        assert any(name.startswith("_core.") for name in files), files
        vendors = ("libcuda", "libnv", "libtensorrt", "libonnxruntime", "onnxruntime")
        print([name for name in files if name.startswith(vendors)])
    """
    assert python_output(code) == "[]"


@pytest.mark.skipif(not IS_FREE_THREADED, reason="Python has a GIL")
def test_importing_leaves_the_gil_off() -> None:
    code = """
        import sys, fasttrt
        import fasttrt._core
        print(sys._is_gil_enabled())
    """
    assert python_output(code) == "False"


def test_importing_leaves_heavy_packages_alone() -> None:
    code = """
        import sys, fasttrt
        heavy = (
            "onnx", "onnxruntime", "onnxscript", "onnx_ir", "rich", "torch", "tensorrt",
            "filelock", "platformdirs", "typer",
        )
        print([n for n in heavy if n in sys.modules])
    """
    assert python_output(code) == "[]"


def test_importing_starts_no_thread() -> None:
    code = """
        import os, threading
        import numpy
        before = set(os.listdir("/proc/self/task"))
        import fasttrt
        print(set(os.listdir("/proc/self/task")) - before, threading.active_count())
    """
    assert python_output(code) == "set() 1"


def test_importing_says_nothing() -> None:
    assert python_output("import fasttrt") == ""


def test_what_is_public_is_there() -> None:
    assert sorted(fasttrt.__all__) == sorted(set(fasttrt.__all__))
    assert all(hasattr(fasttrt, name) for name in fasttrt.__all__)
