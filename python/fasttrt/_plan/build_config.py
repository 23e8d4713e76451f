"""How an engine is built."""

import os
import re
from collections.abc import Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fasttrt import _core
from fasttrt._common.checks import as_path, is_one_of, refuse
from fasttrt._common.file_kinds import MODEL, PLAN, TIMING_CACHE
from fasttrt._common.input_file import check_file, read_file, reading
from fasttrt.errors import BuildError, InputError

Precision: TypeAlias = Literal["fp32", "tf32", "fp16", "bf16"]

TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
LOAD_OPTIONS = frozenset({"engine_host_code"})
"""Those of `BuildConfig` that count when a plan is loaded, and change nothing of what is built."""
_TIMINGS_LIMIT = 1 << 30  # bytes
_PRECISIONS = (None, "fp32", "tf32", "fp16", "bf16")
_FLAGS = (
    "version_compatible", "exclude_lean_runtime", "refit", "strip_weights", "weight_streaming",
    "engine_host_code", "convert_io",
)  # fmt: skip
_CURRENT_GPU = 1  # the vendor's ComputeCapability::kCURRENT


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """Options of a build. What is None stays as the library has it.

    An option that the library in use does not have is refused with a `BuildError` that names it;
    a value out of range with an `InputError`.
    """

    workspace: int | None = None
    """Device memory that one layer may use at most for scratch, in bytes. TensorRT's own default is
    the GPU's whole memory."""
    optimization_level: int | None = None
    """0 (fast build) to 5 (slow build, fastest engine). TensorRT's own default is 3."""
    profiling_verbosity: Literal["names", "none", "detailed"] = "names"
    """What the plan remembers of its layers, for the inspector and the profiler. With ``precision``
    of 16 bits it is ``"detailed"`` instead of ``"names"``, as the layers' types are looked at."""
    timing_cache: str | os.PathLike[str] | None = None
    """A file of kernel timings, read if it exists and written after the build, so that later builds
    need not measure again. Belongs to one release and one GPU."""
    max_aux_streams: int | None = None
    """Streams besides the main one that an engine may use to run branches side by side."""
    hardware_compatibility: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    """GPUs besides the one at hand that the plan shall run on; costs speed. TensorRT 8.6 and later;
    ``same_compute_capability`` from 10.9 on. TensorRT-RTX has ``compute_capabilities`` for this."""
    version_compatible: bool = False
    """Whether later releases shall run the plan too (through the lean runtime that it carries, see
    ``engine_host_code``)."""
    exclude_lean_runtime: bool = False
    """With ``version_compatible``: leave the lean runtime out of the plan."""
    refit: bool = False
    """Whether the engine's weights can be replaced later, see `Engine.refit`. The engine may be
    slower, as nothing that depends on their values can be optimized."""
    strip_weights: bool = False
    """Leave the weights out of the plan, which is small then: an engine gets them from the ONNX
    model when it is loaded (``Engine(plan, weights="m.onnx")``). Only with ``refit``. TensorRT 10
    and later and TensorRT-RTX."""
    weight_streaming: bool = False
    """Whether an engine may keep weights in host memory until they are needed, see
    ``weight_streaming_budget`` of `Engine`. TensorRT 10.1 and later and TensorRT-RTX."""
    engine_host_code: bool = False
    """Whether an engine may run host code that its plan carries, as version-compatible plans do. A
    plan is then as trusted as a program. Looked at when a plan is loaded, and never taken from the
    plan itself."""
    precision: Precision | None = None
    """What to compute in. None: the types that the model states, with or without ``tf32``.
    ``"fp32"``, ``"tf32"``: the same with ``tf32`` off or on; a model that computes in 16 bits is
    refused. ``"fp16"``, ``"bf16"``: what the model computes in float32 is done in float16 or
    bfloat16, but for operators and constants that do not fit there. Explicit quantization stays."""
    keep_fp32: Sequence[str] = ()
    """With ``precision`` of 16 bits: what stays in float32 besides. Names of operators
    (``"Softmax"``), of nodes, or of the tensors that nodes give."""
    convert_io: bool = False
    """With ``precision`` of 16 bits: whether float32 inputs and outputs of the model get the type
    too. They keep theirs otherwise."""
    conversion: Literal["auto", "graph", "flags"] = "auto"
    """How ``precision`` of 16 bits is reached. ``"graph"``: the ONNX graph is converted before it
    is parsed. ``"flags"``: TensorRT 8.6 alone, which then chooses between float16 and float32 for
    each layer by speed, and keeps nothing in float32 for safety; with ``"graph"`` it does so too,
    among what is left. Where it takes float32 for every layer, as in many small networks, there is
    no engine but a `BuildError` that says so. ``"auto"``: flags there, the graph elsewhere."""
    tf32: bool | None = None
    """Whether float32 matrix products and convolutions may round their factors to TF32 (10 bits of
    mantissa) on the tensor cores. None: yes, as in TensorRT, unless ``precision`` is ``"fp32"``.
    TensorRT-RTX ignores its own flag for it (measured on 1.6.1) and heeds the environment variable
    ``NVIDIA_TF32_OVERRIDE=0``, which must be set both where it builds and where it runs; without
    it, False is refused there."""
    nan: Literal["ignore", "propagate"] = "ignore"
    """What Max, Min, Clip, Relu, HardSigmoid, HardSwish, MaxPool, GlobalMaxPool, ReduceMax and
    ReduceMin give of a NaN.
    ``"ignore"``: what TensorRT does, which takes a number where there is one. ``"propagate"``: NaN,
    as numpy and PyTorch do; each such node costs a few more. Others are NaN wherever an input is,
    but for ArgMax, ArgMin and TopK, which have no NaN to give."""
    compute_capabilities: Sequence[str | float] = ()
    """TensorRT-RTX: compute capabilities that the plan shall run on, for instance
    ``("8.6", "12.0")``, or ``("current",)``. Empty: all that the release supports."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: for a value out of range.
        """
        self._check(
            "workspace", _is_integer(self.workspace, 0, 2**63 - 1), "an integer >= 0, bytes"
        )
        level = self.optimization_level
        self._check("optimization_level", _is_integer(level, 0, 5), "an integer from 0 to 5")
        self._check(
            "max_aux_streams", _is_integer(self.max_aux_streams, 0, 2**31 - 1), "an integer >= 0"
        )
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
        """Whether 16 bits are asked for."""
        return self.precision in ("fp16", "bf16")

    @property
    def for_builds(self) -> list[str]:
        """What of it was given, and counts for builds alone, by name."""
        names = (f.name for f in fields(self) if getattr(self, f.name) != f.default)
        return [name for name in names if name not in {*LOAD_OPTIONS, "precision"}]

    @property
    def allows_tf32(self) -> bool:
        """What ``tf32`` comes to."""
        return self.precision != "fp32" if self.tf32 is None else self.tf32

    def with_precision(self, precision: Precision | None) -> "BuildConfig":
        """The same with the ``precision=`` of a call.

        Raises:
            InputError: if the config has another one.
        """
        if not is_one_of(precision, _PRECISIONS):
            refuse("precision", _PRECISIONS[1:], precision)
        if precision is None or precision == self.precision:
            return self
        if self.precision is not None:
            raise InputError(
                f"precision: expected {self.precision!r}, as in config, or None, got {precision!r}"
            )
        return replace(self, precision=precision)

    def to_core(self, library: _core.Library) -> _core.BuildOptions:
        """The same, as the core takes it.

        Raises:
            BuildError: for what cannot be had of this library; the core refuses the rest.
        """
        if (
            library.family == "rtx"
            and not self.allows_tf32
            and os.environ.get(TF32_VARIABLE) != "0"
        ):
            asked = "tf32=False" if self.tf32 is False else 'precision="fp32"'
            raise BuildError(
                f"{asked} is not an option of {library}, which uses TF32 whatever its flag "
                f"says. Set {TF32_VARIABLE}=0 in the environment, here and where the plan runs"
            )
        if library.family == "rtx" and self.hardware_compatibility != "none":
            raise BuildError(
                f"hardware_compatibility is not an option of {library}, which would ignore it; "
                "compute_capabilities is"
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
            options.set_timing_cache(_timings(file, library))
        return options

    def to_json(self) -> dict[str, Any]:
        """What of it goes into the built plan."""
        values = asdict(self)
        for name in ("timing_cache", *LOAD_OPTIONS):  # of this machine, not of the plan
            del values[name]
        values["keep_fp32"], values["tf32"] = list(self.keep_fp32), self.allows_tf32
        values["compute_capabilities"] = [str(c) for c in self.compute_capabilities]
        return values


def _timings(file: Path, library: _core.Library) -> bytes:
    """The content of a timing cache; empty if there is none yet.

    Raises:
        InputError: the file is of another kind, which the build would replace.
    """
    try:
        if check_file(file).size == 0:
            return b""
    except FileNotFoundError:
        return b""
    with reading(file) as stream:
        # TensorRT-RTX takes anything for an empty cache; the others refuse what is none themselves.
        is_other = library.family == "rtx" and not TIMING_CACHE.matches(stream)
        if is_other or PLAN.matches(stream) or MODEL.matches(stream):
            raise InputError(
                f"BuildConfig.timing_cache: expected a timing cache, or no file yet, got {file}"
            )
    return read_file(file, _TIMINGS_LIMIT, "a timing cache")


def checked_config(config: BuildConfig | None) -> BuildConfig:
    """The options of a call; None: the defaults.

    Raises:
        InputError: it is something else.
    """
    if config is None:
        return BuildConfig()
    if not isinstance(config, BuildConfig):
        refuse("config", "a fasttrt.BuildConfig or None", config)
    return config


def _is_list(value: object) -> bool:
    """Whether a value is a sequence, or a set, of other values."""
    return isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes, bytearray))


def _is_integer(value: object, least: int, most: int) -> bool:
    """Whether a value is None or an integer within limits."""
    if value is None:
        return True
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return least <= int(value) <= most


def parse_capability(capability: str | float) -> int:
    """A compute capability as TensorRT-RTX counts it: 8.6 is 86.

    Raises:
        InputError: if it is none.
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
