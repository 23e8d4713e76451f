"""What of int8 the TensorRT and the GPU at hand cannot run, said before anything is built."""

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
        self._ordinal = gpu_or_default(device)
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
        missing = sorted(set(operators) & set(CONVOLUTIONS))
        if missing:
            raise UnsupportedLibraryError(
                f"{no_convolutions(self._library)}, and the model has {' and '.join(missing)} to "
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
        from fasttrt._precision.typed_parse import parse_as_stated  # which knows this module

        with forwarded():
            parse_as_stated(self._library, self._ordinal, OnnxModel(model))
