"""The tree of errors, and what they carry across from C++."""

from __future__ import annotations

import builtins
import errno
import inspect
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import _core, errors
from fasttrt.errors import CudaError, ParseError, ParseIssue
from support.models import mlp


def _classes() -> list[type[Exception]]:
    found = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    return [c for c in found if issubclass(c, Exception)]


def test_there_is_one_tree_and_all_of_it_is_public() -> None:
    names = {
        "Error", "LibraryNotFoundError", "UnsupportedLibraryError", "ParseError", "BuildError",
        "EngineLoadError", "InputError", "FileError", "MissingFileError", "CudaError",
        "OutOfMemoryError", "QueueFullError", "DeadlineError", "MissingPackageError",
    }  # fmt: skip
    assert {c.__name__ for c in _classes()} == names
    for found in _classes():
        assert issubclass(found, fasttrt.Error)
        assert getattr(fasttrt, found.__name__) is found
        assert found.__name__ in fasttrt.__all__


def test_errors_are_also_what_python_would_raise() -> None:
    assert issubclass(fasttrt.InputError, ValueError)
    assert issubclass(fasttrt.MissingFileError, FileNotFoundError)
    assert issubclass(fasttrt.OutOfMemoryError, MemoryError)
    assert issubclass(fasttrt.DeadlineError, TimeoutError)


def test_the_tree_is_drawn_as_it_is() -> None:
    assert errors.__doc__ is not None
    drawn = re.findall(
        r"^    ([│ ├└─]+)(\w*Error)(?: \(also an? (\w+)\))?$", errors.__doc__, re.MULTILINE
    )
    assert {name for _, name, _ in drawn} == {c.__name__ for c in _classes()}
    above: dict[int, type[Exception]] = {0: Exception}
    for indent, name, python in drawn:
        found = getattr(errors, name)
        depth = len(indent) // 4
        assert above[depth - 1] in found.__bases__
        if python:
            assert issubclass(found, getattr(builtins, python))
        above[depth] = found


def open_on_cpu(model: Any) -> None:
    fasttrt.Engine(model, device="cpu")


def refit(model: Any) -> None:
    with fasttrt.Engine(mlp().proto, device="cpu") as engine:
        engine.refit(model)


READERS: dict[str, Callable[[Any], Any]] = {
    "Engine": fasttrt.Engine,
    "Engine on the CPU": open_on_cpu,
    "refit": refit,
    "build": fasttrt.build,
    "compare": fasttrt.compare,
    "quantize": lambda model: fasttrt.quantize(model, [np.ones(3, np.float32)]),
    "Plan.load": fasttrt.Plan.load,
    "load_config": fasttrt.load_config,
    "data of quantize": lambda data: fasttrt.quantize(mlp().proto, data, library=None),
    "inputs of compare": lambda inputs: fasttrt.compare(mlp().proto, inputs, device="cpu"),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "Plan.save": lambda path: fasttrt.Plan(b"ftrt", {}).save(path),
    "library": fasttrt.library,
    **{f"cache.{n}": getattr(fasttrt.cache, n) for n in ("entries", "size", "verify", "clear")},
}


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_an_error_of_fasttrt_and_of_python(name: str, tmp_path: Path) -> None:
    file = str(tmp_path / "nope.npy")
    with pytest.raises(fasttrt.MissingFileError) as caught:
        READERS[name](file)
    assert str(caught.value) == f"no such file: {file!r}"
    assert (caught.value.filename, caught.value.errno) == (file, errno.ENOENT)
    assert isinstance(caught.value, fasttrt.FileError)


def test_a_missing_library_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(fasttrt.LibraryNotFoundError, match="nope"):
        fasttrt.library(tmp_path / "nope.so")


@pytest.mark.parametrize("value", [5, 2.5, object()])
@pytest.mark.parametrize("name", [*READERS, *OTHERS])
def test_a_value_of_the_wrong_type_is_an_input_error(name: str, value: object) -> None:
    with pytest.raises(fasttrt.InputError):
        (READERS | OTHERS)[name](value)


@pytest.mark.parametrize(
    "function", [fasttrt.Engine, fasttrt.build, fasttrt.library, fasttrt.BuildConfig]
)
def test_an_argument_that_does_not_exist_is_a_type_error(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="presicion"):
        function(presicion="fp16")


def test_a_file_that_may_not_be_read_is_the_systems_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "m.onnx")

    (tmp_path / "m.onnx").write_bytes(mlp().proto.SerializeToString())
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"m\.onnx"):
        open_on_cpu(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("issue", "line"),
    [
        (ParseIssue(3, "conv", "Conv", "no"), "node 3 'conv' (Conv): no"),
        (ParseIssue(3, "", "Conv", "no"), "node 3 (Conv): no"),
        (ParseIssue(0, "", "", "no"), "node 0: no"),
        (ParseIssue(-1, "", "", "no model"), "no model"),
    ],
)
def test_an_issue_is_a_line(issue: ParseIssue, line: str) -> None:
    assert str(issue) == line


def test_a_parse_error_lists_its_issues() -> None:
    error = ParseError("it failed", (ParseIssue(0, "a", "A", "x"), ParseIssue(2, "c", "C", "y")))
    assert str(error) == "it failed\n  node 0 'a' (A): x\n  node 2 'c' (C): y"
    assert str(ParseError("it failed")) == "it failed"


def test_errors_survive_being_sent_to_another_process() -> None:
    sent = [
        ParseError("it failed", (ParseIssue(0, "a", "A", "x"),)),
        CudaError("no", 100, "cuInit"),
        fasttrt.InputError("x: expected y, got z"),
        fasttrt.MissingFileError(errno.ENOENT, "No such file or directory", "m.onnx"),
    ]
    for error in sent:
        got = pickle.loads(pickle.dumps(error))
        assert type(got) is type(error)
        assert str(got) == str(error)
        assert vars(got) == vars(error)


def test_a_cuda_error_names_the_call_and_its_code(no_gpu: str) -> None:
    with pytest.raises(CudaError) as caught:
        _core.device_info(0)
    assert str(caught.value) == no_gpu
    assert "driver" in no_gpu
    assert caught.value.call
    assert isinstance(caught.value.code, int)


def test_cpp_errors_become_the_classes_here() -> None:
    with pytest.raises(fasttrt.LibraryNotFoundError) as caught:
        _core.find_library("/nowhere", "", [], (0, 0))
    assert type(caught.value) is fasttrt.LibraryNotFoundError


def test_wrong_types_are_type_errors() -> None:
    with pytest.raises(TypeError):
        _core.find_library(5, "", [], (0, 0))  # type: ignore[arg-type]
