"""``fasttrt doctor``: what is installed, what it can do, and what is missing."""

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from fasttrt import _core, cache
from fasttrt._cli import options as _options
from fasttrt._cli.library_survey import in_process, libraries
from fasttrt._cli.values import check_library
from fasttrt._common.optional_packages import install_command, versions
from fasttrt._library.device import default_device
from fasttrt._version import __version__

_OPTIONAL = ("onnxruntime", "onnxruntime-gpu", "torch", "cupy-cuda12x", "cupy-cuda13x", "jax")
_TENSORRT_RTX = "pip install 'tensorrt-rtx-cu12-libs<1.7'"
_ONNX_RUNTIME = "pip install onnxruntime"


@dataclass
class Report:
    """Everything that doctor reports."""

    system: str = f"Python {platform.python_version()}, {platform.platform()}"
    driver: str = ""
    """The CUDA version that the driver supports, or its problem."""
    gpus: list[dict[str, Any]] = field(default_factory=list)
    libraries: list[dict[str, Any]] = field(default_factory=list)
    """The usable libraries, in the order of the search; ``used`` marks the one that
    ``library="auto"`` chooses, and ``why`` says why it is used or not."""
    unusable: list[str] = field(default_factory=list)
    """Files that are named like a TensorRT library but cannot be used, and why."""
    not_found: str = ""
    """The paths tried, if ``library="auto"`` finds no library."""
    cache: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    """The installed optional packages, with their versions."""
    self_test: dict[str, str] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)
    can_run: bool = False
    """Whether engines can run here on a GPU."""


def doctor(
    library: Annotated[
        str,
        typer.Option(
            help="The TensorRT to test: auto, rtx, tensorrt, lean, or a path.", metavar="LIBRARY"
        ),
    ] = "auto",
    self_test: Annotated[bool, typer.Option(help="Build and run a tiny network.")] = True,
    as_json: _options.AsJson = False,
) -> None:
    """Show what is installed, what it can do, and what is missing.

    Exits with 0 if engines run here, 1 if they do not.
    """
    check_library(library)
    report = examine()
    if not find_spec("onnx"):
        command = install_command("onnx")
        report.advice.append(f"without onnx plans run, and nothing is built: {command}")
    elif self_test and (library != "auto" or not report.not_found):
        report.self_test = try_out(library)
        report.can_run = report.self_test["result"] == "right"
        if report.self_test["result"] == "failed":
            report.advice.append("the self-test failed, see above")
    _options.say(json.dumps(vars(report), indent=2) if as_json else _text(report))
    if not report.can_run:
        raise typer.Exit(1)


def examine() -> Report:
    """Collect everything but the self-test."""
    report = Report(cache=str(cache.path()), packages=versions(*_OPTIONAL))
    device = default_device()
    if device is None:
        report.driver = _core.driver_problem()
    else:
        for ordinal in range(_core.device_count()):
            report.gpus.append(_gpu(ordinal))
        number = _core.device_info(device).driver_version
        report.driver = f"for CUDA {number // 1000}.{number % 1000 // 10}"
    found = libraries(device is not None)
    report.libraries, report.unusable, report.not_found = (
        found.usable, found.unusable, found.problem
    )  # fmt: skip
    report.can_run = found.used is not None and found.used["can_run"]
    report.advice = list(_advice(report, found.used))
    return report


def _advice(report: Report, used: dict[str, Any] | None) -> Iterator[str]:
    """Yield advice on what is missing, or there twice."""
    if len(versions("fasttrt", "fasttrt-runtime")) == 2:
        yield (
            "fasttrt and fasttrt-runtime are both installed, and overwrite each other: "
            "pip uninstall fasttrt fasttrt-runtime, and install one of them"
        )
    has_runtime = bool({"onnxruntime", "onnxruntime-gpu"} & report.packages.keys())
    if not report.gpus:
        can_build = used is not None and used["can_build"] and find_spec("onnx")
        builds = "; plans can be built for other machines" if can_build else ""
        runs = "--device cpu runs models through ONNX Runtime"
        yield f"no usable GPU{builds}; {runs}" + ("" if has_runtime else f": {_ONNX_RUNTIME}")
    elif not has_runtime:
        yield f"compare, quantize and --device cpu need ONNX Runtime: {_ONNX_RUNTIME}"
    place = os.environ.get("FASTTRT_LIBRARY", "")
    if used is None and place:
        others = [f"{each['family']} {each['version']}" for each in report.libraries]
        yield (
            f"FASTTRT_LIBRARY is {place}, which has no usable library: correct it, or unset it "
            + (f"to use {others[0]}" if others else "to let other places be searched")
        )
    elif used is None:
        yield f"no usable TensorRT: {_TENSORRT_RTX}"
    elif report.gpus and used["problem"]:
        yield f"{used['family']} {used['version']}: {used['problem']}"
        if used["family"] == "rtx" and not used["can_run"] and not place:
            yield f"TensorRT-RTX 1.6 may run on this GPU: {_TENSORRT_RTX}"


def try_out(library: str) -> dict[str, str]:
    """Run the self-test in a separate process."""
    result = in_process("_cli.self_test", library)
    return {"result": "failed", "detail": result} if isinstance(result, str) else result


def _gpu(ordinal: int) -> dict[str, Any]:
    info = _core.device_info(ordinal)
    return {
        "name": info.name,
        "compute_capability": f"{info.major}.{info.minor}",
        "memory": info.total_memory,
    }


def _text(report: Report) -> str:
    lines = [f"fasttrt   {__version__}, {report.system}", f"driver    {report.driver}"]
    for index, gpu in enumerate(report.gpus):
        memory = f"{gpu['memory'] / 2**30:.0f} GiB"
        lines.append(f"cuda:{index}    {gpu['name']} ({gpu['compute_capability']}), {memory}")
    for found in report.libraries:
        can = [name for name in ("parse", "build", "run") if found[f"can_{name}"]]
        mark = "used" if found["used"] else "not used"
        what = f"can {', '.join(can)}" if can else "cannot be used here"
        lines.append(
            f"{found['family']:9} {found['version']} ({found['generation']}), {mark}; {what}"
        )
        problem = found["problem"] if found["problem"] != report.driver else ""  # shown above
        about = (found["path"], found["why"], problem)
        lines += [f"          {line}" for line in about if line]
    lines += [f"unusable  {line}" for line in report.unusable]
    if report.not_found:
        lines.append(f"TensorRT  {report.not_found}")
    packages = ", ".join(f"{name} {number}" for name, number in report.packages.items())
    lines += [f"packages  {packages or 'none of the optional ones'}", f"cache     {report.cache}"]
    if report.self_test:
        lines.append(f"self-test {report.self_test['result']}: {report.self_test['detail']}")
    lines += [f"advice    {line}" for line in report.advice]
    lines.append("engines run here" if report.can_run else "no engine runs here")
    return "\n".join(lines)
