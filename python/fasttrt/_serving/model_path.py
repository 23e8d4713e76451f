"""Paths of models in URLs."""

from urllib.parse import quote

from fasttrt.errors import InputError


def model_path(name: str, version: str = "") -> str:
    """Return the path of a model, or of a version of it, below which its actions are.

    Raises:
        InputError: there is no name.
    """
    path = f"/v2/models/{quoted('the name of a model', name)}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def quoted(what: str, name: str) -> str:
    """Return a name as a segment of a path.

    Raises:
        InputError: it is empty.
    """
    if not name:
        raise InputError(f"expected {what}, got none")
    return quote(name, safe="")
