"""Infer requests on their way: read, run by the model's engine, answered, counted."""

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fasttrt._engine.engine import Engine
from fasttrt._serving.compression import accepted_encoding, compress, decompress
from fasttrt._serving.failures import failure_reason, failure_response
from fasttrt._serving.http import Request, Response, Subject
from fasttrt._serving.infer_request import read_infer
from fasttrt._serving.infer_response import write_infer
from fasttrt._serving.request_counters import RequestCounters
from fasttrt._serving.shared_memory import SharedMemory
from fasttrt.errors import CudaError

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel
    from fasttrt._serving.model_entry import Slot
    from fasttrt._serving.models import Models


class InferenceRun:
    """One infer request; it holds the model from when that is in memory until it is over."""

    def __init__(
        self,
        models: "Models",
        request: Request,
        name: str,
        version: str | None,
        counters: "Callable[[LoadedModel], RequestCounters]",
        max_body_bytes: int,
        shared_memory: SharedMemory,
    ) -> None:
        """Read and check the request.

        Raises:
            fasttrt.Error: it is wrong, or the model is not there.
        """
        self._models = models
        self._request = request
        self._name, self._version = name, version
        self._counters_of = counters
        self._max_body_bytes = max_body_bytes
        self._shared_memory = shared_memory
        self._begun = time.perf_counter_ns()
        self._held: Slot | None = None
        self._read(models.get(name, version))

    def submit(self, respond: Callable[[Response], None]) -> None:
        """Queue the run, without waiting for it; ``respond`` is called once, by any thread."""

        def begin(slot: "Slot | BaseException") -> None:
            try:
                engine = self._hold(slot)
                future = engine.submit(self._call.arrays, **self._call.options)
            except Exception as error:
                respond(self._failed(error))
            else:
                future.add_done_callback(lambda done: respond(self._finish(done)))

        try:
            self._models.request(self._name, self._version, begin, self._call.timeout)
        except Exception as error:
            respond(self._failed(error))

    async def run(self) -> Response:
        """Run in asyncio."""
        import asyncio

        try:
            engine = self._hold(await self._request_model())
            results = await engine.ainfer(self._call.arrays, **self._call.options)
        except asyncio.CancelledError as error:
            self._failed(CancelledError())
            raise error
        except Exception as error:
            return self._failed(error)
        return self._succeeded(results)

    async def _request_model(self) -> "Slot | BaseException":
        """Wait until the model is in memory; see `ModelTable.request`."""
        import asyncio

        loop = asyncio.get_running_loop()
        found: asyncio.Future[Slot | BaseException] = loop.create_future()

        def tell(slot: "Slot | BaseException") -> None:
            if found.done():  # the task was cancelled
                self._models.release(slot)
            else:
                found.set_result(slot)

        def proceed(slot: "Slot | BaseException") -> None:
            try:
                loop.call_soon_threadsafe(tell, slot)
            except RuntimeError:  # the loop was closed
                self._models.release(slot)

        self._models.request(self._name, self._version, proceed, self._call.timeout)
        try:
            return await found
        except asyncio.CancelledError:
            if not found.cancelled():
                self._models.release(found.result())
            raise

    def _read(self, model: "LoadedModel") -> None:
        """Read the request as one for this model."""
        headers = self._request.headers
        encoding = headers.get("content-encoding", "")
        self._model = model
        self._counters = self._counters_of(model)
        body = decompress(self._request.body, encoding, self._max_body_bytes)
        self._call = read_infer(model, headers, body, self._shared_memory)

    def _hold(self, slot: "Slot | BaseException") -> Engine:
        """Return the engine to run, which stays open until the request is over."""
        if isinstance(slot, BaseException):
            raise slot
        self._held = slot
        if slot.model is not self._model:  # it was loaded again meanwhile
            self._read(slot.model)
            if self._call.timeout is not None:
                passed = (time.perf_counter_ns() - self._begun) / 1e9
                self._call = replace(self._call, timeout=max(self._call.timeout - passed, 0.0))
        return slot.model.engine

    def _release(self) -> None:
        if self._held is not None:
            self._models.release(self._held)
            self._held = None

    def _finish(self, future: Future[dict[str, Any]]) -> Response:
        try:
            return self._succeeded(future.result())
        except Exception as error:
            return self._failed(error)

    def _succeeded(self, results: dict[str, Any]) -> Response:
        try:
            response = write_infer(self._model, self._call, results)
            encoding = accepted_encoding(self._request.headers.get("accept-encoding", ""))
            if encoding:
                headers = (*response.headers, ("Content-Encoding", encoding))
                response = Response(200, headers, compress(response.body, encoding))
        except Exception as error:
            return self._failed(error)
        self._counters.succeed(self._begun, self._call.rows)
        self._release()
        return self._about(response)

    def _failed(self, error: BaseException) -> Response:
        self._counters.fail(self._begun, failure_reason(error))
        self._release()
        if isinstance(error, CudaError):
            self._models.report_failure(self._model, error)
        return self._about(failure_response(error))

    def _about(self, response: Response) -> Response:
        subject = Subject(self._model.name, self._model.version, self._call.id)
        return replace(response, subject=subject)
