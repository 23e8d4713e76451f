"""Which library is found and chosen, and why others are refused.

What loads a library that is not the installed one runs in a process of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from fasttrt import _core
from support.process import python_output, run_python
from support.shared_objects import claim_version, compile_library, place

VendorLibrary = Callable[[str], Path]
RTX = "libtensorrt_rtx.so.1"
RTX_PARSER = "libtensorrt_onnxparser_rtx.so.1"


def look(choice: str | os.PathLike[str] = "auto", **environment: Any) -> dict[str, Any]:
    """`fasttrt.library` in another process: its fields, or the error."""
    code = """
        import dataclasses, json, sys, fasttrt
        try:
            found = dataclasses.asdict(fasttrt.library(sys.argv[1]))
        except fasttrt.Error as error:
            found = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(found, default=str))
    """
    found: dict[str, Any] = json.loads(python_output(code, choice, **environment))
    return found


def find(
    packages: list[Path], capability: tuple[int, int] = (0, 0), **environment: Any
) -> dict[str, str]:
    """The core's choice among folders of packages, for a GPU's compute capability."""
    code = """
        import json, sys
        from fasttrt import _core
        *folders, major, minor = sys.argv[1:]
        found = _core.find_library("auto", "", folders, (int(major), int(minor)))
        print(json.dumps([found.family, found.version, found.path]))
    """
    family, version, path = json.loads(
        python_output(code, *packages, *map(str, capability), **environment)
    )
    return {"family": family, "version": version, "path": path}


# The installed library


def test_what_is_installed_is_described(rtx: fasttrt.LibraryInfo) -> None:
    assert (rtx.family, rtx.generation) == ("rtx", "v11")
    major, minor, _ = map(int, rtx.version.split("."))
    assert (major, minor) >= (1, 5)
    assert str(rtx) == f"rtx {rtx.version}"
    assert rtx.path.is_file()
    assert rtx.path.name == RTX
    assert rtx.parser_path == rtx.path.with_name(RTX_PARSER)
    assert rtx.can_parse
    assert rtx.can_build


def test_without_a_gpu_it_builds_and_does_not_run(rtx: fasttrt.LibraryInfo, no_gpu: str) -> None:
    assert not rtx.can_run
    assert rtx.problem == no_gpu


def test_auto_finds_the_installed_package(rtx: fasttrt.LibraryInfo, no_gpu: str) -> None:
    assert fasttrt.library() == fasttrt.library("auto") == rtx


@pytest.mark.parametrize("kind", ["file", "folder", "text"])
def test_a_path_may_be_chosen(rtx: fasttrt.LibraryInfo, kind: str) -> None:
    choices: dict[str, str | Path] = {"file": rtx.path, "folder": rtx.path.parent}
    choice = choices.get(kind, str(rtx.path))
    assert fasttrt.library(choice) == rtx


def test_a_link_finds_the_parser_beside_what_it_points_to(
    rtx: fasttrt.LibraryInfo, tmp_path: Path
) -> None:
    (tmp_path / RTX).symlink_to(rtx.path)
    assert fasttrt.library(tmp_path) == rtx


@pytest.mark.parametrize("choice", [".", "./" + RTX, RTX])
def test_a_path_may_be_relative(rtx: fasttrt.LibraryInfo, tmp_path: Path, choice: str) -> None:
    place(rtx.path, tmp_path)
    code = """
        import os, sys, fasttrt
        os.chdir(sys.argv[1])
        print(fasttrt.library(sys.argv[2]).path)
    """
    assert python_output(code, tmp_path, choice) == str(tmp_path / RTX)


# $FASTTRT_LIBRARY and the order of the search


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_environment_names_a_file_or_a_folder(rtx: fasttrt.LibraryInfo, kind: str) -> None:
    place = rtx.path if kind == "file" else rtx.path.parent
    assert look(FASTTRT_LIBRARY=str(place))["path"] == str(rtx.path)


def test_nothing_else_is_tried_when_the_environment_names_one(
    rtx: fasttrt.LibraryInfo, tmp_path: Path
) -> None:
    found = look(FASTTRT_LIBRARY=str(tmp_path))
    assert found["error"] == "LibraryNotFoundError"
    tried = found["text"].splitlines()[1:]
    assert tried
    assert all(line.strip().startswith(str(tmp_path)) for line in tried)


def test_a_chosen_path_beats_the_environment(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    assert look(rtx.path, FASTTRT_LIBRARY=str(tmp_path))["path"] == str(rtx.path)


def test_a_chosen_family_is_looked_for_in_the_environments_place(
    rtx: fasttrt.LibraryInfo, tmp_path: Path
) -> None:
    claim_version(tmp_path, "libnvinfer.so.10", 101600)
    place(rtx.path, tmp_path)
    environment = {"FASTTRT_LIBRARY": str(tmp_path)}
    assert look("rtx", **environment)["family"] == "rtx"
    assert look("tensorrt", **environment)["version"] == "10.16.0"
    assert look("lean", **environment)["error"] == "LibraryNotFoundError"


def test_the_environment_must_name_the_chosen_family(rtx: fasttrt.LibraryInfo) -> None:
    found = look("lean", FASTTRT_LIBRARY=str(rtx.path))
    assert found["error"] == "UnsupportedLibraryError"
    assert f'library="lean" was asked for, but {rtx.path} is TensorRT-RTX' in found["text"]


def test_the_newest_of_a_family_comes_first(tmp_path: Path) -> None:
    claim_version(tmp_path, "libnvinfer.so.8", 8601)
    claim_version(tmp_path, "libnvinfer.so.11", 110100)
    claim_version(tmp_path, "libnvinfer.so.10", 101600)
    assert find([tmp_path])["version"] == "11.1.0"


def test_the_first_package_comes_first(tmp_path: Path) -> None:
    claim_version(tmp_path / "a", "libnvinfer.so.10", 100700)
    claim_version(tmp_path / "b", "libnvinfer.so.11", 110100)
    assert find([tmp_path / "a", tmp_path / "b"])["version"] == "10.7.0"


def test_packages_come_before_the_loaders_path(tmp_path: Path) -> None:
    claim_version(tmp_path / "package", "libnvinfer.so.10", 100700)
    claim_version(tmp_path / "system", "libnvinfer.so.11", 110100)
    system = str(tmp_path / "system")
    assert find([tmp_path / "package"], LD_LIBRARY_PATH=system)["version"] == "10.7.0"
    assert find([], LD_LIBRARY_PATH=system) == {
        "family": "tensorrt",
        "version": "11.1.0",
        "path": str(tmp_path / "system" / "libnvinfer.so.11"),
    }


def test_without_a_gpu_rtx_comes_before_tensorrt_before_lean(tmp_path: Path) -> None:
    claim_version(tmp_path, "libnvinfer_lean.so.11", 110100)
    assert find([tmp_path])["family"] == "lean"
    claim_version(tmp_path, "libnvinfer.so.11", 110100)
    assert find([tmp_path])["family"] == "tensorrt"
    claim_version(tmp_path, RTX, 10601)
    assert find([tmp_path])["family"] == "rtx"


def test_with_a_gpu_tensorrt_comes_before_rtx_unless_it_cannot_run_there(tmp_path: Path) -> None:
    claim_version(tmp_path, RTX, 10601)
    claim_version(tmp_path, "libnvinfer.so.8", 8601)
    assert find([tmp_path], (9, 0))["family"] == "tensorrt"
    assert find([tmp_path], (12, 0))["family"] == "rtx"


def test_a_library_that_cannot_run_on_the_gpu_is_better_than_none(tmp_path: Path) -> None:
    claim_version(tmp_path, RTX, 10701)
    assert find([tmp_path], (9, 0))["version"] == "1.7.1"
    claim_version(tmp_path, "libnvinfer_lean.so.11", 110100)
    assert find([tmp_path], (9, 0))["family"] == "lean"


def test_rtx_tells_which_gpus_it_runs_on(rtx: fasttrt.LibraryInfo) -> None:
    library = _core.find_library(str(rtx.path), "", [], (0, 0))
    assert library.gpu_problem(12, 0) == library.gpu_problem(8, 6) == ""
    assert "7.0; it needs 7.5" in library.gpu_problem(7, 0)


# Real releases of each generation

RELEASES = {
    "rtx-1.6": ("rtx", "1.6.1", "v11"),
    "rtx-1.7": ("rtx", "1.7.1", "v11"),
    "lean-11": ("lean", "11.4.0", "v11"),
    "lean-10": ("lean", "10.16.1", "v10"),
}


@pytest.mark.parametrize("name", RELEASES)
def test_a_release_is_recognised(name: str, vendor_library: VendorLibrary) -> None:
    folder = vendor_library(name)
    found = look(FASTTRT_LIBRARY=str(folder))
    assert (found["family"], found["version"], found["generation"]) == RELEASES[name]
    assert Path(found["path"]).parent == folder
    is_rtx = found["family"] == "rtx"
    assert found["parser_path"] == (str(folder / RTX_PARSER) if is_rtx else None)
    assert found["can_parse"] is found["can_build"] is is_rtx


@pytest.mark.parametrize("name", ["rtx-1.6", "rtx-1.7"])
def test_rtx_builds(name: str, vendor_library: VendorLibrary) -> None:
    code = """
        import fasttrt
        from support.models import mlp
        plan = fasttrt.build(mlp().proto, shapes={"x": ((1, 16), (4, 16), (9, 16))}, tuned=[4])
        assert len(plan.data) > 5000
        plain = fasttrt.Plan.from_bytes(plan.data)  # whose header says the same
        assert plan.metadata["library"] == plain.metadata["library"]
        print(plan.metadata["library"], plan.metadata["profiles"])
    """
    printed = python_output(code, FASTTRT_LIBRARY=str(vendor_library(name)))
    version = RELEASES[name][1]
    profiles = "[{'x': [[1, 16], [4, 16], [9, 16]]}, {'x': [[4, 16], [4, 16], [4, 16]]}]"
    assert printed == f"{{'family': 'rtx', 'version': '{version}'}} {profiles}"


@pytest.mark.parametrize("name", ["lean-11", "lean-10"])
def test_the_lean_runtime_does_not_build(name: str, vendor_library: VendorLibrary) -> None:
    code = """
        import fasttrt
        from support.models import mlp
        try:
            fasttrt.build(mlp(batch=1).proto)
        except fasttrt.UnsupportedLibraryError as error:
            print(error)
    """
    printed = python_output(code, FASTTRT_LIBRARY=str(vendor_library(name)))
    version = RELEASES[name][1]
    assert printed == f"TensorRT lean runtime {version} cannot build engines; it only runs them"


@pytest.mark.parametrize("name", RELEASES)
def test_without_a_driver_loading_a_plan_is_a_clear_error(
    name: str, vendor_library: VendorLibrary, no_gpu: str
) -> None:
    code = """
        import os, fasttrt
        from fasttrt import _core
        library = _core.find_library("auto", os.environ["FASTTRT_LIBRARY"], [], (0, 0))
        for make in (
            lambda: _core.Engine(library, b"ftrt" + bytes(1000), _core.EngineOptions()),
            lambda: fasttrt.Engine(fasttrt.Plan(b"ftrt" + bytes(1000)), device="cuda"),
            lambda: fasttrt.Engine(fasttrt.Plan(b"ftrt" + bytes(1000)), device="cuda:1"),
        ):
            try:
                make()
            except fasttrt.CudaError as error:
                print(error)
    """
    done = run_python(code, FASTTRT_LIBRARY=str(vendor_library(name)))
    assert done.returncode == 0, done.stderr  # no crash, not even at the end
    assert done.stdout.splitlines() == [no_gpu] * 3
    assert done.stderr == ""


def test_without_a_driver_tensorrt_is_not_asked_for_a_builder(tmp_path: Path, no_gpu: str) -> None:
    """Where the real one crashes, this one aborts."""
    crash = "#include <stdlib.h>\nint getInferLibVersion() { return 8601; }"
    makers = ("createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL")
    crash += "".join(f"\nvoid* {make}(void* l, int v) {{ abort(); }}" for make in makers)
    compile_library(tmp_path / "libnvinfer.so.8", crash)
    entries = "void* createNvOnnxParser_INTERNAL() { return 0; }"
    entries += "\nint getNvOnnxParserVersion() { return 8601; }"
    compile_library(tmp_path / "libnvonnxparser.so.8", entries)
    code = """
        import fasttrt
        from support.models import mlp
        print(fasttrt.library().generation, fasttrt.library().can_build)
        try:
            fasttrt.build(mlp(batch=1).proto)
        except fasttrt.CudaError as error:
            print(error)
    """
    assert python_output(code, FASTTRT_LIBRARY=str(tmp_path)) == f"v8 False\n{no_gpu}"


# What cannot be used


def test_nothing_found_lists_every_path_and_how_to_install(tmp_path: Path) -> None:
    code = """
        import fasttrt
        from fasttrt import _core
        try:
            _core.find_library("auto", "", ["/some/package"], (0, 0))
        except fasttrt.LibraryNotFoundError as error:
            print(error)
    """
    message = python_output(code)
    assert "pip install 'tensorrt-rtx-cu12-libs<1.7'" in message
    assert "FASTTRT_LIBRARY" in message
    tried = {line.strip() for line in message.splitlines()[1:]}
    sonames = {RTX}
    sonames |= {f"libnvinfer.so.{v}" for v in (8, 10, 11)}
    sonames |= {f"libnvinfer_lean.so.{v}" for v in (8, 10, 11)}
    for folder in ("/some/package", "/usr/lib64", "/opt/tensorrt/lib"):
        assert {f"{folder}/{soname}" for soname in sonames} <= tried
    assert sonames <= tried  # by the loader


@pytest.mark.parametrize("choice", ["/nowhere", "/nowhere/libnvinfer.so.10", "TensorRT"])
def test_a_path_that_is_not_there_is_not_found(choice: str) -> None:
    with pytest.raises(fasttrt.LibraryNotFoundError) as caught:
        fasttrt.library(choice)
    assert caught.value.args[0].splitlines()[1:] == [f"  {Path(choice).absolute()}"]


UNUSABLE = {
    "text": "is not a library that can be loaded here",
    "other": "libother.so, which is none of libnvinfer, libnvinfer_lean and libtensorrt_rtx",
    "without version": "has no getInferLibVersion()",
    "too new": "TensorRT 12.0.0 is not supported: fasttrt binds TensorRT 8.6, 10.x and 11.x",
    "too old": "TensorRT 8.5.3 is not supported",
    "old rtx": "TensorRT-RTX 1.4.0 is not supported: ",
    "new rtx": "TensorRT-RTX 2.0.0 is not supported: ",
    "lean too new": "TensorRT lean runtime 12.1.0 is not supported: ",
}


def make_unusable(kind: str, folder: Path) -> Path:
    if kind == "text":
        path = folder / "libnvinfer.so.10"
        path.write_text("not a library")
        return path
    if kind == "other":
        return compile_library(folder / "libother.so", "int other() { return 1; }")
    if kind == "without version":
        return compile_library(folder / "libnvinfer.so.10", "int other() { return 1; }")
    soname, number = {
        "too new": ("libnvinfer.so.12", 120000),
        "too old": ("libnvinfer.so.8", 8503),
        "old rtx": (RTX, 10400),
        "new rtx": ("libtensorrt_rtx.so.2", 20000),
        "lean too new": ("libnvinfer_lean.so.12", 120100),
    }[kind]
    return claim_version(folder, soname, number)


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_used_is_refused_with_the_reason(kind: str, tmp_path: Path) -> None:
    found = look(make_unusable(kind, tmp_path))
    assert found["error"] == "UnsupportedLibraryError"
    assert UNUSABLE[kind] in found["text"]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_refusal_names_the_file(kind: str, tmp_path: Path) -> None:
    path = make_unusable(kind, tmp_path)
    assert str(path) in look(path)["text"]


def test_a_usable_library_is_found_behind_unusable_ones(tmp_path: Path) -> None:
    make_unusable("text", tmp_path)
    claim_version(tmp_path, RTX, 10400)
    claim_version(tmp_path, "libnvinfer.so.8", 8601)
    found = look(FASTTRT_LIBRARY=str(tmp_path))
    assert (found["family"], found["version"]) == ("tensorrt", "8.6.1")


def test_every_unusable_library_is_listed(tmp_path: Path) -> None:
    make_unusable("text", tmp_path)
    claim_version(tmp_path, RTX, 10400)
    found = look(FASTTRT_LIBRARY=str(tmp_path))
    assert found["error"] == "UnsupportedLibraryError"
    assert "libnvinfer.so.10 is not a library" in found["text"]
    assert "TensorRT-RTX 1.4.0" in found["text"]


PARSERS = {
    "text": "no ONNX parser for TensorRT-RTX",
    "without entry points": "is not an ONNX parser",
    "of another name": "and does not match TensorRT-RTX",
}


@pytest.mark.parametrize("kind", PARSERS)
def test_a_parser_that_does_not_fit_is_refused(
    kind: str, rtx: fasttrt.LibraryInfo, tmp_path: Path
) -> None:
    library, parser = place(rtx.path, tmp_path), tmp_path / RTX_PARSER
    if kind == "text":
        parser.write_text("not a library")
    elif kind == "without entry points":
        compile_library(parser, "int other() { return 1; }")
    else:
        entries = "void* createNvOnnxParser_INTERNAL() { return 0; }"
        entries += "\nint getNvOnnxParserVersion() { return 10600; }"
        compile_library(parser, entries, "libtensorrt_onnxparser_rtx.so.2")
    code = """
        import fasttrt
        from support.models import mlp
        info = fasttrt.library()
        print(info.path, info.can_parse, info.can_build)
        try:
            fasttrt.build(mlp(batch=1).proto)
        except fasttrt.UnsupportedLibraryError as error:
            print(error)
    """
    first, *message = python_output(code, FASTTRT_LIBRARY=str(tmp_path)).splitlines()
    assert first == f"{library} False False"
    assert PARSERS[kind] in "\n".join(message)
    assert str(parser) in "\n".join(message)
