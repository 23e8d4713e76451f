"""Run ONNX models on NVIDIA GPUs, with whichever TensorRT the machine has.

engine = fasttrt.Engine("model.onnx")
y = engine.infer(x)
"""

from typing import TYPE_CHECKING

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

# What is imported when it is first used, so that ``import fasttrt`` stays quick.
if TYPE_CHECKING:
    from fasttrt.comparing import Comparison, Divergence, OutputComparison, Thresholds, compare
else:
    _LATER = dict.fromkeys(
        ("Comparison", "Divergence", "OutputComparison", "Thresholds", "compare"),
        "fasttrt.comparing",
    )

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        return globals().setdefault(name, getattr(importlib.import_module(_LATER[name]), name))


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
    "InputError",
    "LibraryInfo",
    "LibraryNotFoundError",
    "OutOfMemoryError",
    "OutputComparison",
    "ParseError",
    "ParseIssue",
    "Plan",
    "TensorSpec",
    "Thresholds",
    "UnsupportedLibraryError",
    "__version__",
    "build",
    "cache",
    "compare",
    "empty_pinned",
    "library",
]
