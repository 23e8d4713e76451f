r"""Built engines as bytes: `Plan`, and the file that it is saved in.

The file is a header of fixed size, metadata as JSON, and the vendor's plan on a page boundary::

    offset  size  field
    0       8     magic, b"FASTTRT\0"
    8       4     format version (little-endian, as all numbers)
    12      4     zero
    16      8     size of the metadata, which begins at 72
    24      8     offset of the vendor's plan
    32      8     size of the vendor's plan
    40      32    SHA-256 of bytes 0 to 40, of what lies between the header and the vendor's plan,
                  and of the vendor's plan's own SHA-256
"""

import hashlib
import io
import json
import mmap
import os
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from fasttrt._common.checks import as_path, refuse
from fasttrt._common.file_kinds import PLAN
from fasttrt._common.input_file import lfs_problem, reading, version_of
from fasttrt._common.output_file import Output
from fasttrt._plan.metadata import LIMIT, parse_metadata
from fasttrt.errors import EngineLoadError

FORMAT = 2
"""The version of the file's format."""
_MAGIC = b"FASTTRT\0"
_FIELDS = struct.Struct("<8sIIQQQ")
_DIGEST_SIZE = hashlib.sha256().digest_size
_HEADER_SIZE = _FIELDS.size + _DIGEST_SIZE
_PAGE = 4096
_SUFFIXES = {".plan", ".engine", ".trt"}

# The vendor's header, as read off plans of TensorRT 8.6 and TensorRT-RTX 1.6 and 1.7: a magic of
# "?trt", the whole size at 16, and the release that built it, a byte a number, at 24.
_VENDOR_SIZE = struct.Struct("<Q")
_VENDOR_SIZE_AT = 16
_VENDOR_VERSION_AT = 24
_VENDOR_HEADER_SIZE = 28
_VENDOR_FAMILIES = {b"ftrt": "tensorrt", b"vtrt": "rtx"}


Bytes: TypeAlias = bytes | memoryview


@dataclass(frozen=True)
class Plan:
    """A built engine: TensorRT's own serialized plan, and what is known of it."""

    data: Bytes = field(repr=False)
    """The vendor's plan: bytes, or a view of them; of the file itself where it was loaded from one.
    So whoever changes that file in place changes the plan; `save` puts a new file in its place."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What it was built from, with and for: ``fasttrt`` (our version), ``model_sha256`` (of the
    model as it was read), ``changes`` (what was changed of it, a line each; ``conversion`` has the
    nodes, where ``precision`` converted it), ``control_flow`` (which of If and Loop it has),
    ``grouped_convolutions`` (for TensorRT-RTX, if sizes vary: those that it must not specialize),
    ``library`` (family, version), ``gpu`` (name, compute_capability; None if built without one),
    ``config``, ``profiles``, ``inputs``, ``outputs``; with plugins ``plugins`` (name and sha256 of
    each), if it can be refitted ``structure``, digests of the model's, and ``arguments``, its
    ``freeze`` and ``dims``; ``verification`` after ``Engine(verify=...)``. If it was built for the
    cache, ``cache`` (the parts of its key) and ``model_name`` (of the file). For a plan of another
    tool ``library`` at most."""

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan with its metadata and a checksum. The file appears whole or not at all.

        Args:
            path: of the file. What is there already is replaced if it is a plan.
            force: replace whatever it is.

        Raises:
            InputError: the file that is there is no plan, or there is no such folder.
            OSError: it cannot be written.
        """
        with Output(as_path("path", path), PLAN, force=force).open() as stream:
            self.write(stream)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Map a saved plan, or a plain plan of the vendor's tools, and check it.

        Raises:
            FileNotFoundError: if there is no such file.
            EngineLoadError: if the file is damaged, cut short or no plan.
            InputError: if it is no ordinary file, but a pipe, a device or a folder.
        """
        path = as_path("path", path)
        with reading(path) as stream:
            if problem := lfs_problem(path, version_of(stream, path).size):
                raise EngineLoadError(problem)
            return cls.read(stream, str(path))

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        stream = io.BytesIO()
        self.write(stream)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: Bytes) -> "Plan":
        """Read what `to_bytes` gave, or a plain plan of the vendor's tools.

        Raises:
            EngineLoadError: if it is damaged, cut short or no plan.
        """
        try:
            view = memoryview(content)
        except TypeError:
            refuse("content", "bytes", content)
        if view.ndim != 1 or not view.contiguous:
            refuse("content", "contiguous bytes", content)
        return cls._parse(view.cast("B"), "the plan")

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of `data`, in hexadecimal; whatever is known of it, the same plan."""
        return hashlib.sha256(self.data).hexdigest()

    def write(self, stream: BinaryIO) -> None:
        """Write to an open file what `save` writes to a new one."""
        fields, padded = self._head()
        checksum = _checksum(fields, padded, self.digest)
        for part in (fields, checksum, padded, self.data):
            stream.write(part)

    @classmethod
    def read(cls, stream: BinaryIO, name: str) -> "Plan":
        """Map an open file, which errors call ``name``; see `load`."""
        return cls._parse(_mapped(stream), name)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy, which know no views."""
        return Plan, (bytes(self.data), self.metadata)

    def _head(self) -> tuple[bytes, bytes]:
        """The header's fields, and the metadata up to the vendor's plan."""
        metadata = json.dumps(self.metadata, sort_keys=True).encode()
        offset = -(-(_HEADER_SIZE + len(metadata)) // _PAGE) * _PAGE
        fields = _FIELDS.pack(_MAGIC, FORMAT, 0, len(metadata), offset, len(self.data))
        return fields, metadata.ljust(offset - _HEADER_SIZE, b"\0")

    @classmethod
    def _parse(cls, content: memoryview, name: str) -> "Plan":
        header = bytes(content[:_HEADER_SIZE])
        if not header.startswith(_MAGIC):
            return cls(content, _read_vendor_header(content, name))
        metadata_size, offset = _read_header(header, len(content), name)
        padded, data = bytes(content[_HEADER_SIZE:offset]), content[offset:]
        digest = hashlib.sha256(data).hexdigest()
        if _checksum(header[: _FIELDS.size], padded, digest) != header[_FIELDS.size :]:
            raise EngineLoadError(f"{name} is damaged: its SHA-256 does not match")
        plan = cls(data, parse_metadata(padded[:metadata_size], name))
        vars(plan)["digest"] = digest  # what the property would count again
        return plan


def peek(stream: BinaryIO, name: str) -> dict[str, Any]:
    """The metadata of a file that `Plan.save` wrote; the checksum is not looked at.

    Raises:
        EngineLoadError: if it is cut short, or is no such file.
    """
    header = stream.read(_HEADER_SIZE)
    if not header.startswith(_MAGIC):
        raise EngineLoadError(f"{name} is no plan of fasttrt: it begins with {header[:8]!r}")
    size, _ = _read_header(header, os.fstat(stream.fileno()).st_size, name)
    return parse_metadata(stream.read(size), name)


def is_plan(content: Bytes) -> bool:
    """Whether bytes look like a plan, ours or the vendor's, rather than an ONNX model."""
    return content[: len(_MAGIC)] == _MAGIC or is_vendor_plan(content)


def is_plan_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a plan rather than an ONNX model: by its name, or else how it begins."""
    with reading(path) as stream:
        begin = stream.read(len(_MAGIC))
    suffix = Path(path).suffix
    return suffix in _SUFFIXES or (suffix != ".onnx" and is_plan(begin))


def is_vendor_plan(content: Bytes) -> bool:
    """Whether bytes begin as TensorRT's serialized engines do."""
    return content[1:4] == b"trt"


def _mapped(stream: BinaryIO) -> memoryview:
    """The whole file; read if it cannot be mapped, as pipes and empty files."""
    try:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (ValueError, OSError):
        return memoryview(stream.read())


def _read_header(header: bytes, total: int, name: str) -> tuple[int, int]:
    """Size of the metadata and offset of the vendor's plan, checked against the file's size."""
    if len(header) < _HEADER_SIZE:
        raise EngineLoadError(f"{name} is cut short: it ends within the header")
    _, version, _, metadata_size, offset, size = _FIELDS.unpack_from(header)
    if version != FORMAT:
        raise EngineLoadError(
            f"{name} has format {version}; this fasttrt reads format {FORMAT}. Build it anew."
        )
    if total != offset + size or offset < _HEADER_SIZE + metadata_size:
        raise EngineLoadError(
            f"{name} is cut short or damaged: expected {offset + size} bytes, got {total}"
        )
    if metadata_size > LIMIT or offset - _HEADER_SIZE - metadata_size >= _PAGE:
        raise EngineLoadError(f"{name} is damaged: its header tells of too much metadata")
    return metadata_size, offset


def _read_vendor_header(content: Bytes, name: str) -> dict[str, Any]:
    """The library that built a plain plan."""
    if not is_vendor_plan(content):
        raise EngineLoadError(
            f"{name} is no plan: it begins with {bytes(content[:8])!r}, which neither fasttrt nor "
            "TensorRT writes"
        )
    if len(content) < _VENDOR_HEADER_SIZE:
        raise EngineLoadError(f"{name} is cut short: it ends within the header")
    family = _VENDOR_FAMILIES.get(bytes(content[:4]))
    if family is None:
        return {}
    (size,) = _VENDOR_SIZE.unpack_from(content, _VENDOR_SIZE_AT)
    if len(content) < size:
        raise EngineLoadError(f"{name} is cut short: expected {size} bytes, got {len(content)}")
    version = ".".join(str(n) for n in content[_VENDOR_VERSION_AT : _VENDOR_VERSION_AT + 3])
    return {"library": {"family": family, "version": version}}


def _checksum(fields: bytes, padded: bytes, digest: str) -> bytes:
    return hashlib.sha256(fields + padded + bytes.fromhex(digest)).digest()
