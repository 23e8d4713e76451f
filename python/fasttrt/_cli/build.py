"""``fasttrt build``, with trtexec's spellings where trtexec has the option."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrt._cli import options as options
from fasttrt._cli.values import engine_options, one_of
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._common.file_kinds import PLAN
from fasttrt._common.output_file import Output
from fasttrt._plan.build_config import BuildConfig
from fasttrt.errors import InputError

_LEVELS = {
    "none": "none",
    "ampere+": "ampere_plus",
    "sameComputeCapability": "same_compute_capability",
}
_NAN = ("ignore", "propagate")
_VERBOSITIES = {"layer_names_only": "names", "detailed": "detailed", "none": "none"}
_BUILD = "Build"
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def build(
    model: options.Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The plan to write.", metavar="FILE",
            show_default="MODEL.plan", rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    shapes: options.Shapes = None,
    min_shapes: options.MinShapes = None,
    opt_shapes: options.OptShapes = None,
    max_shapes: options.MaxShapes = None,
    freeze: options.Freeze = None,
    dims: options.Dims = None,
    precision: options.Precision = None,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="The same as --precision fp16.", rich_help_panel=_BUILD)
    ] = False,
    bf16: Annotated[
        bool, typer.Option("--bf16", help="The same as --precision bf16.", rich_help_panel=_BUILD)
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memPoolSize", metavar="workspace:SIZE", rich_help_panel=_BUILD,
            help="Limit TensorRT's workspace; SIZE in MiB, or with B, K, M or G.",
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            "--timingCacheFile", metavar="FILE", rich_help_panel=_BUILD,
            help="Read kernel timings from this file and write them back.",
        ),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(
            "--builderOptimizationLevel", metavar="0-5", rich_help_panel=_BUILD,
            help="How hard to look for fast kernels.", show_default="TensorRT's",
        ),
    ] = None,
    streams: Annotated[
        int | None,
        typer.Option(
            "--maxAuxStreams", metavar="N", rich_help_panel=_BUILD,
            help="Auxiliary streams that an inference may use.", show_default="TensorRT's",
        ),
    ] = None,
    hardware: Annotated[
        str,
        typer.Option(
            "--hardwareCompatibilityLevel", metavar="LEVEL", rich_help_panel=_BUILD,
            help=f"Other GPUs that the plan runs on: {', '.join(_LEVELS)}.",
        ),
    ] = "none",
    verbosity: Annotated[
        str,
        typer.Option(
            "--profilingVerbosity", metavar="LEVEL", rich_help_panel=_BUILD,
            help=f"What the plan says about its layers: {', '.join(_VERBOSITIES)}.",
        ),
    ] = "layer_names_only",
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--versionCompatible", rich_help_panel=_BUILD,
            help="Let later releases of TensorRT run the plan.",
        ),
    ] = False,
    exclude_lean: Annotated[
        bool,
        typer.Option(
            "--excludeLeanRuntime", rich_help_panel=_BUILD,
            help="With --versionCompatible: leave the lean runtime out of the plan.",
        ),
    ] = False,
    refit: Annotated[
        bool, typer.Option("--refit", rich_help_panel=_BUILD, help="Make weights replaceable.")
    ] = False,
    strip: Annotated[
        bool,
        typer.Option(
            "--stripWeights", rich_help_panel=_BUILD,
            help="Leave the weights out of the plan; implies --refit.",
        ),
    ] = False,
    streaming: Annotated[
        bool,
        typer.Option(
            "--allowWeightStreaming", rich_help_panel=_BUILD,
            help="Allow weights to stay in host memory and be streamed to the GPU.",
        ),
    ] = False,
    nan: Annotated[
        str,
        typer.Option(
            metavar="WAY", rich_help_panel=_BUILD,
            help=f"What Max, Min, Clip and Relu do with NaN: {', '.join(_NAN)}.",
        ),
    ] = "ignore",
    config: options.Config = None,
    library: options.Library = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="The GPU to build for: cuda or cuda:N.", metavar="DEVICE",
            show_default="the first, if any", rich_help_panel=options.ENGINE,
        ),
    ] = None,
    plugins: options.Plugins = None,
    isolate: Annotated[
        bool,
        typer.Option(
            "--isolate", help="Build in a process of its own, which may die of a bad model.",
            rich_help_panel=options.ENGINE,
        ),
    ] = False,
    force: options.Force = False,
    verbose: options.Verbose = False,
    as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Build a TensorRT plan from an ONNX model."""
    import fasttrt

    options.show_log(verbose)
    path = output or model.with_suffix(".plan")
    files = [file for file in (model, config, timing_cache, *(plugins or ())) if file is not None]
    Output(path, PLAN, files, force).check("--output")
    given = engine_options(
        config=config, device=device, library=library,
        precision=_precision(precision, fp16, bf16),
        shapes=parse_shapes(shapes, min_shapes, opt_shapes, max_shapes),
        freeze=freeze, dims=dims, plugins=plugins,
    )  # fmt: skip
    if device == "cpu":
        raise InputError("--device: expected cuda or cuda:N to build for, got cpu")
    asked: dict[str, Any] = {
        "workspace": _workspace(memory),
        "timing_cache": timing_cache,
        "optimization_level": level,
        "max_aux_streams": streams,
        "hardware_compatibility": _LEVELS[one_of("hardwareCompatibilityLevel", hardware, _LEVELS)],
        "profiling_verbosity": _VERBOSITIES[one_of("profilingVerbosity", verbosity, _VERBOSITIES)],
        "version_compatible": version_compatible,
        "exclude_lean_runtime": exclude_lean,
        "refit": refit or strip,
        "strip_weights": strip,
        "weight_streaming": streaming,
        "nan": one_of("nan", nan, _NAN),
    }
    base, default = given.get("config") or BuildConfig(), BuildConfig()
    changed = {name: value for name, value in asked.items() if value != getattr(default, name)}
    begin = time.perf_counter()
    plan = fasttrt.build(
        model, replace(base, **changed), precision=given.get("precision"),
        shapes=given.get("shapes"), library=given.get("library", "auto"),
        device=None if given.get("device") == "auto" else given.get("device"),
        freeze=given.get("freeze"), dims=given.get("dims"),
        plugins=tuple(given.get("plugins", ())), isolate=isolate, advise=True,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    plan.save(path, force=force)
    size = path.stat().st_size or len(plan.data)  # a device has none
    found = {"path": str(path), "seconds": seconds, "bytes": size, **plan.metadata}
    options.say(options.json_text(found) if as_json else _summary(found))


def _precision(given: str | None, fp16: bool, bf16: bool) -> str | None:
    asked = [*filter(None, [given, fp16 and "fp16", bf16 and "bf16"])]
    if len(set(asked)) > 1:
        raise InputError(f"--precision: expected one of them, got {' and '.join(map(str, asked))}")
    return str(asked[0]) if asked else None


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
