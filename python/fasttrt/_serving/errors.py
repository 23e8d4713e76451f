"""The errors of the server itself; `App` maps them, and those of engines, to HTTP statuses."""

from fasttrt.errors import Error, InputError


class UnknownModelError(InputError):
    """No model has this name: 400."""


class UnavailableModelError(Error):
    """The model is known, but it, or the version, cannot be used now: 404."""


class UnsupportedRequestError(Error):
    """The server, or its options, rule the request out: 501."""


class ModelControlError(Error):
    """The server's mode does not let clients load and unload models: 503."""
