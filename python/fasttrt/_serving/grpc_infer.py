"""Infer requests of gRPC as those of HTTP, and HTTP's answers as gRPC's.

All but plain requests take this way: the checks, the run and its statistics are then the same.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fasttrt._serving.codec import to_binary
from fasttrt._serving.datatypes import BYTES, dtype_of
from fasttrt._serving.grpc_messages import SERVICE
from fasttrt._serving.http import Body, Request, Response, to_json
from fasttrt._serving.infer_request import LENGTH_HEADER
from fasttrt._serving.model_path import model_path
from fasttrt.errors import InputError

_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents",
    "INT32": "int_contents", "INT64": "int64_contents", "UINT8": "uint_contents",
    "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", BYTES: "bytes_contents",
}  # fmt: skip
"""The fields of InferTensorContents by datatype; none for 16-bit floats."""
_STREAM_PARAMETER = "triton_enable_empty_final_response"
_FINAL = "triton_final_response"


def to_request(message: Any, headers: Mapping[str, str]) -> Request:
    """Return the HTTP request for a ModelInferRequest.

    Args:
        message: the ModelInferRequest.
        headers: to send with it.

    Raises:
        InputError: the data of its inputs are malformed.
    """
    parameters = _parameters(message.parameters)
    parameters.pop(_STREAM_PARAMETER, None)  # there is one answer to each request
    inputs, parts = _inputs(message)
    content: dict[str, Any] = {
        "inputs": inputs,
        "parameters": parameters | {"binary_data_output": True},
    }
    if message.id:
        content["id"] = message.id
    if message.outputs:
        content["outputs"] = [
            {"name": output.name, "parameters": _parameters(output.parameters)}
            for output in message.outputs
        ]
    header = to_json(content)
    path = model_path(message.model_name, message.model_version) + "/infer"
    headers = {**headers, LENGTH_HEADER: str(len(header))}
    return Request("POST", path, headers=headers, body=b"".join((header, *parts)))


def to_response(response: Response) -> Any:
    """Return the ModelInferResponse for HTTP's answer to such a request."""
    headers = {name.lower(): value for name, value in response.headers}
    body = memoryview(response.body)
    position = int(headers.get(LENGTH_HEADER, len(body)))
    content = json.loads(bytes(body[:position]))
    message = SERVICE.message(
        "ModelInferResponse",
        model_name=content["model_name"],
        model_version=content["model_version"],
        id=content.get("id", ""),
    )
    for output in content["outputs"]:
        message.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        size = output.get("parameters", {}).get("binary_data_size", 0)  # 0: in shared memory
        message.raw_output_contents.append(bytes(body[position : position + size]))
        position += size
    return message


def to_stream_response(message: Any) -> Any:
    """Return the ModelStreamInferResponse with a ModelInferResponse, the only one of a request."""
    message.parameters[_FINAL].bool_param = True
    return SERVICE.message("ModelStreamInferResponse", infer_response=message)


def to_stream_failure(request: Any, reason: str) -> Any:
    """Return the ModelStreamInferResponse that says why a request of a stream failed."""
    failed = SERVICE.message("ModelStreamInferResponse", error_message=reason)
    failed.infer_response.model_name = request.model_name
    failed.infer_response.model_version = request.model_version
    failed.infer_response.id = request.id
    failed.infer_response.parameters[_FINAL].bool_param = True
    return failed


def _inputs(message: Any) -> tuple[list[dict[str, Any]], list[Body]]:
    """Return HTTP's description of the inputs, and their data."""
    entries: list[dict[str, Any]] = []
    parts: list[Body] = []
    raw = list(message.raw_input_contents)
    taken = 0
    for tensor in message.inputs:
        parameters = _parameters(tensor.parameters)
        what = f"input '{tensor.name}' of model '{message.model_name}'"
        if tensor.HasField("contents"):
            if raw:
                raise InputError(f"{what}: expected contents or raw_input_contents, got both")
            parts.append(_typed(what, tensor))
            parameters["binary_data_size"] = len(parts[-1])
        elif "shared_memory_region" not in parameters:
            if taken == len(raw):
                raise InputError(
                    f"{what}: expected its data in raw_input_contents, got {len(raw)} entries of "
                    "other inputs"
                )
            parts.append(raw[taken])
            taken += 1
            parameters["binary_data_size"] = len(parts[-1])
        entries.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": parameters,
            }
        )
    if taken < len(raw):
        raise InputError(
            f"request for model '{message.model_name}': expected {taken} raw_input_contents for "
            f"its inputs, got {len(raw)}"
        )
    return entries, parts


def _typed(what: str, tensor: Any) -> Body:
    """Return the bytes of an input whose values are in the fields for its datatype."""
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise InputError(
            f"{what}: expected raw_input_contents for datatype {tensor.datatype}, got contents"
        )
    others = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    if any(other != field for other in others):
        raise InputError(
            f"{what}: expected its contents in {field} for {tensor.datatype}, got {others}"
        )
    values = list(getattr(tensor.contents, field))
    if tensor.datatype == BYTES:
        array = np.empty(len(values), object)
        array[:] = values
        return to_binary(array, BYTES)
    dtype = dtype_of(tensor.datatype)
    if dtype.kind in "iu" and values:
        limits, low, high = np.iinfo(dtype), min(values), max(values)
        if low < limits.min or high > limits.max:
            wrong = low if low < limits.min else high
            raise InputError(
                f"{what}: expected values in the range of {tensor.datatype}, got {wrong}"
            )
    return to_binary(np.array(values, dtype), tensor.datatype)


def _parameters(parameters: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is None:
            raise InputError(f"parameter '{name}': expected a value, got none")
        found[name] = getattr(parameter, choice)
    return found
