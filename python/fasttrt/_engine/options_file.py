"""``fasttrt.toml``: an engine's options in a file."""

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, BinaryIO

from fasttrt._cache.folder import parse_cache
from fasttrt._common.checks import as_path, prefixed, refuse
from fasttrt._common.file_kinds import FileKind
from fasttrt._common.input_file import read_file
from fasttrt._common.optional_packages import require
from fasttrt._engine.option_checks import check_sent_options
from fasttrt._library.device import is_auto, parse_devices
from fasttrt._plan.build_config import BuildConfig
from fasttrt._plan.profiles import parse_range
from fasttrt._plan.tuned import parse_tuned
from fasttrt._runtime.batching import Batching
from fasttrt.errors import InputError

_ENGINE: dict[str, tuple[type, ...]] = {
    "device": (str,),
    "library": (str,),
    "precision": (str,),
    "tuned": (str, list, dict),
    "contexts": (int,),
    "specialization": (str,),
    "warmup": (bool, str),
    "cuda_graph": (bool, str),
    "wait": (str,),
    "max_queue": (int,),
    "weight_streaming_budget": (int,),
    "cache": (bool, str),
    "verify": (bool,),
    "isolate": (bool, int, float),
    "plugins": (list,),
}
"""The options of ``[engine]``, and their types in TOML."""
_BATCHING: dict[str, tuple[type, ...]] = {
    "max_size": (int,), "max_delay_us": (int,), "sizes": (list,),
}  # fmt: skip
_TABLES: dict[str, Collection[str] | None] = {
    "engine": _ENGINE,
    "build": [f.name for f in fields(BuildConfig)],
    "batching": _BATCHING,
    "shapes": None,
    "freeze": None,
    "dims": None,
}
"""The tables, and the names of their options; None for those that name tensors and dimensions."""
_FLAGS = frozenset(f.name for f in fields(BuildConfig) if f.type in (bool, "bool"))
_LIMIT = 16 << 20
"""The maximum size of a file, in bytes."""


def load_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load the options for `Engine` from a ``fasttrt.toml``.

    The file has tables ``[engine]`` (options of `Engine` by name), ``[build]`` (of `BuildConfig`),
    ``[batching]`` (of `Batching`), ``[shapes]`` (in trtexec's notation, by input), ``[freeze]``
    (values by input) and ``[dims]`` (sizes by dimension name), all optional.

    Args:
        path: the file, as ``fasttrt tune`` writes it.

    Raises:
        InputError: the file is not TOML or contains an unknown option, or a value has the wrong
            type or range.
        OSError: the file cannot be read.

    Examples:
        >>> from pathlib import Path
        >>> size = Path("fasttrt.toml").write_text("engine = {contexts = 4}")
        >>> options = fasttrt.load_config("fasttrt.toml")
        >>> options
        {'contexts': 4}
        >>> engine = fasttrt.Engine("m.onnx", **options)
    """
    file = as_path("path", path)
    text = read_file(file, _LIMIT, "TOML")
    with prefixed(f"{file.name}: "):
        return _options_of(_parse_text(text))


def parse_options(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Check the tables of a ``fasttrt.toml``, and convert them to the options of `Engine`.

    Args:
        name: where they are from, for messages.
        content: the tables by name.

    Raises:
        InputError: see `load_config`.
    """
    with prefixed(f"{name}: "):
        return _options_of(content)


def _options_of(content: Mapping[str, Any]) -> dict[str, Any]:
    from fasttrt._engine.engine import Engine

    _check_tables(content)
    options = _check_types("engine", content.get("engine", {}), _ENGINE)
    if "plugins" in options and not all(isinstance(p, str) for p in options["plugins"]):
        refuse("engine.plugins", "file names", options["plugins"])
    if "tuned" in options:
        options["tuned"] = _tuned(options["tuned"])
    with prefixed("engine."):
        check_sent_options(Engine, options)
        parse_cache(options.get("cache", False))
        if not is_auto(device := options.get("device", "auto")):
            parse_devices(device)
    if "build" in content:
        options["config"] = _build_config(content["build"])
    if "batching" in content:
        batching = _check_types("batching", content["batching"], _BATCHING)
        if "max_size" not in batching:
            raise InputError("batching.max_size: expected an integer, got nothing")
        with prefixed("batching.", "Batching."):
            options["batching"] = Batching(**batching)
    if "shapes" in content:
        for tensor, value in content["shapes"].items():
            _check_shape(tensor, value)
        options["shapes"] = dict(content["shapes"])
    for dimension, size in content.get("dims", {}).items():
        if type(size) is not int or size < 0:
            refuse(f"dims.{dimension}", "an integer >= 0", size)
    return options | {table: content[table] for table in ("freeze", "dims") if table in content}


def dumps(tables: Mapping[str, Mapping[str, Any]], comment: str) -> str:
    """Format tables as TOML below a comment; empty ones are left out.

    Raises:
        MissingPackageError: tomli-w is not installed.
    """
    require("writing a fasttrt.toml", "tomli_w")
    import tomli_w

    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    return f"{lines}\n{tomli_w.dumps({name: table for name, table in tables.items() if table})}"


def _parse_text(content: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tables: dict[str, Any] = tomllib.loads(content.decode().replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"expected TOML: {error}") from None
    except RecursionError:
        raise InputError("expected TOML, got values nested too deeply") from None
    return tables


def _is_options(stream: BinaryIO) -> bool:
    stream.seek(0)
    try:
        content = _parse_text(stream.read(_LIMIT))
        _check_tables(content)
    except InputError:
        return False
    return any(content.values())


OPTIONS = FileKind("a fasttrt.toml", _is_options)


def _check_tables(content: Mapping[str, Any]) -> None:
    """Check the names of tables and of their options."""
    _check_names("", content, _TABLES)
    for table, values in content.items():
        if not isinstance(values, dict):
            refuse(table, f"a table [{table}]", values)
        known = _TABLES[table]
        if known is not None:
            _check_names(f"[{table}]: ", values, known)


def _check_names(place: str, values: Mapping[str, Any], known: Collection[str]) -> None:
    for key in values:
        if key not in known:
            expected = ", ".join(sorted(known))
            raise InputError(f"{place}{key!r} is not an option; expected {expected}")


def _check_types(
    table: str, values: dict[str, Any], known: Mapping[str, tuple[type, ...]]
) -> dict[str, Any]:
    for key, value in values.items():
        if type(value) not in known[key]:  # a bool is not an integer here
            refuse(f"{table}.{key}", " or ".join(kind.__name__ for kind in known[key]), value)
    return dict(values)


def _tuned(value: Any) -> Any:
    """Return the option as `Engine` takes it: TOML, which has no None, says "none"."""
    if value == "none":
        return None
    if value != "observed":
        try:
            parse_tuned(value)
        except InputError as error:
            text = str(error).replace('"auto", None,', '"auto", "none",', 1)
            raise InputError(f"engine.{text}") from None
    return value


def _check_shape(tensor: str, value: Any) -> None:
    try:
        if isinstance(value, str):
            parse_range(tensor, value)
            return
    except InputError:
        pass
    refuse(f"shapes.{tensor}", 'a shape as in "8x3" or "1x3:8x3:32x3"', value)


def _build_config(values: dict[str, Any]) -> BuildConfig:
    for key, value in values.items():
        if isinstance(value, bool) != (key in _FLAGS or key == "tf32"):
            expected = "a number or a string" if isinstance(value, bool) else "true or false"
            refuse(f"build.{key}", expected, value)
    try:
        with prefixed("build.", "BuildConfig."):
            return BuildConfig(**values)
    except TypeError as error:
        raise InputError(f"[build]: {error}") from None
