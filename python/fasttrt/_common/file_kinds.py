"""The kinds of files that fasttrt writes, recognized by content: only the same kind is replaced."""

import zipfile
from collections.abc import Callable, Iterable
from typing import BinaryIO, NamedTuple

PLAN_MAGICS = (b"FASTTRT\0", b"ftrt", b"vtrt")
"""How fasttrt's plans, TensorRT's and TensorRT-RTX's begin."""
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Wire types of the fields of ONNX's ModelProto, by field number."""
_GRAPH_FIELD = 7


class FileKind(NamedTuple):
    """A kind of file."""

    name: str
    """Its name in messages, as in ``"a plan"``."""
    matches: Callable[[BinaryIO], bool]
    """Whether an open file is of this kind, wherever it is positioned."""


def _begin(stream: BinaryIO, size: int) -> bytes:
    stream.seek(0)
    return stream.read(size)


def _is_plan(stream: BinaryIO) -> bool:
    return _begin(stream, 8).startswith(PLAN_MAGICS)


def _is_timing_cache(stream: BinaryIO) -> bool:
    begin = _begin(stream, 8)
    return begin[1:4] == b"trt" and not begin.startswith(PLAN_MAGICS)


def _is_model(stream: BinaryIO) -> bool:
    """Return whether all fields of the outermost message in the file are those of a model."""
    size = stream.seek(0, 2)
    stream.seek(0)
    fields = set()
    while stream.tell() < size:
        tag = _varint(stream)
        number, wire = tag >> 3, tag & 7
        if _MODEL_FIELDS.get(number) != wire:
            return False
        length = _varint(stream)
        if wire == 2:
            stream.seek(length, 1)
        fields.add(number)
    return stream.tell() == size and _GRAPH_FIELD in fields


def _varint(stream: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return 0  # no field has this number
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value if value < 2**63 else 0
    return 0


def _is_arrays(stream: BinaryIO, ends: tuple[str, ...] = (".npy",)) -> bool:
    try:
        with zipfile.ZipFile(stream) as archive:
            return all(f"/{name}".endswith(ends) for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return False


def _is_trace(stream: BinaryIO) -> bool:
    return _begin(stream, 64).startswith(b'{"traceEvents"')


def _is_chart(*begins: bytes) -> Callable[[BinaryIO], bool]:
    return lambda stream: _begin(stream, 256).lstrip().lower().startswith(begins)


PLAN = FileKind("a plan", _is_plan)
MODEL = FileKind("an ONNX model", _is_model)
ARRAYS = FileKind("a .npz", _is_arrays)
TIMING_CACHE = FileKind("a timing cache", _is_timing_cache)
TRACE = FileKind("a trace", _is_trace)
_CHARTS = {
    ".png": FileKind("a PNG image", _is_chart(b"\x89png")),
    ".svg": FileKind("an SVG image", _is_chart(b"<?xml", b"<svg")),
    ".pdf": FileKind("a PDF", _is_chart(b"%pdf")),
    ".html": FileKind("an HTML page", _is_chart(b"<!doctype html", b"<html")),
}


def arrays_of(names: Iterable[str]) -> FileKind:
    """Return the file kind of a .npz with only arrays of these names, also as ``SAMPLE/name``."""
    ends = tuple(f"/{name}.npy" for name in names)
    return FileKind("a .npz of these outputs", lambda stream: _is_arrays(stream, ends))


def chart(suffix: str) -> FileKind:
    """Return the file kind of a plot, by the suffix of its name."""
    suffix = suffix.lower()
    return _CHARTS[".html" if suffix == ".htm" else suffix]
