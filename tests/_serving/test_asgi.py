"""The ASGI application: under uvicorn with Triton's clients, and mounted."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http
import tritonclient.http.aio
import uvicorn
from tritonclient.utils import InferenceServerException

import fasttrt
from fasttrt.serving import AsgiApp, asgi
from support.gate import PATIENCE, Gate
from support.models import Model
from support.randomness import new_rng


@pytest.fixture
def url(engine: fasttrt.Engine) -> Iterator[str]:
    """The address of a server with `engine` as the model mlp."""
    config = uvicorn.Config(asgi({"mlp": engine}), port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + PATIENCE
    while not server.started:
        assert time.monotonic() < end
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    thread.join(PATIENCE)


def inputs(client: Any, x: Any, *, binary: bool) -> list[Any]:
    tensor = client.InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, binary_data=binary)
    return [tensor]


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient(url: str, mlp_model: Model, algorithm: str | None, binary: bool) -> None:
    client = tritonclient.http
    with client.InferenceServerClient(url) as server:
        assert server.is_server_live()
        assert server.is_server_ready()
        assert server.is_model_ready("mlp")
        assert server.get_server_metadata()["name"] == "fasttrt"
        assert server.get_model_metadata("mlp")["inputs"][0]["name"] == "x"
        assert server.get_model_config("mlp")["name"] == "mlp"
        x = new_rng().standard_normal((3, 16), np.float32)
        options = {f"{which}_compression_algorithm": algorithm for which in ("request", "response")}
        outputs = [client.InferRequestedOutput("y", binary_data=binary)]
        for wanted in (outputs, None):
            result = server.infer(
                "mlp", inputs(client, x, binary=binary), outputs=wanted, request_id="7", **options
            )
            assert result.get_response()["id"] == "7"
            np.testing.assert_allclose(result.as_numpy("y"), mlp_model.reference(x), atol=1e-5)
        statistics = server.get_inference_statistics("mlp")["model_stats"][0]
        assert statistics["inference_stats"]["success"]["count"] == 2
        assert server.get_model_repository_index() == [
            {"name": "mlp", "version": "1", "state": "READY"}
        ]
        server.unregister_system_shared_memory()
        server.unregister_cuda_shared_memory()
        wrong = client.InferInput("z", [3, 16], "FP32").set_data_from_numpy(x)
        with pytest.raises(InferenceServerException, match="unexpected inference input 'z'"):
            server.infer("mlp", [wrong])
        with pytest.raises(InferenceServerException, match="not allowed"):
            server.load_model("mlp")


def test_requests_of_many_clients_at_once(url: str, mlp_model: Model) -> None:
    client = tritonclient.http.aio

    async def main() -> None:
        async with client.InferenceServerClient(url, conn_limit=32) as server:
            arrays = [new_rng().standard_normal((n % 5 + 1, 16), np.float32) for n in range(100)]
            results = await asyncio.gather(
                *(server.infer("mlp", inputs(client, x, binary=True)) for x in arrays)
            )
            for x, result in zip(arrays, results, strict=True):
                np.testing.assert_allclose(result.as_numpy("y"), mlp_model.reference(x), atol=1e-5)

    asyncio.run(main())


def run(test: Callable[[httpx.AsyncClient], Awaitable[None]], app: Any, base: str = "") -> None:
    async def main() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://test{base}") as client:
            await test(client)

    asyncio.run(main())


class Mounted:
    """Calls an application as frameworks do that mount it below /serving."""

    def __init__(self, app: AsgiApp, *, raw: bool) -> None:
        self.app = app
        self.raw = raw

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope = {**scope, "root_path": "/serving"}
        if not self.raw:
            del scope["raw_path"]
        await self.app(scope, receive, send)


@pytest.mark.parametrize("raw", [True, False])
def test_mounted_below_a_path(engine: fasttrt.Engine, raw: bool) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v2/models/a%20b")).json()["name"] == "a b"
        assert (await client.get("/v2/models/a b/ready", params={"q": "1"})).status_code == 200
        assert (await client.get("/metrics")).text.count('model="a b"') > 9
        missing = await client.get("/v3")
        assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})

    run(test, Mounted(asgi({"a b": engine}), raw=raw), "/serving")


def test_large_bodies_are_refused(engine: fasttrt.Engine) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(300)

    async def test(client: httpx.AsyncClient) -> None:
        response = await client.post("/v2/models/mlp/infer", content=body())
        assert (response.status_code, "1000 bytes" in response.json()["error"]) == (413, True)

    run(test, asgi({"mlp": engine}, max_body_bytes=1000))


def test_a_run_that_waits_is_dropped_with_its_client(mlp_model: Model) -> None:
    with fasttrt.Engine(mlp_model.proto, device="cpu", contexts=1) as engine:
        gate = Gate(engine)
        first = engine.submit(new_rng().standard_normal((1, 16), np.float32))
        gate.await_arrivals(1)
        app = asgi({"mlp": engine})
        x = new_rng().standard_normal((1, 16), np.float32)
        sent: list[Any] = []

        async def main() -> None:
            messages = asyncio.Queue[Any]()
            await messages.put({"type": "http.request", "body": x.tobytes()})

            async def send(message: Any) -> None:
                sent.append(message)

            scope = {
                "type": "http", "method": "POST", "path": "/v2/models/mlp/infer",
                "headers": [(b"inference-header-content-length", b"0")],
            }  # fmt: skip
            serving = asyncio.ensure_future(app(scope, messages.get, send))
            while not engine.stats().queue_depth:
                await asyncio.sleep(0.01)
            await messages.put({"type": "http.disconnect"})
            await asyncio.wait_for(serving, PATIENCE)

        asyncio.run(main())
        assert engine.stats().queue_depth == 0
        gate.open()
        first.result(PATIENCE)
        assert (sent, gate.ended) == ([], 1)
        assert engine.stats().requests["cancelled"] == 1


def test_its_life(engine: fasttrt.Engine) -> None:
    app = asgi({"mlp": engine})

    async def main() -> list[Any]:
        messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "lifespan"}, receive, send)
        return sent

    assert [message["type"] for message in asyncio.run(main())] == [
        "lifespan.startup.complete", "lifespan.shutdown.complete",
    ]  # fmt: skip

    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.get("/v2/health/ready")).status_code == 400
        assert (await client.get("/v2/health/live")).status_code == 200

    run(test, app)
    assert engine.infer(np.ones((1, 16), np.float32)).shape == (1, 8)  # its owner closes it


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "a mapping from model names to engines, got []"),
        ("models/", "a mapping from model names to engines, got 'models/'"),
        ({"a": 1}, "a fasttrt.Engine for 'a', got 1"),
        *(({name: 2}, f"printable names without slashes, got {name!r}") for name in (1, "", "a/b")),
    ],
)
def test_what_is_not_served(models: Any, message: str) -> None:
    with pytest.raises(fasttrt.InputError, match=re.escape(f"models: expected {message}")):
        asgi(models)
