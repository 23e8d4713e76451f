"""`BuildConfig`: the options of a build."""

import os
import re
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
from numbers import Real
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fasttrt import _core
from fasttrt._common.checks import as_path, integers, is_integer, is_one_of, refuse
from fasttrt._common.file_kinds import MODEL, PLAN, TIMING_CACHE
from fasttrt._common.input_file import check_file, read_file, reading
from fasttrt.errors import BuildError, InputError

Precision: TypeAlias = Literal["fp32", "tf32", "fp16", "bf16"]

TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
LOAD_OPTIONS = frozenset({"engine_host_code"})
"""Options of `BuildConfig` that apply when a plan is loaded and do not affect the build."""
_TIMINGS_LIMIT = 1 << 30  # bytes
_PRECISIONS = (None, "fp32", "tf32", "fp16", "bf16")
_FLAGS = (
    "version_compatible", "exclude_lean_runtime", "refit", "strip_weights", "weight_streaming",
    "engine_host_code", "convert_io",
)  # fmt: skip
_CURRENT_GPU = 1  # the vendor's ComputeCapability::kCURRENT


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """The options of a build. Where an option is None, TensorRT's default applies.

    An option that the library does not support raises a `BuildError` that names it, and a value out
    of range an `InputError`.

    Attributes:
        workspace: The maximum scratch memory of a layer on the GPU, in bytes. TensorRT's default is
            all of the GPU's memory.
        optimization_level: 0 (fastest build) to 5 (slowest build, fastest engine). TensorRT's
            default is 3.
        profiling_verbosity: How much information on its layers the plan keeps for the inspector and
            the profiler. With a 16-bit ``precision``, ``"names"`` becomes ``"detailed"``, since the
            layers' types are checked.
        timing_cache: A file of kernel timings, read if it exists and written after the build, so
            that later builds need not measure them again. It is valid for one release and one GPU
            model.
        max_aux_streams: The maximum number of additional streams on which an engine may run
            branches in parallel.
        hardware_compatibility: Which other GPUs the plan must run on, at some cost in speed.
            TensorRT 8.6 and later; ``"same_compute_capability"`` from 10.9 on. For TensorRT-RTX use
            ``compute_capabilities``.
        version_compatible: Whether later releases can run the plan too, through the lean runtime
            that it contains; see ``engine_host_code``. TensorRT-RTX has no lean runtime: it accepts
            this only with ``exclude_lean_runtime``.
        exclude_lean_runtime: Whether to leave the lean runtime out of a plan that is
            ``version_compatible``.
        refit: Whether the engine's weights can be replaced later, see `Engine.refit`. The engine
            may be slower, as no optimization can rely on their values.
        strip_weights: Whether to leave the weights out of the plan, which makes it small: the
            engine takes them from the ONNX model when it is loaded (``Engine(plan,
            weights="m.onnx")``). Requires ``refit``. TensorRT 10 and later, and TensorRT-RTX.
        weight_streaming: Whether the engine may keep weights in host memory until they are needed;
            see ``weight_streaming_budget`` of `Engine`. TensorRT 10.1 and later, and TensorRT-RTX.
        engine_host_code: Whether the engine may run host code contained in its plan, as
            version-compatible plans have. Such a plan must be trusted like a program. It applies
            when a plan is loaded, and is never taken from the plan itself.
        precision: The precision to compute in. None: the model's own types, with or without
            ``tf32``. ``"fp32"``, ``"tf32"``: likewise, with ``tf32`` off or on; models that compute
            in 16 bits are rejected. ``"fp16"``, ``"bf16"``: float32 computations are done in
            float16 or bfloat16, except for operators and constants for which that is unsafe.
            Explicit quantization is kept.
        keep_fp32: With a 16-bit ``precision``: what else to keep in float32, as names of operators
            (``"Softmax"``), of nodes, or of the nodes' outputs.
        convert_io: With a 16-bit ``precision``: whether the model's float32 inputs and outputs are
            converted too. By default they stay float32.
        conversion: How a 16-bit ``precision`` is achieved. ``"graph"``: the ONNX graph is converted
            before it is parsed. ``"flags"``: TensorRT 8.6 only, which then chooses between float16
            and float32 for each layer by speed alone, whatever the loss of accuracy; with
            ``"graph"`` it makes this choice for the converted layers. If it chooses float32 for
            every layer, as for many small networks, a `BuildError` is raised. ``"auto"``:
            ``"flags"`` for TensorRT 8.6, else ``"graph"``.
        tf32: Whether float32 matrix products and convolutions may round their operands to TF32 (10
            bits of mantissa) on the tensor cores. None: yes, as in TensorRT, unless ``precision``
            is ``"fp32"``. TensorRT-RTX ignores its own flag for it (measured on 1.6.1) but respects
            the environment variable ``NVIDIA_TF32_OVERRIDE=0``, which must be set for both the
            build and the runs; without it, False raises a `BuildError` there.
        nan: The result of Max, Min, Clip, Relu, HardSigmoid, HardSwish, MaxPool, GlobalMaxPool,
            ReduceMax and ReduceMin where an input is NaN. ``"ignore"``: TensorRT's, a number if
            another input is one. ``"propagate"``: NaN, as in numpy and PyTorch, at the cost of a
            few more nodes for each of these. Other operators always propagate NaN, except for
            ArgMax, ArgMin and TopK.
        compute_capabilities: TensorRT-RTX: the compute capabilities that the plan must run on, for
            instance ``("8.6", "12.0")``, or ``("current",)``. Empty: all that the release supports.

    Examples:
        >>> config = fasttrt.BuildConfig(optimization_level=2, workspace=1 << 30)
        >>> config.optimization_level
        2
        >>> fasttrt.BuildConfig(optimization_level=9)
        Traceback (most recent call last):
        fasttrt.InputError: BuildConfig.optimization_level: expected an integer from 0 to 5, got 9

        <!-- needs: builder -->
        >>> plan = fasttrt.build("m.onnx", config, shapes={"x": (8, 784)})
    """

    workspace: int | None = None
    optimization_level: int | None = None
    profiling_verbosity: Literal["names", "none", "detailed"] = "names"
    timing_cache: str | os.PathLike[str] | None = None
    max_aux_streams: int | None = None
    hardware_compatibility: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    version_compatible: bool = False
    exclude_lean_runtime: bool = False
    refit: bool = False
    strip_weights: bool = False
    weight_streaming: bool = False
    engine_host_code: bool = False
    precision: Precision | None = None
    keep_fp32: Sequence[str] = ()
    convert_io: bool = False
    conversion: Literal["auto", "graph", "flags"] = "auto"
    tf32: bool | None = None
    nan: Literal["ignore", "propagate"] = "ignore"
    compute_capabilities: Sequence[str | float] = ()

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: a value is out of range.
        """
        for name, max_, unit in (
            ("workspace", 2**63 - 1, ", bytes"),
            ("optimization_level", 5, ""),
            ("max_aux_streams", 2**31 - 1, ""),
        ):
            value = getattr(self, name)
            is_known = value is None or is_integer(value, 0, max_)
            self._check(name, is_known, integers(0, max_) + unit)
        verbosities = ("names", "none", "detailed")
        self._check(
            "profiling_verbosity", is_one_of(self.profiling_verbosity, verbosities), verbosities
        )
        levels = ("none", "ampere_plus", "same_compute_capability")
        self._check(
            "hardware_compatibility", is_one_of(self.hardware_compatibility, levels), levels
        )
        for name in _FLAGS:
            self._check(name, isinstance(getattr(self, name), bool), "True or False")
        self._check("tf32", is_one_of(self.tf32, (None, True, False)), "True, False or None")
        if self.timing_cache is not None:
            as_path("BuildConfig.timing_cache", self.timing_cache, "a file")
        lean = self.version_compatible or not self.exclude_lean_runtime
        self._check("nan", is_one_of(self.nan, ("ignore", "propagate")), ("ignore", "propagate"))
        self._check("exclude_lean_runtime", lean, "version_compatible=True with it")
        self._check("strip_weights", self.refit or not self.strip_weights, "refit=True with it")
        capabilities = self.compute_capabilities
        self._check(
            "compute_capabilities", _is_list(capabilities), 'a sequence, as in ("8.6", "12.0")'
        )
        for capability in capabilities:
            parse_capability(capability)
        self._check_precision()

    def _check_precision(self) -> None:
        precisions = _PRECISIONS
        self._check("precision", is_one_of(self.precision, precisions), precisions[1:])
        agrees = self.tf32 is None or self.precision != ("fp32" if self.tf32 else "tf32")
        self._check("tf32", agrees, f"{not self.tf32} or None with precision={self.precision!r}")
        ways = ("auto", "graph", "flags")
        self._check("conversion", is_one_of(self.conversion, ways), ways)
        names = _is_list(self.keep_fp32) and all(
            isinstance(name, str) and name for name in self.keep_fp32
        )
        self._check("keep_fp32", names, "a sequence of names")
        if not self.is_reduced:
            with_it = 'precision="fp16" or "bf16" with it'
            self._check("keep_fp32", not self.keep_fp32, with_it)
            self._check("convert_io", not self.convert_io, with_it)
            self._check("conversion", self.conversion == "auto", with_it)
        elif self.profiling_verbosity == "none":
            self._check("profiling_verbosity", False, '"names" or "detailed" with precision=')

    def _check(self, name: str, valid: bool, expected: object) -> None:
        if not valid:
            refuse(f"BuildConfig.{name}", expected, getattr(self, name))

    @property
    def is_reduced(self) -> bool:
        """Whether ``precision`` is a 16-bit one."""
        return self.precision in ("fp16", "bf16")

    @property
    def build_only_options(self) -> list[str]:
        """The names of the options that are set and that apply to builds only."""
        names = (f.name for f in fields(self) if getattr(self, f.name) != f.default)
        return [name for name in names if name not in {*LOAD_OPTIONS, "precision"}]

    @property
    def allows_tf32(self) -> bool:
        """Whether TF32 may be used, with the default of ``tf32`` resolved."""
        return self.precision != "fp32" if self.tf32 is None else self.tf32

    def with_precision(self, precision: Precision | None) -> "BuildConfig":
        """Return these options with the ``precision=`` of a call.

        Raises:
            InputError: the config has a different one.
        """
        if not is_one_of(precision, _PRECISIONS):
            refuse("precision", _PRECISIONS[1:], precision)
        if precision is None or precision == self.precision:
            return self
        if self.precision is not None:
            raise InputError(
                f"precision: expected {self.precision!r} as in config, or None, got {precision!r}"
            )
        return replace(self, precision=precision)

    def to_core(self, library: _core.Library) -> _core.BuildOptions:
        """Convert to the core's options.

        Raises:
            BuildError: the library does not support an option; the core checks the others.
        """
        if (
            library.family == "rtx"
            and not self.allows_tf32
            and os.environ.get(TF32_VARIABLE) != "0"
        ):
            option = "tf32=False" if self.tf32 is False else 'precision="fp32"'
            raise BuildError(
                f"{option} is not an option of {library}, which uses TF32 whatever its flag "
                f"says. Set {TF32_VARIABLE}=0 in the environment, here and where the plan runs"
            )
        if library.family == "rtx" and self.hardware_compatibility != "none":
            raise BuildError(
                f"hardware_compatibility is not an option of {library}, which would ignore it; "
                "use compute_capabilities"
            )
        if library.family == "rtx" and self.version_compatible and not self.exclude_lean_runtime:
            raise BuildError(
                f"version_compatible needs exclude_lean_runtime=True with {library}, which has no "
                "lean runtime to put into the plan"
            )
        options = _core.BuildOptions()
        options.workspace = self.workspace
        options.optimization_level = self.optimization_level
        options.max_aux_streams = self.max_aux_streams
        options.profiling_verbosity = "detailed" if self.is_reduced else self.profiling_verbosity
        options.hardware_compatibility = self.hardware_compatibility
        options.version_compatible = self.version_compatible
        options.exclude_lean_runtime = self.exclude_lean_runtime
        options.refit = self.refit
        options.strip_weights = self.strip_weights
        options.weight_streaming = self.weight_streaming
        options.tf32 = self.allows_tf32
        options.compute_capabilities = [parse_capability(c) for c in self.compute_capabilities]
        if self.timing_cache is not None:
            file = Path(self.timing_cache)
            self._check("timing_cache", file.parent.is_dir(), "a file in an existing folder")
            options.set_timing_cache(_read_timing_cache(file, library))
        return options

    def to_json(self) -> dict[str, Any]:
        """Return the options as recorded in a plan."""
        values = asdict(self)
        for name in ("timing_cache", *LOAD_OPTIONS):  # they belong to this machine, not to the plan
            del values[name]
        values["keep_fp32"], values["tf32"] = list(self.keep_fp32), self.allows_tf32
        values["compute_capabilities"] = [str(c) for c in self.compute_capabilities]
        return values


def _read_timing_cache(file: Path, library: _core.Library) -> bytes:
    """Read a timing cache; empty if the file does not exist yet.

    Raises:
        InputError: the file is of another kind, and the build would overwrite it.
    """
    try:
        if check_file(file).size == 0:
            return b""
    except FileNotFoundError:
        return b""
    with reading(file) as stream:
        # TensorRT-RTX treats anything as an empty cache; TensorRT checks the content itself.
        is_other = library.family == "rtx" and not TIMING_CACHE.matches(stream)
        if is_other or PLAN.matches(stream) or MODEL.matches(stream):
            raise InputError(
                f"BuildConfig.timing_cache: expected a timing cache, or no file yet, got {file}"
            )
    return read_file(file, _TIMINGS_LIMIT, "a timing cache")


def check_config(config: BuildConfig | None) -> BuildConfig:
    """Check the ``config=`` of a call, and return the defaults for None.

    Raises:
        InputError: it is not a `BuildConfig`.
    """
    if config is None:
        return BuildConfig()
    if not isinstance(config, BuildConfig):
        refuse("config", "a fasttrt.BuildConfig or None", config)
    return config


def _is_list(value: object) -> bool:
    """Return whether a value is a sequence, or a set, of other values."""
    return isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray))


def parse_capability(capability: str | float) -> int:
    """Convert a compute capability to TensorRT-RTX's number for it: 8.6 is 86.

    Raises:
        InputError: it is not a compute capability.
    """
    text = str(capability) if isinstance(capability, (str, Real)) else ""
    if text == "current":
        return _CURRENT_GPU
    match = re.fullmatch(r"([0-9]{1,4})\.([0-9])", text)
    if match is None:
        refuse(
            "BuildConfig.compute_capabilities", '"major.minor" as in "8.6", or "current"',
            capability,
        )  # fmt: skip
    return int(match[1]) * 10 + int(match[2])
