"""Tell what a TensorRT supports in int8."""

from typing import TYPE_CHECKING

from fasttrt import _core

if TYPE_CHECKING:
    import onnx

CONVOLUTIONS = ("Conv", "ConvTranspose")


def has_int8(gpu: tuple[int, int]) -> bool:
    """Return whether a compute capability has int8 dot products: 6.1, and 7.0 and later.

    Source: the hardware support matrices of TensorRT 8.6 and 10.
    """
    return gpu >= (7, 0) or gpu == (6, 1)


def has_int8_convolutions(library: _core.Library) -> bool:
    """Return whether a library builds them: TensorRT-RTX 1.5.0 and 1.6.1 fail, 1.7.1 does."""
    major, minor = (int(part) for part in library.version.split(".")[:2])
    return library.family != "rtx" or (major, minor) >= (1, 7)


def int8_problem(graph: "onnx.GraphProto", library: _core.Library) -> str:
    """Name the int8 nodes of a model that a library cannot build; empty if there are none.

    TensorRT-RTX before 1.7 parses int8 convolutions, but fails to build them with a compiler error.
    """
    if has_int8_convolutions(library):
        return ""
    narrow = _dequantized(graph)
    nodes = [
        node.name or node.output[0]
        for node in graph.node
        if node.op_type in CONVOLUTIONS and narrow.issuperset(node.input[:2])
    ]
    if not nodes:
        return ""
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return (
        f"{no_convolutions(library)}: {', '.join(nodes[:3])}{more}. fasttrt.quantize(..., "
        'operators=("Gemm", "MatMul")) leaves convolutions in float32'
    )


def no_convolutions(library: _core.Library) -> str:
    """Return a message that a library has no int8 convolutions, and which ones have."""
    return f"{library} has no int8 convolutions (TensorRT does, and TensorRT-RTX since 1.7)"


def _dequantized(graph: "onnx.GraphProto") -> set[str]:
    """Return the tensors dequantized from int8, which TensorRT assumes without a zero point."""
    import onnx

    int8 = onnx.TensorProto.INT8
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = set()
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            stated = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
            zero_point = types.get(node.input[2], int8) if len(node.input) > 2 else int8
            types[node.output[0]] = stated or zero_point
        elif node.op_type == "DequantizeLinear" and types.get(node.input[0]) == int8:
            found.add(node.output[0])
    return found
