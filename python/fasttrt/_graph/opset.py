"""Read the version of ONNX's operators that a model imports."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fasttrt._graph.traversal import ONNX_DOMAINS

if TYPE_CHECKING:
    import onnx


def onnx_version(opsets: "Iterable[onnx.OperatorSetIdProto]") -> int:
    """Return the imported opset version of the ONNX domain; 0 if there is none."""
    return max((entry.version for entry in opsets if entry.domain in ONNX_DOMAINS), default=0)
