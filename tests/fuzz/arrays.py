"""Arrays: damaged files of samples, and arrays of odd types and shapes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import fasttrt
from fasttrt._runtime.samples import given_samples, read_samples
from fuzz.damage import Rng, damaged
from support import models

_DTYPES = (
    "float32", "float64", "float16", "int8", "int64", "uint64", "bool", "complex64", "O", "S4",
    "U4", "M8[s]", "m8[s]", "V4", "f4,i4", ">f4", ml_dtypes.bfloat16, ml_dtypes.int4,
    ml_dtypes.float8_e4m3fn, "longdouble",
)  # fmt: skip


@cache
def _engine() -> fasttrt.Engine:
    return fasttrt.Engine(models.several().proto, device="cpu")


def attempt(rng: Rng, folder: Path) -> str:
    """Feed an engine, or read samples from files."""
    if rng.random() < 0.4:
        return _fed(rng)
    path = _saved(rng, folder)
    specs = _engine().inputs
    if rng.random() < 0.5:
        return f"{len(list(given_samples(path, specs)))} samples"
    return f"{len(list(read_samples(specs, path, 'data')))} samples"


def _fed(rng: Rng) -> str:
    engine = _engine()
    good = [*models.several().inputs(), np.ones(3, np.float32)][: rng.choice([2, 2, 2, 1, 3])]
    arguments = [_array(rng) if rng.random() < 0.3 else array for array in good]
    names = ["a", "b", "c"][: len(arguments)]
    options: dict[str, Any] = {}
    if rng.random() < 0.2:
        options["cast"] = True
    if rng.random() < 0.2:
        options["out"] = _array(rng)
    if rng.random() < 0.3:
        engine.infer(dict(zip(names, arguments, strict=True)), **options)
    elif rng.random() < 0.2:
        list(engine.map([tuple(arguments)]))
    else:
        engine.infer(*arguments, **options)
    return "run"


def _array(rng: Rng) -> Any:
    shape = [(3, 4), (3, 1), (4,), (), (0, 4), (3, 4, 1), (1,) * 9][rng.integers(7)]
    dtype = _DTYPES[rng.integers(len(_DTYPES))] if rng.random() < 0.6 else "float32"
    array: Any = np.zeros(shape, dtype)
    way = rng.integers(9)
    if way == 0:
        return array[..., ::-1] if array.ndim else array
    if way == 1:
        return np.broadcast_to(array, (2, *shape)) if array.ndim < 9 else array
    if way == 2:
        return np.ma.masked_array(array, mask=True)
    if way == 3:
        return array.tolist()
    if way == 4:
        return [None, "x", b"x", 5, 1.5, {}, [[1], [2, 3]], object(), range(3)][rng.integers(9)]
    if way == 5:
        return np.asfortranarray(array)
    if way == 6 and array.size:
        return np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:]
    return array


def _saved(rng: Rng, folder: Path) -> Path:
    a, b = models.several().inputs()
    samples = folder / "samples"
    samples.mkdir()
    way = rng.integers(4)
    if way == 0:
        np.save(samples / "a.npy", a)
        np.save(samples / "b.npy", b)
    elif way == 1:
        np.savez(samples / "0.npz", a=a, b=b)
    elif way == 2:
        np.savez_compressed(samples / "0.npz", a=a, b=b)
    else:
        np.save(samples / "0.npy", np.array([_array(rng)], dtype=object), allow_pickle=True)
    files = sorted(samples.iterdir())
    file = files[rng.integers(len(files))]
    content = file.read_bytes()
    file.write_bytes(damaged(rng, content) if rng.random() < 0.9 else content)
    if rng.random() < 0.1:
        file = file.rename(file.with_suffix((".npz", ".npy", ".txt")[rng.integers(3)]))
    return file if rng.random() < 0.4 else samples
