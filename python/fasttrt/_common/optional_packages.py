"""Check for the packages that extras of fasttrt bring."""

from importlib import import_module
from typing import NamedTuple

from fasttrt.errors import MissingPackageError


class _Origin(NamedTuple):
    package: str
    """Its name on the package index."""
    extra: str
    """The smallest extra that brings it."""


_ORIGINS = {
    "google.protobuf": _Origin("protobuf", "serve"),
    "matplotlib": _Origin("matplotlib", "plot"),
    "onnx": _Origin("onnx", "onnx"),
    "onnx_ir": _Origin("onnx-ir", "onnx"),
    "onnxruntime": _Origin("ONNX Runtime", "cpu"),
    "onnxscript": _Origin("onnxscript", "onnx"),
    "ray": _Origin("Ray", "ray"),
    "rich": _Origin("rich", "cli"),
    "tomli_w": _Origin("tomli-w", "cli"),
    "typer": _Origin("typer", "cli"),
}
"""What `require` knows, by the name that is imported."""


def require(purpose: str, *modules: str) -> None:
    """Import modules for their users, which then find them.

    Args:
        purpose: what needs them; the message begins with it.
        modules: names of `_ORIGINS`.

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
    package, extra = _ORIGINS[module]
    if error is None or (error.name and f"{module}.".startswith(f"{error.name}.")):
        problem = "which is not installed"
    else:  # it is there, but something that it needs is not
        problem = f"which cannot be imported ({error})"
    text = f"{purpose} needs {package}, {problem}: pip install 'fasttrt[{extra}]'"
    return MissingPackageError(text, package, extra)
