"""The TensorRT and the GPU that must run an int8 model, checked before anything is built."""

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fasttrt import _core
from fasttrt._graph.model import OnnxModel
from fasttrt._library.device import capability, gpu_or_default
from fasttrt._library.discovery import describe, find
from fasttrt._library.tensorrt_log import forwarded
from fasttrt._parser.int8_support import (
    CONVOLUTIONS,
    has_int8,
    has_int8_convolutions,
    no_convolutions,
)
from fasttrt.errors import LibraryNotFoundError, UnsupportedLibraryError

if TYPE_CHECKING:
    import onnx


class Int8Target:
    """The library and the GPU that an int8 model is for."""

    def __init__(self, library: str | os.PathLike[str], device: str | None) -> None:
        """Find the library and the GPU.

        Args:
            library: see `fasttrt.library`; with ``"auto"`` there may be none.
            device: ``"cuda"`` or ``"cuda:N"``. None: the first GPU, if there is one.

        Raises:
            InputError: ``device`` is not a GPU.
            LibraryNotFoundError, UnsupportedLibraryError: the requested library cannot be used, or
                the GPU has no int8 arithmetic.
        """
        self._ordinal = gpu_or_default(device)
        gpu = capability(self._ordinal)
        if self._ordinal is not None and not has_int8(gpu):
            raise UnsupportedLibraryError(
                f"cuda:{self._ordinal} has compute capability {gpu[0]}.{gpu[1]}, without int8 "
                "arithmetic; library=None quantizes for another machine"
            )
        self._library: _core.Library | None = None
        self.name = "not checked: no TensorRT was found"
        """The library, or why there is none."""
        try:
            handle = find(library, self._ordinal)
        except (LibraryNotFoundError, UnsupportedLibraryError):
            if library != "auto":
                raise
            return
        info = describe(handle, self._ordinal)
        if info.can_build:
            self._library, self.name = handle, str(handle)
        elif library == "auto":
            self.name = f"not checked: {handle} cannot build here: {info.problem}"
        else:
            raise UnsupportedLibraryError(f"{handle} cannot build here: {info.problem}")

    def check(self, operators: Iterable[str]) -> None:
        """Check that the library has int8 kernels for operators.

        Raises:
            UnsupportedLibraryError: it does not.
        """
        if self._library is None or has_int8_convolutions(self._library):
            return
        missing = sorted(set(operators) & set(CONVOLUTIONS))
        if missing:
            raise UnsupportedLibraryError(
                f"{no_convolutions(self._library)}, and the model has {' and '.join(missing)} to "
                'quantize. operators=("Gemm", "MatMul") keeps them in float32; library=None '
                "quantizes for another TensorRT"
            )

    def parse(self, model: "onnx.ModelProto") -> None:
        """Parse a model with the library, as a build does.

        Raises:
            ParseError: it cannot; the message lists every node that it rejected.
        """
        if self._library is None:
            return
        from fasttrt._precision.typed_parse import parse_as_stated  # which knows this module

        with forwarded():
            parse_as_stated(self._library, self._ordinal, OnnxModel(model))
