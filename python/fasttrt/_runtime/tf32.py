"""TensorRT-RTX's setting of TF32, which comes from the environment and holds for the process."""

import os
from collections.abc import Mapping
from typing import Any

from fasttrt._plan.build_config import TF32_VARIABLE
from fasttrt.errors import Error

_first: list[str | None] = []
"""The variable's value when this process loaded its first engine."""


def check_tf32(metadata: Mapping[str, Any]) -> None:
    """Check that an engine that was built without TF32 will run without it.

    TensorRT-RTX 1.6.1 reads the variable at each build and load, but its kernels were seen to
    continue rounding to TF32 in a process that had run an engine before the variable was set.

    Raises:
        Error: the variable was not "0" when this process loaded its first engine.
    """
    if not _first:
        _first.append(os.environ.get(TF32_VARIABLE))
    is_exact = metadata.get("config", {}).get("tf32") is False
    if is_exact and _first[0] != "0":
        raise Error(
            f"the plan was built without TF32, and {TF32_VARIABLE} was {_first[0] or 'not set'} "
            "when this process loaded its first engine; TensorRT-RTX does not change that later. "
            "Set it to 0 before the first engine is loaded"
        )
