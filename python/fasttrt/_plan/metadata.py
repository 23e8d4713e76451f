"""Parsing of a plan's metadata: JSON that may not have been written by fasttrt."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fasttrt.errors import EngineLoadError

GROUPED_CONVOLUTIONS = "grouped_convolutions"
"""The names of those for which TensorRT-RTX may compile wrong kernels, as the plan's sizes vary."""
LIMIT = 1 << 30
"""The maximum size of metadata, in bytes."""
_MAX_DEPTH = 64
"""The maximum nesting depth of lists and mappings; fasttrt's own is below ten."""


class _Optional(NamedTuple):
    """A mapping with fields of these types, each of which may be missing."""

    fields: Mapping[str, Any]


_LIBRARY = {"family": str, "version": str}
_TENSORS = [
    _Optional({"name": str, "dtype": str, "engine_dtype": str, "shape": [int], "dimensions": [str]})
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
    "config": _Optional(
        {"precision": (str, None), "strip_weights": bool, "version_compatible": bool}
    ),
    "profiles": [dict],
    "tuned": dict,
    "observed": [dict],
    "inputs": _TENSORS,
    "outputs": _TENSORS,
    "plugins": [{"name": str, "sha256": str}],
    "structure": dict,
    "arguments": _Optional({"freeze": dict, "dims": dict}),
    "verification": dict,
    "cache": _Optional({"library": _LIBRARY, "model_sha256": str, "config": dict}),
}
"""The type of each field, if it is present: a type, a list of one, a mapping, or alternatives."""


def parse_metadata(content: bytes, name: str) -> dict[str, Any]:
    """Parse the metadata of a plan that messages call ``name``.

    Raises:
        EngineLoadError: it is not a JSON object, is nested too deeply, or a field does not have the
            type that fasttrt writes.
    """
    try:
        metadata = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EngineLoadError(f"{name} is damaged: its metadata is not JSON: {error}") from None
    if not isinstance(metadata, dict):
        raise EngineLoadError(f"{name} is damaged: its metadata is not a JSON object")
    if _is_deeper(metadata, _MAX_DEPTH):
        raise EngineLoadError(f"{name} is damaged: its metadata is nested too deeply")
    for field, kind in _KINDS.items():
        if field in metadata and (place := _misfit(metadata[field], kind, field)):
            raise EngineLoadError(f"{name} is damaged: its metadata has a wrong type in {place}")
    return metadata


def _misfit(value: Any, kind: Any, place: str) -> str:
    """Return the place within a value whose type is wrong; empty if there is none."""
    if isinstance(kind, _Optional):
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
    """Whether lists and mappings are nested more than ``levels`` deep."""
    layer = [value]
    for _ in range(levels):
        layer = [
            item
            for outer in layer
            if isinstance(outer, (list, dict))
            for item in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(item, (list, dict)) for item in layer)
