"""What the server and its models say of themselves."""

from collections.abc import Collection, Sequence
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
    "system_shared_memory",
    "cuda_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
"""Those of Triton's that there are, in its order."""
OPTIONAL = ("system_shared_memory", "cuda_shared_memory", "trace")
"""Those that a server has only where its options say so."""


def server_metadata(optional: Collection[str] = ()) -> dict[str, Any]:
    """Return the server's name, version and extensions.

    Args:
        optional: which of the extensions that a server may have or not this one has.
    """
    extensions = [name for name in EXTENSIONS if name not in OPTIONAL or name in optional]
    return {"name": "fasttrt", "version": __version__, "extensions": extensions}


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
