"""Bodies compressed by gzip or deflate, which to HTTP is zlib's format."""

import zlib

from fasttrt._serving.http import Body, HttpError
from fasttrt.errors import InputError

ENCODINGS = ("gzip", "deflate")
_FORMATS = {"gzip": 31, "deflate": 15}
"""zlib's ``wbits``."""


def decompress(body: Body, encoding: str, limit: int) -> Body:
    """Return what a body is without its Content-Encoding.

    Args:
        body: as it was sent.
        encoding: the header's value; empty if there was none.
        limit: the maximum of the result's bytes.

    Raises:
        HttpError: 501 for another encoding, 413 beyond the limit.
        InputError: the body is damaged.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _FORMATS:
        raise HttpError(
            501, f"Content-Encoding: expected gzip or deflate, got '{encoding}'",
            {"Accept-Encoding": ", ".join(ENCODINGS)},
        )  # fmt: skip
    parts: list[bytes] = []
    size, rest = 0, bytes(body)
    while rest:  # gzip may have several members
        member = zlib.decompressobj(_FORMATS[encoding])
        try:
            parts.append(member.decompress(rest, limit - size + 1))
        except zlib.error as error:
            raise InputError(
                f"Content-Encoding: the body is not valid {encoding}: {error}"
            ) from None
        size += len(parts[-1])
        if size > limit:
            raise HttpError(413, f"the body has more than {limit} bytes when decompressed")
        if not member.eof:
            raise InputError(f"Content-Encoding: the body of {encoding} ends too early")
        rest = member.unused_data
        if rest and encoding != "gzip":
            raise InputError(f"Content-Encoding: expected the end of {encoding} data, got more")
    return b"".join(parts)


def accepted_encoding(accept: str) -> str:
    """Return the encoding that a client wants most, of those we have; empty for none.

    Args:
        accept: the header Accept-Encoding.
    """
    best, encoding = 0.0, ""
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if name in ENCODINGS and weight > best:
            best, encoding = weight, name
    return encoding


def compress(body: Body, encoding: str) -> bytes:
    """Return a body in one of `ENCODINGS`."""
    packer = zlib.compressobj(wbits=_FORMATS[encoding])
    return packer.compress(body) + packer.flush()
