"""The calls that run an engine: `infer`, and `submit`, `ainfer` and `map`, which do not wait.

Their overloads say what results type checkers may expect, see `fasttrt._runtime.array_types`.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fasttrt._common.dtypes import Cast, check_cast
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._runtime.arguments import as_array, has_exchange, ordered, targets
from fasttrt._runtime.array_types import (
    ArrayT,
    HostArray,
    Input,
    OutT,
    SupportsCudaArrayInterface,
)
from fasttrt._runtime.arrays import is_device_array
from fasttrt._runtime.backend import Backend
from fasttrt._runtime.event_loops import completions_of
from fasttrt._runtime.ordered_map import failed, ordered_map
from fasttrt._runtime.request_future import RequestFuture
from fasttrt._runtime.request_options import (
    Priority,
    RequestOptions,
    parse_priority,
    parse_timeout,
)
from fasttrt._runtime.request_queue import RequestQueue
from fasttrt.errors import InputError, QueueFullError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fasttrt import _core


class Inference:
    """Calls of a backend, on the caller's thread or through its queue."""

    def __init__(self, backend: Backend, queue: RequestQueue, *, concurrent_runs: int) -> None:
        """Take over a backend, its queue, and how many requests keep it busy."""
        self._backend = backend
        self._queue = queue
        self._run: Callable[..., Sequence[Any]] = queue.run if queue.gathers else backend.run
        self._direct: set[type] = {np.ndarray}
        self._concurrent_runs = concurrent_runs
        self.inputs: tuple[TensorSpec, ...] = backend.inputs
        """The inputs, in order."""
        self.outputs: tuple[TensorSpec, ...] = backend.outputs
        """The outputs, in order."""

    # fmt: off
    @overload
    def infer(
        self, inputs: Mapping[str, HostArray], /, *,
        out: Mapping[str, HostArray | None] | None = ..., cast: Cast = ..., stream: Any = ...,
        **request: "Unpack[RequestOptions]",
    ) -> dict[str, NDArray[Any]]: ...
    @overload
    def infer(
        self, inputs: Mapping[str, HostArray | ArrayT], /, *,
        out: Mapping[str, HostArray | ArrayT | None] | None = ...,
        cast: Cast = ..., stream: Any = ...,
        **request: "Unpack[RequestOptions]",
    ) -> dict[str, ArrayT | Any]: ...
    @overload
    def infer(
        self, inputs: Mapping[str, SupportsCudaArrayInterface], /, *,
        out: Mapping[str, Any] | None = ..., cast: Cast = ..., stream: Any = ...,
        **request: "Unpack[RequestOptions]",
    ) -> dict[str, Any]: ...
    @overload
    def infer(
        self, /, *inputs: Input, out: OutT, cast: Cast = ..., stream: Any = ...,
        **request: "Unpack[RequestOptions]",
    ) -> OutT: ...
    @overload
    def infer(
        self, /, *inputs: HostArray, out: Sequence[NDArray[Any] | None] | None = ...,
        cast: Cast = ..., stream: Any = ...,
        **request: "Unpack[RequestOptions]",
    ) -> NDArray[Any] | Any: ...
    @overload
    def infer(
        self, /, *inputs: HostArray | ArrayT,
        out: Sequence[NDArray[Any] | ArrayT | None] | None = ...,
        cast: Cast = ..., stream: Any = ...,
        **request: "Unpack[RequestOptions]",
    ) -> ArrayT | Any: ...
    @overload
    def infer(
        self, /, *inputs: SupportsCudaArrayInterface, out: Any = ..., cast: Cast = ...,
        stream: Any = ..., **request: "Unpack[RequestOptions]",
    ) -> Any: ...
    # fmt: on
    def infer(
        self,
        /,
        *inputs: Any,
        out: Any = None,
        cast: Cast = False,
        stream: Any = None,
        timeout: float | None = None,
        priority: Priority = "normal",
    ) -> Any:
        """Run the model once.

        Inputs are numpy arrays, anything that ``numpy.asarray`` accepts without changing its dtype,
        or arrays on the engine's GPU: of PyTorch, CuPy, JAX, or anything with ``__dlpack__`` or
        ``__cuda_array_interface__``. They may have any strides; on a GPU, PyTorch's and CuPy's are
        made contiguous, and others must be contiguous. Each must have its input's dtype and shape.

        For inputs in host memory, the results are numpy arrays and complete on return. With an
        input on the GPU, the results are arrays on the GPU, of the same library (a `DeviceArray` if
        it is unknown), and nothing is copied. They are ordered on the library's current stream like
        its own operations, and the call returns without waiting; if a library has no current stream
        (JAX, a `DeviceArray`), or libraries with different current streams are mixed, the results
        are complete on return.

        Args:
            inputs: one array for each input, in order; or one mapping from names to arrays.
            out: arrays for the results (an array, a sequence, or for inputs by name a mapping) with
                the outputs' dtypes and actual shapes, C-contiguous, on the host or on the GPU, each
                in memory of its own.
            cast: True: convert inputs of another dtype where no value can change (for instance
                int32 to int64, float32 to float64 or float16 to float32). ``"lossy"``: convert any
                numbers, rounding to the nearest, as float64 to float32; values out of the input's
                range raise an `InputError`, as do fractions for integer inputs. Not for arrays on a
                GPU.
            stream: enqueue the run on this CUDA stream (PyTorch's, CuPy's, one with
                ``__cuda_stream__``, or the handle as an int) and return without waiting, if inputs
                and results are on the GPU. The arrays are kept alive until the run is complete.
            timeout: the seconds within which the run must be complete. One that has not started by
                then is not run.
            priority: ``"high"``: before all waiting requests of normal priority. With either of
                these two, the run is queued like one of `submit`, and other calls only precede it
                if they started earlier. Not for arrays on a GPU, nor with ``stream``, as such runs
                do not wait.

        Returns:
            An array for a single output, else a tuple in order; for a mapping, a mapping. Type
            checkers know the inputs, not how many outputs there are: to them it is
            ``NDArray | Any`` (or ``Tensor | Any``), an array that may be taken for a tuple, too.

        Raises:
            InputError: an input is invalid; the message names it, what was expected (min, opt and
                max included) and what was passed. The engine remains usable.
            CudaError, OutOfMemoryError: the run failed.
            DeadlineError: the run was not complete within ``timeout``.
            QueueFullError: with ``batching``, ``timeout`` or ``priority``: as many requests wait as
                ``max_queue`` allows.

        Examples:
            >>> engine = fasttrt.Engine("m.onnx")
            >>> engine.infer(x).shape
            (8, 10)
            >>> sorted(engine.infer({"x": x}))
            ['logits']
            >>> engine.infer(x.astype(np.float64), cast="lossy").dtype
            dtype('float32')

            <!-- needs: gpu torch -->
            >>> import torch
            >>> engine.infer(torch.from_numpy(x).cuda()).is_cuda
            True
        """
        # A plain call may happen tens of thousands of times a second: arrays of types that the
        # backend reads itself are passed straight to it.
        is_plain = timeout is None and priority == "normal"
        if is_plain and cast is False and len(inputs) == len(self.inputs):
            direct = self._direct
            for array in inputs:
                if type(array) not in direct:
                    break
            else:
                if out is None:
                    results = self._run(inputs, None, stream)
                    return results[0] if len(results) == 1 else tuple(results)
                if type(out) in direct and len(self.outputs) == 1:
                    return self._run(inputs, (out,), stream)[0]
        arrays, by_name = self._arrange(inputs, cast)
        given = None if out is None else targets(self.outputs, out, by_name)
        if is_plain:
            results = self._run(arrays, given, stream)
            if self._backend.reads_dlpack:
                self._direct.update(filter(has_exchange, map(type, arrays)))
        else:
            limit, level = parse_timeout(timeout), parse_priority(priority)
            if stream is not None or _on_gpu(tuple(arrays), given):
                raise _cannot_queue()
            results = self._queue.infer(arrays, given, limit, level)
        return self._queue.deliver(results, by_name)

    def _arrange(self, inputs: tuple[Any, ...], cast: Cast) -> tuple[list[Any], bool]:
        """Return a call's arrays in the inputs' order, and whether they were passed by name."""
        check_cast(cast)
        by_name = len(inputs) == 1 and isinstance(inputs[0], Mapping)
        arrays: Sequence[Any] = ordered(self.inputs, inputs[0]) if by_name else inputs
        if len(arrays) != len(self.inputs):
            raise InputError(self._wrong_count(arrays))
        return [as_array(s, a, cast) for s, a in zip(self.inputs, arrays, strict=True)], by_name

    def _wrong_count(self, arrays: Sequence[Any]) -> str:
        names = [spec.name for spec in self.inputs]
        problem = f"expected {len(names)} inputs ({', '.join(names)}), got {len(arrays)}"
        if len(arrays) == 1 and isinstance(arrays[0], (list, tuple)):
            given = ", ".join(f'"{name}": ...' for name in names)
            problem += (
                f", a {type(arrays[0]).__name__}; pass each array as a separate argument, as in "
                f"infer(*arrays), or all by name, as in infer({{{given}}})"
            )
        return problem

    def _begin(
        self,
        inputs: tuple[Any, ...],
        out: Any,
        cast: Cast,
        timeout: float | None,
        priority: Priority,
        stage: bool = False,
        channel: "_core.CompletionChannel | None" = None,
        token: Any = None,
    ) -> "tuple[_core.Request, Sequence[Any] | None, bool]":
        """Queue a request of arrays in host memory; see `RequestQueue.submit`.

        Returns the request, and the other two arguments of `RequestQueue.results`.
        """
        limit = None if timeout is None else parse_timeout(timeout)
        level = 0 if priority == "normal" else parse_priority(priority)
        if out is None and cast is False and _are_numpy(inputs) and len(inputs) == len(self.inputs):
            arrays: Sequence[Any] = inputs
            given, by_name = None, False
        else:
            arrays, by_name = self._arrange(inputs, cast)
            given = None if out is None else targets(self.outputs, out, by_name)
        request = self._queue.submit(arrays, given, limit, level, stage, channel, token)
        return request, given, by_name

    def _future(
        self,
        inputs: tuple[Any, ...],
        out: Any,
        cast: Cast,
        timeout: float | None,
        priority: Priority,
        stage: bool = False,
    ) -> Future[Any]:
        """Run once, and return a future; with ``stage`` arrays may be changed at once."""
        if _on_gpu(inputs, out):
            if timeout is not None or priority != "normal":
                return failed(_cannot_queue())
            return self._queue.run_at_once(self.infer, *inputs, out=out, cast=cast)
        try:
            request, given, by_name = self._begin(inputs, out, cast, timeout, priority, stage)
        except QueueFullError:
            raise
        except Exception as error:
            if self._queue.closed:
                raise
            return failed(error)
        return RequestFuture(request, self._queue, by_name, given)

    # fmt: off
    @overload
    def submit(
        self, inputs: Mapping[str, HostArray], /, *,
        out: Mapping[str, HostArray | None] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Future[dict[str, NDArray[Any]]]: ...
    @overload
    def submit(
        self, inputs: Mapping[str, HostArray | ArrayT], /, *,
        out: Mapping[str, HostArray | ArrayT | None] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Future[dict[str, ArrayT | Any]]: ...
    @overload
    def submit(
        self, inputs: Mapping[str, SupportsCudaArrayInterface], /, *,
        out: Mapping[str, Any] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Future[dict[str, Any]]: ...
    @overload
    def submit(
        self, /, *inputs: Input, out: OutT, cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Future[OutT]: ...
    @overload
    def submit(
        self, /, *inputs: HostArray, out: Sequence[NDArray[Any] | None] | None = ...,
        cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Future[NDArray[Any] | Any]: ...
    @overload
    def submit(
        self, /, *inputs: HostArray | ArrayT,
        out: Sequence[NDArray[Any] | ArrayT | None] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Future[ArrayT | Any]: ...
    @overload
    def submit(
        self, /, *inputs: SupportsCudaArrayInterface, out: Any = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Future[Any]: ...
    # fmt: on
    def submit(
        self,
        /,
        *inputs: Any,
        out: Any = None,
        cast: Cast = False,
        timeout: float | None = None,
        priority: Priority = "normal",
    ) -> Future[Any]:
        """Queue a run of the model, without waiting for it.

        As many runs (or batches, with ``batching``) are executed concurrently as there are
        ``contexts``; further requests wait their turn. Arrays in host memory, page-locked ones and
        ``out`` included, must not be changed until the future is done, or the changes may affect
        the result. (`map` is less strict.) Runs on arrays on a GPU, ``out`` included, are enqueued
        on the caller's current stream before this returns, as by `infer`.

        Args:
            inputs: see `infer`, as for ``out`` and ``cast``.
            out: see `infer`.
            cast: see `infer`.
            timeout: the seconds from now within which the run must be complete; the future's
                exception is a `DeadlineError` otherwise. A run that has not started by then is
                dropped; one that has is not interrupted. Not for arrays on a GPU.
            priority: ``"high"``: before all waiting requests of normal priority. Not for arrays on
                a GPU, whose runs do not wait.

        Returns:
            A future of what `infer` returns or raises, `InputError` included. Its callbacks are
            called by one thread of the engine, one after the other.

        Raises:
            QueueFullError: as many requests wait as ``max_queue`` allows.
            Error: the engine is closed.

        Examples:
            >>> engine = fasttrt.Engine("m.onnx", max_queue=100)
            >>> futures = [engine.submit(x, timeout=10) for _ in range(8)]
            >>> [future.result().shape for future in futures][0]
            (8, 10)
        """
        return self._future(inputs, out, cast, timeout, priority)

    # fmt: off
    @overload
    async def ainfer(
        self, inputs: Mapping[str, HostArray], /, *,
        out: Mapping[str, HostArray | None] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> dict[str, NDArray[Any]]: ...
    @overload
    async def ainfer(
        self, inputs: Mapping[str, HostArray | ArrayT], /, *,
        out: Mapping[str, HostArray | ArrayT | None] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> dict[str, ArrayT | Any]: ...
    @overload
    async def ainfer(
        self, inputs: Mapping[str, SupportsCudaArrayInterface], /, *,
        out: Mapping[str, Any] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> dict[str, Any]: ...
    @overload
    async def ainfer(
        self, /, *inputs: Input, out: OutT, cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> OutT: ...
    @overload
    async def ainfer(
        self, /, *inputs: HostArray, out: Sequence[NDArray[Any] | None] | None = ...,
        cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> NDArray[Any] | Any: ...
    @overload
    async def ainfer(
        self, /, *inputs: HostArray | ArrayT,
        out: Sequence[NDArray[Any] | ArrayT | None] | None = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> ArrayT | Any: ...
    @overload
    async def ainfer(
        self, /, *inputs: SupportsCudaArrayInterface, out: Any = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Any: ...
    # fmt: on
    async def ainfer(
        self,
        /,
        *inputs: Any,
        out: Any = None,
        cast: Cast = False,
        timeout: float | None = None,
        priority: Priority = "normal",
    ) -> Any:
        """Run the model in asyncio: ``y = await engine.ainfer(x)``. See `submit`.

        The arrays must not be changed until the run is complete. Cancelling prevents a run that has
        not started; a run that has started goes on to its end, reading its arrays and writing
        ``out``, and its result is dropped. `close` cancels runs that have not started, too.

        Raises:
            QueueFullError: as many requests wait as ``max_queue`` allows.
            DeadlineError: the run was not complete within ``timeout``.

        Examples:
            >>> import asyncio
            >>> engine = fasttrt.Engine("m.onnx")
            >>> async def both():
            ...     return await asyncio.gather(engine.ainfer(x), engine.ainfer(x[:2]))
            >>> [y.shape for y in asyncio.run(both())]
            [(8, 10), (2, 10)]
        """
        import asyncio  # here, as few programs need it; a look-up from the second call on

        loop = asyncio.get_running_loop()
        completions = completions_of(loop)
        if completions is None or _on_gpu(inputs, out):
            return await asyncio.wrap_future(self._future(inputs, out, cast, timeout, priority))
        done = loop.create_future()
        request, given, by_name = self._begin(
            inputs, out, cast, timeout, priority, False, completions.channel, done
        )
        completions.expect(done, polls=self._queue.polls)
        try:
            await done
        except asyncio.CancelledError:
            request.cancel()
            raise
        if request.cancelled:  # by close()
            raise asyncio.CancelledError
        return self._queue.results(request, given, by_name)

    # fmt: off
    @overload
    def map(
        self, iterable: Iterable[Mapping[str, HostArray]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Generator[dict[str, NDArray[Any]], None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[Mapping[str, HostArray | ArrayT]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Generator[dict[str, ArrayT | Any], None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[HostArray | tuple[HostArray, ...]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Generator[NDArray[Any] | Any, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[HostArray | ArrayT | tuple[HostArray | ArrayT, ...]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Generator[ArrayT | Any, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[Mapping[str, Input]], *,
        in_flight: int | None = ..., errors: Literal["raise", "return"],
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Generator[dict[str, Any] | Exception, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[Input | tuple[Input, ...] | Mapping[str, Input]], *,
        in_flight: int | None = ..., errors: Literal["raise", "return"],
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Generator[Any, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[SupportsCudaArrayInterface], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
        **request: "Unpack[RequestOptions]",
    ) -> Generator[Any, None, None]: ...
    # fmt: on
    def map(
        self,
        iterable: Iterable[Any],
        *,
        in_flight: int | None = None,
        errors: Literal["raise", "return"] = "raise",
        progress: Callable[[int], None] | bool = False,
        cast: Cast = False,
        timeout: float | None = None,
        priority: Priority = "normal",
    ) -> Generator[Any, None, None]:
        """Run the model for each item and yield the results in order, while later items run.

        Args:
            iterable: the items; may be endless. Each item is what `infer` takes: an array, a tuple
                of arrays, or a mapping (whose result is a mapping). It is consumed on the thread
                that iterates over the results. Its arrays may be reused for the next item, as a
                camera does, and by the consumer of the results: they are copied when it is taken.
                Arrays that are already on a GPU are read in the order of their library's current
                stream, so work enqueued there later may overwrite them.
            in_flight: how many items to read ahead of the results, at most. None: one more than
                can run concurrently, and at least 2. 1: one after the other.
            errors: ``"raise"``: an item's exception is raised in its turn and ends the iteration.
                ``"return"``: it is yielded in the item's place, and the iteration continues. Either
                way it has an attribute ``index``, the item's, and its message says ``"item 17"``.
            progress: True for a progress bar; a callback gets the number of completed items.
            cast: see `infer`.
            timeout: the seconds that an item may take from the moment it is taken, see `submit`.
            priority: see `submit`.

        Returns:
            A generator. However it ends, even if it is closed early, running items are waited for,
            and the engine remains usable. An exception of the iterable is raised after the results
            of the items before it.

        Raises:
            InputError: an argument is out of range, or ``iterable`` is none.

        Examples:
            >>> engine = fasttrt.Engine("m.onnx")
            >>> batches = (x[i : i + 2] for i in range(0, 8, 2))
            >>> [y.shape for y in engine.map(batches)]
            [(2, 10), (2, 10), (2, 10), (2, 10)]
        """
        check_cast(cast)
        parse_timeout(timeout)
        parse_priority(priority)

        def begin(inputs: tuple[Any, ...]) -> Future[Any]:
            return self._future(inputs, None, cast, timeout, priority, stage=True)

        return ordered_map(begin, iterable, in_flight, errors, progress, self._concurrent_runs)


def _are_numpy(values: tuple[Any, ...]) -> bool:
    """Whether all values are plain numpy arrays, which a queue takes as they are."""
    for value in values:  # noqa: SIM110 -- all() takes several times as long
        if type(value) is not np.ndarray:
            return False
    return True


def _on_gpu(inputs: tuple[Any, ...], out: Any) -> bool:
    """Whether any array of a call is in a GPU's memory."""
    if out is None and _are_numpy(inputs):
        return False
    return any(map(is_device_array, _arrays(inputs, out)))


def _cannot_queue() -> InputError:
    return InputError(
        "timeout, priority: expected none for arrays on a GPU or a stream, whose runs do not wait"
    )


def _arrays(inputs: tuple[Any, ...], out: Any) -> Generator[Any, None, None]:
    """Yield every array of a call."""
    for value in inputs:
        if isinstance(value, Mapping):
            yield from value.values()
        else:
            yield value
    if isinstance(out, Mapping):
        yield from out.values()
    elif isinstance(out, (list, tuple)):
        yield from out
    else:
        yield out
