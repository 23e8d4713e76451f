"""`Listener`: what is told of the models that can be used, as a front end is."""

from typing import Protocol

from fasttrt._serving.loaded_model import LoadedModel


class Listener(Protocol):
    """Is told which models can be used; the calls are quick, and come in order."""

    def model_ready(self, model: LoadedModel, is_default: bool) -> None:
        """Use a version from now on, in place of the one before with the same number."""
        ...

    def model_removed(self, name: str, version: str) -> None:
        """Use a version no more; requests that use it already may end."""
        ...
