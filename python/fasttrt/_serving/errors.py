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


class UnknownRegionError(Error):
    """No shared memory is registered by this name: 404."""


class DuplicateRegionError(InputError):
    """Shared memory is registered by this name already: 400 (ALREADY_EXISTS)."""


class OverloadedError(Error):
    """The server has no room for the request at the moment: 503."""
