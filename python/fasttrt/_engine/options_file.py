"""``fasttrt.toml``: an engine's options in a file."""

import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

from fasttrt._common.checks import as_path
from fasttrt._common.file_kinds import FileKind
from fasttrt._common.input_file import read_file
from fasttrt._common.optional_packages import require
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
    return parse_options(file.name, _parse(file))


def parse_options(name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Check the tables of a ``fasttrt.toml``, and convert them to the options of `Engine`.

    Args:
        name: where they are from, for messages.
        content: the tables by name.

    Raises:
        InputError: see `load_config`.
    """
    _check_tables(name, content)
    options = _check_types(name, "engine", content.get("engine", {}), _ENGINE)
    if "plugins" in options and not all(isinstance(p, str) for p in options["plugins"]):
        raise InputError(f"{name}: engine.plugins: expected file names, got {options['plugins']!r}")
    if "tuned" in options:
        options["tuned"] = _tuned(name, options["tuned"])
    if "build" in content:
        options["config"] = _build_config(name, content["build"])
    if "batching" in content:
        batching = _check_types(name, "batching", content["batching"], _BATCHING)
        if "max_size" not in batching:
            raise InputError(f"{name}: batching.max_size: expected an integer, got nothing")
        options["batching"] = Batching(**batching)
    if "shapes" in content:
        for tensor, value in content["shapes"].items():
            if not isinstance(value, str):
                raise InputError(f'{name}: shapes.{tensor}: expected "1x3:8x3:32x3", got {value!r}')
            parse_range(tensor, value)
        options["shapes"] = dict(content["shapes"])
    for dimension, size in content.get("dims", {}).items():
        if type(size) is not int or size < 0:
            raise InputError(f"{name}: dims.{dimension}: expected an integer >= 0, got {size!r}")
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


def _parse(path: Path) -> dict[str, Any]:
    return _parse_text(path.name, read_file(path, _LIMIT, "TOML"))


def _parse_text(name: str, content: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tables: dict[str, Any] = tomllib.loads(content.decode().replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: expected TOML: {error}") from None
    except RecursionError:
        raise InputError(f"{name}: expected TOML, got values nested too deeply") from None
    return tables


def _is_options(stream: BinaryIO) -> bool:
    stream.seek(0)
    try:
        content = _parse_text("", stream.read(_LIMIT))
        _check_tables("", content)
    except InputError:
        return False
    return any(content.values())


OPTIONS = FileKind("a fasttrt.toml", _is_options)


def _check_tables(name: str, content: Mapping[str, Any]) -> None:
    """Check the names of tables and of their options."""
    _check_names(name, content, _TABLES)
    for table, values in content.items():
        if not isinstance(values, dict):
            raise InputError(f"{name}: {table}: expected a table [{table}], got {values!r}")
        known = _TABLES[table]
        if known is not None:
            _check_names(f"{name} [{table}]", values, known)


def _check_names(place: str, values: Mapping[str, Any], known: Collection[str]) -> None:
    for key in values:
        if key not in known:
            raise InputError(
                f"{place}: {key!r} is not an option; expected {', '.join(sorted(known))}"
            )


def _check_types(
    name: str, table: str, values: dict[str, Any], known: Mapping[str, tuple[type, ...]]
) -> dict[str, Any]:
    for key, value in values.items():
        if type(value) not in known[key]:  # a bool is not an integer here
            expected = " or ".join(kind.__name__ for kind in known[key])
            raise InputError(f"{name}: {table}.{key}: expected {expected}, got {value!r}")
    return dict(values)


def _tuned(name: str, value: Any) -> Any:
    """Return the option as `Engine` takes it: TOML, which has no None, says "none"."""
    if value == "none":
        return None
    if value == "observed":
        return value
    try:
        parse_tuned(value)
    except InputError as error:
        raise InputError(f"{name}: engine.{error}") from None
    return value


def _build_config(name: str, values: dict[str, Any]) -> BuildConfig:
    for key, value in values.items():
        if isinstance(value, bool) != (key in _FLAGS or key == "tf32"):
            expected = "a number or a string" if isinstance(value, bool) else "true or false"
            raise InputError(f"{name}: build.{key}: expected {expected}, got {value!r}")
    try:
        return BuildConfig(**values)
    except TypeError as error:
        raise InputError(f"{name}: [build]: {error}") from None
