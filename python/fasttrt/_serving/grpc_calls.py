"""What each call of gRPC is in HTTP, but for infer requests."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fasttrt._serving.grpc_messages import HEALTH, SERVICE
from fasttrt._serving.http import HttpError, Request, Response, to_json
from fasttrt._serving.model_path import model_path, quoted
from fasttrt._serving.protobuf_schema import Schema

_Values = dict[str, Any]
_SERVED = ("", "inference.GRPCInferenceService")


@dataclass(frozen=True)
class Call:
    """A call that a request of HTTP answers.

    Attributes:
        name: the method's name.
        to_http: makes the request of the call's message.
        to_values: makes the answer's fields, as in protobuf's JSON, of the response.
        is_probe: whether a status of 400 is an answer, too.
        schema: of its messages, which are called by ``messages``, with Request and Response.
        messages: by default, the method's name.
    """

    name: str
    to_http: Callable[[Any], Request]
    to_values: Callable[[Response], _Values]
    is_probe: bool = False
    schema: Schema = SERVICE
    messages: str = ""

    def request(self) -> Any:
        """Make an empty message of the request."""
        return self.schema.message(f"{self.messages or self.name}Request")

    def response(self) -> Any:
        """Make an empty message of the response."""
        return self.schema.message(f"{self.messages or self.name}Response")


def _get(path: str) -> Request:
    return Request("GET", path)


def _post(path: str, content: Any = None) -> Request:
    return Request("POST", path, body=b"" if content is None else to_json(content))


def _is_ok(field: str) -> Callable[[Response], _Values]:
    return lambda response: {field: response.status == 200}


def _content(response: Response) -> Any:
    return json.loads(bytes(response.body))


def _wrapped(field: str) -> Callable[[Response], _Values]:
    return lambda response: {field: _content(response)}


def _nothing(_: Response) -> _Values:
    return {}


def _of_model(action: str) -> Callable[[Any], Request]:
    return lambda message: _get(model_path(message.name, message.version) + action)


def _statistics(message: Any) -> Request:
    if not message.name:
        return _get("/v2/models/stats")
    return _get(f"{model_path(message.name, message.version)}/stats")


def _repository(message: Any) -> str:
    repository = message.repository_name
    return f"/v2/repository/{quoted('a name', repository)}" if repository else "/v2/repository"


def _load(message: Any) -> Request:
    parameters: _Values = {}
    for name, parameter in message.parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        value: Any = None if choice is None else getattr(parameter, choice)
        is_bytes = isinstance(value, bytes)
        parameters[name] = base64.b64encode(value).decode() if is_bytes else value
    return _control(message, "load", parameters)


def _unload(message: Any) -> Request:
    parameters = {
        name: getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")
        for name, parameter in message.parameters.items()
    }
    return _control(message, "unload", parameters)


def _control(message: Any, action: str, parameters: _Values) -> Request:
    name = quoted("the name of a model", message.model_name)
    path = f"{_repository(message)}/models/{name}/{action}"
    return _post(path, {"parameters": parameters})


def _region(kind: str, name: str) -> str:
    region = f"/region/{quoted('the name of a region', name)}" if name else ""
    return f"/v2/{kind}sharedmemory{region}"


def _register(kind: str, message: Any, content: _Values) -> Request:
    quoted("the name of a region", message.name)
    return _post(f"{_region(kind, message.name)}/register", content)


def _register_system(message: Any) -> Request:
    content = {"key": message.key, "offset": message.offset, "byte_size": message.byte_size}
    return _register("system", message, content)


def _register_cuda(message: Any) -> Request:
    content = {
        "raw_handle": {"b64": base64.b64encode(message.raw_handle).decode()},
        "device_id": message.device_id,
        "byte_size": message.byte_size,
    }
    return _register("cuda", message, content)


def _regions(response: Response) -> _Values:
    return {"regions": {region["name"]: region for region in _content(response)}}


def _trace(message: Any) -> Request:
    model = f"/models/{quoted('a name', message.model_name)}" if message.model_name else ""
    path = f"/v2{model}/trace/setting"
    if not message.settings:
        return _get(path)
    values = {name: list(setting.value) for name, setting in message.settings.items()}
    return _post(
        path,
        {  # a level is a list, all else a string; none: the setting is cleared
            name: given if name == "trace_level" and given else given[0] if given else None
            for name, given in values.items()
        },
    )


def _trace_settings(response: Response) -> _Values:
    return {
        "settings": {
            name: {"value": value if isinstance(value, list) else [str(value)]}
            for name, value in _content(response).items()
        }
    }


def _log(message: Any) -> Request:
    if not message.settings:
        return _get("/v2/logging")
    return _post(
        "/v2/logging",
        {
            name: getattr(setting, setting.WhichOneof("parameter_choice") or "string_param")
            for name, setting in message.settings.items()
        },
    )


def _log_settings(response: Response) -> _Values:
    kinds = {bool: "bool_param", int: "uint32_param"}
    return {
        "settings": {
            name: {kinds.get(type(value), "string_param"): value}
            for name, value in _content(response).items()
        }
    }


def _health(message: Any) -> Request:
    if message.service not in _SERVED:
        raise HttpError(404, f"unknown service '{message.service}'")
    return _get("/v2/health/ready")


def _health_status(response: Response) -> _Values:
    return {"status": "SERVING" if response.status == 200 else "NOT_SERVING"}


_SERVICE_CALLS = (
    Call("ServerLive", lambda _: _get("/v2/health/live"), _is_ok("live"), is_probe=True),
    Call("ServerReady", lambda _: _get("/v2/health/ready"), _is_ok("ready"), is_probe=True),
    Call("ModelReady", _of_model("/ready"), _is_ok("ready"), is_probe=True),
    Call("ServerMetadata", lambda _: _get("/v2"), _content),
    Call("ModelMetadata", _of_model(""), _content),
    Call("ModelConfig", _of_model("/config"), _wrapped("config")),
    Call("ModelStatistics", _statistics, _content),
    Call(
        "RepositoryIndex",
        lambda message: _post(f"{_repository(message)}/index", {"ready": message.ready}),
        _wrapped("models"),
    ),
    Call("RepositoryModelLoad", _load, _nothing),
    Call("RepositoryModelUnload", _unload, _nothing),
    Call(
        "SystemSharedMemoryStatus",
        lambda message: _get(f"{_region('system', message.name)}/status"),
        _regions,
    ),
    Call("SystemSharedMemoryRegister", _register_system, _nothing),
    Call(
        "SystemSharedMemoryUnregister",
        lambda message: _post(f"{_region('system', message.name)}/unregister"),
        _nothing,
    ),
    Call(
        "CudaSharedMemoryStatus",
        lambda message: _get(f"{_region('cuda', message.name)}/status"),
        _regions,
    ),
    Call("CudaSharedMemoryRegister", _register_cuda, _nothing),
    Call(
        "CudaSharedMemoryUnregister",
        lambda message: _post(f"{_region('cuda', message.name)}/unregister"),
        _nothing,
    ),
    Call("TraceSetting", _trace, _trace_settings),
    Call("LogSettings", _log, _log_settings),
)
_CHECK = Call("Check", _health, _health_status, True, HEALTH, "HealthCheck")
CALLS = {f"/inference.GRPCInferenceService/{call.name}": call for call in _SERVICE_CALLS} | {
    "/grpc.health.v1.Health/Check": _CHECK
}
"""The calls by their paths."""
