"""Triton's own clients against the server: each call that they have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from fasttrt.serving import Server
from support.models import Model, mlp, several
from support.randomness import new_rng
from support.serving import identity

Started = Callable[..., Server]
CONFIG = """
max_batch_size: 8
output { name: "y" label_filename: "labels.txt" }
dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 100 }
"""


@pytest.fixture
def models(repository: Path) -> dict[str, Model]:
    """Models in the repository: mlp with everything configured, two without."""
    found = {"mlp": mlp(), "several": several()}
    for name, model in found.items():
        (repository / name / "1").mkdir(parents=True)
        model.save(repository / name / "1" / "model.onnx")
    (repository / "mlp" / "config.pbtxt").write_text(CONFIG)
    (repository / "mlp" / "labels.txt").write_text("\n".join(f"class {i}" for i in range(8)))
    (repository / "strings" / "3").mkdir(parents=True)
    strings = identity(["BYTES", "FP16"]).SerializeToString()
    (repository / "strings" / "3" / "model.onnx").write_bytes(strings)
    return found


def tensor(name: str, array: Any, *, binary: bool = True, kind: Any = InferInput) -> Any:
    datatype = tritonclient.utils.np_to_triton_dtype(array.dtype)
    return kind(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def test_health_metadata_and_configuration(started: Started, models: dict[str, Model]) -> None:
    server = started()
    with InferenceServerClient(server.url) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("mlp")
        assert client.is_model_ready("strings", "3")
        assert not client.is_model_ready("strings", "1")
        assert not client.is_model_ready("nothing")
        about = client.get_server_metadata()
        assert about["name"] == "fasttrt"
        assert "binary_tensor_data" in about["extensions"]
        assert client.get_model_metadata("mlp") == {
            "name": "mlp",
            "versions": ["1"],
            "platform": "onnxruntime_onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 16]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 8]}],
        }
        config = client.get_model_config("mlp", "1")
        assert config["max_batch_size"] == 8
        assert config["input"][0]["dims"] == [16]
        assert config["output"][0]["label_filename"] == "labels.txt"
        assert config["dynamic_batching"]["preferred_batch_size"] == [4]
        with pytest.raises(InferenceServerException, match="unknown model: 'nothing' is not found"):
            client.get_model_metadata("nothing")
        with pytest.raises(InferenceServerException, match="version '2' is not found"):
            client.get_model_config("mlp", "2")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(
    started: Started, models: dict[str, Model], binary: bool, compression: str | None
) -> None:
    server = started()
    (x,) = models["mlp"].inputs(batch=5)
    a, b = models["several"].inputs(batch=3)
    options: Any = {
        "request_compression_algorithm": compression, "response_compression_algorithm": compression,
    }  # fmt: skip
    with InferenceServerClient(server.url) as client:
        result = client.infer(
            "mlp", [tensor("x", x, binary=binary)], model_version="1", request_id="9",
            outputs=[InferRequestedOutput("y", binary_data=binary)], priority=1, timeout=10_000_000,
            **options,
        )  # fmt: skip
        response = result.get_response()
        assert (response["id"], response["model_version"]) == ("9", "1")
        np.testing.assert_allclose(result.as_numpy("y"), models["mlp"].reference(x), atol=1e-4)
        inputs = [tensor("b", b, binary=binary), tensor("a", a, binary=binary)]
        result = client.infer("several", inputs, **options)
        total, twice = models["several"].reference(a, b)
        np.testing.assert_allclose(result.as_numpy("sum"), total, atol=1e-5)
        np.testing.assert_array_equal(result.as_numpy("twice"), twice)
        outputs = [InferRequestedOutput("twice", binary_data=binary)]
        result = client.infer("several", inputs, outputs=outputs, **options)
        assert result.as_numpy("sum") is None
        np.testing.assert_array_equal(result.as_numpy("twice"), twice)


def test_strings_and_half_floats(started: Started, models: dict[str, Model]) -> None:
    server = started()
    rng = new_rng()
    text = np.array([["a", "", "ein Hünd"], ["x" * 1000, "\0", "日本"]], object)
    halves = rng.standard_normal((2, 3)).astype(np.float16)
    with InferenceServerClient(server.url) as client:
        result = client.infer("strings", [tensor("x0", text), tensor("x1", halves)])
        found = [[item.decode() for item in row] for row in result.as_numpy("y0")]
        assert found == text.tolist()
        np.testing.assert_array_equal(result.as_numpy("y1"), halves)


def test_classification(started: Started, models: dict[str, Model]) -> None:
    server = started()
    (x,) = models["mlp"].inputs(batch=2)
    with InferenceServerClient(server.url) as client:
        outputs = [InferRequestedOutput("y", class_count=3)]
        found = client.infer("mlp", [tensor("x", x)], outputs=outputs).as_numpy("y")
    expected = models["mlp"].reference(x)
    for row, classes in zip(expected, found, strict=True):
        order = np.argsort(-row)[:3]
        parts = [item.decode().split(":") for item in classes]
        assert [(int(i), label) for _, i, label in parts] == [(i, f"class {i}") for i in order]
        np.testing.assert_allclose([float(v) for v, _, _ in parts], row[order], atol=1e-3)


def test_mistakes_have_messages(started: Started, models: dict[str, Model]) -> None:
    server = started()
    (x,) = models["mlp"].inputs(batch=5)
    with InferenceServerClient(server.url) as client:
        for inputs, message in (
            ([tensor("z", x)], "unexpected inference input 'z'"),
            ([tensor("x", x.astype(np.float64))], "FP64"),
            ([tensor("x", x[:, :7])], r"x.*\[-1,16\].*\[5,7\]|x.*16.*7"),
            ([tensor("x", np.concatenate([x, x]))], "8"),
            ([], "expected 1 inputs? but got 0|x"),
        ):
            with pytest.raises(InferenceServerException, match=message):
                client.infer("mlp", inputs)
        with pytest.raises(InferenceServerException, match="not found"):
            client.infer("nothing", [tensor("x", x)])
        result = client.infer("mlp", [tensor("x", x)])  # and the connection goes on
        np.testing.assert_allclose(result.as_numpy("y"), models["mlp"].reference(x), atol=1e-4)


def test_asynchronous_requests_get_their_own_rows(
    started: Started, models: dict[str, Model]
) -> None:
    server = started()
    arrays = [models["mlp"].inputs(batch=1 + i % 8)[0] for i in range(64)]
    with InferenceServerClient(server.url, concurrency=8) as client:
        requests = [client.async_infer("mlp", [tensor("x", x)]) for x in arrays]
        for x, request in zip(arrays, requests, strict=True):
            y = request.get_result().as_numpy("y")
            np.testing.assert_allclose(y, models["mlp"].reference(x), atol=1e-4)
        (stats,) = client.get_inference_statistics("mlp")["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == 64
    assert stats["inference_count"] == sum(len(x) for x in arrays)
    assert 1 <= stats["execution_count"] <= 64
    assert sum(s["compute_infer"]["count"] for s in stats["batch_stats"]) > 0


def test_repository_control(started: Started, models: dict[str, Model], repository: Path) -> None:
    server = started("explicit", allow_files=True, names=["mlp"])
    (x,) = models["mlp"].inputs(batch=2)
    with InferenceServerClient(server.url) as client:
        index = {entry["name"]: entry for entry in client.get_model_repository_index()}
        assert index["mlp"]["state"] == "READY"
        assert index["several"] == {"name": "several"}
        client.load_model("several")
        assert client.is_model_ready("several")
        client.unload_model("several")
        assert not client.is_model_ready("several")
        client.load_model("mlp", config=json.dumps({"max_batch_size": 2}))
        assert client.get_model_config("mlp")["max_batch_size"] == 2
        config = client.get_model_config("mlp")
        client.load_model("mlp", config=json.dumps(config))  # what it writes it reads
        other = mlp()
        client.load_model("mlp", config="{}", files={"file:7/model.onnx": other.to_bytes()})
        result = client.infer("mlp", [tensor("x", x)])
        assert result.get_response()["model_version"] == "7"
        np.testing.assert_allclose(result.as_numpy("y"), other.reference(x), atol=1e-4)
        with pytest.raises(InferenceServerException, match="sequence_batching is not supported"):
            client.load_model("mlp", config='{"sequence_batching": {}}')
        with pytest.raises(InferenceServerException, match="unknown model: 'nothing'"):
            client.load_model("nothing")
        with pytest.raises(InferenceServerException, match="Not Found"):
            client.load_model("../mlp")
        assert client.is_model_ready("mlp")


def test_the_asyncio_client(started: Started, models: dict[str, Model]) -> None:
    server = started("explicit")
    arrays = [models["mlp"].inputs(batch=1 + i % 8)[0] for i in range(32)]

    async def talk() -> list[Any]:
        aio = tritonclient.http.aio
        async with aio.InferenceServerClient(server.url) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("mlp")
            assert (await client.get_model_metadata("mlp"))["name"] == "mlp"
            assert (await client.get_model_config("mlp"))["max_batch_size"] == 8
            assert len(await client.get_model_repository_index()) == 3
            await client.unload_model("several")
            await client.load_model("several")
            with pytest.raises(InferenceServerException, match="not found"):
                await client.infer("nothing", [tensor("x", arrays[0], kind=aio.InferInput)])
            results = await asyncio.gather(
                *(
                    client.infer("mlp", [tensor("x", x, binary=i % 2 == 0, kind=aio.InferInput)])
                    for i, x in enumerate(arrays)
                )
            )
            stats = await client.get_inference_statistics("mlp")
            assert stats["model_stats"][0]["inference_stats"]["success"]["count"] == 32
            return [result.as_numpy("y") for result in results]

    for x, y in zip(arrays, asyncio.run(talk()), strict=True):
        np.testing.assert_allclose(y, models["mlp"].reference(x), atol=1e-4)
