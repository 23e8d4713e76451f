"""Infer requests on their way: read, run by the model's engine, answered, counted."""

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fasttrt._serving.compression import accepted_encoding, compress, decompress
from fasttrt._serving.failures import failure_reason, failure_response
from fasttrt._serving.http import Request, Response
from fasttrt._serving.infer_request import read_infer
from fasttrt._serving.infer_response import write_infer
from fasttrt._serving.request_counters import RequestCounters
from fasttrt._serving.shared_memory import SharedMemory
from fasttrt.errors import CudaError

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel
    from fasttrt._serving.models import Models


class InferenceRun:
    """One infer request, which its engine has not seen yet; it holds the model until it is over."""

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
        self._begun = time.perf_counter_ns()
        with ExitStack() as stack:
            self._model = stack.enter_context(models.use(name, version))
            self._counters = counters(self._model)
            headers = request.headers
            encoding = headers.get("content-encoding", "")
            body = decompress(request.body, encoding, max_body_bytes)
            self._call = read_infer(self._model, headers, body, shared_memory)
            self._held = stack.pop_all()

    def submit(self, respond: Callable[[Response], None]) -> None:
        """Queue the run, without waiting for it; ``respond`` is called once, by any thread."""
        try:
            future = self._model.engine.submit(self._call.arrays, **self._call.options)
        except Exception as error:
            respond(self._failed(error))
        else:
            future.add_done_callback(lambda done: respond(self._finish(done)))

    async def run(self) -> Response:
        """Run in asyncio."""
        import asyncio

        try:
            results = await self._model.engine.ainfer(self._call.arrays, **self._call.options)
        except asyncio.CancelledError as error:
            self._failed(CancelledError())
            raise error
        except Exception as error:
            return self._failed(error)
        return self._succeeded(results)

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
        self._held.close()
        return response

    def _failed(self, error: BaseException) -> Response:
        self._counters.fail(self._begun, failure_reason(error))
        self._held.close()
        if isinstance(error, CudaError):
            self._models.report_failure(self._model, error)
        return failure_response(error)
