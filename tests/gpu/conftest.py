"""Sets up the comparison in full float32, before TensorRT is loaded."""

from __future__ import annotations

import os

from fasttrt import _core

if not _core.driver_problem():
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # what TensorRT-RTX heeds for tf32=False
