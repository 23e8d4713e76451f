"""Run ONNX models on NVIDIA GPUs, with whichever TensorRT the machine has.

engine = fasttrt.Engine("model.onnx")
y = engine.infer(x)
"""

from fasttrt._common import safe_path as _safe_path  # isort: skip  # noqa: F401

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fasttrt import cache
from fasttrt._builder.build import build
from fasttrt._common.progress import BuildProgress
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._core import DeviceArray, empty_pinned
from fasttrt._engine.engine import Engine
from fasttrt._library.discovery import LibraryInfo, library
from fasttrt._plan.build_config import BuildConfig
from fasttrt._plan.plan_file import Plan
from fasttrt._runtime.batching import Batching
from fasttrt._runtime.statistics import EngineStats
from fasttrt._version import __version__
from fasttrt.errors import (
    BuildError,
    CudaError,
    DeadlineError,
    EngineLoadError,
    Error,
    FileError,
    InputError,
    LibraryNotFoundError,
    MissingFileError,
    MissingPackageError,
    OutOfMemoryError,
    ParseError,
    ParseIssue,
    QueueFullError,
    UnsupportedLibraryError,
)

if TYPE_CHECKING:
    from fasttrt._accuracy.bisection import Divergence
    from fasttrt._accuracy.comparison import Comparison
    from fasttrt._accuracy.metrics import OutputComparison
    from fasttrt._accuracy.thresholds import Thresholds
    from fasttrt._compare import compare
    from fasttrt._engine.options_file import load_config
    from fasttrt._quantization.quantize import Quantized, quantize
    from fasttrt._quantization.report import OutputLoss, QuantizationReport
    from fasttrt._serving.serve import serve
    from fasttrt._torch.torch_module import TorchModule, from_torch

__all__ = [
    "Batching",
    "BuildConfig",
    "BuildError",
    "BuildProgress",
    "Comparison",
    "CudaError",
    "DeadlineError",
    "DeviceArray",
    "Divergence",
    "Engine",
    "EngineLoadError",
    "EngineStats",
    "Error",
    "FileError",
    "InputError",
    "LibraryInfo",
    "LibraryNotFoundError",
    "MissingFileError",
    "MissingPackageError",
    "OutOfMemoryError",
    "OutputComparison",
    "OutputLoss",
    "ParseError",
    "ParseIssue",
    "Plan",
    "QuantizationReport",
    "Quantized",
    "QueueFullError",
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
    "serve",
]

# Names that few programs use are imported on first access.
_LAZY = {
    "Comparison": "_accuracy.comparison",
    "Divergence": "_accuracy.bisection",
    "OutputComparison": "_accuracy.metrics",
    "Thresholds": "_accuracy.thresholds",
    "compare": "_compare",
    "load_config": "_engine.options_file",
    "OutputLoss": "_quantization.report",
    "QuantizationReport": "_quantization.report",
    "Quantized": "_quantization.quantize",
    "quantize": "_quantization.quantize",
    "TorchModule": "_torch.torch_module",
    "from_torch": "_torch.torch_module",
    "serve": "_serving.serve",
}


def _public(name: str, value: Any) -> Any:
    """Let a class or function name the package as its home, wherever its file is."""
    if name in __all__ and hasattr(value, "__qualname__"):
        value.__module__ = __name__
    return value


for _name in __all__:
    if _name in globals():
        _public(_name, globals()[_name])


def __getattr__(name: str) -> Any:
    """Import a public name that few programs use, on first access."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = _public(name, getattr(import_module(f"{__name__}.{_LAZY[name]}"), name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List all public names, imported or not."""
    return sorted({*globals(), *__all__})
