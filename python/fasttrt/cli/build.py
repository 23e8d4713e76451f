"""``fasttrt build``, with trtexec's spellings where trtexec has the option."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from fasttrt._bench.opening import engine_options
from fasttrt._file_kinds import PLAN
from fasttrt._files import Output
from fasttrt.cli import _options as options
from fasttrt.config import BuildConfig, Precision
from fasttrt.errors import InputError

_LEVELS = {
    "none": "none",
    "ampere+": "ampere_plus",
    "sameComputeCapability": "same_compute_capability",
}
_NAN = {"ignore": "ignore", "propagate": "propagate"}
_VERBOSITIES = {"layer_names_only": "names", "detailed": "detailed", "none": "none"}
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def build(
    model: Annotated[Path, typer.Argument(help="An ONNX model.", exists=True, dir_okay=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The plan. Default: MODEL.plan")
    ] = None,
    shapes: options.Shapes = None,
    least: options.MinShapes = None,
    best: options.OptShapes = None,
    most: options.MaxShapes = None,
    precision: options.Precision = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="--precision fp16.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="--precision bf16.")] = False,
    memory: Annotated[
        str | None,
        typer.Option("--memPoolSize", help="workspace:SIZE in MiB, or with B, K, M or G."),
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option("--timingCacheFile", help="Kernel timings, kept there.")
    ] = None,
    level: Annotated[int | None, typer.Option("--builderOptimizationLevel", help="0 to 5.")] = None,
    streams: Annotated[int | None, typer.Option("--maxAuxStreams", help="Side streams.")] = None,
    hardware: Annotated[
        str, typer.Option("--hardwareCompatibilityLevel", help=f"{', '.join(_LEVELS)}.")
    ] = "none",
    verbosity: Annotated[
        str, typer.Option("--profilingVerbosity", help=f"{', '.join(_VERBOSITIES)}.")
    ] = "layer_names_only",
    version_compatible: Annotated[
        bool, typer.Option("--versionCompatible", help="Later releases run it too.")
    ] = False,
    exclude_lean: Annotated[
        bool, typer.Option("--excludeLeanRuntime", help="Leave the lean runtime out.")
    ] = False,
    refit: Annotated[bool, typer.Option("--refit", help="Weights can be replaced.")] = False,
    strip: Annotated[
        bool, typer.Option("--stripWeights", help="Leave weights out; implies --refit.")
    ] = False,
    streaming: Annotated[
        bool, typer.Option("--allowWeightStreaming", help="Weights may stay in host memory.")
    ] = False,
    nan: Annotated[
        str, typer.Option(help=f"What Max, Min, Clip, Relu make of NaN: {', '.join(_NAN)}.")
    ] = "ignore",
    config: options.Config = None,
    library: options.Library = None,
    device: Annotated[str | None, typer.Option(help='"cuda" or "cuda:N" to build for.')] = None,
    freeze: options.Freeze = None,
    dims: options.Dims = None,
    plugins: options.Plugins = None,
    force: options.Force = False,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:
    """Build an engine from an ONNX model, and save the plan.

    Exits with 0 if it was written, 1 if it cannot be built or an option has a wrong value.
    """
    import fasttrt

    options.show_log(verbose)
    path = output or model.with_suffix(".plan")
    files = [file for file in (model, config, timing_cache, *(plugins or ())) if file is not None]
    Output(path, PLAN, files, force).check("--output")
    asked: dict[str, Any] = {
        "workspace": _workspace(memory),
        "timing_cache": timing_cache,
        "optimization_level": level,
        "max_aux_streams": streams,
        "hardware_compatibility": _one_of("hardwareCompatibilityLevel", hardware, _LEVELS),
        "profiling_verbosity": _one_of("profilingVerbosity", verbosity, _VERBOSITIES),
        "version_compatible": version_compatible,
        "exclude_lean_runtime": exclude_lean,
        "refit": refit or strip,
        "strip_weights": strip,
        "weight_streaming": streaming,
        "nan": _one_of("nan", nan, _NAN),
        "precision": _precision(precision, fp16, bf16),
    }
    if shapes and (least or best or most):
        raise InputError("--shapes: expected without --minShapes, --optShapes and --maxShapes")
    given = engine_options(config, device, library, options.as_trtexec(shapes), freeze, dims)
    base, default = given.get("config") or BuildConfig(), BuildConfig()
    if asked["precision"] is None:
        asked["precision"] = given.get("precision")
    changed = {name: value for name, value in asked.items() if value != getattr(default, name)}
    begin = time.perf_counter()
    plan = fasttrt.build(
        model, replace(base, **changed),
        shapes=options.shapes_of(least, best, most) or given.get("shapes"),
        library=given.get("library", "auto"),
        device=None if given.get("device") == "auto" else given.get("device"),
        freeze=given.get("freeze"), dims=given.get("dims"),
        plugins=tuple(plugins or given.get("plugins", ())),
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    plan.save(path, force=force)
    size = path.stat().st_size or len(plan.data)  # a device has none
    found = {"path": str(path), "seconds": seconds, "bytes": size, **plan.metadata}
    options.say(options.json_text(found) if as_json else _summary(found))


def _precision(given: str | None, fp16: bool, bf16: bool) -> Precision | None:
    asked = [*filter(None, [given, fp16 and "fp16", bf16 and "bf16"])]
    if len(set(asked)) > 1:
        raise InputError(f"--precision: expected one of them, got {' and '.join(map(str, asked))}")
    return cast(Precision, asked[0]) if asked else None


def _one_of(option: str, given: str, known: dict[str, str]) -> Any:
    if given not in known:
        raise InputError(f"--{option}: expected one of {', '.join(known)}, got {given!r}")
    return known[given]


def _workspace(text: str | None) -> int | None:
    """Bytes; trtexec's unit is MiB."""
    if text is None:
        return None
    found = re.fullmatch(r"workspace:(\d+(?:\.\d+)?)([BKMG]?)", text)
    if found is None:
        raise InputError(f"--memPoolSize: expected workspace:SIZE as in workspace:1G, got {text!r}")
    return int(float(found[1]) * _UNITS[found[2] or "M"])


def _summary(found: dict[str, Any]) -> str:
    library, gpu = found["library"], found["gpu"]
    precision = found["config"]["precision"] or "as the model states"
    return "\n".join([
        f"written: {found['path']} ({found['bytes'] / (1 << 20):.2f} MiB)",
        f"built in {found['seconds']:.2f} s by {library['family']} {library['version']}"
        f" for {gpu['name'] if gpu else 'any GPU that it supports (built without one)'}",
        f"precision: {precision}",
        *(f"changed: {line}" for line in found["changes"]),
    ])  # fmt: skip
