"""Triton's clients of gRPC against both implementations of it: each call that they have."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from fasttrt.serving import Server
from support.grpc_server import IMPLEMENTATIONS, served
from support.models import mlp, several
from support.randomness import new_rng
from support.serving import identity

CONFIG = """
max_batch_size: 8
output { name: "y" label_filename: "labels.txt" }
dynamic_batching { preferred_batch_size: 4 max_queue_delay_microseconds: 100 }
"""
MODELS = {"mlp": mlp(), "several": several()}
DATATYPES = ("BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
             "FP32", "FP64", "BYTES")  # fmt: skip


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Server]:
    """A server of mlp with everything configured, and of models without."""
    repository: Path = tmp_path_factory.mktemp("models")
    for name, model in MODELS.items():
        (repository / name / "1").mkdir(parents=True)
        model.save(repository / name / "1" / "model.onnx")
    (repository / "mlp" / "config.pbtxt").write_text(CONFIG)
    (repository / "mlp" / "labels.txt").write_text("\n".join(f"class {i}" for i in range(8)))
    for name, types in (("strings", ["BYTES", "FP16"]), ("types", DATATYPES)):
        (repository / name / "3").mkdir(parents=True)
        content = identity(types).SerializeToString()
        (repository / name / "3" / "model.onnx").write_bytes(content)
    with served(request.param, repository, allow_shared_memory=True) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.grpc_url) as client:
        yield client


def tensor(name: str, array: Any, *, kind: Any = InferInput) -> Any:
    datatype = tritonclient.utils.np_to_triton_dtype(array.dtype)
    return kind(name, list(array.shape), datatype).set_data_from_numpy(array)


def check_mlp(result: Any, x: Any) -> None:
    np.testing.assert_allclose(result.as_numpy("y"), MODELS["mlp"].reference(x), atol=1e-4)


def test_health_metadata_and_configuration(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mlp")
    assert client.is_model_ready("strings", "3")
    assert not client.is_model_ready("strings", "1")
    assert not client.is_model_ready("nothing")
    about = client.get_server_metadata()
    assert about.name == "fasttrt"
    assert "binary_tensor_data" in about.extensions
    metadata = client.get_model_metadata("mlp", as_json=True)
    assert metadata["versions"] == ["1"]
    assert metadata["platform"] == "onnxruntime_onnx"
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "16"]}]
    assert metadata["outputs"] == [{"name": "y", "datatype": "FP32", "shape": ["-1", "8"]}]
    config = client.get_model_config("mlp", "1").config
    assert config.max_batch_size == 8
    assert list(config.input[0].dims) == [16]
    assert config.input[0].data_type == 11  # TYPE_FP32
    assert config.output[0].label_filename == "labels.txt"
    assert list(config.dynamic_batching.preferred_batch_size) == [4]
    for call in (client.get_model_metadata, client.get_model_config):
        with pytest.raises(InferenceServerException, match="unknown model: 'nothing'") as caught:
            call("nothing")
        assert "INVALID_ARGUMENT" in caught.value.status()
        with pytest.raises(InferenceServerException, match="version '2' is not found") as caught:
            call("mlp", "2")
        assert "NOT_FOUND" in caught.value.status()


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer(client: InferenceServerClient, compression: str | None) -> None:
    (x,) = MODELS["mlp"].inputs(batch=5)
    a, b = MODELS["several"].inputs(batch=3)
    options: Any = {"compression_algorithm": compression}
    result = client.infer(
        "mlp", [tensor("x", x)], model_version="1", request_id="9", priority=1, timeout=10_000_000,
        outputs=[InferRequestedOutput("y")], **options,
    )  # fmt: skip
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == ("mlp", "1", "9")
    check_mlp(result, x)
    result = client.infer("several", [tensor("b", b), tensor("a", a)], **options)
    total, twice = MODELS["several"].reference(a, b)
    np.testing.assert_allclose(result.as_numpy("sum"), total, atol=1e-5)
    np.testing.assert_array_equal(result.as_numpy("twice"), twice)
    outputs = [InferRequestedOutput("twice")]
    inputs = [tensor("a", a), tensor("b", b)]
    result = client.infer("several", inputs, outputs=outputs, **options)
    assert result.as_numpy("sum") is None
    np.testing.assert_array_equal(result.as_numpy("twice"), twice)


def test_large_tensors(client: InferenceServerClient) -> None:
    rng = new_rng()
    text = np.full((1, 1), "x" * 100_000, object)
    halves = rng.standard_normal((1000, 3000)).astype(np.float16)
    result = client.infer("strings", [tensor("x0", text), tensor("x1", halves)])
    np.testing.assert_array_equal(result.as_numpy("y1"), halves)


def test_strings_and_half_floats(client: InferenceServerClient) -> None:
    text = np.array([["a", "", "ein Hünd"], ["x" * 1000, "\0", "日本"]], object)
    halves = new_rng().standard_normal((2, 3)).astype(np.float16)
    result = client.infer("strings", [tensor("x0", text), tensor("x1", halves)], request_id="ü")
    assert [[item.decode() for item in row] for row in result.as_numpy("y0")] == text.tolist()
    np.testing.assert_array_equal(result.as_numpy("y1"), halves)
    assert result.get_response().id == "ü"


def test_typed_contents(server: Server) -> None:
    """Values in the fields for their types, as other clients than Triton's send them."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    rng = new_rng()
    arrays: list[Any] = []
    for datatype in DATATYPES:
        dtype = tritonclient.utils.triton_to_np_dtype(datatype)
        if datatype == "BYTES":
            arrays.append(np.array([[b"a", "ü".encode(), b""]], object))
        elif datatype.startswith("FP"):
            arrays.append(rng.standard_normal((1, 3)).astype(dtype))
        elif datatype == "BOOL":
            arrays.append(rng.random((1, 3)) < 0.5)
        else:
            limits = np.iinfo(dtype)
            arrays.append(rng.integers(limits.min, limits.max, (1, 3), dtype=dtype, endpoint=True))
    request = service_pb2.ModelInferRequest(model_name="types", model_version="3")
    fields = {"BOOL": "bool", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes", "INT64": "int64",
              "UINT64": "uint64"}  # fmt: skip
    for i, (datatype, array) in enumerate(zip(DATATYPES, arrays, strict=True)):
        added = request.inputs.add(name=f"x{i}", datatype=datatype, shape=array.shape)
        field = fields.get(datatype, "uint" if datatype.startswith("U") else "int")
        getattr(added.contents, f"{field}_contents").extend(array.ravel().tolist())
    with grpc.insecure_channel(server.grpc_url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        result = tritonclient.grpc.InferResult(stub.ModelInfer(request))
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(result.as_numpy(f"y{i}"), array)
        small = request.inputs[DATATYPES.index("INT8")]
        changes: tuple[tuple[Any, str], ...] = (
            (lambda: small.contents.int_contents.append(1), "byte size mismatch"),
            (lambda: small.contents.int_contents.__setitem__(0, 128), "range of INT8, got 128"),
            (lambda: small.contents.bool_contents.append(True), "contents in int_contents"),
            (lambda: request.raw_input_contents.append(b""), "got both"),
        )
        for change, message in changes:
            change()
            with pytest.raises(grpc.RpcError, match=message) as caught:
                stub.ModelInfer(request)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_classification(client: InferenceServerClient) -> None:
    (x,) = MODELS["mlp"].inputs(batch=2)
    outputs = [InferRequestedOutput("y", class_count=3)]
    found = client.infer("mlp", [tensor("x", x)], outputs=outputs).as_numpy("y")
    expected = MODELS["mlp"].reference(x)
    for row, classes in zip(expected, found, strict=True):
        order = np.argsort(-row)[:3]
        parts = [item.decode().split(":") for item in classes]
        assert [(int(i), label) for _, i, label in parts] == [(i, f"class {i}") for i in order]


def test_mistakes_have_messages(client: InferenceServerClient) -> None:
    (x,) = MODELS["mlp"].inputs(batch=5)
    for inputs, message in (
        ([tensor("z", x)], "unexpected inference input 'z'"),
        ([tensor("x", x.astype(np.float64))], "expected data-type FP32, got FP64"),
        ([tensor("x", x[:, :7])], r"\[5, 7\]"),
        ([tensor("x", np.concatenate([x, x]))], "batch-size must be <= 8 for 'mlp', got 10"),
        ([], "expected 1 inputs but got 0"),
    ):
        with pytest.raises(InferenceServerException, match=message) as caught:
            client.infer("mlp", inputs)
        assert "INVALID_ARGUMENT" in caught.value.status()
    with pytest.raises(InferenceServerException, match="unknown model: 'nothing' is not found"):
        client.infer("nothing", [tensor("x", x)])
    check_mlp(client.infer("mlp", [tensor("x", x)]), x)  # and the connection goes on


def test_asynchronous_requests_get_their_own_rows(client: InferenceServerClient) -> None:
    before = client.get_inference_statistics("mlp").model_stats[0]
    arrays = [MODELS["mlp"].inputs(batch=1 + i % 8)[0] for i in range(64)]
    answers: queue.Queue[Any] = queue.Queue()
    for i, x in enumerate(arrays):
        client.async_infer(
            "mlp",
            [tensor("x", x)],
            lambda result, error: answers.put((result, error)),
            request_id=str(i),
        )
    for _ in arrays:
        result, error = answers.get(timeout=30)
        assert error is None
        check_mlp(result, arrays[int(result.get_response().id)])
    after = client.get_inference_statistics("mlp", "1").model_stats[0]
    success = after.inference_stats.success
    assert success.count - before.inference_stats.success.count == 64
    assert after.inference_count - before.inference_count == sum(len(x) for x in arrays)
    assert after.execution_count > before.execution_count
    assert success.ns > before.inference_stats.success.ns
    assert {stats.name for stats in client.get_inference_statistics().model_stats} >= {"several"}


def test_streams(client: InferenceServerClient) -> None:
    arrays = [MODELS["mlp"].inputs(batch=1 + i % 8)[0] for i in range(200)]
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for i, x in enumerate(arrays):
        client.async_stream_infer(
            "mlp", [tensor("x", x)], request_id=str(i), enable_empty_final_response=i % 2 == 0
        )
        if i % 50 == 0:  # which does not end the stream
            client.async_stream_infer("nothing", [tensor("x", x)], request_id=f"wrong {i}")
    failed = 0
    for _ in range(204):
        result, error = answers.get(timeout=30)
        if error is not None:
            assert "unknown model: 'nothing' is not found" in str(error)
            failed += 1
            continue
        response = result.get_response()
        assert response.parameters["triton_final_response"].bool_param
        check_mlp(result, arrays[int(response.id)])
    assert failed == 4
    client.stop_stream()
    assert answers.empty()


def test_a_failure_ends_a_stream_that_wants_a_status(client: InferenceServerClient) -> None:
    (x,) = MODELS["mlp"].inputs(batch=1)
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(
        lambda result, error: answers.put((result, error)), headers={"triton_grpc_error": "true"}
    )
    client.async_stream_infer("mlp", [tensor("x", x)])
    result, error = answers.get(timeout=30)
    assert error is None
    check_mlp(result, x)
    client.async_stream_infer("nothing", [tensor("x", x)])
    result, error = answers.get(timeout=30)
    assert result is None
    assert "INVALID_ARGUMENT" in error.status()
    client.stop_stream()


def test_repository_control(client: InferenceServerClient) -> None:
    (x,) = MODELS["several"].inputs(batch=2)[:1]
    index = {model.name: model for model in client.get_model_repository_index().models}
    assert index["several"].state == "READY"
    client.unload_model("several")
    assert not client.is_model_ready("several")
    client.load_model("several")
    assert client.is_model_ready("several")
    other = mlp()
    client.load_model("several", config="{}", files={"file:7/model.onnx": other.to_bytes()})
    (x,) = other.inputs(batch=3)
    result = client.infer("several", [tensor("x", x)])
    assert result.get_response().model_version == "7"
    np.testing.assert_allclose(result.as_numpy("y"), other.reference(x), atol=1e-4)
    with pytest.raises(InferenceServerException, match="sequence_batching is not supported"):
        client.load_model("several", config='{"sequence_batching": {}}')
    with pytest.raises(InferenceServerException, match="unknown model: 'none/such'"):
        client.load_model("none/such")
    config = client.get_model_config("mlp", as_json=True)["config"]
    client.load_model("mlp", config=json.dumps(config))  # what it writes it reads
    client.load_model("several")
    assert client.is_model_ready("several", "1")


def test_system_shared_memory(client: InferenceServerClient) -> None:
    (x,) = MODELS["mlp"].inputs(batch=4)
    expected = MODELS["mlp"].reference(x)
    memory = SharedMemory(create=True, size=4096)
    buffer: Any = memory.buf
    try:
        buffer[64 : 64 + x.nbytes] = x.tobytes()
        key = f"/{memory.name.lstrip('/')}"
        client.register_system_shared_memory("region", key, 4096)
        with pytest.raises(InferenceServerException, match="already") as caught:
            client.register_system_shared_memory("region", key, 4096)
        assert "ALREADY_EXISTS" in caught.value.status()
        status = client.get_system_shared_memory_status().regions["region"]
        assert (status.key, status.offset, status.byte_size) == (key, 0, 4096)
        given = InferInput("x", list(x.shape), "FP32")
        given.set_shared_memory("region", x.nbytes, 64)
        wanted = InferRequestedOutput("y")
        wanted.set_shared_memory("region", expected.nbytes, 2048)
        result = client.infer("mlp", [given], outputs=[wanted])
        assert list(result.get_response().raw_output_contents) == [b""]
        found = np.frombuffer(buffer, np.float32, expected.size, 2048)
        np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-4)
        del found, buffer
        check_mlp(client.infer("mlp", [given]), x)
        wanted.set_shared_memory("region", 4, 2048)
        with pytest.raises(InferenceServerException, match="should be at least"):
            client.infer("mlp", [given], outputs=[wanted])
        client.unregister_system_shared_memory("region")
        assert not client.get_system_shared_memory_status().regions
        with pytest.raises(InferenceServerException, match="Unable to find") as caught:
            client.infer("mlp", [given])
        assert "NOT_FOUND" in caught.value.status()
        client.unregister_cuda_shared_memory()
        assert not client.get_cuda_shared_memory_status().regions
    finally:
        memory.close()
        memory.unlink()


def test_the_asyncio_client(server: Server) -> None:
    arrays = [MODELS["mlp"].inputs(batch=1 + i % 8)[0] for i in range(32)]
    aio = tritonclient.grpc.aio

    async def requests() -> Any:
        for i, x in enumerate(arrays):
            inputs = [tensor("x", x, kind=aio.InferInput)]
            yield {"model_name": "mlp", "inputs": inputs, "request_id": str(i)}

    async def talk() -> list[Any]:
        async with aio.InferenceServerClient(server.grpc_url) as client:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready("mlp")
            assert (await client.get_model_metadata("mlp")).name == "mlp"
            assert (await client.get_model_config("mlp")).config.max_batch_size == 8
            assert len((await client.get_model_repository_index()).models) >= 4
            with pytest.raises(InferenceServerException, match="not found"):
                await client.infer("nothing", [tensor("x", arrays[0], kind=aio.InferInput)])
            results = await asyncio.gather(
                *(client.infer("mlp", [tensor("x", x, kind=aio.InferInput)]) for x in arrays)
            )
            async for result, error in client.stream_infer(requests()):
                assert error is None
                check_mlp(result, arrays[int(result.get_response().id)])
            return results

    for x, result in zip(arrays, asyncio.run(talk()), strict=True):
        check_mlp(result, x)
