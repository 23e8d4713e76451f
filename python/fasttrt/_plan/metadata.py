"""The metadata of a plan's file, as JSON that others may have written."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fasttrt.errors import EngineLoadError

GROUPED_CONVOLUTIONS = "grouped_convolutions"
"""The names of those for which TensorRT-RTX may compile wrong kernels, as the plan's sizes vary."""
LIMIT = 1 << 30
"""Bytes of metadata, at most."""
_DEEPEST = 64
"""Levels of lists and mappings within each other; fasttrt's own are below ten."""


class _Some(NamedTuple):
    """A mapping with these fields, each of which may be missing."""

    fields: Mapping[str, Any]


_LIBRARY = {"family": str, "version": str}
_TENSORS = [
    _Some({"name": str, "dtype": str, "engine_dtype": str, "shape": [int], "dimensions": [str]})
]
_KINDS: Mapping[str, Any] = {
    "fasttrt": str,
    "model_sha256": str,
    "model_name": (str, None),
    "changes": [str],
    "control_flow": [str],
    GROUPED_CONVOLUTIONS: [str],
    "library": _LIBRARY,
    "gpu": ({"name": str, "compute_capability": str}, None),
    "config": _Some({"precision": (str, None), "strip_weights": bool, "version_compatible": bool}),
    "profiles": [dict],
    "inputs": _TENSORS,
    "outputs": _TENSORS,
    "plugins": [{"name": str, "sha256": str}],
    "structure": dict,
    "arguments": _Some({"freeze": dict, "dims": dict}),
    "verification": dict,
    "cache": _Some({"library": _LIBRARY, "model_sha256": str, "config": dict}),
}
"""What fields are, where they are there: a type, a list of one, a mapping, or one of several."""


def parse_metadata(content: bytes, name: str) -> dict[str, Any]:
    """Read the metadata of a plan that errors call ``name``.

    Raises:
        EngineLoadError: it is no JSON object, is nested too deep, or a field has another type than
            fasttrt writes.
    """
    try:
        metadata = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EngineLoadError(f"{name} is damaged: its metadata is no JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise EngineLoadError(f"{name} is damaged: its metadata is no JSON object")
    if _is_deeper(metadata, _DEEPEST):
        raise EngineLoadError(f"{name} is damaged: its metadata is nested too deep")
    for field, kind in _KINDS.items():
        if field in metadata and (place := _misfit(metadata[field], kind, field)):
            raise EngineLoadError(f"{name} is damaged: its metadata has another type in {place}")
    return metadata


def _misfit(value: Any, kind: Any, place: str) -> str:
    """Where a value is of another kind; empty if nowhere."""
    if isinstance(kind, _Some):
        present = value if isinstance(value, dict) else ()
        return _misfit(value, {k: kind.fields[k] for k in kind.fields if k in present}, place)
    if isinstance(kind, tuple):
        return "" if any(not _misfit(value, one, place) for one in kind) else place
    if kind is None:
        return "" if value is None else place
    if isinstance(kind, list):
        if not isinstance(value, list):
            return place
        parts = [(item, kind[0], f"{place}[{i}]") for i, item in enumerate(value)]
    elif isinstance(kind, Mapping):
        if not isinstance(value, dict) or not kind.keys() <= value.keys():
            return place
        parts = [(value[k], one, f"{place}.{k}") for k, one in kind.items()]
    else:
        return "" if type(value) is kind else place
    return next(filter(None, (_misfit(*part) for part in parts)), "")


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and mappings are within each other more than so many times."""
    layer = [value]
    for _ in range(levels):
        layer = [
            item
            for outer in layer
            if isinstance(outer, (list, dict))
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(item, (list, dict)) for item in layer)
