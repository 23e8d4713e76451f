"""Run ONNX models on NVIDIA GPUs, with whichever TensorRT the machine has.

engine = fasttrt.Engine("model.onnx")
y = engine.infer(x)
"""

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
    InputError,
    LibraryNotFoundError,
    OutOfMemoryError,
    ParseError,
    ParseIssue,
    UnsupportedLibraryError,
)
from fasttrt.plan import Plan
from fasttrt.progress import BuildProgress
from fasttrt.quantization_report import OutputLoss, QuantizationReport
from fasttrt.quantizing import Quantized, quantize
from fasttrt.spec import TensorSpec
from fasttrt.torch_module import TorchModule, from_torch

__all__ = [
    "Batching",
    "BuildConfig",
    "BuildError",
    "BuildProgress",
    "CudaError",
    "DeviceArray",
    "Engine",
    "EngineLoadError",
    "Error",
    "InputError",
    "LibraryInfo",
    "LibraryNotFoundError",
    "OutOfMemoryError",
    "OutputLoss",
    "ParseError",
    "ParseIssue",
    "Plan",
    "QuantizationReport",
    "Quantized",
    "TensorSpec",
    "TorchModule",
    "UnsupportedLibraryError",
    "__version__",
    "build",
    "empty_pinned",
    "from_torch",
    "library",
    "quantize",
]
