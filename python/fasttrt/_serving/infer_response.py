"""Answers to infer requests of HTTP: a JSON object, then the bytes of binary outputs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fasttrt._serving.classification import classify
from fasttrt._serving.codec import Array, to_binary, to_json_data
from fasttrt._serving.datatypes import BYTES
from fasttrt._serving.http import Body, Response, to_json
from fasttrt._serving.infer_call import InferCall, RequestedOutput
from fasttrt._serving.shared_memory import SharedPart
from fasttrt.errors import InputError

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel


def write_infer(model: "LoadedModel", call: InferCall, results: Mapping[str, Any]) -> Response:
    """Write what a request asked for.

    Args:
        model: which ran.
        call: the request.
        results: the engine's, by name.

    Raises:
        InputError: an output is larger than the shared memory that it is to be written to, or the
            memory is not there any more.
    """
    entries: list[dict[str, Any]] = []
    parts: list[Body] = []
    for output in call.outputs:
        array, datatype = _returned(model, output, results[output.spec.name])
        entry: dict[str, Any] = {
            "name": output.spec.name,
            "datatype": datatype,
            "shape": list(array.shape),
        }
        if output.shared is not None:
            _share(output.spec.name, output.shared, to_binary(array, datatype))
        elif output.binary:  # parameters only here: C++ clients take any for a promise of bytes
            data = to_binary(array, datatype)
            entry["parameters"] = {"binary_data_size": len(data)}
            parts.append(data)
        else:
            entry["data"] = to_json_data(array, datatype)
        entries.append(entry)
    message = {"model_name": model.name, "model_version": model.version, "outputs": entries}
    header = to_json({"id": call.id} | message if call.id else message)
    if not any(output.binary and output.shared is None for output in call.outputs):
        return Response(200, (("Content-Type", "application/json"),), header)
    headers = (
        ("Content-Type", "application/octet-stream"),
        ("Inference-Header-Content-Length", str(len(header))),
    )
    return Response(200, headers, b"".join((header, *parts)))


def _share(name: str, part: SharedPart, data: Body) -> None:
    if len(data) > part.size:
        raise InputError(
            f"shared memory size specified with the request for output '{name}' ({part.size} "
            f"bytes) should be at least {len(data)} bytes to hold the results"
        )
    part.write(data)


def _returned(model: "LoadedModel", output: RequestedOutput, result: Any) -> tuple[Array, str]:
    """Return an output as the client wants it, and its datatype."""
    array = np.asarray(result)
    if not output.classes:
        return array, output.spec.datatype
    labels = model.labels.get(output.spec.name, ())
    batched = bool(model.config.max_batch_size)
    return classify(array, output.classes, labels, batched=batched), BYTES
