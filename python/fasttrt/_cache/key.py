"""The cache's keys: everything that a plan depends on."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence, Set
from numbers import Integral
from pathlib import Path
from typing import Any

from fasttrt import _core
from fasttrt._cache.fingerprints import builder_fingerprint, library_fingerprint
from fasttrt._plan.build_config import LOAD_OPTIONS, TF32_VARIABLE, BuildConfig
from fasttrt._plan.plan_file import FORMAT
from fasttrt._plan.profiles import Shapes, parse_range
from fasttrt._plan.tuned import Request
from fasttrt._version import __version__
from fasttrt.errors import InputError

_REVISION = 2
"""The revision of the build in the C++ core. Increased when cached plans may give wrong results or
lack metadata that is needed."""


def key_parts(
    model_sha256: str,
    config: BuildConfig,
    shapes: Shapes | None,
    library: _core.Library,
    gpu: tuple[str, int, int] | None,
    extra: Mapping[str, object],
    tuned: Request | None = None,
) -> dict[str, Any]:
    """Return everything that a plan depends on, as JSON values.

    Args:
        model_sha256: the hash of the model, external data included.
        config: the options of the build; all but `LOAD_OPTIONS` count.
        shapes: the shapes as the caller wrote them; different notations of a range are equivalent.
        library: the TensorRT library.
        gpu: name and compute capability; None if there is none.
        extra: what else the plan depends on, by name, such as hashes of files.
        tuned: the sizes to tune for.

    Raises:
        InputError: ``shapes`` is invalid.
        TypeError: a value has no canonical form.
    """
    options = {
        field.name: plain(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.name not in LOAD_OPTIONS
    }
    return {
        "fasttrt": __version__,
        "format": FORMAT,
        "revision": _REVISION,
        "builder": builder_fingerprint(),
        "model_sha256": model_sha256,
        "config": options,
        "shapes": _ranges(shapes),
        "tuned": plain(tuned),
        "library": {
            "family": library.family,
            "version": library.version,
            "build": library_fingerprint(library),
        },
        "gpu": _target(config, gpu),
        "environment": {TF32_VARIABLE: os.environ.get(TF32_VARIABLE)},
        "extra": plain(extra),
    }


def digest_of(parts: Mapping[str, Any]) -> str:
    """Return the key: the SHA-256 of its parts, in hexadecimal."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Convert a value to JSON values, identically in every process.

    Raises:
        TypeError: it has no such form.
    """
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, os.PathLike):
        return str(Path(value).absolute())
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Set):
        return sorted(map(plain, value), key=json.dumps)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "item"):  # numpy's scalars, which are not Python numbers
        return plain(value.item())
    raise TypeError(f"the cache's key cannot hold a {type(value).__name__}: {value!r}")


def _ranges(shapes: Shapes | None) -> list[dict[str, Any]] | None:
    if shapes is None:
        return None
    profiles = [shapes] if isinstance(shapes, Mapping) else shapes
    ranges = []
    for profile in profiles:
        if not isinstance(profile, Mapping):
            raise InputError(f"shapes: expected a mapping from input names, got {profile!r}")
        ranges.append({name: plain(parse_range(name, value)) for name, value in profile.items()})
    return ranges


def _target(config: BuildConfig, gpu: tuple[str, int, int] | None) -> dict[str, Any] | None:
    """Return the properties of the GPU that the plan depends on."""
    capabilities = [str(capability) for capability in config.compute_capabilities]
    if capabilities and "current" not in capabilities:
        return {"compute_capabilities": sorted(capabilities)}
    if config.hardware_compatibility == "ampere_plus":
        return {"hardware_compatibility": "ampere_plus"}
    if gpu is None:
        return None
    name, major, minor = gpu
    if config.hardware_compatibility == "same_compute_capability":
        return {"compute_capability": f"{major}.{minor}"}
    return {"name": name, "compute_capability": f"{major}.{minor}"}
