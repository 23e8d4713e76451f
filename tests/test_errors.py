"""The tree of errors, and what they carry across from C++."""

from __future__ import annotations

import inspect
import pickle

import pytest

import fasttrt
from fasttrt import _core, errors
from fasttrt.errors import CudaError, ParseError, ParseIssue


def _classes() -> list[type[Exception]]:
    found = [c for _, c in inspect.getmembers(errors, inspect.isclass)]
    return [c for c in found if issubclass(c, Exception)]


def test_there_is_one_tree_and_all_of_it_is_public() -> None:
    names = {
        "Error", "LibraryNotFoundError", "UnsupportedLibraryError", "ParseError", "BuildError",
        "EngineLoadError", "InputError", "FileError", "CudaError", "OutOfMemoryError",
    }  # fmt: skip
    assert {c.__name__ for c in _classes()} == names
    for found in _classes():
        assert issubclass(found, fasttrt.Error)
        assert getattr(fasttrt, found.__name__) is found
        assert found.__name__ in fasttrt.__all__


def test_errors_are_also_what_python_would_raise() -> None:
    assert issubclass(fasttrt.InputError, ValueError)
    assert issubclass(fasttrt.OutOfMemoryError, MemoryError)


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
