"""Build a `Plan` from an ONNX model."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from fasttrt import _core
from fasttrt._common.checks import refuse
from fasttrt._common.file_kinds import TIMING_CACHE
from fasttrt._common.log import logger
from fasttrt._common.output_file import Output
from fasttrt._common.progress import BuildProgress, ProgressCallback, check_progress, reporter
from fasttrt._common.tensor_spec import Range
from fasttrt._graph.control_flow import CONTROL_FLOW, control_flow
from fasttrt._graph.fingerprint import structure
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import Dims, Freeze, transformed
from fasttrt._library.device import Device, gpu_or_default
from fasttrt._library.discovery import find
from fasttrt._library.plugins import Plugins, Record, load
from fasttrt._library.tensorrt_log import forward, forwarded
from fasttrt._parser.model_source import parse_network
from fasttrt._parser.pipeline import Target
from fasttrt._parser.quirks import check_outputs
from fasttrt._parser.quirks_v8 import warn_of_opset
from fasttrt._plan.build_config import BuildConfig, Precision, check_config
from fasttrt._plan.metadata import GROUPED_CONVOLUTIONS
from fasttrt._plan.plan_file import Plan
from fasttrt._plan.profiles import (
    NetworkInput,
    Shapes,
    ambiguous_dimensions,
    check_shapes,
    resolve,
    varies,
)
from fasttrt._plan.tuned import (
    Request,
    Tuned,
    for_family,
    is_automatic,
    parse_tuned,
    tuned_profiles,
)
from fasttrt._precision.placements import DEFAULT, PLACEMENTS, failed_in_fusion
from fasttrt._precision.typed_parse import Parsed, chooses_types, parse
from fasttrt._version import __version__
from fasttrt.errors import BuildError, InputError, ParseError

if TYPE_CHECKING:
    import onnx

_MAX_SECONDS = 1e8
"""The maximum timeout that Python supports: about three years."""
_OLD_DRIVER = "CUDA error 222"
"""Seen when TensorRT-RTX 1.6.1 for CUDA 13 built refittable engines with driver 580.159."""
_Described: TypeAlias = tuple[str, str, tuple[int, ...], tuple[str, ...], bool]


class _Parsed(NamedTuple):
    """A parsed model with the profiles to build it for."""

    network: Parsed
    profiles: list[dict[str, Range]]
    tuned: dict[str, list[int]]
    """The tuned sizes by dimension."""


_ParseModel: TypeAlias = Callable[[OnnxModel, Shapes | None], _Parsed]


def build(
    model: "str | os.PathLike[str] | bytes | onnx.ModelProto | OnnxModel",
    config: BuildConfig | None = None,
    *,
    precision: Precision | None = None,
    shapes: Shapes | None = None,
    tuned: Tuned = "auto",
    freeze: Freeze | None = None,
    dims: Dims | None = None,
    library: str | os.PathLike[str] = "auto",
    device: Device | None = None,
    plugins: Plugins = (),
    progress: ProgressCallback | bool | None = None,
    isolate: bool | float = False,
    advise: bool = False,
) -> Plan:
    """Build an engine from an ONNX model.

    TensorRT-RTX also builds on machines without a GPU; the other libraries need one. Ctrl-C stops a
    build at TensorRT's next step (TensorRT 8.6 cannot be stopped: the interrupt is raised when the
    build is complete).

    Args:
        model: a path (external data is read from beside it), a file's bytes, or a ModelProto.
        config: options of the build.
        precision: the precision to compute in, ``"fp32"``, ``"tf32"``, ``"fp16"`` or ``"bf16"``,
            see `BuildConfig`. None: that of ``config``, or else the model's own types.
        shapes: the shapes of dynamic inputs, by name: a shape, (min, opt, max), or trtexec's
            ``"1x3:8x3:32x3"``; a list of such mappings for several profiles. For a shape tensor,
            its values. By default, dimensions named after a batch or a sequence get a default
            range, which is logged.
        tuned: the sizes that get a profile of their own besides the range of ``shapes``, so that
            runs with them are as fast as in a plan for that size alone: a list of batch sizes, or
            lists by the name of a dimension (``"seq"``), of an axis (``"ids.1"``) or of an input
            with one dynamic dimension; of several, each combination, 32 at most. ``"auto"``: with
            TensorRT-RTX, if a batch that the inputs share is the only dynamic dimension, powers of
            two in its range with its opt and max, eight at most; none with other libraries, which
            tune kernels for each of them. None: none. A list of profiles in ``shapes`` stays as it
            is.
        freeze: values by input name. These inputs become constants of the model, which many of
            TensorRT's parameters (axes, pads, sizes) must be. Arrays must have the input's dtype;
            Python numbers must be representable in it.
        dims: sizes by dimension name, wherever the model uses it, or by ``"input.axis"`` for a
            single axis of an input. These dimensions are fixed before TensorRT parses the model,
            whereas those in ``shapes`` stay dynamic.
        library: the TensorRT to use, see `fasttrt.library`.
        device: the GPU to build for, ``"cuda"``, ``"cuda:N"``, N or a ``torch.device``. None: the
            first, or none.
        plugins: the TensorRT plugin libraries that the model needs, as in ``["libmy.so"]``. They
            are loaded into this process before the model is parsed, so their code runs here; the
            plan records their names and digests.
        progress: a callback, True for a progress bar, False for none. None: a bar on a terminal.
            TensorRT 8.6 reports no steps.
        isolate: whether TensorRT parses and builds the model in a separate process, so that a
            crash, which untrusted models may cause, is an error here. A number also sets a timeout
            in seconds. It costs a second or two; the plan is not copied.
        advise: whether to try, if the model does not parse or build, for up to about 10 seconds
            which ``freeze`` or ``dims`` would help, and add that to the error (its ``advice``).

    Returns:
        The plan, with metadata on how and for what it was built. ``changes`` in the metadata lists
        the changes to the model: those of ``freeze`` and ``dims``, folded constants, renamed
        dimensions, and defaults that are made explicit because TensorRT's differ.

    Raises:
        ParseError: TensorRT cannot parse the model; the message lists every node that it rejected.
            With ``isolate``, also if it crashed or took too long.
        BuildError: it cannot build the model as configured or, with ``isolate``, crashed.
        InputError: ``shapes``, ``freeze`` or ``dims`` does not match the model, ``shapes`` is
            required, the model's external data is outside its folder, or a file of ``plugins`` is
            missing.
        Error: TensorRT cannot load a plugin library.
        LibraryNotFoundError, UnsupportedLibraryError, CudaError, OutOfMemoryError: see there.

    Examples:
        <!-- needs: builder -->
        >>> plan = fasttrt.build("m.onnx", precision="fp16", shapes={"x": "1x784:8x784:64x784"})
        >>> plan.metadata["config"]["precision"]
        'fp16'
    """
    config = check_config(config).with_precision(precision)
    check_progress(progress)
    check_shapes(shapes)
    request = parse_tuned(tuned)
    check_isolate(isolate)
    if not isinstance(advise, bool):
        refuse("advise", "True or False", advise)
    if not isinstance(model, OnnxModel):
        model = OnnxModel(model)
    model = transformed(model, freeze, dims)
    ordinal = gpu_or_default(device)
    handle = find(library, ordinal)
    if isolate:
        return _isolated(
            model, config, progress, isolate, shapes=shapes, tuned=request, library=handle.path,
            device=None if device is None else f"cuda:{ordinal}", plugins=plugins, advise=advise,
        )  # fmt: skip
    if handle.generation == "v8":
        warn_of_opset(model, str(handle))
    loaded = load(handle, plugins)
    request = for_family(request, handle.family)
    parse_model = partial(_network, handle, ordinal, config, plugins, request)
    begin = time.monotonic()
    with forwarded():
        try:
            parsed = parse_model(model, shapes)
        except ParseError as error:
            if advise:
                _advise_parsing(error, handle, model, config, shapes, parse_model, begin)
            raise
        network, profiles, _ = parsed
        builder = network.builder
        options = _core_options(config, handle, network)
        check_outputs(network.model, str(handle), [output[:3] for output in builder.outputs()])
        # Before the build, which may take long: the model's file may change meanwhile.
        metadata = _metadata(parsed, handle, ordinal, config, loaded)
        place = partial(parse_model, model, shapes)
        attempt = partial(_run_placed, network, place, options, progress=progress)
        try:
            try:
                network, data, timing_cache = attempt(profiles)
            except BuildError as error:
                if not (parsed.tuned and is_automatic(request)):
                    raise
                network, data, timing_cache = attempt(profiles[:1])
                metadata["profiles"] = metadata["profiles"][:1]
                del metadata["tuned"]
                logger.warning("built without tuned sizes, as TensorRT failed with them: %s", error)
        except BuildError as error:
            is_explained = _explain(error, network.model, handle)
            # If a build cannot be cancelled, a trial has no time limit.
            if advise and not is_explained and builder.can_cancel:
                _advise_building(error, model, options, shapes or profiles[:1], parse_model, begin)
            raise
    metadata |= {"changes": list(network.model.changes), **network.metadata()}
    if handle.family == "rtx" and varies(profiles):
        from fasttrt._parser.grouped_convolutions import convolutions_at_risk

        metadata[GROUPED_CONVOLUTIONS] = convolutions_at_risk(network.model)
    if config.timing_cache is not None and timing_cache is not None:
        _write_timing_cache(Path(config.timing_cache), timing_cache)
    return Plan(data, metadata)


def _explain(error: BuildError, model: OnnxModel, library: _core.Library) -> bool:
    """Add the meaning of an error to it, if it is known; return whether it is."""
    from fasttrt._parser.reasons import explain_build, without_driver_errors

    error.args = (without_driver_errors(str(error)),)
    if _OLD_DRIVER in str(error):
        error.advice = (
            "The driver is older than the CUDA release of this TensorRT "
            "(CUDA_ERROR_UNSUPPORTED_PTX_VERSION): a newer one may help, or TensorRT for "
            "an older CUDA, such as tensorrt-rtx-cu12-libs"
        )
    elif meaning := explain_build(str(error), model.skeleton, str(library)):
        error.advice = meaning
    else:
        return False
    return True


def _write_timing_cache(path: Path, content: bytes) -> None:
    try:
        # An existing file was checked before the build.
        with Output(path, TIMING_CACHE, force=True).open() as stream:
            stream.write(content)
    except (OSError, InputError) as error:  # the plan must not be lost
        logger.warning("the timing cache was not written: %s", error)


def check_isolate(isolate: object) -> None:
    """Check that ``isolate`` is a boolean or a time.

    Raises:
        InputError: it is not.
    """
    is_time = isinstance(isolate, Real) and float(isolate) > 0
    if not (isinstance(isolate, bool) or is_time):
        refuse("isolate", "True, False or seconds > 0", isolate)


def _isolated(
    model: OnnxModel,
    config: BuildConfig,
    progress: ProgressCallback | bool | None,
    limit: float,
    **options: Any,
) -> Plan:
    """Build in a separate process."""
    from fasttrt._builder.isolated_job import source_of
    from fasttrt._builder.isolation import run_isolated

    arguments = {"source": source_of(model), "config": config, **options}
    seconds = None if limit is True else min(float(limit), _MAX_SECONDS)
    with reporter(progress) as report:
        result, data = run_isolated("build", arguments, timeout=seconds, progress=report)
    return Plan(data, result["metadata"])


def _advise_parsing(
    error: ParseError,
    library: _core.Library,
    model: OnnxModel,
    config: BuildConfig,
    shapes: Shapes | None,
    parse_model: _ParseModel,
    begin: float,
) -> None:
    """Add advice to an error, with which the model parses and then builds."""
    from fasttrt._builder.advice import (  # here, as most builds need none
        advise,
        builds_too,
        stop_at,
    )

    def attempt(changed: OnnxModel, shapes: Shapes | None, deadline: float) -> None:
        network, profiles, _ = parse_model(changed, shapes)

        def build() -> None:
            options = _core_options(config, library, network)
            _run(network.builder, options, profiles, stop_at(deadline))

        builds_too(build if network.builder.can_cancel else None)

    error.advice = advise(model, shapes, "parses", attempt, time.monotonic() - begin)


def _advise_building(
    error: BuildError,
    model: OnnxModel,
    options: _core.BuildOptions,
    shapes: Shapes | None,
    parse_model: _ParseModel,
    begin: float,
) -> None:
    """Add advice to an error, with which the model builds."""
    from fasttrt._builder.advice import advise, stop_at

    def attempt(changed: OnnxModel, shapes: Shapes | None, deadline: float) -> None:
        network, profiles, _ = parse_model(changed, shapes)
        _run(network.builder, options, profiles, stop_at(deadline))

    error.advice = advise(model, shapes, "builds", attempt, time.monotonic() - begin)


def _core_options(
    config: BuildConfig, library: _core.Library, network: Parsed
) -> _core.BuildOptions:
    """Return the options of a network's build."""
    options = config.to_core(library)
    options.fp16 = config.precision == "fp16" and chooses_types(library)
    options.quantized = network.model.is_quantized
    return options


def _network(
    library: _core.Library,
    device: int | None,
    config: BuildConfig,
    plugins: Plugins,
    tuned: Request | None,
    model: OnnxModel,
    shapes: Shapes | None,
    placement: str = DEFAULT,
) -> _Parsed:
    """Parse a model, and resolve its profiles."""
    target = Target(library, bool(plugins), config.nan == "propagate")
    parse_here = partial(parse_network, library, device)
    network = parse(model, config, target, parse_here, placement)
    inputs = [NetworkInput(*tensor) for tensor in network.builder.inputs()]
    profiles = resolve(inputs, shapes)
    if contradictory := ambiguous_dimensions(inputs, profiles):
        model = network.model.with_named_axes(contradictory)
        network = network._replace(builder=parse_here(model), model=model)
    return _Parsed(network, *tuned_profiles(inputs, profiles, shapes, tuned))


def _run_placed(
    network: Parsed,
    place: Callable[[str], _Parsed],
    options: _core.BuildOptions,
    profiles: Sequence[Mapping[str, Range]],
    progress: ProgressCallback | bool | None,
) -> tuple[Parsed, bytes, bytes | None]:
    """Build a network; try other placements of casts if TensorRT fails to fuse operators.

    Args:
        network: the network, with the default placement of casts, if it was converted.
        place: returns the network with another placement.
        options: options of the build.
        profiles: the optimization profiles.
        progress: see `build`.

    Raises:
        BuildError: the error of the first attempt.
    """
    try:
        return network, *_run(network.builder, options, profiles, progress)
    except BuildError as error:
        if network.changes is None or not failed_in_fusion(error):
            raise
        for placement in PLACEMENTS[1:]:
            logger.info("the build failed in a fusion; trying casts %s: %s", placement, error)
            with suppress(BuildError):
                other = place(placement).network
                return other, *_run(other.builder, options, profiles, progress)
        raise


def _run(
    builder: _core.PlanBuilder,
    options: _core.BuildOptions,
    profiles: Sequence[Mapping[str, Range]],
    progress: ProgressCallback | bool | None,
) -> tuple[bytes, bytes | None]:
    core_profiles = [
        [_core.InputRange(name, *map(list, range_)) for name, range_ in profile.items()]
        for profile in profiles
    ]
    with reporter(progress) as report:

        def poll(events: list[tuple[str, str, int, int]], done: bool) -> None:
            forward()
            for event in events:
                report(BuildProgress(*event))

        try:
            return builder.build(options, core_profiles, poll)
        except KeyboardInterrupt:
            if not builder.can_cancel:
                logger.warning("this TensorRT cannot stop a build; it ran to completion")
            raise


def _metadata(
    parsed: _Parsed,
    library: _core.Library,
    ordinal: int | None,
    config: BuildConfig,
    plugins: Sequence[Record],
) -> dict[str, Any]:
    network = parsed.network
    builder, model, _ = network
    gpu = None
    if ordinal is not None:
        info = _core.device_info(ordinal)
        gpu = {"name": info.name, "compute_capability": f"{info.major}.{info.minor}"}
    declared = {tensor.name: tensor.dtype for tensor in (*model.inputs, *model.outputs)}

    def tensors(described: list[_Described]) -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "dtype": str(declared.get(name, dtype)),
                "engine_dtype": dtype,
                "shape": list(shape),
                "dimensions": list(dimensions),
            }
            for name, dtype, shape, dimensions, _ in described
        ]

    metadata: dict[str, Any] = {
        "fasttrt": __version__,
        "model_sha256": model.original.sha256(),
        "changes": list(model.changes),
        CONTROL_FLOW: control_flow(model),
        "library": {"family": library.family, "version": library.version},
        "gpu": gpu,
        "config": config.to_json(),
        "profiles": parsed.profiles,
        "inputs": tensors(builder.inputs()),
        "outputs": tensors(builder.outputs()),
        **network.metadata(),
    }
    if parsed.tuned:
        metadata["tuned"] = parsed.tuned
    if plugins:
        metadata["plugins"] = plugins
    if config.refit:
        metadata["structure"] = structure(model)
        metadata["arguments"] = model.arguments
        metadata["rewritten"] = model.rewritten
    # As it will be read from the file.
    plain: dict[str, Any] = json.loads(json.dumps(metadata, default=_plain))
    return plain


def _plain(value: Any) -> Any:
    """Convert numpy scalars, which options may be, to JSON values."""
    return value.item()
