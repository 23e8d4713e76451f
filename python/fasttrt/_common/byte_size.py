"""Sizes of memory as people write them."""

import re

from fasttrt.errors import InputError

_SIZE = re.compile(r"(\d+)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_byte_size(what: str, text: str) -> int:
    """Return a size in bytes; its units are powers of 1024.

    Args:
        what: where it is from, for messages.
        text: bytes, or a number with a unit, as in ``"500M"`` or ``"20GiB"``.

    Raises:
        InputError: it is not a size.

    Examples:
        >>> parse_byte_size("limit", "2G")
        2147483648
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(f'{what}: expected bytes, or as in "500M" or "20G", got {text!r}')
    return int(match[1]) << _UNITS[match[2].lower()]


def show_mib(size: int) -> str:
    """Return a size in MiB, for messages."""
    return f"{size / 2**20:.1f} MiB"
