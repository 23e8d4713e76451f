"""gRPC by grpcio, for machines without nghttp2; every message goes through Python."""

import asyncio
import threading
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from fasttrt._serving.grpc_exchange import (
    INFER,
    OK,
    STREAM_INFER,
    AnswerGrpc,
    GrpcAnswer,
    GrpcMessage,
)
from fasttrt._serving.server_options import ServerOptions
from fasttrt.errors import Error

_METADATA = ("authorization", "x-api-key", "triton_grpc_error")
_MOST_RUNNING = 64
"""Requests of one stream that are worked on at once."""


class GrpcioServer:
    """Listens on a port of gRPC, in a thread with an event loop of asyncio."""

    def __init__(self, options: ServerOptions, answer: AnswerGrpc) -> None:
        """Listen; clients wait until `start`.

        Args:
            options: the server's.
            answer: answers messages.

        Raises:
            Error: the port is not available.
        """
        self._options = options
        self._answer = answer
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fasttrt-grpcio", daemon=True)
        self._thread.start()
        try:
            self._server, self.port = self._wait(self._open())
        except BaseException:
            self._stop_loop()
            raise

    def start(self) -> None:
        """Begin to serve."""
        self._wait(self._server.start())

    def close(self, grace: float) -> None:
        """Accept nothing more, and end what is under way after ``grace`` seconds."""
        if self._loop.is_closed():
            return
        self._wait(self._server.stop(grace))
        self._stop_loop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> tuple[Any, int]:
        grpc: Any = import_module("grpc")  # untyped, and only there if installed
        options = self._options
        server = import_module("grpc.aio").server(
            options=[
                ("grpc.max_receive_message_length", options.max_message_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", options.max_header_bytes),
                ("grpc.so_reuseport", 0),
            ]
        )
        server.add_generic_rpc_handlers((_handlers(grpc, self),))
        host = f"[{options.host}]" if ":" in options.host else options.host
        try:
            port = server.add_insecure_port(f"{host}:{options.grpc_port}")
        except RuntimeError:
            port = 0
        if not port:
            raise Error(f"cannot listen at {options.host}:{options.grpc_port}")
        return server, port

    async def answer(self, message: GrpcMessage) -> GrpcAnswer:
        """Answer a message."""
        found: asyncio.Future[GrpcAnswer] = self._loop.create_future()

        def tell(answer: GrpcAnswer) -> None:
            if not found.done():  # else the call was cancelled
                found.set_result(answer)

        def respond(answer: GrpcAnswer) -> None:
            self._loop.call_soon_threadsafe(tell, answer)

        if message.path in (INFER, STREAM_INFER):
            self._answer(message, respond)
        else:  # which may take some time
            await asyncio.to_thread(self._answer, message, respond)
        return await found

    async def answer_stream(
        self, messages: AsyncIterator[bytes], headers: dict[str, str]
    ) -> AsyncIterator[GrpcAnswer]:
        """Answer a stream's messages as soon as each can be."""
        answers: asyncio.Queue[GrpcAnswer | None] = asyncio.Queue()
        running: set[asyncio.Task[None]] = set()
        room = asyncio.Semaphore(_MOST_RUNNING)

        async def run(body: bytes) -> None:
            try:
                answers.put_nowait(await self.answer(GrpcMessage(STREAM_INFER, headers, body)))
            finally:
                room.release()

        async def read() -> None:
            async for body in messages:
                await room.acquire()
                task = asyncio.ensure_future(run(body))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)
            answers.put_nowait(None)

        reader = asyncio.ensure_future(read())
        try:
            while (answer := await answers.get()) is not None:
                yield answer
        finally:
            for task in (reader, *running):
                task.cancel()


def _handlers(grpc: Any, server: GrpcioServer) -> Any:
    """Return what grpcio asks for the handler of each call: messages stay bytes."""
    codes = {code.value[0]: code for code in grpc.StatusCode}

    async def finish(answer: GrpcAnswer, context: Any) -> bytes:
        if answer.code != OK:
            await context.abort(codes[answer.code], answer.body.decode("utf-8", "replace"))
        return answer.body

    def headers_of(context: Any) -> dict[str, str]:
        return {key: value for key, value in context.invocation_metadata() if key in _METADATA}

    def unary(path: str) -> Any:
        async def call(body: bytes, context: Any) -> bytes:
            message = GrpcMessage(path, headers_of(context), body)
            return await finish(await server.answer(message), context)

        return grpc.unary_unary_rpc_method_handler(call)

    async def stream(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for answer in server.answer_stream(messages, headers_of(context)):
            yield await finish(answer, context)

    class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            if details.method == STREAM_INFER:
                return grpc.stream_stream_rpc_method_handler(stream)
            return unary(details.method)

    return Handlers()
