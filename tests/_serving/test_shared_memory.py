"""Tensors in shared memory, registered and used by Triton's client."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import (
    InferenceServerException,
    deserialize_bytes_tensor,
    serialize_byte_tensor,
    shared_memory,
)

import fasttrt
from fasttrt.errors import InputError
from fasttrt.serving import Server, ServerOptions
from support.http_server import Client
from support.http_server import post as request
from support.models import Model, mlp
from support.serving import identity

ROWS = 5
IN_BYTES, OUT_BYTES = ROWS * 16 * 4, ROWS * 8 * 4


@pytest.fixture(scope="module")
def model() -> Model:
    return mlp()


@pytest.fixture(scope="module")
def server(model: Model) -> Iterator[Server]:
    strings = identity(["BYTES", "FP16"])
    with (
        fasttrt.Engine(model.proto, device="cpu") as engine,
        fasttrt.Engine(strings, device="cpu") as other,
        fasttrt.serve(
            {"mlp": engine, "strings": other},
            http_port=0,
            metrics_port=None,
            allow_shared_memory=True,
        ) as server,
    ):
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.url) as client:
        yield client
        client.unregister_system_shared_memory()


@contextmanager
def region(size: int) -> Iterator[tuple[str, Any]]:
    """A shared-memory object of a client: its key and its handle."""
    key = f"/fasttrt-{uuid.uuid4()}"
    handle = shared_memory.create_shared_memory_region("test", key, size)
    try:
        yield key, handle
    finally:
        shared_memory.destroy_shared_memory_region(handle)


def shared_input(rows: int = ROWS, size: int = IN_BYTES, offset: int = 0) -> InferInput:
    found = InferInput("x", [rows, 16], "FP32")
    found.set_shared_memory("in", size, offset)
    return found


def shared_output(size: int = OUT_BYTES, offset: int = 0) -> InferRequestedOutput:
    found = InferRequestedOutput("y")
    found.set_shared_memory("out", size, offset)
    return found


def plain(server: Server) -> int:
    """How many requests the front end has answered without Python."""
    return int(server._front.counters("mlp", "1")["success"])


def test_tensors_lie_in_shared_memory(
    server: Server, client: InferenceServerClient, model: Model
) -> None:
    assert "system_shared_memory" in client.get_server_metadata()["extensions"]
    (x,) = model.inputs(batch=ROWS)
    expected = model.reference(x)
    with region(IN_BYTES + 100) as (in_key, in_handle), region(OUT_BYTES + 64) as (out_key, out):
        client.register_system_shared_memory("in", in_key, IN_BYTES, 20)
        client.register_system_shared_memory("out", out_key, OUT_BYTES + 64)
        shared_memory.set_shared_memory_region(in_handle, [x], offset=20)
        before = plain(server)
        result = client.infer("mlp", [shared_input()], outputs=[shared_output(offset=4)])
        assert "data" not in result.get_output("y")
        assert "parameters" not in result.get_output("y")
        assert result.get_output("y")["shape"] == [ROWS, 8]
        y = shared_memory.get_contents_as_numpy(out, np.float32, [ROWS, 8], offset=4)
        np.testing.assert_allclose(y, expected, atol=1e-4)
        # one of them in the body
        result = client.infer("mlp", [shared_input()])
        np.testing.assert_allclose(result.as_numpy("y"), expected, atol=1e-4)
        binary = InferInput("x", [ROWS, 16], "FP32").set_data_from_numpy(x[::-1])
        client.infer("mlp", [binary], outputs=[shared_output()])
        y = shared_memory.get_contents_as_numpy(out, np.float32, [ROWS, 8])
        np.testing.assert_allclose(y, expected[::-1], atol=1e-4)
        assert plain(server) == before + 3  # Python had no part in it
        # as JSON, by Python
        wanted = [InferRequestedOutput("y", binary_data=False)]
        result = client.infer("mlp", [shared_input()], outputs=wanted)
        np.testing.assert_allclose(result.as_numpy("y"), expected, atol=1e-4)
        numbers = InferInput("x", [ROWS, 16], "FP32").set_data_from_numpy(x, binary_data=False)
        client.infer("mlp", [numbers], outputs=[shared_output()])
        y = shared_memory.get_contents_as_numpy(out, np.float32, [ROWS, 8])
        np.testing.assert_allclose(y, expected, atol=1e-4)
        assert plain(server) == before + 3


def test_strings_lie_in_shared_memory(client: InferenceServerClient) -> None:
    text = np.array([["a", "", "ein Hünd"]], object)
    halves = np.arange(3, dtype=np.float16).reshape(1, 3)
    with region(200) as (key, handle):
        client.register_system_shared_memory("r", key, 200)
        shared_memory.set_shared_memory_region(handle, [serialize_byte_tensor(text)])
        size = 3 * 4 + len("aein Hünd".encode())
        inputs = [InferInput("x0", [1, 3], "BYTES"), InferInput("x1", [1, 3], "FP16")]
        inputs[0].set_shared_memory("r", size)
        inputs[1].set_data_from_numpy(halves)
        outputs = [InferRequestedOutput("y0"), InferRequestedOutput("y1")]
        outputs[0].set_shared_memory("r", 50, 50)
        outputs[1].set_shared_memory("r", 50, 100)
        client.infer("strings", inputs, outputs=outputs)
        raw = shared_memory.get_contents_as_numpy(handle, np.uint8, [size], offset=50)
        assert [t.decode() for t in deserialize_bytes_tensor(raw.tobytes())] == text[0].tolist()
        found = shared_memory.get_contents_as_numpy(handle, np.float16, [1, 3], offset=100)
        np.testing.assert_array_equal(found, halves)


def test_registration(client: InferenceServerClient) -> None:
    assert client.get_system_shared_memory_status() == []
    with region(128) as (key, _):
        client.register_system_shared_memory("a ü", key, 28, 100)
        status = {"name": "a ü", "key": key, "offset": 100, "byte_size": 28}
        client.register_system_shared_memory("b", key, 128)
        assert status in client.get_system_shared_memory_status()
        assert client.get_system_shared_memory_status("b")[0]["byte_size"] == 128
        assert len(client.get_system_shared_memory_status()) == 2
        with pytest.raises(InferenceServerException, match="'b' already in manager"):
            client.register_system_shared_memory("b", key, 128)
        client.unregister_cuda_shared_memory("b")  # of another kind
        assert len(client.get_system_shared_memory_status()) == 2
        client.unregister_system_shared_memory("b")
        client.unregister_system_shared_memory("b")
        with pytest.raises(InferenceServerException, match=r"Unable to find system .*: 'b'"):
            client.get_system_shared_memory_status("b")
        with pytest.raises(InferenceServerException, match="not registered as cuda"):
            client.get_cuda_shared_memory_status("a ü")
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory()
        assert client.get_system_shared_memory_status() == []


def test_memory_of_gpus_that_is_none(client: InferenceServerClient) -> None:
    assert "cuda_shared_memory" in client.get_server_metadata()["extensions"]
    assert client.get_cuda_shared_memory_status() == []
    for handle, device, message in (
        ("?", 0, "b64: expected base64"),
        ("AAAA", 0, "raw_handle: expected 64 bytes, got 3"),
        ("AAAA" * 21 + "AA==", 1 << 40, "device_id: expected at most"),
        ("AAAA" * 21 + "AA==", 77, "failed to register shared memory region 'r'"),
    ):
        with pytest.raises(InferenceServerException, match=rf"\[400\].*{message}"):
            client.register_cuda_shared_memory("r", handle, device, 4)
    with pytest.raises(InferenceServerException, match=r"\[404\].*cuda shared memory region: 'r'"):
        client.get_cuda_shared_memory_status("r")


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("r", b"", "JSON"),
        ("r", b'{"byte_size": 1}', "key: expected a string, got none"),
        ("r", b'{"key": "/KEY"}', "byte_size: expected an integer >= 0, got none"),
        ("r", b'{"key": "/KEY", "byte_size": -1}', "byte_size: expected an integer >= 0, got -1"),
        ("r", b'{"key": "/KEY", "byte_size": 1.5}', "byte_size: expected an integer >= 0"),
        ("r", b'{"key": "/KEY", "byte_size": 0}', "at least 1"),
        ("r", b'{"key": "/KEY", "byte_size": 65}', "at most 64"),
        ("r", b'{"key": "/KEY", "byte_size": 64, "offset": 1}', "at most 64"),
        ("r", b'{"key": "/KEY", "byte_size": 9223372036854775807, "offset": 9223372036854775807}', "at most 64"),  # noqa: E501
        ("r", b'{"key": "/KEY", "byte_size": 18446744073709551616}', "byte_size"),
        ("r", b'{"key": "/none", "byte_size": 1}', "Unable to open shared memory region: '/none'"),
        ("r", b'{"key": "../etc/passwd", "byte_size": 1}', "expected the name of a shared-memory"),
        ("r", b'{"key": "/KEY\\u0000", "byte_size": 1}', "expected the name of a shared-memory"),
        ("r%0A", b'{"key": "/KEY", "byte_size": 1}', "printable characters"),
        ("r" * 256, b'{"key": "/KEY", "byte_size": 1}', "printable characters"),
        ("triton_python_backend_shm_region_1", b'{"key": "/KEY", "byte_size": 1}', "reserved"),
    ],
)  # fmt: skip
def test_wrong_registrations(
    server: Server, client: InferenceServerClient, name: str, body: bytes, message: str
) -> None:
    with region(64) as (key, _), Client(server.http_port) as raw:
        body = body.replace(b"/KEY", key.encode())
        raw.send(request(f"/v2/systemsharedmemory/region/{name}/register", body))
        status, _, answer = raw.answer()
    assert status == 400
    assert message in answer.decode()
    assert client.get_system_shared_memory_status() == []


def test_an_object_that_is_not_memory_is_refused(client: InferenceServerClient) -> None:
    name = f"fasttrt-{uuid.uuid4().hex}"
    pipe = Path("/dev/shm", name)
    os.mkfifo(pipe)
    try:
        with pytest.raises(
            InferenceServerException, match=f"'/{name}': not a shared memory object"
        ):
            client.register_system_shared_memory("r", f"/{name}", 1)
    finally:
        pipe.unlink()


def test_wrong_requests(client: InferenceServerClient, model: Model) -> None:
    (x,) = model.inputs(batch=ROWS)
    with region(IN_BYTES) as (in_key, in_handle), region(OUT_BYTES) as (out_key, out):
        client.register_system_shared_memory("in", in_key, IN_BYTES)
        client.register_system_shared_memory("out", out_key, OUT_BYTES)
        shared_memory.set_shared_memory_region(in_handle, [x])
        both = InferRequestedOutput("y", binary_data=True)
        both._parameters |= {"shared_memory_region": "out", "shared_memory_byte_size": 4}
        half = InferRequestedOutput("y")
        half._parameters = {"shared_memory_byte_size": 4}
        huge = 2**63 - 1
        for given, wanted, message in (
            (shared_input(ROWS, IN_BYTES, 4), shared_output(), r"\[400\].*offset \+ byte size"),
            (shared_input(ROWS, huge), shared_output(), r"\[400\].*offset \+ byte size"),
            (shared_input(ROWS, IN_BYTES, huge), shared_output(), r"\[400\].*Invalid offset"),
            (shared_input(ROWS - 1), shared_output(), r"\[400\].*byte size mismatch"),
            (shared_input(), shared_output(OUT_BYTES - 1), r"\[400\].*at least 160 bytes"),
            (shared_input(), shared_output(OUT_BYTES, 1), r"\[400\].*offset \+ byte size"),
            (shared_input(), both, r"\[400\].*without binary_data"),
            (shared_input(), half, r"\[400\].*shared_memory_region"),
        ):
            with pytest.raises(InferenceServerException, match=message):
                client.infer("mlp", [given], outputs=[wanted])
        client.infer("mlp", [shared_input()], outputs=[shared_output()])  # all is well
        y = shared_memory.get_contents_as_numpy(out, np.float32, [ROWS, 8])
        np.testing.assert_allclose(y, model.reference(x), atol=1e-4)
        client.unregister_system_shared_memory("out")
        with pytest.raises(InferenceServerException, match=r"\[404\].*Unable to find.*'out'"):
            client.infer("mlp", [shared_input()], outputs=[shared_output()])


def test_a_client_that_shrinks_its_memory(client: InferenceServerClient, model: Model) -> None:
    """A mapped page behind the end of a file is SIGBUS: neither way may end the server."""
    as_json = InferRequestedOutput("y", binary_data=False)
    (x,) = model.inputs(batch=ROWS)
    binary = InferInput("x", [ROWS, 16], "FP32").set_data_from_numpy(x)
    numbers = InferInput("x", [ROWS, 16], "FP32").set_data_from_numpy(x, binary_data=False)
    memory = SharedMemory(create=True, size=8192)
    descriptor = os.open(f"/dev/shm/{memory.name}", os.O_RDWR)
    try:
        for name in ("in", "out"):
            client.register_system_shared_memory(name, f"/{memory.name}", 4096, 4096)
        os.ftruncate(descriptor, 4100)
        for given, wanted in (
            (shared_input(), None),
            (shared_input(), [as_json]),
            (binary, [shared_output()]),
            (numbers, [shared_output()]),
        ):
            with pytest.raises(InferenceServerException, match=r"\[400\].*has shrunk to 4100"):
                client.infer("mlp", [given], outputs=wanted)
        assert os.fstat(descriptor).st_size == 4100  # it was not made to grow
        result = client.infer("mlp", [binary])
        np.testing.assert_allclose(result.as_numpy("y"), model.reference(x), atol=1e-4)
    finally:
        os.close(descriptor)
        memory.close()
        memory.unlink()


def test_it_is_off_by_default(model: Model) -> None:
    (x,) = model.inputs(batch=ROWS)
    with (
        fasttrt.Engine(model.proto, device="cpu") as engine,
        fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None) as server,
        InferenceServerClient(server.url) as client,
        region(IN_BYTES) as (key, _),
    ):
        assert "system_shared_memory" not in client.get_server_metadata()["extensions"]
        client.unregister_system_shared_memory()  # perf_analyzer begins with it
        client.unregister_cuda_shared_memory()
        calls: list[Callable[[], Any]] = [
            lambda: client.register_system_shared_memory("in", key, IN_BYTES),
            lambda: client.unregister_system_shared_memory("in"),
            lambda: client.get_system_shared_memory_status(),
            lambda: client.get_cuda_shared_memory_status(),
            lambda: client.infer("mlp", [shared_input()]),
        ]
        for call in calls:
            with pytest.raises(
                InferenceServerException, match=r"\[501\].*`fasttrt serve` allows it with --allow"
            ):
                call()
        given = InferInput("x", [ROWS, 16], "FP32").set_data_from_numpy(x)
        with pytest.raises(
            InferenceServerException, match=r"\[501\].*`fasttrt serve` allows it with --allow"
        ):
            client.infer("mlp", [given], outputs=[shared_output()])


def test_the_option_is_checked() -> None:
    with pytest.raises(InputError, match="allow_shared_memory: expected True or False, got 1"):
        ServerOptions(allow_shared_memory=1)  # type: ignore[arg-type]
