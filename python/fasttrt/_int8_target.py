"""What of int8 the TensorRT and the GPU at hand cannot run, said before anything is built."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fasttrt import _core
from fasttrt._device import capability, default_device, parse_device
from fasttrt._library import describe, find
from fasttrt._log import forwarded
from fasttrt.errors import InputError, LibraryNotFoundError, UnsupportedLibraryError
from fasttrt.model import OnnxModel

if TYPE_CHECKING:
    import onnx

_CONVOLUTIONS = ("Conv", "ConvTranspose")


class Int8Target:
    """What shall run an int8 model."""

    def __init__(self, library: str | os.PathLike[str], device: str | None) -> None:
        """Find it.

        Args:
            library: see `fasttrt.library`; with ``"auto"`` there may be none.
            device: ``"cuda"`` or ``"cuda:N"``. None: the first GPU, if there is one.

        Raises:
            InputError: for another ``device``.
            LibraryNotFoundError, UnsupportedLibraryError: there is not what was asked for, or the
                GPU has no int8 arithmetic.
        """
        self._ordinal = default_device() if device is None else parse_device(device)
        if device is not None and self._ordinal is None:
            raise InputError(f'device: expected "cuda" or "cuda:N", got {device!r}')
        gpu = capability(self._ordinal)
        if self._ordinal is not None and not has_int8(gpu):
            raise UnsupportedLibraryError(
                f"cuda:{self._ordinal} has compute capability {gpu[0]}.{gpu[1]}, without int8 "
                "arithmetic; library=None quantizes for another machine"
            )
        self._library: _core.Library | None = None
        self.name = "not asked: no TensorRT was found"
        """Which it is, or why there is none."""
        try:
            found = find(library, self._ordinal)
        except (LibraryNotFoundError, UnsupportedLibraryError):
            if library != "auto":
                raise
            return
        info = describe(found, self._ordinal)
        if info.can_build:
            self._library, self.name = found, str(found)
        elif library == "auto":
            self.name = f"not asked: {found} cannot build here: {info.problem}"
        else:
            raise UnsupportedLibraryError(f"{found} cannot build here: {info.problem}")

    def check(self, operators: Iterable[str]) -> None:
        """See that the library has int8 kernels for operators.

        Raises:
            UnsupportedLibraryError: it has not.
        """
        if self._library is None or has_int8_convolutions(self._library):
            return
        missing = sorted(set(operators) & set(_CONVOLUTIONS))
        if missing:
            raise UnsupportedLibraryError(
                f"{_no_convolutions(self._library)}, and the model has {' and '.join(missing)} to "
                'quantize. operators=("Gemm", "MatMul") leaves them in float32; library=None '
                "quantizes for another TensorRT"
            )

    def parse(self, model: "onnx.ModelProto") -> None:
        """Let the library's parser read a model, as a build does.

        Raises:
            ParseError: it cannot; lists every node that it refused.
        """
        if self._library is None:
            return
        from fasttrt.building import parsed_as_stated  # which knows this module

        with forwarded():
            parsed_as_stated(self._library, self._ordinal, OnnxModel(model))


def has_int8(gpu: tuple[int, int]) -> bool:
    """Whether GPUs of a compute capability have int8 dot products: 6.1, and 7.0 and later.

    Source: the hardware support matrices of TensorRT 8.6 and 10.
    """
    return gpu >= (7, 0) or gpu == (6, 1)


def has_int8_convolutions(library: _core.Library) -> bool:
    """Whether it builds them: TensorRT-RTX 1.5.0 and 1.6.1 fail, 1.7.1 does (measured)."""
    major, minor = (int(part) for part in library.version.split(".")[:2])
    return library.family != "rtx" or (major, minor) >= (1, 7)


def int8_problem(graph: "onnx.GraphProto", library: _core.Library) -> str:
    """Which int8 nodes of a model a library cannot build; empty if none.

    TensorRT-RTX before 1.7 parses int8 convolutions, and fails in the build with an error of its
    compiler.
    """
    if has_int8_convolutions(library):
        return ""
    narrow = _dequantized(graph)
    nodes = [
        node.name or node.output[0]
        for node in graph.node
        if node.op_type in _CONVOLUTIONS and narrow.issuperset(node.input[:2])
    ]
    if not nodes:
        return ""
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return (
        f"{_no_convolutions(library)}: {', '.join(nodes[:3])}{more}. fasttrt.quantize(..., "
        'operators=("Gemm", "MatMul")) leaves convolutions in float32'
    )


def _no_convolutions(library: _core.Library) -> str:
    return f"{library} has no int8 convolutions (TensorRT has, and TensorRT-RTX from 1.7 on)"


def _dequantized(graph: "onnx.GraphProto") -> set[str]:
    """Tensors that are dequantized from int8; without a zero point, TensorRT takes it for int8."""
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
