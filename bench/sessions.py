"""ONNX Runtime's sessions, which some models crash."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

from measure import LeftOutError

CPU = "CPUExecutionProvider"
_LEVELS = ("ORT_ENABLE_ALL", "ORT_ENABLE_EXTENDED")  # the former is its default
_TRY = """
import sys, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, sys.argv[2])
onnxruntime.InferenceSession(sys.argv[1], options, providers=sys.argv[3:])
"""


@functools.cache
def level(path: Path, *providers: str) -> str:
    """How far ONNX Runtime may optimize the file without a crash, tried in another process.

    1.31.1 crashes with ViT-B/16 in float16 at its default level.

    Raises:
        LeftOutError: it crashes anyway.
    """
    for name in _LEVELS:
        command = [sys.executable, "-c", _TRY, str(path), name, *providers]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False)
        if done.returncode >= 0:  # an exception comes again in this process
            return name
        print(f"ONNX Runtime crashes with {path.name} at {name}", flush=True)
    raise LeftOutError(f"ONNX Runtime crashes with {path.name}")


def open_session(model: Any, *providers: str) -> Any:
    """For a file, or for a model in memory."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    source = model.SerializeToString() if hasattr(model, "SerializeToString") else str(model)
    if isinstance(model, Path):
        name = level(model, *providers)
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, name)
    return onnxruntime.InferenceSession(source, options, providers=list(providers))


def require_default(model: Any) -> None:
    """Raise LeftOutError if fasttrt's reference backend would crash with the model."""
    if isinstance(model, Path) and level(model, CPU) != _LEVELS[0]:
        raise LeftOutError(f"ONNX Runtime crashes with {model.name} at its default level")
