"""Bodies that tritonclient makes and reads: what comes back is what went in."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

import fasttrt
from fasttrt._serving.app import App
from fasttrt._serving.codec import from_json, to_json_data
from fasttrt._serving.datatypes import DATATYPES, dtype_of
from support.models import random_array
from support.randomness import new_rng
from support.serving import identity, loaded, models_of, post

BINARY_ONLY = ("FP16", "BF16")
TEXTS = ["", "a", "grün", "日本語", "two\nlines", "nul\0nul", 'quote"\\']
MakeApp = Callable[..., App]


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """Make an app of an identity model named m."""
    engines: list[fasttrt.Engine] = []

    def make(datatypes: list[str], max_batch_size: int = 0) -> App:
        engine = fasttrt.Engine(identity(datatypes), device="cpu")
        engines.append(engine)
        return App(models_of(loaded(engine, max_batch_size=max_batch_size)))

    yield make
    for engine in engines:
        engine.close()


def values(datatype: str, shape: tuple[int, ...]) -> Any:
    """Random values, in the whole range of integers, with NaN and infinities."""
    rng = new_rng()
    if datatype == "BYTES":
        return rng.choice(np.array(TEXTS, object), shape)
    dtype = dtype_of(datatype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    array = random_array(dtype, shape)
    if dtype.kind == "f" and array.size > 3:
        array.reshape(-1)[:3] = [np.inf, -np.inf, np.nan]
    return array


def given(name: str, datatype: str, array: Any, *, binary: bool) -> Any:
    """tritonclient's input."""
    tensor = InferInput(name, list(array.shape), datatype)
    return tensor.set_data_from_numpy(array, binary_data=binary)


def found(result: InferResult, name: str) -> Any:
    array = result.as_numpy(name)
    if array.dtype == object:
        flat = [text.decode() if isinstance(text, bytes) else text for text in array.ravel()]
        return np.array(flat, object).reshape(array.shape)
    return array


def infer(app: App, inputs: list[Any], outputs: list[Any] | None, **headers: str) -> InferResult:
    body, size = InferenceServerClient.generate_request_body(inputs, outputs=outputs)
    if size is not None:
        headers["Inference_Header_Content_Length"] = str(size)
    if headers.get("Content_Encoding") == "gzip":
        body = gzip.compress(body)
    elif headers.get("Content_Encoding") == "deflate":
        body = zlib.compress(body)
    response = post(app, "/v2/models/m/infer", bytes(body), **headers)
    assert response.status == 200, bytes(response.body)
    answered = {name.lower(): value for name, value in response.headers}
    length = answered.get("inference-header-content-length")
    return InferenceServerClient.parse_response_body(
        bytes(response.body),
        header_length=None if length is None else int(length),
        content_encoding=answered.get("content-encoding"),
    )


@pytest.mark.parametrize(
    ("datatype", "is_binary"),
    [(d, b) for d in DATATYPES for b in (True, False) if b or d not in BINARY_ONLY],
)
def test_every_datatype_round_trips(make_app: MakeApp, datatype: str, is_binary: bool) -> None:
    app = make_app([datatype])
    for shape in [(2, 3), (1, 1), (4, 17), (0, 3)]:
        x = values(datatype, shape)
        result = infer(
            app,
            [given("x0", datatype, x, binary=is_binary)],
            [InferRequestedOutput("y0", binary_data=is_binary)],
        )
        np.testing.assert_array_equal(found(result, "y0"), x, strict=True)
        output = result.get_output("y0")
        assert (output["datatype"], output["shape"]) == (datatype, list(shape))
        assert ("data" in output) is not is_binary
        assert ("parameters" in output) is is_binary


def test_any_mix_of_datatypes_shapes_and_encodings(make_app: MakeApp) -> None:
    rng = new_rng()
    for _ in range(12):
        # ONNX Runtime takes no strings beside bfloat16.
        left_out = rng.choice(["BYTES", "BF16"])
        known = [name for name in DATATYPES if name != left_out]
        datatypes = [str(name) for name in rng.choice(known, 3)]
        app = make_app(datatypes, max_batch_size=8)
        for _ in range(4):
            batch = int(rng.integers(1, 9))
            arrays = [values(d, (batch, int(rng.integers(1, 20)))) for d in datatypes]
            can_be_json = [d not in BINARY_ONLY and bool(rng.integers(2)) for d in datatypes]
            order = rng.permutation(3)
            inputs = [
                given(f"x{i}", datatypes[i], arrays[i], binary=not can_be_json[i]) for i in order
            ]
            wanted = [int(i) for i in rng.permutation(3)[: rng.integers(1, 4)]]
            outputs = [
                InferRequestedOutput(f"y{i}", binary_data=not can_be_json[i]) for i in wanted
            ]
            headers = {
                "Content_Encoding": str(rng.choice(["gzip", "deflate", "identity"])),
                "Accept_Encoding": str(rng.choice(["gzip", "deflate;q=0.5, br", "", "identity"])),
            }
            result = infer(app, inputs, outputs, **headers)
            names = [output["name"] for output in result.get_response()["outputs"]]
            assert names == [f"y{i}" for i in wanted]
            for i in wanted:
                np.testing.assert_array_equal(found(result, f"y{i}"), arrays[i], strict=True)


@pytest.mark.parametrize("datatype", [d for d in DATATYPES if d not in BINARY_ONLY])
def test_nested_data_is_flat_data(datatype: str) -> None:
    x = values(datatype, (2, 3, 4))
    plain = x.reshape(-1).tolist()
    for data in (x.tolist(), plain, x.reshape(6, 4).tolist(), [[[plain]]]):
        found = from_json("x", datatype, (2, 3, 4), data)
        np.testing.assert_array_equal(found, x, strict=True)
    assert repr(to_json_data(x, datatype)) == repr(plain)


def test_float32_values_of_json_are_rounded_once() -> None:
    numbers = (new_rng().standard_normal(1000) * 10.0 ** new_rng().integers(-40, 38, 1000)).tolist()
    with np.errstate(under="ignore"):
        expected = np.array(numbers).astype(np.float32)
    np.testing.assert_array_equal(from_json("x", "FP32", (1000,), numbers), expected, strict=True)
