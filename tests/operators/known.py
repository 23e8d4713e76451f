"""Wrong answers that are left, and why; tests/operators/README.md has them in words."""

from __future__ import annotations

import re

KNOWN: dict[str, str] = {
    r"Gelu/20/(float16|float32|bfloat16) (edges|variant 0)": "inf above half of the range",
    r"Shrink/9/int(32|64) variant": "by a bias that is no integer: in float32, as ONNX Runtime",
    r"If/16/.* False/dynamic": "other shapes, which only the run shows: an error",
    r"(Lp|Average)Pool/\d+/3d (ceil 1 3 0|stride past kernel)": "no execution context can be "
    "created for pools of volumes by a kernel of 1, which is an error",
    r"QuantizeLinear/(19|21)/(float16|bfloat16) u?int8 .* edges": "onnx.reference does not "
    "saturate values beyond int32",
    r"Resize/10/10 down nearest": "opset 10 leaves the rounding open",
}
"""Of a pattern of the names of cases: what is wrong."""


def is_known(name: str) -> bool:
    """Whether a case is expected to be wrong."""
    return any(re.match(pattern, name) for pattern in KNOWN)
