"""Requests of every kind to a server, with the answers that are right; for `serving_load.py`."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models  # noqa: F401 -- finds the next
import numpy as np

from support.models import Model, mlp
from support.serving import identity

Array = Any
Rng = np.random.Generator
LIMIT = 8 << 20
"""The server's limit of a body."""
_LARGE = 1 << 20
_ON_THE_CPU = ("numbers", "texts")
"""TensorRT has no strings, and takes no sizes that its profile lacks."""
_CONFIG = "max_batch_size: 32 instance_group { kind: KIND_CPU } dynamic_batching {}"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Request:
    """A request, and what is wrong with an answer to it: nothing, or a text."""

    content: bytes
    problem: Callable[[Answer], str]
    kind: str
    closes: bool = False
    """Whether the server closes the connection after its answer."""


class Requests:
    """Some hundreds of requests, in a random order."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Make requests of the models that `save_models` has saved there."""
        rng = np.random.default_rng(seed)
        self._rng = rng
        networks = load_models(folder)
        good = [
            _of_network(rng, networks[name], name, rows)
            for rows in (1, 1, 1, 2, 3, 8, 17, 32)
            for name in ("small", "wide")
            for _ in range(12)
        ]
        good += [_of_numbers(rng, rows) for rows in (1, 2, 5, 32) for _ in range(10)]
        good += [_large(rng) for _ in range(2)]
        others = [_in_json(rng, networks["small"]) for _ in range(20)]
        others += [_compressed(rng, networks["small"]) for _ in range(5)]
        others += [_of_texts(rng) for _ in range(10)]
        others += [_in_chunks(rng, networks["small"]) for _ in range(10)]
        others += [*_metadata()] * 2
        self._pools = (good, others, _wrong(rng) * 3)
        self._shares = (0.85, 0.07, 0.08)

    def some(self, count: int) -> list[Request]:
        """Draw requests; one that closes its connection is the last, as is a large one.

        (Who sends more than all buffers hold before reading answers may wait for ever.)
        """
        found = []
        for pool in self._rng.choice(3, count, p=self._shares):
            requests = self._pools[pool]
            found.append(requests[int(self._rng.integers(len(requests)))])
            if found[-1].closes or len(found[-1].content) > _LARGE:
                break
        return found


def save_models(folder: Path) -> None:
    """Write a model repository."""
    contents = {
        "small": mlp((16, 32, 8)).to_bytes(),
        "wide": mlp((256, 64, 10)).to_bytes(),
        "numbers": identity(["INT64"]).SerializeToString(),
        "texts": identity(["BYTES"]).SerializeToString(),
    }
    for name, content in contents.items():
        path = folder / name / "1"
        path.mkdir(parents=True)
        (path / "model.onnx").write_bytes(content)
        if name in _ON_THE_CPU:
            (path.parent / "config.pbtxt").write_text(_CONFIG)


def load_models(folder: Path) -> dict[str, Model]:
    """The networks, with numpy's results by their own weights."""
    import onnx
    from onnx import numpy_helper

    found = {}
    for name in ("small", "wide"):
        proto = onnx.load(folder / name / "1" / "model.onnx")
        values = {w.name: numpy_helper.to_array(w).astype(float) for w in proto.graph.initializer}
        found[name] = Model(proto, _reference(values))
    return found


def _reference(weights: dict[str, Array]) -> Callable[[Array], Array]:
    count = len(weights) // 2

    def reference(x: Array) -> Array:
        for i in range(count):
            x = x @ weights[f"w{i}"] + weights[f"b{i}"]
            if i < count - 1:
                x = np.maximum(x, 0)
        return x

    return reference


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """The bytes of a POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _path(name: str) -> str:
    return f"/v2/models/{name}/infer"


def _binary(tensor: dict[str, Any], data: bytes, **more: Any) -> tuple[bytes, dict[str, str]]:
    tensor = tensor | {"parameters": {"binary_data_size": len(data)}}
    header = {"inputs": [tensor], "parameters": {"binary_data_output": True}} | more
    text = json.dumps(header).encode()
    return text + data, {"Inference-Header-Content-Length": str(len(text))}


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape)}


def _outputs(answer: Answer, identifier: str | None) -> tuple[dict[str, Any], bytes]:
    """The only output of an answer, and its bytes."""
    length = int(answer.headers.get("inference-header-content-length", len(answer.body)))
    found = json.loads(answer.body[:length])
    if found.get("id") != identifier:
        raise ValueError(f"id {found.get('id')!r} instead of {identifier!r}")
    (output,) = found["outputs"]
    return output, answer.body[length:]


def _checked(expected: Array, dtype: Any, identifier: str | None = None) -> Callable[[Answer], str]:
    exact = not np.issubdtype(dtype, np.floating)

    def problem(answer: Answer) -> str:
        if answer.status != 200:
            return f"status {answer.status}: {answer.body[:300]!r}"
        try:
            output, data = _outputs(answer, identifier)
        except (KeyError, TypeError, ValueError) as error:
            return f"{error!r}: {answer.body[:300]!r}"
        if output["shape"] != list(expected.shape):
            return f"shape {output['shape']} instead of {list(expected.shape)}"
        is_text = "data" in output
        values = np.array(output["data"], dtype) if is_text else np.frombuffer(data, dtype)
        got = values.reshape(expected.shape)
        right = np.array_equal(got, expected) if exact else np.allclose(got, expected, atol=1e-4)
        return "" if right else "wrong values"

    return problem


def _failed(status: int, text: str) -> Callable[[Answer], str]:
    def problem(answer: Answer) -> str:
        if answer.status == status and text in json.loads(answer.body)["error"]:
            return ""
        return f"expected {status} {text!r}, got {answer.status} {answer.body[:300]!r}"

    return problem


def _of_network(rng: Rng, network: Model, name: str, rows: int) -> Request:
    width = 16 if name == "small" else 256
    x = rng.standard_normal((rows, width), np.float32)
    identifier = f"{name}-{rng.integers(1 << 60)}"
    body, headers = _binary(_tensor("x", "FP32", x.shape), x.tobytes(), id=identifier)
    problem = _checked(network.reference(x), np.float32, identifier)
    path = f"/v2/models/{name}/versions/1/infer" if rows == 3 else _path(name)
    return Request(post(path, body, headers), problem, f"{name}, binary")


def _of_numbers(rng: Rng, rows: int) -> Request:
    x = rng.integers(-(1 << 62), 1 << 62, (rows, int(rng.integers(0, 40))))
    body, headers = _binary(_tensor("x0", "INT64", x.shape), x.tobytes())
    return Request(post(_path("numbers"), body, headers), _checked(x, np.int64), "numbers, binary")


def _large(rng: Rng) -> Request:
    x = rng.integers(-(1 << 62), 1 << 62, (4, 40_000))
    body, headers = _binary(_tensor("x0", "INT64", x.shape), x.tobytes())
    return Request(post(_path("numbers"), body, headers), _checked(x, np.int64), "1.3 MB, binary")


def _json_body(rng: Rng, network: Model) -> tuple[bytes, Array]:
    x = rng.standard_normal((int(rng.integers(1, 5)), 16), np.float32)
    tensor = _tensor("x", "FP32", x.shape) | {"data": x.reshape(-1).tolist()}
    return json.dumps({"inputs": [tensor]}).encode(), network.reference(x)


def _in_json(rng: Rng, network: Model) -> Request:
    body, y = _json_body(rng, network)
    return Request(post(_path("small"), body), _checked(y, np.float32), "small, JSON")


def _compressed(rng: Rng, network: Model) -> Request:
    body, y = _json_body(rng, network)
    content = post(_path("small"), gzip.compress(body), {"Content-Encoding": "gzip"})
    return Request(content, _checked(y, np.float32), "small, gzip")


def _in_chunks(rng: Rng, network: Model) -> Request:
    x = rng.standard_normal((2, 16), np.float32)
    body, headers = _binary(_tensor("x", "FP32", x.shape), x.tobytes())
    cut = int(rng.integers(1, len(body)))
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[:cut], body[cut:]))
    lines = [f"POST {_path('small')} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode()
    problem = _checked(network.reference(x), np.float32)
    return Request(head + chunks + b"0\r\n\r\n", problem, "small, chunked")


def _of_texts(rng: Rng) -> Request:
    texts = [f"{rng.integers(1 << 60)} ä" for _ in range(int(rng.integers(1, 6)))]
    tensor = _tensor("x0", "BYTES", (1, len(texts))) | {"data": texts}
    body = json.dumps({"inputs": [tensor]}).encode()
    expected = np.array([texts], object)
    return Request(post(_path("texts"), body), _checked(expected, object), "texts, JSON")


def _metadata() -> list[Request]:
    def has(text: str) -> Callable[[Answer], str]:
        return lambda answer: (
            "" if answer.status == 200 and text.encode() in answer.body else repr(answer)
        )

    return [
        Request(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), has(text), "GET")
        for path, text in (
            ("/v2/health/ready", ""),
            ("/v2/models/wide", '"FP32"'),
            ("/v2/models/small/config", "max_batch_size"),
            ("/v2/models/small/stats", "inference_count"),
            ("/metrics", "nv_inference_count"),
        )
    ]


def _wrong(rng: Rng) -> list[Request]:
    x = rng.standard_normal((1, 16), np.float32)
    tensor, data = _tensor("x", "FP32", x.shape), x.tobytes()

    def wrong(
        kind: str, name: str, status: int, text: str, tensor: dict[str, Any], data: bytes
    ) -> Request:
        return Request(post(_path(name), *_binary(tensor, data)), _failed(status, text), kind)

    huge = f"POST {_path('small')} HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT + 1}\r\n\r\n"
    return [
        Request(post(_path("small"), b'{"inputs": [}'), _failed(400, ""), "bad JSON"),
        Request(post(_path("small"), b"\xff\xfe"), _failed(400, ""), "no JSON"),
        Request(
            post(_path("small"), b"{}", {"Inference-Header-Content-Length": "9"}),
            _failed(400, ""), "bad header length",
        ),
        wrong("wrong shape", "small", 400, "unexpected shape", tensor | {"shape": [1, 15]}, data),
        wrong("wrong datatype", "small", 400, "data-type", tensor | {"datatype": "FP64"}, data),
        wrong("wrong name", "small", 400, "unexpected inference", tensor | {"name": "z"}, data),
        wrong("too little data", "small", 400, "", tensor, data[:-1]),
        wrong("unknown model", "nothing", 400, "unknown model", tensor, data),
        wrong(
            "batch too large", "small", 400, "batch-size", tensor | {"shape": [33, 16]}, data * 33
        ),
        Request(
            post("/v2/models/small/versions/7/infer", *_binary(tensor, data)),
            _failed(404, "version"), "unknown version",
        ),
        Request(post("/v2/nothing", b""), _failed(404, "Not Found"), "unknown path"),
        Request(post("/v2", b""), _failed(405, "Method"), "wrong method"),
        Request(huge.encode(), _failed(413, ""), "too large", closes=True),
        Request(b"NONSENSE\r\n\r\n", _failed(400, ""), "no HTTP", closes=True),
    ]  # fmt: skip
