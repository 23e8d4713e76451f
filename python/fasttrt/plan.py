r"""Built engines as bytes: `Plan`, and the file that it is saved in.

The file is a header of fixed size, metadata as JSON, and the vendor's plan on a page boundary::

    offset  size  field
    0       8     magic, b"FASTTRT\0"
    8       4     format version (little-endian, as all numbers)
    12      4     zero
    16      8     size of the metadata, which begins at 72
    24      8     offset of the vendor's plan
    32      8     size of the vendor's plan
    40      32    SHA-256 of bytes 0 to 40 and of all that follows the header
"""

import hashlib
import io
import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fasttrt._files import replacing
from fasttrt.errors import EngineLoadError

_MAGIC = b"FASTTRT\0"
_FORMAT = 1
_FIELDS = struct.Struct("<8sIIQQQ")
_DIGEST_SIZE = hashlib.sha256().digest_size
_HEADER_SIZE = _FIELDS.size + _DIGEST_SIZE
_PAGE = 4096

# The vendor's header, as read off plans of TensorRT 8.6 and TensorRT-RTX 1.6 and 1.7: a magic of
# "?trt", the whole size at 16, and the release that built it, a byte a number, at 24.
_VENDOR_SIZE = struct.Struct("<Q")
_VENDOR_SIZE_AT = 16
_VENDOR_VERSION_AT = 24
_VENDOR_HEADER_SIZE = 28
_VENDOR_FAMILIES = {b"ftrt": "tensorrt", b"vtrt": "rtx"}


@dataclass(frozen=True)
class Plan:
    """A built engine: TensorRT's own serialized plan, and what is known of it."""

    data: bytes = field(repr=False)
    """The vendor's plan."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What it was built from, with and for: ``fasttrt`` (our version), ``model_sha256``,
    ``library`` (family, version), ``gpu`` (name, compute_capability; None if built without one),
    ``config``, ``profiles``, ``inputs``, ``outputs``; where ``precision`` converted the model,
    ``conversion`` (how many nodes, which stayed in float32 and why). For a plan of another tool
    ``library`` at most."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan with its metadata and a checksum. The file appears whole or not at all."""
        with replacing(Path(path)) as stream:
            self._write(stream)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read a saved plan, or a plain plan of the vendor's tools.

        Raises:
            EngineLoadError: if the file is damaged, cut short or no plan.
        """
        with Path(path).open("rb") as stream:
            return cls._read(stream, os.fstat(stream.fileno()).st_size, str(path))

    def to_bytes(self) -> bytes:
        """What `save` writes."""
        stream = io.BytesIO()
        self._write(stream)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Plan":
        """Read what `to_bytes` gave, or a plain plan of the vendor's tools.

        Raises:
            EngineLoadError: if it is damaged, cut short or no plan.
        """
        return cls._read(io.BytesIO(content), len(content), "the plan")

    def _write(self, stream: BinaryIO) -> None:
        metadata = json.dumps(self.metadata, sort_keys=True).encode()
        offset = -(-(_HEADER_SIZE + len(metadata)) // _PAGE) * _PAGE
        fields = _FIELDS.pack(_MAGIC, _FORMAT, 0, len(metadata), offset, len(self.data))
        padded = metadata.ljust(offset - _HEADER_SIZE, b"\0")
        for part in (fields, _digest(fields, padded, self.data), padded, self.data):
            stream.write(part)

    @classmethod
    def _read(cls, stream: BinaryIO, total: int, name: str) -> "Plan":
        header = stream.read(_HEADER_SIZE)
        if not header.startswith(_MAGIC):
            content = header + stream.read()
            return cls(content, _read_vendor_header(content, name))
        if len(header) < _HEADER_SIZE:
            raise EngineLoadError(f"{name} is cut short: it ends within the header")
        _, version, _, metadata_size, offset, size = _FIELDS.unpack_from(header)
        if version != _FORMAT:
            raise EngineLoadError(
                f"{name} has format {version}; this fasttrt reads format {_FORMAT}. Build it anew."
            )
        if total != offset + size or offset < _HEADER_SIZE + metadata_size:
            raise EngineLoadError(
                f"{name} is cut short or damaged: expected {offset + size} bytes, got {total}"
            )
        padded = stream.read(offset - _HEADER_SIZE)
        data = stream.read()
        if _digest(header[: _FIELDS.size], padded, data) != header[_FIELDS.size :]:
            raise EngineLoadError(f"{name} is damaged: its SHA-256 does not match")
        return cls(data, json.loads(padded[:metadata_size]))


def is_plan(content: bytes) -> bool:
    """Whether bytes look like a plan, ours or the vendor's, rather than an ONNX model."""
    return content.startswith(_MAGIC) or is_vendor_plan(content)


def is_vendor_plan(content: bytes) -> bool:
    """Whether bytes begin as TensorRT's serialized engines do."""
    return content[1:4] == b"trt"


def _read_vendor_header(content: bytes, name: str) -> dict[str, Any]:
    """The library that built a plain plan."""
    if not is_vendor_plan(content):
        raise EngineLoadError(
            f"{name} is no plan: it begins with {content[:8]!r}, which neither fasttrt nor "
            "TensorRT writes"
        )
    if len(content) < _VENDOR_HEADER_SIZE:
        raise EngineLoadError(f"{name} is cut short: it ends within the header")
    family = _VENDOR_FAMILIES.get(content[:4])
    if family is None:
        return {}
    (size,) = _VENDOR_SIZE.unpack_from(content, _VENDOR_SIZE_AT)
    if len(content) < size:
        raise EngineLoadError(f"{name} is cut short: expected {size} bytes, got {len(content)}")
    version = ".".join(str(n) for n in content[_VENDOR_VERSION_AT : _VENDOR_VERSION_AT + 3])
    return {"library": {"family": family, "version": version}}


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
