"""Run ONNX models on NVIDIA GPUs, with whichever TensorRT the machine has.

engine = fasttrt.Engine("model.onnx")
y = engine.infer(x)
"""

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
    "ParseError",
    "ParseIssue",
    "Plan",
    "TensorSpec",
    "UnsupportedLibraryError",
    "__version__",
    "build",
    "cache",
    "empty_pinned",
    "library",
]
