"""Run ONNX models on NVIDIA GPUs, with whichever TensorRT the machine has.

engine = fasttrt.Engine("model.onnx")
y = engine.infer(x)
"""

from fasttrt import _safe_path  # isort: skip  # noqa: F401

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fasttrt import cache
from fasttrt._core import DeviceArray, empty_pinned
from fasttrt._library import LibraryInfo, library
from fasttrt._version import __version__
from fasttrt.batching import Batching
from fasttrt.building import build
from fasttrt.config import BuildConfig
from fasttrt.engine import Engine
from fasttrt.errors import (
    BuildError,
    CudaError,
    EngineLoadError,
    Error,
    FileError,
    InputError,
    LibraryNotFoundError,
    OutOfMemoryError,
    ParseError,
    ParseIssue,
    UnsupportedLibraryError,
)
from fasttrt.plan import Plan
from fasttrt.progress import BuildProgress
from fasttrt.spec import TensorSpec

if TYPE_CHECKING:
    from fasttrt.comparing import Comparison, Divergence, OutputComparison, Thresholds, compare
    from fasttrt.options_file import load_config
    from fasttrt.quantization_report import OutputLoss, QuantizationReport
    from fasttrt.quantizing import Quantized, quantize
    from fasttrt.torch_module import TorchModule, from_torch

__all__ = [
    "Batching",
    "BuildConfig",
    "BuildError",
    "BuildProgress",
    "Comparison",
    "CudaError",
    "DeviceArray",
    "Divergence",
    "Engine",
    "EngineLoadError",
    "Error",
    "FileError",
    "InputError",
    "LibraryInfo",
    "LibraryNotFoundError",
    "OutOfMemoryError",
    "OutputComparison",
    "OutputLoss",
    "ParseError",
    "ParseIssue",
    "Plan",
    "QuantizationReport",
    "Quantized",
    "TensorSpec",
    "Thresholds",
    "TorchModule",
    "UnsupportedLibraryError",
    "__version__",
    "build",
    "cache",
    "compare",
    "empty_pinned",
    "from_torch",
    "library",
    "load_config",
    "quantize",
]

# What few programs use is imported when it is first asked for.
_LATER = {
    "Comparison": "comparing",
    "Divergence": "comparing",
    "OutputComparison": "comparing",
    "Thresholds": "comparing",
    "compare": "comparing",
    "load_config": "options_file",
    "OutputLoss": "quantization_report",
    "QuantizationReport": "quantization_report",
    "Quantized": "quantizing",
    "quantize": "quantizing",
    "TorchModule": "torch_module",
    "from_torch": "torch_module",
}


def __getattr__(name: str) -> Any:
    """A public name of a module that is not imported yet."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names."""
    return sorted({*globals(), *__all__})
