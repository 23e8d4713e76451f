"""How TensorRT-RTX takes TF32: from the environment, and for the whole process."""

import os
from collections.abc import Mapping
from typing import Any

from fasttrt._plan.build_config import TF32_VARIABLE
from fasttrt.errors import Error

_first: list[str | None] = []
"""The variable's value when this process loaded its first engine."""


def check_tf32(metadata: Mapping[str, Any]) -> None:
    """See that an engine which was built without TF32 will run without it.

    TensorRT-RTX 1.6.1 reads the variable at each build and load, but its kernels were seen to go
    on rounding to TF32 in a process that had run an engine before the variable was set.

    Raises:
        Error: that is so here.
    """
    if not _first:
        _first.append(os.environ.get(TF32_VARIABLE))
    is_exact = metadata.get("config", {}).get("tf32") is False
    if is_exact and _first[0] != "0":
        raise Error(
            f"the plan was built without TF32, and {TF32_VARIABLE} was {_first[0] or 'not set'} "
            "when this process loaded its first engine, to which TensorRT-RTX keeps. Set it to 0 "
            "before the first engine is loaded"
        )
