"""Plans: files that are damaged, and metadata that are forged under a right checksum."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import fasttrt
from fasttrt import cache
from fasttrt._cache.key import digest_of
from fasttrt._plan.plan_file import is_plan_file
from fuzz import commands
from fuzz.damage import Rng, changed, damaged, number

_TENSOR = {
    "name": "x", "dtype": "float32", "engine_dtype": "float32", "shape": [-1, 3],
    "dimensions": ["batch", ""],
}  # fmt: skip
_PARTS: dict[str, Any] = {
    "fasttrt": "0.1", "format": 2, "revision": 2, "model_sha256": "0" * 64,
    "config": {"refit": False}, "shapes": None,
    "library": {"family": "rtx", "version": "1.6.1", "build": "x"},
    "gpu": {"name": "GPU", "compute_capability": "9.0"}, "environment": {}, "extra": {},
}  # fmt: skip
METADATA: dict[str, Any] = {
    "fasttrt": "0.1", "model_sha256": "0" * 64, "changes": ["a change"], "control_flow": [],
    "grouped_convolutions": [],
    "library": {"family": "rtx", "version": "1.6.1"},
    "gpu": {"name": "GPU", "compute_capability": "9.0"},
    "config": {"precision": None, "strip_weights": False, "version_compatible": False},
    "profiles": [{"x": [[1, 3], [2, 3], [4, 3]]}], "inputs": [_TENSOR], "outputs": [_TENSOR],
    "cache": _PARTS, "model_name": "m.onnx", "plugins": [{"name": "p.so", "sha256": "0" * 64}],
    "verification": {"passed": True}, "arguments": {"freeze": {}, "dims": {}},
}  # fmt: skip


def attempt(rng: Rng, folder: Path) -> str:
    """Damage one, and look at it in all ways that need no GPU."""
    data = (b"FASTTRT\0", b"ftrt", b"vtrt", b"ptrt", b"")[rng.integers(5)] + rng.bytes(200)
    if rng.random() < 0.5:
        metadata = changed(rng, METADATA) if rng.random() < 0.9 else METADATA
        content = forged(rng, json.dumps(metadata).encode(), data)
    else:
        content = damaged(rng, fasttrt.Plan(data, METADATA).to_bytes())
    if rng.random() < 0.1:
        content = damaged(rng, data)
    plans = folder / "cache" / "plans"
    plans.mkdir(parents=True, mode=0o700)
    (folder / "cache").chmod(0o700)
    key = digest_of(_PARTS) if rng.random() < 0.5 else "0" * 64
    path = plans / f"{key}.plan"
    path.write_bytes(content)
    is_plan_file(path)
    shown: list[list[str]] = [
        *(["cache", c, "--folder", str(folder / "cache")] for c in ("list", "verify")),
        ["inspect", str(path)],
    ]
    for arguments in shown:
        if rng.random() < 0.4:
            commands.run(arguments + (["--json"] if rng.random() < 0.3 else []))
    assert len(cache.entries(folder / "cache")) == 1
    plan = fasttrt.Plan.load(path)
    again = fasttrt.Plan.from_bytes(content)
    assert again.digest == plan.digest
    with_gpu_or_not(path)
    return "a plan"


def with_gpu_or_not(path: Path) -> None:
    """No GPU runs it: what is wrong with it is found before, or TensorRT is asked for in vain."""
    try:
        fasttrt.Engine(path, device="auto", cache=False).close()
    except fasttrt.Error:
        return


def forged(rng: Rng, metadata: bytes, data: bytes) -> bytes:
    """A file with a right checksum, sizes apart."""
    offset = -(-(72 + len(metadata)) // 4096) * 4096
    sizes = [len(metadata), offset, len(data)]
    if rng.random() < 0.2:
        sizes[rng.integers(3)] = number(rng) % 2**64
    fields = struct.pack("<8sIIQQQ", b"FASTTRT\0", 2, 0, *sizes)
    padded = metadata.ljust(offset - 72, b"\0")
    digest = hashlib.sha256(data).digest()
    return fields + hashlib.sha256(fields + padded + digest).digest() + padded + data
