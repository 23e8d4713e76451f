"""``fasttrt doctor`` on machines with and without what it looks for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import fasttrt
from fasttrt._cli import app
from fasttrt._cli.doctor import Report, _advice, try_out
from support.process import python_output
from support.shared_objects import claim_version, compile_library, place


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["doctor", *arguments])


def test_a_machine_with_tensorrt_and_no_gpu(rtx: fasttrt.LibraryInfo, no_gpu: str) -> None:
    done = run()
    assert done.exit_code == 1  # no engine runs
    assert f"rtx       {rtx.version} (v11), used; can parse, build" in done.output
    assert str(rtx.path) in done.output
    assert no_gpu in done.output
    assert "self-test built: a plan of" in done.output
    assert "onnxruntime" in done.output
    assert "without a GPU, TensorRT-RTX is preferred" in done.output
    assert done.output.count(no_gpu) == 1
    assert done.output.endswith("no engine runs here\n")


def test_json_holds_the_same(rtx: fasttrt.LibraryInfo, no_gpu: str) -> None:
    report = json.loads(run("--json").stdout)
    (found,) = (each for each in report["libraries"] if each["family"] == "rtx")
    assert found["version"] == rtx.version
    assert found["path"] == str(rtx.path)
    assert found["used"] is found["can_build"] is True
    assert found["can_run"] is report["can_run"] is False
    assert report["driver"] == no_gpu
    assert report["gpus"] == []
    assert report["self_test"]["result"] == "built"


def test_a_machine_with_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_gpu: str
) -> None:
    monkeypatch.setenv("FASTTRT_LIBRARY", str(tmp_path))
    done = run()
    assert done.exit_code == 1
    assert str(tmp_path) in done.output  # what was tried
    assert f"FASTTRT_LIBRARY is {tmp_path}, which has no usable library" in done.output
    assert "self-test" not in done.output
    report = json.loads(run("--json").stdout)
    assert "pip install 'tensorrt" not in str(report["advice"])  # which would not be looked at
    for found in report["libraries"]:  # elsewhere
        assert found["used"] is False
        assert "so nothing else is tried" in found["why"]


@pytest.mark.parametrize("has_gpu", [False, True])
@pytest.mark.parametrize("packages", [{}, {"onnxruntime": "1.30.0"}])
def test_the_advice_fits_what_is_there(
    has_gpu: bool, packages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTTRT_LIBRARY", raising=False)
    report = Report(packages=packages, gpus=[{"name": "H200"}] if has_gpu else [])
    advice = "\n".join(_advice(report, None))
    assert ("pip install onnxruntime" in advice) == (not packages)
    assert ("no usable GPU" in advice) == (not has_gpu)
    assert "no usable TensorRT: pip install" in advice
    rtx = {
        "family": "rtx", "version": "1.6.1", "problem": "", "can_build": True, "can_run": has_gpu,
    }  # fmt: skip
    assert "TensorRT" not in "\n".join(_advice(report, rtx))
    monkeypatch.setenv("FASTTRT_LIBRARY", "/lost")
    report.libraries = [rtx]
    advice = "\n".join(_advice(report, None))
    assert "FASTTRT_LIBRARY is /lost, which has no usable library" in advice
    assert "unset it to use rtx 1.6.1" in advice
    assert "pip install 'tensorrt" not in advice


def listed(*folders: Path, **environment: Any) -> list[dict[str, Any]]:
    """The libraries, with these folders on the loader's search path."""
    code = """
        import json
        from fasttrt._cli.doctor import examine
        print(json.dumps(examine().libraries))
    """
    path = os.pathsep.join(map(str, folders))
    found: list[dict[str, Any]] = json.loads(
        python_output(code, LD_LIBRARY_PATH=path, **environment)
    )
    return found


def test_every_library_is_listed_with_the_reason(
    rtx: fasttrt.LibraryInfo, tmp_path: Path, no_gpu: str
) -> None:
    """Two of one family as well, which must not meet in one process."""
    other = claim_version(tmp_path, "libtensorrt_rtx.so.1", 10799)
    tensorrt = claim_version(tmp_path, "libnvinfer.so.10", 101600)
    lean = claim_version(tmp_path / "lean", "libnvinfer_lean.so.11", 110400)
    found = {each["path"]: each for each in listed(tmp_path, lean.parent)}
    about = {path: (each["version"], each["used"], each["why"]) for path, each in found.items()}
    why = "without a GPU, TensorRT-RTX is preferred, as only it can build then"
    assert about[str(rtx.path)] == (rtx.version, True, why)
    assert about[str(other)] == ("1.7.99", False, f"{rtx.path} is found before it")
    assert about[str(tensorrt)] == ("10.16.0", False, f"{rtx} is preferred")
    assert about[str(lean)] == ("11.4.0", False, f"{rtx} is preferred")
    assert [each["used"] for each in found.values()] == [True, *[False] * (len(found) - 1)]

    in_place = listed(lean.parent, FASTTRT_LIBRARY=str(tmp_path))
    assert [(each["path"], each["why"]) for each in in_place[:2]] == [
        (str(other), f"FASTTRT_LIBRARY is {tmp_path}"),
        (str(tensorrt), "rtx 1.7.99 is preferred"),
    ]
    assert {str(rtx.path), str(lean)} <= {each["path"] for each in in_place[2:]}
    for each in in_place[2:]:
        assert each["why"] == f"FASTTRT_LIBRARY is {tmp_path}, so nothing else is tried"


def test_releases_side_by_side(vendor_library: Callable[[str], Path], no_gpu: str) -> None:
    folders = [vendor_library(name) for name in ("rtx-1.7", "lean-10", "lean-11")]
    found = listed(*folders, FASTTRT_LIBRARY=str(vendor_library("rtx-1.6")))
    assert [found[0]["version"][:3], found[0]["used"], found[0]["can_build"]] == ["1.6", True, True]
    versions = {each["version"].rpartition(".")[0] for each in found}
    assert {"1.6", "1.7", "10.16", "11.4"} <= versions
    for each in found:
        assert each["can_build"] == (each["family"] == "rtx")


def test_what_cannot_be_used_is_listed_with_the_reason(
    rtx: fasttrt.LibraryInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim_version(tmp_path, "libnvinfer.so.8", 8401)
    code = "#include <stdlib.h>\nint getInferLibVersion() { abort(); }"
    compile_library(tmp_path / "libnvinfer.so.10", code)
    place(rtx.path, tmp_path)
    monkeypatch.setenv("FASTTRT_LIBRARY", str(tmp_path / rtx.path.name))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    report = json.loads(run("--json", "--no-self-test").stdout)
    assert report["libraries"][0]["used"] is True
    unusable = "\n".join(report["unusable"])
    assert "libnvinfer.so.8: TensorRT 8.4.1" in unusable
    assert "libnvinfer.so.10: the process ended with signal 6" in unusable
    assert not report["not_found"]
    monkeypatch.setenv("FASTTRT_LIBRARY", str(tmp_path / "libnvinfer.so.10"))
    done = run()
    assert done.exit_code == 1
    assert "TensorRT  the process ended with signal 6" in done.output


def test_without_the_self_test(rtx: fasttrt.LibraryInfo) -> None:
    assert "self-test" not in run("--no-self-test").output


def test_a_failed_self_test_says_why(rtx: fasttrt.LibraryInfo, tmp_path: Path) -> None:
    done = run("--library", str(tmp_path))
    assert done.exit_code == 1
    assert "self-test failed: " in done.output
    assert str(tmp_path) in done.output


def test_nothing_takes_doctor_down(tmp_path: Path) -> None:
    code = "#include <stdlib.h>\nint getInferLibVersion() { abort(); }"
    library = compile_library(tmp_path / "libtensorrt_rtx.so.1", code)
    result = try_out(str(library))
    assert result["result"] == "failed"
    assert result["detail"].startswith("the process ended with signal 6")
