"""Check for the packages that fasttrt works without, in part."""

from importlib import import_module
from typing import NamedTuple

from fasttrt.errors import MissingPackageError


class _Origin(NamedTuple):
    package: str
    """Its name on the package index."""
    extra: str
    """The smallest extra of fasttrt-runtime that brings it."""


ORIGINS = {
    "google.protobuf": _Origin("protobuf", "serve"),
    "matplotlib": _Origin("matplotlib", "plot"),
    "onnx": _Origin("onnx", "onnx"),
    "onnx_ir": _Origin("onnx-ir", "onnx"),
    "onnxruntime": _Origin("ONNX Runtime", "cpu"),
    "onnxscript": _Origin("onnxscript", "onnx"),
    "ray": _Origin("Ray", "ray"),
    "ray.serve": _Origin("Ray", "ray"),
    "rich": _Origin("rich", "cli"),
    "tomli_w": _Origin("tomli-w", "cli"),
    "typer": _Origin("typer", "cli"),
}
"""What `require` knows, by the name that is imported."""

_ALWAYS_WITH_FASTTRT = {"onnx", "cli"}
"""Extras of fasttrt-runtime that are dependencies of fasttrt."""


def require(purpose: str, *modules: str) -> None:
    """Import modules for their users, which then find them.

    Args:
        purpose: what needs them; the message begins with it.
        modules: names of `ORIGINS`.

    Raises:
        MissingPackageError: a package is not installed, or fails while it is imported.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise missing(purpose, module, error) from error


def missing(purpose: str, module: str, error: ImportError | None = None) -> MissingPackageError:
    """Return the error of a module that cannot be imported; see `require`."""
    package, extra = ORIGINS[module]
    if error is None or (error.name and f"{module}.".startswith(f"{error.name}.")):
        problem = "which is not installed"
    else:  # it is there, but something that it needs is not
        problem = f"which cannot be imported ({error})"
    text = f"{purpose} needs {package}, {problem}: {install_command(extra)}"
    return MissingPackageError(text, package, extra)


def install_command(extra: str) -> str:
    """Return the command that installs what is missing, for the distribution that is installed.

    The other one would overwrite its files.

    Args:
        extra: an extra of fasttrt-runtime.
    """
    if versions("fasttrt-runtime"):
        return f"pip install 'fasttrt-runtime[{extra}]'"
    if extra in _ALWAYS_WITH_FASTTRT:
        return "pip install fasttrt"
    return f"pip install 'fasttrt[{extra}]'"


def versions(*distributions: str) -> dict[str, str]:
    """Return the versions of those distributions that are installed, by their names."""
    from importlib.metadata import PackageNotFoundError, version  # slow, and seldom needed

    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
