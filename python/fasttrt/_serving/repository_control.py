"""Bodies of the requests that control the repository."""

import base64
import binascii
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fasttrt._serving.http import Body, json_object, kind
from fasttrt.errors import InputError

if TYPE_CHECKING:
    from fasttrt._serving.model_entry import ModelState

_FILE = "file:"


def read_load(body: Body) -> tuple[str | None, dict[str, bytes] | None]:
    """Read what to load a model with: a configuration, and files by their paths; None for none.

    Raises:
        InputError: the body is malformed, or names a parameter that there is not.
    """
    parameters = _parameters(body)
    config: str | None = None
    files: dict[str, bytes] = {}
    for name, value in parameters.items():
        if name != "config" and not name.startswith(_FILE):
            raise InputError(f"parameter '{name}': expected config or file:PATH")
        if not isinstance(value, str):
            raise InputError(f"parameter '{name}': expected a string, got {kind(value)}")
        if name == "config":
            config = value
        else:
            files[name.removeprefix(_FILE)] = _decoded(name, value)
    if files and config is None:
        raise InputError(f"parameter '{_FILE}...': files need the parameter config, too")
    return config, files or None


def read_unload(body: Body) -> None:
    """Check a request to unload a model. It has nothing to say: no model depends on another.

    Raises:
        InputError: the body is malformed.
    """
    dependents = _parameters(body).get("unload_dependents", False)
    if not isinstance(dependents, bool):
        raise InputError(
            f"parameter 'unload_dependents': expected a boolean, got {kind(dependents)}"
        )


def read_index(body: Body) -> bool:
    """Return whether only models that are ready are asked for.

    Raises:
        InputError: the body is malformed.
    """
    ready = (json_object(body) if len(body) else {}).get("ready", False)
    if not isinstance(ready, bool):
        raise InputError(f"ready: expected true or false, got {kind(ready)}")
    return ready


def index_entry(state: "ModelState") -> dict[str, str]:
    """Return a model's entry in the index; what is not known of it is left out."""
    entry = {"version": state.version, "state": state.state, "reason": state.reason}
    return {"name": state.name} | {key: value for key, value in entry.items() if value}


def _parameters(body: Body) -> Mapping[str, Any]:
    parameters = (json_object(body) if len(body) else {}).get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InputError(f"parameters: expected an object, got {kind(parameters)}")
    return parameters


def _decoded(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"parameter '{name}': expected base64, got something else") from None
