"""What the server and its models say of themselves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fasttrt._version import __version__

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel
    from fasttrt._serving.served_tensor import ServedTensorSpec

EXTENSIONS = (
    "classification",
    "model_repository",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
)
"""Those of Triton's that are there, in its order."""


def server_metadata() -> dict[str, Any]:
    """Return the server's name, version and extensions."""
    return {"name": "fasttrt", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(model: "LoadedModel", versions: Sequence[str]) -> dict[str, Any]:
    """Return a model's name, ready versions, platform and tensors."""
    return {
        "name": model.name,
        "versions": list(versions),
        "platform": model.platform,
        "inputs": _tensors(model.inputs),
        "outputs": _tensors(model.outputs),
    }


def _tensors(specs: Sequence["ServedTensorSpec"]) -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs
    ]
