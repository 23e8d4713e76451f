"""``fasttrt build``; options that trtexec has are named as there."""

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrt._cli import options as options
from fasttrt._cli.values import engine_options, one_of
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._cli.values import tuned as parse_tuned
from fasttrt._common.file_kinds import PLAN
from fasttrt._common.log import logger
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
    tuned: options.Tuned = None,
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
            help="How thoroughly to search for fast kernels.", show_default="TensorRT's",
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
            help=f"How much the plan contains about its layers: {', '.join(_VERBOSITIES)}.",
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
            metavar="MODE", rich_help_panel=_BUILD,
            help=f"How Max, Min, Clip and Relu treat NaN: {', '.join(_NAN)}.",
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
            "--isolate", help="Build in a separate process, which survives crashes of TensorRT.",
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
    engine = engine_options(
        config=config, device=device, library=library,
        precision=_precision(precision, fp16, bf16),
        shapes=parse_shapes(shapes, min_shapes, opt_shapes, max_shapes), tuned=parse_tuned(tuned),
        freeze=freeze, dims=dims, plugins=plugins,
    )  # fmt: skip
    if device == "cpu":
        raise InputError("--device: expected cuda or cuda:N to build for, got cpu")
    if config is not None and engine.get("verify"):
        logger.warning(
            "%s: engine.verify does not apply to build; `fasttrt compare --plan` checks a plan",
            config.name,
        )
    requested: dict[str, Any] = {
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
    base, default = engine.get("config") or BuildConfig(), BuildConfig()
    changed = {name: value for name, value in requested.items() if value != getattr(default, name)}
    begin = time.perf_counter()
    plan = fasttrt.build(
        model, replace(base, **changed), precision=engine.get("precision"),
        shapes=engine.get("shapes"), tuned=engine.get("tuned", "auto"),
        library=engine.get("library", "auto"),
        device=None if engine.get("device") == "auto" else engine.get("device"),
        freeze=engine.get("freeze"), dims=engine.get("dims"),
        plugins=tuple(engine.get("plugins", ())), isolate=isolate or engine.get("isolate", False),
        advise=True,
    )  # fmt: skip
    seconds = time.perf_counter() - begin
    plan.save(path, force=force)
    size = path.stat().st_size or len(plan.data)  # a device has no size
    facts = {"path": str(path), "seconds": seconds, "bytes": size, **plan.metadata}
    options.say(options.json_text(facts) if as_json else _summary(facts))


def _precision(precision: str | None, fp16: bool, bf16: bool) -> str | None:
    values = [*filter(None, [precision, fp16 and "fp16", bf16 and "bf16"])]
    if len(set(values)) > 1:
        raise InputError(f"--precision: expected one value, got {' and '.join(map(str, values))}")
    return str(values[0]) if values else None


def _workspace(text: str | None) -> int | None:
    """Convert a size to bytes; the default unit is MiB, as in trtexec."""
    if text is None:
        return None
    match = re.fullmatch(r"workspace:(\d+(?:\.\d+)?)([BKMG]?)", text)
    if match is None:
        raise InputError(f"--memPoolSize: expected workspace:SIZE as in workspace:1G, got {text!r}")
    return int(float(match[1]) * _UNITS[match[2] or "M"])


def _summary(facts: dict[str, Any]) -> str:
    library, gpu, tuned = facts["library"], facts["gpu"], facts.get("tuned", {})
    precision = facts["config"]["precision"] or "as the model states"
    return "\n".join([
        f"written: {facts['path']} ({facts['bytes'] / (1 << 20):.2f} MiB)",
        f"built in {facts['seconds']:.2f} s by {library['family']} {library['version']}"
        f" for {gpu['name'] if gpu else 'any GPU that it supports (built without one)'}",
        f"precision: {precision}",
        *(f"tuned: {name} {', '.join(map(str, sizes))}" for name, sizes in tuned.items()),
        *(f"changed: {line}" for line in facts["changes"]),
    ])  # fmt: skip
