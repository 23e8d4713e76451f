"""The OpenAPI description of the server's paths, which ``/v2/openapi.json`` has."""

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from fasttrt._serving.http import Response, json_response
from fasttrt._serving.openapi_schemas import COUNT, SCHEMAS, TEXT, Schema, ref
from fasttrt._version import __version__

_ERRORS = {
    400: "The request is wrong, or does not fit the model.",
    401: "The server needs an API key, and got none or another.",
    403: "A browser sent it for a page of another site.",
    404: "No version of the model is ready, or the shared memory is not registered.",
    413: "The body is too large.",
    500: "The run failed.",
    501: "The server does not have this, or is not allowed to do it.",
    503: "Too many requests wait, the time is up, or the server may not do it now.",
}
_JSON, _BINARY = "application/json", "application/octet-stream"
_MODEL = {
    "name": "model", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1},
}  # fmt: skip
_VERSION = {
    "name": "version", "in": "path", "required": True,
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
}  # fmt: skip
_REGION = {**_MODEL, "name": "region"}
_LENGTH = {
    "name": "Inference-Header-Content-Length", "in": "header",
    "description": "How many bytes of the body are JSON; binary tensors follow.",
    "schema": COUNT,
}  # fmt: skip
_ENCODING = {
    "name": "Content-Encoding", "in": "header",
    "schema": {"type": "string", "enum": ["", "identity", "gzip", "deflate"]},
}  # fmt: skip


def _operation(
    summary: str,
    answer: Mapping[str, Schema] | None,
    errors: Iterable[int] = (),
    *,
    body: Mapping[str, Schema] | None = None,
    needs_body: bool = False,
    parameters: Iterable[Schema] = (),
    tag: str = "models",
    is_open: bool = False,
) -> dict[str, Any]:
    """Describe an operation.

    Args:
        summary: what it does.
        answer: the schemas of its answer by media type; None for an answer without a body.
        errors: the statuses with which it fails, besides that of a missing key.
        body: the schemas of its request's body by media type.
        needs_body: whether there must be a body.
        parameters: those besides the path's.
        tag: the group it is shown in.
        is_open: whether it never needs a key.
    """
    good: dict[str, Any] = {"description": "It is done."}
    if answer is not None:
        good["content"] = _content(answer)
    statuses = sorted({*errors, *(() if is_open else (401,))})
    found: dict[str, Any] = {"summary": summary, "tags": [tag]}
    if given := list(parameters):
        found["parameters"] = given
    if body is not None:
        found["requestBody"] = {"required": needs_body, "content": _content(body)}
    if is_open:
        found["security"] = []
    failures = {str(status): _failure(status) for status in statuses}
    return found | {"responses": {"200": good, **failures}}


def _content(schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {kind: {"schema": schema} for kind, schema in schemas.items()}


def _failure(status: int) -> dict[str, Any]:
    return {"description": _ERRORS[status], "content": _content({_JSON: ref("Error")})}


def _json(name: str) -> dict[str, Schema]:
    return {_JSON: ref(name)}


def _settings(what: str, schema: str, errors: Iterable[int] = ()) -> dict[str, Any]:
    """Describe how settings are asked for, and changed."""
    change = _operation(
        f"Change settings of {what}", _json(schema), (400, 403, 404, 413, 501),
        body=_json(f"{schema}Change"), needs_body=True, tag="settings",
    )  # fmt: skip
    asked = _operation(f"Tell settings of {what}", _json(schema), errors, tag="settings")
    return {"get": asked, "post": change}


_INFER = _operation(
    "Run the model", {_JSON: ref("InferResponse"), _BINARY: {}}, (400, 404, 413, 500, 501, 503),
    body={_JSON: ref("InferRequest"), _BINARY: {}}, needs_body=True,
    parameters=(_LENGTH, _ENCODING), tag="inference",
)  # fmt: skip
_OF_MODELS = {
    "": {"get": _operation("Describe a model's tensors", _json("ModelMetadata"), (400, 404))},
    "/ready": {"get": _operation("Tell whether a model is ready", None, (400,), tag="health")},
    "/config": {"get": _operation("Describe a model's options", _json("ModelConfig"), (400, 404))},
    "/stats": {"get": _operation("Tell a model's sums", _json("ModelStatistics"), (400, 404))},
    "/infer": {"post": _INFER},
    "/trace/setting": _settings("traces", "TraceSettings", (400, 404)),
}
_READY = _operation("Tell whether all models are ready", None, tag="health")
_READY["responses"]["400"] = {"description": "One is not, or the server is about to end."}
_FIXED = {
    "/v2/health/live": {"get": _operation("Tell whether the server runs", None, tag="health")},
    "/v2/health/ready": {"get": _READY},
    "/v2": {"get": _operation("Describe the server", _json("ServerMetadata"), tag="server")},
    "/v2/models/stats": {"get": _operation("Tell all models' sums", _json("ModelStatistics"))},
    "/v2/trace/setting": _settings("traces", "TraceSettings"),
    "/v2/logging": _settings("the log", "LogSettings"),
    "/v2/overview": {"get": _operation("Tell everything at once", _json("Overview"), tag="server")},
    "/v2/openapi.json": {
        "get": _operation("Describe all paths", {_JSON: {"type": "object"}}, tag="server")
    },
    "/metrics": {
        "get": _operation("Tell everything to Prometheus", {"text/plain": TEXT}, tag="server")
    },
    "/ui": {
        "get": _operation(
            "Show everything in a browser", {"text/html": TEXT}, tag="server", is_open=True
        )
    },
    "/v2/repository/index": {
        "post": _operation(
            "List the models", _json("Index"), (400, 403, 413), body=_json("IndexRequest"),
            tag="repository",
        )
    },
    "/v2/repository/models/{model}/load": {
        "post": _operation(
            "Load a model, or load it again", None, (400, 403, 404, 413, 501, 503),
            body=_json("LoadRequest"), tag="repository",
        )
    },
    "/v2/repository/models/{model}/unload": {
        "post": _operation(
            "Unload a model", None, (400, 403, 404, 413, 503), body=_json("UnloadRequest"),
            tag="repository",
        )
    },
}  # fmt: skip


def _of_memory(kind: str, region: str, regions: str) -> dict[str, Any]:
    base = f"/v2/{kind}sharedmemory"
    errors, tag = (400, 403, 404, 413, 501, 503), "shared memory"
    status = _operation("List the regions", _json(regions), (404, 501), tag=tag)
    unregister = _operation("Forget regions", None, (400, 403, 404, 501), tag=tag)
    register = _operation(
        "Register a region", None, errors, body=_json(region), needs_body=True, tag=tag
    )
    return {
        f"{base}/status": {"get": status},
        f"{base}/region/{{region}}/status": {"get": status},
        f"{base}/region/{{region}}/register": {"post": register},
        f"{base}/unregister": {"post": unregister},
        f"{base}/region/{{region}}/unregister": {"post": unregister},
    }


@functools.cache
def openapi() -> dict[str, Any]:
    """Return the description, in OpenAPI 3.1."""
    paths: dict[str, Any] = dict(_FIXED)
    for end, operations in _OF_MODELS.items():
        paths[f"/v2/models/{{model}}{end}"] = operations
        paths[f"/v2/models/{{model}}/versions/{{version}}{end}"] = operations
    paths |= _of_memory("system", "SystemRegion", "SystemRegions")
    paths |= _of_memory("cuda", "CudaRegion", "CudaRegions")
    by_name = {"{model}": _MODEL, "{version}": _VERSION, "{region}": _REGION}
    for path, operations in paths.items():
        parameters = [parameter for name, parameter in by_name.items() if name in path]
        paths[path] = ({"parameters": parameters} if parameters else {}) | operations
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fasttrt",
            "version": __version__,
            "summary": "Triton's protocol (KServe v2) over HTTP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"header": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    }


def openapi_response() -> Response:
    """Return the description as a response."""
    return json_response(openapi())
