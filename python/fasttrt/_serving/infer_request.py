"""Infer requests of HTTP: a JSON object, then the bytes of the tensors that it calls binary."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from fasttrt._common.checks import is_integer
from fasttrt._serving.codec import Array, from_binary, from_json
from fasttrt._serving.http import Body, json_object, kind
from fasttrt._serving.infer_call import (
    InferCall,
    RequestedOutput,
    check_input,
    check_inputs,
    check_output,
    input_spec,
    raw_shape,
    requested_output,
)
from fasttrt._serving.shared_memory import SharedMemory
from fasttrt._serving.shared_parameters import shared_part
from fasttrt.errors import InputError

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel

LENGTH_HEADER = "inference-header-content-length"
"""How many bytes of a body are JSON: the header's name, in lower case."""
_HIGHEST = 1
_FLAGS = ("sequence_start", "sequence_end", "binary_data_output")
_UNSIGNED = ("priority", "timeout")


def read_infer(
    model: "LoadedModel", headers: Mapping[str, str], body: Body, shared_memory: SharedMemory
) -> InferCall:
    """Read and check a request.

    Args:
        model: for which it is.
        headers: by their names in lower case.
        body: without compression.
        shared_memory: where tensors may be.

    Raises:
        InputError: it is malformed, or does not fit the model.
        UnsupportedRequestError: it needs shared memory, which is off.
        UnknownRegionError: it names shared memory that is not registered.
        OverloadedError: there is no memory for copies of its tensors.
    """
    length = _header_length(headers, len(body))
    if length == 0:
        return _read_raw(model, body)
    view = memoryview(body)
    message = json_object(view[:length])
    parameters = _parameters(message, "the request")
    _check_request_parameters(parameters)
    arrays = _read_inputs(model, message, _Binary(view[length:], model.name), shared_memory)
    rows = check_inputs(model, arrays)
    priority: Literal["normal", "high"] = (
        "high" if parameters.get("priority") == _HIGHEST else "normal"
    )
    microseconds = parameters.get("timeout", 0)
    return InferCall(
        arrays, rows, _read_outputs(model, message, parameters, shared_memory),
        _id(message), priority, microseconds / 1e6 if microseconds else None,
    )  # fmt: skip


def _header_length(headers: Mapping[str, str], size: int) -> int:
    """Return how much of a body is JSON; all of it without the header."""
    text = headers.get(LENGTH_HEADER)
    if text is None:
        return size or 1  # an empty body is no JSON, and not raw data
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= size):
        raise InputError(f"Inference-Header-Content-Length: expected 0 to {size}, got {text!r}")
    return int(text)


def _read_raw(model: "LoadedModel", body: Body) -> InferCall:
    """Read a body that is nothing but the values of the single input."""
    spec, shape = raw_shape(model, len(body))
    array = from_binary(_what(model, spec.name), spec.datatype, shape, body)
    outputs = tuple(RequestedOutput(spec, binary=True) for spec in model.outputs)
    return InferCall({spec.name: array}, 1, outputs)


class _Binary:
    """What follows the JSON: inputs take their parts of it in turn."""

    def __init__(self, data: memoryview, model: str) -> None:
        self._data = data
        self._model = model
        self._position = 0

    def take(self, name: str, size: int) -> memoryview:
        rest = len(self._data) - self._position
        if size > rest:
            raise InputError(
                f"unexpected size for input '{name}' of model '{self._model}': expected "
                f"{size - rest} additional bytes (binary_data_size is {size}, {rest} are left)"
            )
        part = self._data[self._position : self._position + size]
        self._position += size
        return part

    def end(self) -> None:
        rest = len(self._data) - self._position
        if rest:
            raise InputError(
                f"unexpected additional input data for model '{self._model}': {rest} bytes more "
                "than the sum of binary_data_size"
            )


def _read_inputs(
    model: "LoadedModel",
    message: Mapping[str, Any],
    binary: _Binary,
    shared_memory: SharedMemory,
) -> dict[str, Array]:
    inputs = message.get("inputs")
    if not isinstance(inputs, list):
        got = kind(inputs) if "inputs" in message else "none"
        raise InputError(f"failed to parse 'inputs': expected an array of inputs, got {got}")
    arrays: dict[str, Array] = {}
    for entry in inputs:
        name = _name(entry, "inputs")
        if name in arrays:
            raise InputError(f"input '{name}' already exists in request: expected it once")
        arrays[name] = _read_input(model, name, entry, binary, shared_memory)
    binary.end()
    return arrays


def _read_input(
    model: "LoadedModel",
    name: str,
    entry: Mapping[str, Any],
    binary: _Binary,
    shared_memory: SharedMemory,
) -> Array:
    spec = input_spec(model, name)
    what = _what(model, name)
    parameters = _parameters(entry, what)
    size = parameters.get("binary_data_size")
    given = [
        source
        for source, value in (
            ("data", entry.get("data")),
            ("binary_data_size", size),
            ("shared_memory_region", parameters.get("shared_memory_region")),
        )
        if value is not None
    ]
    if len(given) != 1:
        raise InputError(
            f"{what}: expected exactly one of data, binary_data_size and shared_memory_region, "
            f"got {' and '.join(given) or 'none'}"
        )
    check_input(model, spec, _datatype(entry, what), shape := _shape(entry, what))
    if (shared := shared_part(what, parameters, shared_memory)) is not None:
        return from_binary(what, spec.datatype, shape, shared.read())
    if size is None:
        return from_json(what, spec.datatype, shape, entry["data"])
    if not is_integer(size, 0):
        raise InputError(
            f"{what}: expected binary_data_size to be an integer >= 0, got {kind(size)}"
        )
    return from_binary(what, spec.datatype, shape, binary.take(name, size))


def _read_outputs(
    model: "LoadedModel",
    message: Mapping[str, Any],
    parameters: Mapping[str, Any],
    shared_memory: SharedMemory,
) -> tuple[RequestedOutput, ...]:
    all_binary = parameters.get("binary_data_output", False)
    entries = message.get("outputs")
    if entries is not None and not isinstance(entries, list):
        raise InputError(f"failed to parse 'outputs': expected an array, got {kind(entries)}")
    if not entries:
        return tuple(check_output(RequestedOutput(spec, all_binary)) for spec in model.outputs)
    found: dict[str, RequestedOutput] = {}
    for entry in entries:
        name = _name(entry, "outputs")
        if name in found:
            raise InputError(f"output '{name}' already exists in request: expected it once")
        found[name] = _read_output(model, name, entry, all_binary, shared_memory)
    return tuple(found.values())


def _read_output(
    model: "LoadedModel",
    name: str,
    entry: Mapping[str, Any],
    all_binary: bool,
    shared_memory: SharedMemory,
) -> RequestedOutput:
    what = f"output '{name}'"
    parameters = _parameters(entry, what)
    binary = parameters.get("binary_data", all_binary)
    if not isinstance(binary, bool):
        raise InputError(f"{what}: expected binary_data to be true or false, got {kind(binary)}")
    classes = parameters.get("classification", 0)
    if not is_integer(classes, 0):
        raise InputError(
            f"{what}: expected classification to be an integer >= 0, got {kind(classes)}"
        )
    shared = shared_part(what, parameters, shared_memory)
    if shared is not None and (classes or parameters.get("binary_data")):
        other = "classification" if classes else "binary_data"
        raise InputError(f"{what}: expected shared_memory_region without {other}, got both")
    return requested_output(
        model, name, binary=binary and shared is None, classes=classes, shared=shared
    )


def _check_request_parameters(parameters: Mapping[str, Any]) -> None:
    """Check the types of those with a meaning, and that others may be there."""
    for name, value in parameters.items():
        if name.startswith("triton_") or name == "headers":
            raise InputError(f"parameter '{name}': the name is reserved, expected another")
        if name in _FLAGS:
            expected, fits = "true or false", isinstance(value, bool)
        elif name in _UNSIGNED:
            expected, fits = "an integer >= 0", is_integer(value, 0, 2**64 - 1)
        elif name == "sequence_id":
            expected = "an integer >= 0 or a string"
            fits = isinstance(value, str) or is_integer(value, 0, 2**64 - 1)
        else:
            expected = "a string, a number, true or false"
            fits = isinstance(value, (str, int, float))
        if not fits:
            raise InputError(f"parameter '{name}': expected {expected}, got {kind(value)}")


def _parameters(entry: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    parameters = entry.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InputError(f"{what}: expected parameters to be an object, got {kind(parameters)}")
    return parameters


def _name(entry: Any, where: str) -> str:
    if not isinstance(entry, dict):
        raise InputError(f"failed to parse '{where}': expected objects in it, got {kind(entry)}")
    name = entry.get("name")
    if not isinstance(name, str):
        got = kind(name) if "name" in entry else "none"
        raise InputError(f"failed to parse 'name' in '{where}': expected a string, got {got}")
    return name


def _datatype(entry: Mapping[str, Any], what: str) -> str:
    datatype = entry.get("datatype")
    if not isinstance(datatype, str):
        got = kind(datatype) if "datatype" in entry else "none"
        raise InputError(f"{what}: expected datatype to be a string, got {got}")
    return datatype


def _shape(entry: Mapping[str, Any], what: str) -> list[int]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(is_integer(n, 0, 2**63 - 1) for n in shape):
        got = "none" if "shape" not in entry else shape if isinstance(shape, list) else kind(shape)
        raise InputError(f"{what}: expected shape to be an array of integers >= 0, got {got}")
    return shape


def _id(message: Mapping[str, Any]) -> str:
    given = message.get("id", "")
    if not isinstance(given, str):
        raise InputError(f"failed to parse 'id': expected a string, got {kind(given)}")
    return given


def _what(model: "LoadedModel", name: str) -> str:
    return f"input '{name}' of model '{model.name}'"
