"""Options: files of them, and values of `freeze`, `dims`, `shapes`, `BuildConfig`, `Engine`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import fasttrt
from fasttrt._engine.options_file import dumps, load_config
from fuzz.damage import Rng, changed, damaged, value
from support import models

_TABLES: dict[str, Any] = {
    "engine": {"device": "cpu", "contexts": 2, "precision": "fp16", "plugins": []},
    "build": {"optimization_level": 3, "refit": True, "keep_fp32": ["Softmax"]},
    "batching": {"max_size": 8, "max_delay_us": 100, "sizes": [1, 8]},
    "shapes": {"x": "1x3:8x3:32x3"},
    "freeze": {"x": [1.0, 2.0]},
    "dims": {"batch": 8},
}
_FIELDS = [field.name for field in dataclasses.fields(fasttrt.BuildConfig)]


def attempt(rng: Rng, folder: Path) -> str:
    """Read a file, or give values to the functions themselves."""
    if rng.random() < 0.5:
        return _file(rng, folder)
    way = rng.integers(4)
    proto = models.mlp().proto
    if way == 0:
        name = ("x", "batch", "x.0", "none")[rng.integers(4)]
        keyword = ("freeze", "dims", "shapes")[rng.integers(3)]
        given = {name: _plain(rng)}
        fasttrt.Engine(proto, device="cpu", **{keyword: given}).close()  # type: ignore[arg-type]
        return keyword
    if way == 1:
        try:
            fasttrt.BuildConfig(**{_FIELDS[rng.integers(len(_FIELDS))]: _plain(rng)})
        except TypeError:
            return "TypeError"
        return "BuildConfig"
    if way == 2:
        ranges = {"x": _plain(rng)}
        fasttrt.build(proto, shapes=ranges, progress=False)
        return "shapes"
    try:
        fasttrt.Batching(max_size=_plain(rng), sizes=_plain(rng))
    except TypeError:
        return "TypeError"
    return "Batching"


def _plain(rng: Rng) -> Any:
    return json.loads(json.dumps(value(rng)))


def _file(rng: Rng, folder: Path) -> str:
    path = folder / "fasttrt.toml"
    tables = changed(rng, _TABLES) if rng.random() < 0.7 else _TABLES
    try:
        content = dumps(tables, "comment").encode(errors="surrogatepass")
    except Exception:  # what TOML does not have
        content = dumps(_TABLES, "comment").encode()
    if rng.random() < 0.5:
        content = damaged(rng, content)
    path.write_bytes(content)
    load_config(path)
    return "a file"
