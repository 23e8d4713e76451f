r"""`Plan`: a built engine as bytes, and the file that it is saved in.

The file is a header of fixed size, JSON metadata, and the vendor's plan at a page boundary::

    offset  size  field
    0       8     magic, b"FASTTRT\0"
    8       4     format version (little-endian, like all numbers)
    12      4     zero
    16      8     size of the metadata, which begins at offset 72
    24      8     offset of the vendor's plan
    32      8     size of the vendor's plan
    40      32    SHA-256 of: bytes 0 to 40, the bytes between the header and the vendor's plan, and
                  the SHA-256 of the vendor's plan
"""

import hashlib
import io
import json
import mmap
import os
import pickle
import struct
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, SupportsIndex, TypeAlias

from fasttrt._common.checks import as_path, refuse
from fasttrt._common.file_kinds import PLAN
from fasttrt._common.input_file import lfs_problem, reading, version_of
from fasttrt._common.output_file import Output
from fasttrt._plan.metadata import LIMIT, parse_metadata
from fasttrt.errors import EngineLoadError

FORMAT = 2
"""The version of the file format."""
_MAGIC = b"FASTTRT\0"
_FIELDS = struct.Struct("<8sIIQQQ")
_DIGEST_SIZE = hashlib.sha256().digest_size
_HEADER_SIZE = _FIELDS.size + _DIGEST_SIZE
_PAGE = 4096
_SUFFIXES = {".plan", ".engine", ".trt"}

# The vendor's header, as observed in plans of TensorRT 8.6 and TensorRT-RTX 1.6 and 1.7: the magic
# "?trt", the total size at 16, and the version of the release, a byte per number, at 24.
_VENDOR_SIZE = struct.Struct("<Q")
_VENDOR_SIZE_AT = 16
_VENDOR_VERSION_AT = 24
_VENDOR_HEADER_SIZE = 28
_VENDOR_FAMILIES = {b"ftrt": "tensorrt", b"vtrt": "rtx"}


Bytes: TypeAlias = bytes | memoryview


@dataclass(frozen=True)
class Plan:
    """A built engine: TensorRT's serialized plan, and metadata on how it was built.

    Attributes:
        data: The vendor's plan: bytes, or a view of them. A plan loaded from a file is a view of
            that file, and changes if the file is changed in place; `save` replaces the file
            instead.
        metadata: How and for what the plan was built: ``fasttrt`` (its version), ``model_sha256``
            (of the model as read), ``changes`` (the changes made to the model, one line each;
            ``conversion`` lists the nodes, if ``precision`` converted it), ``control_flow`` (which
            of If and Loop it has), ``grouped_convolutions`` (for TensorRT-RTX, if sizes vary: those
            that it must not specialize), ``library`` (family, version), ``gpu`` (name,
            compute_capability; None if built without one), ``config``, ``profiles``, ``inputs``,
            ``outputs``; with tuned sizes, ``tuned`` (the sizes by dimension), with observed ones,
            ``observed`` (the shapes that have a plan of their own); with plugins, ``plugins`` (name
            and sha256 of each); if it can be refitted, ``structure`` (digests of the model's) and
            ``arguments`` (its ``freeze`` and ``dims``); after ``Engine(verify=...)``,
            ``verification``; if it was built for the cache, ``cache`` (the parts of its key) and
            ``model_name`` (of the file). A plan of another tool has at most ``library``.

    Examples:
        <!-- needs: builder -->
        >>> plan = fasttrt.build("m.onnx", shapes={"x": (8, 784)})
        >>> plan.save("m.plan")
        >>> fasttrt.Plan.load("m.plan").metadata["profiles"]
        [{'x': [[8, 784], [8, 784], [8, 784]]}]
    """

    data: Bytes = field(repr=False)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the types.

        Raises:
            InputError: ``data`` is not bytes, or ``metadata`` not a dictionary.
        """
        try:
            memoryview(self.data)
        except TypeError:
            refuse("data", "bytes", self.data)
        if not isinstance(self.metadata, dict):
            refuse("metadata", "a dictionary", self.metadata)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan with its metadata and a checksum. The file is written atomically.

        Args:
            path: the file. An existing file is replaced if it is a plan.
            force: whether to replace any existing file.

        Raises:
            InputError: the existing file is not a plan, or the folder does not exist.
            OSError: it cannot be written.
        """
        with Output(as_path("path", path), PLAN, force=force).open() as stream:
            self.write(stream)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Memory-map a saved plan, or a plan of the vendor's tools, and check it.

        Raises:
            MissingFileError: there is no such file.
            EngineLoadError: the file is damaged, truncated or not a plan.
            InputError: it is not a regular file, but a pipe, a device or a folder.
        """
        path = as_path("path", path)
        with reading(path) as stream:
            if problem := lfs_problem(path, version_of(stream, path).size):
                raise EngineLoadError(problem)
            return cls.read(stream, str(path))

    def to_bytes(self) -> bytes:
        """Return the content of the file that `save` writes."""
        stream = io.BytesIO()
        self.write(stream)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: Bytes) -> "Plan":
        """Parse the result of `to_bytes`, or a plan of the vendor's tools.

        Raises:
            EngineLoadError: it is damaged, truncated or not a plan.
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
        """The SHA-256 of `data`, in hexadecimal; it does not depend on the metadata."""
        return hashlib.sha256(self.data).hexdigest()

    def write(self, stream: BinaryIO) -> None:
        """Write the content of `save` to an open file."""
        fields, padded = self._head()
        checksum = _checksum(fields, padded, self.digest)
        stream.writelines((fields, checksum, padded, self.data))

    @classmethod
    def read(cls, stream: BinaryIO, name: str) -> "Plan":
        """Memory-map an open file, which messages call ``name``; see `load`."""
        return cls._parse(_map_file(stream), name)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Support pickle and copy, which cannot handle views.

        From protocol 5 on, who pickles may take the data without a copy, as Ray does, whose object
        store then holds a plan once for all processes of a machine.
        """
        if protocol.__index__() < 5:
            return Plan, (bytes(self.data), self.metadata)
        return _with_data, (pickle.PickleBuffer(self.data), self.metadata)

    def _head(self) -> tuple[bytes, bytes]:
        """Return the header's fields, and the metadata padded up to the vendor's plan."""
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
        vars(plan)["digest"] = digest  # so that the property need not compute it again
        return plan


def peek(stream: BinaryIO, name: str) -> dict[str, Any]:
    """Read the metadata of a file that `Plan.save` wrote, without verifying the checksum.

    Raises:
        EngineLoadError: the file is truncated, or not a plan of fasttrt.
    """
    header = stream.read(_HEADER_SIZE)
    if not header.startswith(_MAGIC):
        raise EngineLoadError(f"{name} is not a plan of fasttrt: it begins with {header[:8]!r}")
    size, _ = _read_header(header, os.fstat(stream.fileno()).st_size, name)
    return parse_metadata(stream.read(size), name)


def is_plan(content: Bytes) -> bool:
    """Whether bytes look like a plan, fasttrt's or the vendor's, rather than an ONNX model."""
    return content[: len(_MAGIC)] == _MAGIC or is_vendor_plan(content)


def _with_data(data: Any, metadata: dict[str, Any]) -> Plan:
    """Return a plan of any buffer: bytes, a bytearray, a `pickle.PickleBuffer`."""
    return Plan(data if isinstance(data, bytes) else memoryview(data).toreadonly(), metadata)


def is_plan_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a plan rather than an ONNX model, by its name or else its first bytes."""
    with reading(path) as stream:
        begin = stream.read(len(_MAGIC))
    suffix = Path(path).suffix
    return suffix in _SUFFIXES or (suffix != ".onnx" and is_plan(begin))


def is_vendor_plan(content: Bytes) -> bool:
    """Whether bytes begin as TensorRT's serialized engines do."""
    return content[1:4] == b"trt"


def _map_file(stream: BinaryIO) -> memoryview:
    """Memory-map the whole file; read it if it cannot be mapped, as pipes and empty files."""
    try:
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (ValueError, OSError):
        return memoryview(stream.read())


def _read_header(header: bytes, total: int, name: str) -> tuple[int, int]:
    """Return the metadata's size and the plan's offset, checked against the file's size."""
    if len(header) < _HEADER_SIZE:
        raise EngineLoadError(f"{name} is truncated: it ends within the header")
    _, version, _, metadata_size, offset, size = _FIELDS.unpack_from(header)
    if version != FORMAT:
        raise EngineLoadError(
            f"{name} has format {version}; this fasttrt reads format {FORMAT}. Rebuild it."
        )
    if total != offset + size or offset < _HEADER_SIZE + metadata_size:
        raise EngineLoadError(
            f"{name} is truncated or damaged: expected {offset + size} bytes, got {total}"
        )
    if metadata_size > LIMIT or offset - _HEADER_SIZE - metadata_size >= _PAGE:
        raise EngineLoadError(f"{name} is damaged: its header states too much metadata")
    return metadata_size, offset


def _read_vendor_header(content: Bytes, name: str) -> dict[str, Any]:
    """Return as metadata the library that built a vendor's plan, read from its header."""
    if not is_vendor_plan(content):
        raise EngineLoadError(
            f"{name} is not a plan: it begins with {bytes(content[:8])!r}, which neither fasttrt "
            "nor TensorRT writes"
        )
    if len(content) < _VENDOR_HEADER_SIZE:
        raise EngineLoadError(f"{name} is truncated: it ends within the header")
    family = _VENDOR_FAMILIES.get(bytes(content[:4]))
    if family is None:
        return {}
    (size,) = _VENDOR_SIZE.unpack_from(content, _VENDOR_SIZE_AT)
    if len(content) < size:
        raise EngineLoadError(f"{name} is truncated: expected {size} bytes, got {len(content)}")
    version = ".".join(str(n) for n in content[_VENDOR_VERSION_AT : _VENDOR_VERSION_AT + 3])
    return {"library": {"family": family, "version": version}}


def _checksum(fields: bytes, padded: bytes, digest: str) -> bytes:
    return hashlib.sha256(fields + padded + bytes.fromhex(digest)).digest()
