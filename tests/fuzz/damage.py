"""Ways to damage bytes, numbers and JSON, by a seeded generator."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

Rng: TypeAlias = np.random.Generator

NUMBERS = (
    0, 1, -1, 2, 127, 128, 255, 4095, 4096, 65535, 2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1,
    2**63, 2**64 - 1, 2**64, -(2**31), -(2**63), 10**30,
)  # fmt: skip
TEXTS = (
    "", " ", "x", "0", "-1", "1e9", "0x10", "nan", "inf", "None", "\0", "\x1b[31m", "\u202e",
    "../x", "/dev/zero", "/", ".", "..", "~nosuch", "x" * 300, "x" * 70_000, "[red]x", "é",
    "1" * 5000, "%s", "{}", "*/_ORT_MEM_ADDR_/*",
)  # fmt: skip


def number(rng: Rng) -> int:
    """One at which programs go wrong, or any."""
    if rng.random() < 0.7:
        return int(NUMBERS[rng.integers(len(NUMBERS))])
    return int(rng.integers(-(2**62), 2**62))


def text(rng: Rng) -> str:
    if rng.random() < 0.7:
        return TEXTS[rng.integers(len(TEXTS))]
    return "".join(chr(c) for c in rng.integers(1, 0x2FF, rng.integers(1, 20)))


def damaged(rng: Rng, content: bytes) -> bytes:
    """Bytes after one to four changes."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(data) + 1))
        size = int(rng.integers(1, 65))
        way = rng.integers(7)
        if way == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(8))
        elif way == 1 and at < len(data):
            data[at] = int(rng.choice([0, 1, 127, 128, 255]))
        elif way == 2:
            del data[at:]
        elif way == 3:
            del data[at : at + size]
        elif way == 4:
            data[at:at] = rng.bytes(size)
        elif way == 5:
            data[at : at + 8] = (number(rng) % 2**64).to_bytes(8, "little")
        else:
            data[at:at] = data[at : at + size]
    return bytes(data)


def value(rng: Rng, depth: int = 0) -> Any:
    """Anything that JSON has."""
    way = rng.integers(9 if depth < 3 else 6)
    if way == 0:
        return None
    if way == 1:
        return bool(rng.integers(2))
    if way == 2:
        return number(rng)
    if way == 3:
        return float(rng.choice([0.0, -1.5, 1e308, np.inf, -np.inf, np.nan]))
    if way in (4, 5):
        return text(rng)
    if way == 6:
        return [value(rng, depth + 1) for _ in range(rng.integers(4))]
    if way == 7:
        return {text(rng): value(rng, depth + 1) for _ in range(rng.integers(4))}
    deep: Any = 1
    for _ in range(int(rng.choice([50, 100, 300]))):
        deep = [deep]
    return deep


def changed(rng: Rng, tree: Any) -> Any:
    """JSON in which one value, somewhere, is another, is missing, or is there twice."""
    if isinstance(tree, dict) and tree and rng.random() < 0.85:
        key = list(tree)[rng.integers(len(tree))]
        way = rng.random()
        if way < 0.1:
            return {k: v for k, v in tree.items() if k != key}
        if way < 0.2:
            return tree | {text(rng): tree[key]}
        return tree | {key: changed(rng, tree[key])}
    if isinstance(tree, list) and tree and rng.random() < 0.85:
        at = rng.integers(len(tree))
        return [*tree[:at], changed(rng, tree[at]), *tree[at + 1 :]]
    return value(rng)
