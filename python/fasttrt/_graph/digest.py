"""What a model's content is: the SHA-256 of all that TensorRT reads of it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fasttrt._common.file_digest import add_file

if TYPE_CHECKING:
    from google.protobuf.message import Message

_MAX_MESSAGE = 2**31 - 1  # bytes that protobuf serializes at once


def model_sha256(
    contents: "Iterable[Path | bytes | Message]", files: Iterable[str], folder: Path
) -> str:
    """The hash of a model and of the external data that it names.

    Args:
        contents: the model's file, its bytes, or the parts of what would be serialized.
        files: names of the external data.
        folder: what these are relative to.
    """
    digest = hashlib.sha256()
    for content in contents:
        if isinstance(content, Path):
            add_file(digest, content)
        elif isinstance(content, bytes):
            digest.update(content)
        else:
            _add_message(digest, content)
    for name in sorted(set(files)):
        file = folder / name
        # Names and sizes too: the same bytes cut into other files are another model. The parser
        # reports a file that is missing, with the tensor's name.
        size = file.stat().st_size if file.is_file() else -1
        digest.update(f"\0{name}\0{size}\0".encode())
        if size >= 0:
            add_file(digest, file)
    return digest.hexdigest()


def _add_message(digest: "hashlib._Hash", message: "Message", most: int = _MAX_MESSAGE) -> None:
    """The serialized message; field by field where it is larger than protobuf can serialize."""
    if message.ByteSize() <= most:
        digest.update(message.SerializeToString(deterministic=True))
        return
    for field, value in message.ListFields():
        digest.update(f"\0{field.number}\0".encode())
        for item in _items(value):
            if isinstance(item, bytes):
                digest.update(f"{len(item)}\0".encode())
                digest.update(item)
            elif hasattr(item, "ListFields"):
                _add_message(digest, item, most)
                digest.update(b"\0")
            else:
                digest.update(f"{item!r}\0".encode())


def _items(value: Any) -> Iterable[Any]:
    """What a field holds: one value, or those of a repeated field."""
    is_single = isinstance(value, (str, bytes)) or not isinstance(value, Iterable)
    return [value] if is_single else value
