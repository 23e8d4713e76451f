"""Models as a server has them, and requests to it, without sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx
from onnx import helper

import fasttrt
from fasttrt._serving.app import App
from fasttrt._serving.http import Request, Response
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.model_entry import ModelEntry, Slot, VersionEntry
from fasttrt._serving.models import Models
from fasttrt._serving.served_tensor import complete, served
from support.models import Extents, make, value

ONNX_TYPES = {
    "BOOL": onnx.TensorProto.BOOL,
    "UINT8": onnx.TensorProto.UINT8,
    "UINT16": onnx.TensorProto.UINT16,
    "UINT32": onnx.TensorProto.UINT32,
    "UINT64": onnx.TensorProto.UINT64,
    "INT8": onnx.TensorProto.INT8,
    "INT16": onnx.TensorProto.INT16,
    "INT32": onnx.TensorProto.INT32,
    "INT64": onnx.TensorProto.INT64,
    "FP16": onnx.TensorProto.FLOAT16,
    "FP32": onnx.TensorProto.FLOAT,
    "FP64": onnx.TensorProto.DOUBLE,
    "BF16": onnx.TensorProto.BFLOAT16,
    "BYTES": onnx.TensorProto.STRING,
}
"""The types of ONNX by the protocol's datatypes."""


def identity(datatypes: Sequence[str], shape: Extents = ("batch", "n")) -> onnx.ModelProto:
    """A model that returns its inputs ``x0``, ``x1``, ... as ``y0``, ``y1``, ..."""
    types = [ONNX_TYPES[datatype] for datatype in datatypes]
    count = range(len(types))
    return make(
        [helper.make_node("Identity", [f"x{i}"], [f"y{i}"], f"identity{i}") for i in count],
        [value(f"x{i}", types[i], shape) for i in count],
        [value(f"y{i}", types[i], shape) for i in count],
    )


def loaded(
    engine: fasttrt.Engine,
    name: str = "m",
    version: str = "1",
    *,
    max_batch_size: int = 0,
    labels: Mapping[str, tuple[str, ...]] | None = None,
) -> LoadedModel:
    """An engine as a version of a model, as if its configuration had said so."""
    model = LoadedModel.of_engine(name, engine)
    config = replace(model.config, max_batch_size=max_batch_size, inputs=(), outputs=())
    config = complete(config, engine.inputs, engine.outputs, name)
    return replace(
        model,
        version=version,
        config=config,
        inputs=served(config.inputs, engine.inputs, max_batch_size),
        outputs=served(config.outputs, engine.outputs, max_batch_size),
        labels=labels or {},
    )


def models_of(*models: LoadedModel) -> Models:
    """A server's models, ready."""
    table = Models()
    for model in models:
        put(table, model)
    return table


def put(table: Models, model: LoadedModel) -> None:
    """Let a model be ready, in place of its version before."""
    with table.changed:
        entry = table.entries.setdefault(model.name, ModelEntry(model.name))
        entry.versions[model.version] = VersionEntry()
        table.put(entry, model.version, Slot(model, None))


def get(app: App, path: str, **headers: str) -> Response:
    """The answer to a GET."""
    return app.handle(Request.of("GET", path, _headers(headers), b""))


def post(app: App, path: str, body: Any = b"", **headers: str) -> Response:
    """The answer to a POST; ``body`` is bytes, or a value to send as JSON."""
    data = body if isinstance(body, (bytes, bytearray)) else json.dumps(body).encode()
    return app.handle(Request.of("POST", path, _headers(headers), data))


def error_of(response: Response) -> str:
    """The message of a failure, whose body has nothing else."""
    assert response.status >= 400
    body = json.loads(bytes(response.body))
    assert list(body) == ["error"]
    assert "Traceback" not in body["error"]
    return str(body["error"])


def _headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name.replace("_", "-"), text) for name, text in headers.items()]
