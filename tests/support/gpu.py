"""What the tests on a GPU share: the library in use, engines, comparisons, reports."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fasttrt
from support.models import Model
from support.process import run_python
from support.randomness import new_rng

Array = npt.NDArray[Any]
EXACT = fasttrt.BuildConfig(tf32=False)
"""All of float32, to compare closely. TensorRT-RTX wants NVIDIA_TF32_OVERRIDE=0 besides."""
ELEMENTWISE = 1e-6
"""Relative, for a few float32 operations on each element: they round to 6e-8 each."""


@functools.cache
def library() -> fasttrt.LibraryInfo:
    """The TensorRT in use."""
    return fasttrt.library()


def is_v8() -> bool:
    """TensorRT 8: without int64, bfloat16 and the types of 8 and 4 bits that came later."""
    return library().generation == "v8"


def need_precision(precision: str) -> None:
    """Skip a test whose precision the library does not have."""
    if precision == "bf16" and is_v8():
        pytest.skip(f"{library()} has no bfloat16")


def is_rtx() -> bool:
    """TensorRT-RTX: without NonZero and NonMaxSuppression."""
    return library().family == "rtx"


def product_tolerance() -> float:
    """For a few matrix products or convolutions of float32, as a share of the largest value.

    TensorRT 8.6 stays below 1e-6; TensorRT-RTX 1.6.1 was up to 7.3e-6 off on an H200, and TF32
    would be 4e-4.
    """
    return 5e-5


def open_engine(model: Model, **options: Any) -> fasttrt.Engine:
    """An engine on the GPU, never on the CPU, with all of float32 unless ``config`` says else."""
    defaults: dict[str, Any] = {"device": "cuda", "config": EXACT}
    return fasttrt.Engine(model.proto, **defaults | options)


def normal(*shape: int) -> Array:
    """New random float32 values."""
    return new_rng().standard_normal(shape).astype(np.float32)


def report(test: str, **values: Any) -> None:
    """Print what was measured, and append it to the file $FASTTRT_REPORT if that is set."""
    line = json.dumps({"test": test, "library": str(library()), **values}, default=float)
    print(line)
    if path := os.environ.get("FASTTRT_REPORT"):
        with Path(path).open("a") as file:
            file.write(line + "\n")


def errors(actual: Array, expected: Array) -> dict[str, float]:
    """The largest absolute error, alone and as a share of the largest expected value."""
    wide = expected.astype(np.float64)
    error = float(np.abs(actual.astype(np.float64) - wide).max())
    largest = float(np.abs(wide).max())
    return {"max_abs_error": error, "max_rel_error": error / largest, "largest": largest}


def run_child(code: str, *arguments: str | Path, timeout: float = 120) -> Child:
    """Run code in a process of its own, with this one's TensorRT."""
    chosen = os.environ.get("FASTTRT_LIBRARY")
    environment = {"FASTTRT_LIBRARY": chosen} if chosen else {}
    return run_python(code, *arguments, timeout=timeout, **environment)


Child = subprocess.CompletedProcess[str]


def need(module: str) -> Any:
    """A module whose import may warn; skips the test where it cannot be imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except ImportError as error:
            pytest.skip(f"{module} cannot be imported: {error}")


def need_torch() -> Any:
    """PyTorch with CUDA; skips the test where it is missing."""
    torch = need("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    return torch
