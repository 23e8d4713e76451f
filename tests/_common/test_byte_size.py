"""Sizes of memory as people write them."""

from __future__ import annotations

import pytest

import fasttrt
from fasttrt._common.byte_size import parse_byte_size, show_mib


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1000", 1000),
        ("7b", 7),
        ("3k", 3 << 10),
        (" 500M ", 500 << 20),
        ("20 GiB", 20 << 30),
        ("1TB", 1 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_byte_size("x", text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5G", "1P", "1 2", "many"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(fasttrt.InputError, match=r'--x: expected bytes, or as in "500M" or "20G"'):
        parse_byte_size("--x", text)


def test_sizes_in_messages() -> None:
    assert show_mib(1_572_864) == "1.5 MiB"
