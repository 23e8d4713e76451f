"""Write Resize to the nearest element as Gathers where TensorRT's coordinates are off.

With ``nearest_mode="ceil"`` and half-pixel coordinates, TensorRT-RTX 1.6.1 multiplies by a rounded
1 / scale: a coordinate that should be 0 is 1e-8, and becomes 1.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fasttrt._graph.tensor_info import TensorInfo
from fasttrt._parser.node_chain import NodeChain
from fasttrt._parser.node_rules import Replacement, Rule, attribute, input_name

if TYPE_CHECKING:
    import onnx

_HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")
_FOR_NEAREST = "tf_half_pixel_for_nn"


def _resize(node: "onnx.NodeProto", facts: TensorInfo) -> Replacement:
    mode = attribute(node, "mode", b"nearest").decode()
    coordinates = attribute(node, "coordinate_transformation_mode", b"half_pixel").decode()
    if coordinates == _FOR_NEAREST and mode != "nearest":
        return (
            f'coordinate_transformation_mode="{_FOR_NEAREST}" with mode="{mode}", for which '
            "TensorRT uses different coordinates"
        )
    is_ceil = attribute(node, "nearest_mode", b"round_prefer_floor") == b"ceil"
    if facts.opset < 11 or mode != "nearest" or not is_ceil or coordinates not in _HALF_PIXEL:
        return None
    shape = facts.shape(node.input[0])
    scales = facts.constant(input_name(node, 2))
    sizes = facts.constant(input_name(node, 3))
    known = [size for size in shape or [] if size is not None]
    policy = attribute(node, "keep_aspect_ratio_policy", b"stretch")
    if shape is None or len(known) < len(shape) or policy != b"stretch":
        return None
    axes = [axis % len(shape) for axis in attribute(node, "axes", range(len(shape)))]
    if sizes is not None and sizes.size == len(axes):
        outputs = [int(size) for size in sizes]
        factors = [size / known[axis] for size, axis in zip(outputs, axes, strict=True)]
    elif scales is not None and scales.size == len(axes):
        factors = [float(scale) for scale in scales]
        outputs = [int(known[axis] * scale) for axis, scale in zip(axes, factors, strict=True)]
    else:
        return None
    chain, result = NodeChain(node, facts), node.input[0]
    for axis, size, factor in zip(axes, outputs, factors, strict=True):
        if size != known[axis] or factor != 1:
            places = _selected(known[axis], size, factor, coordinates)
            result = chain.add("Gather", result, chain.constant(places), axis=axis)
    return chain.finish("Identity", result)


def _selected(size: int, resized: int, scale: float, coordinates: str) -> npt.NDArray[np.int64]:
    """Return the indices along an axis that ONNX selects."""
    places = (np.arange(resized) + 0.5) / scale - 0.5
    if coordinates == "pytorch_half_pixel" and resized == 1:
        places = np.zeros(1)
    return np.asarray(np.clip(np.ceil(places), 0, size - 1), np.int64)


RULES: dict[str, Rule] = {"Resize": _resize}
