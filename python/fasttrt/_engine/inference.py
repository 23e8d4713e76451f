"""The calls that run an engine: `infer`, and `submit`, `ainfer` and `map`, which do not wait.

Their overloads say what results type checkers may expect, see `fasttrt._runtime.array_types`.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fasttrt import _core
from fasttrt._common.dtypes import Cast, check_cast
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._runtime.arguments import as_array, has_exchange, ordered, own_copy, targets
from fasttrt._runtime.array_types import (
    ArrayT,
    HostArray,
    Input,
    OutT,
    SupportsCudaArrayInterface,
)
from fasttrt._runtime.arrays import is_device_array
from fasttrt._runtime.backend import Backend
from fasttrt._runtime.workers import Workers, failed, ordered_map, settle
from fasttrt.errors import InputError


class Inference:
    """Calls of a backend, on the caller's thread or on an engine's own."""

    def __init__(self, backend: Backend, workers: Workers) -> None:
        """Take over a backend, and the threads to run it on."""
        self._backend = backend
        self._run: Callable[..., Sequence[Any]] = backend.run
        self._direct: set[type] = {np.ndarray}
        self._workers = workers
        self.inputs: tuple[TensorSpec, ...] = backend.inputs
        """The inputs, in order."""
        self.outputs: tuple[TensorSpec, ...] = backend.outputs
        """The outputs, in order."""

    # fmt: off
    @overload
    def infer(
        self, inputs: Mapping[str, HostArray], /, *,
        out: Mapping[str, HostArray | None] | None = ..., cast: Cast = ..., stream: Any = ...,
    ) -> dict[str, NDArray[Any]]: ...
    @overload
    def infer(
        self, inputs: Mapping[str, HostArray | ArrayT], /, *,
        out: Mapping[str, HostArray | ArrayT | None] | None = ...,
        cast: Cast = ..., stream: Any = ...,
    ) -> dict[str, ArrayT | Any]: ...
    @overload
    def infer(
        self, inputs: Mapping[str, SupportsCudaArrayInterface], /, *,
        out: Mapping[str, Any] | None = ..., cast: Cast = ..., stream: Any = ...,
    ) -> dict[str, Any]: ...
    @overload
    def infer(
        self, /, *inputs: Input, out: OutT, cast: Cast = ..., stream: Any = ...
    ) -> OutT: ...
    @overload
    def infer(
        self, /, *inputs: HostArray, out: Sequence[NDArray[Any] | None] | None = ...,
        cast: Cast = ..., stream: Any = ...,
    ) -> NDArray[Any] | Any: ...
    @overload
    def infer(
        self, /, *inputs: HostArray | ArrayT,
        out: Sequence[NDArray[Any] | ArrayT | None] | None = ...,
        cast: Cast = ..., stream: Any = ...,
    ) -> ArrayT | Any: ...
    @overload
    def infer(
        self, /, *inputs: SupportsCudaArrayInterface, out: Any = ..., cast: Cast = ...,
        stream: Any = ...,
    ) -> Any: ...
    # fmt: on
    def infer(
        self, /, *inputs: Any, out: Any = None, cast: Cast = False, stream: Any = None
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
            out: arrays for the results (an array, a sequence or a mapping) with the outputs' dtypes
                and actual shapes, C-contiguous, on the host or on the GPU.
            cast: True: convert inputs of another dtype where no value can change (for instance
                int32 to int64, float32 to float64 or float16 to float32). ``"lossy"``: convert any
                numbers, rounding to the nearest, as float64 to float32; values out of the input's
                range raise an `InputError`, as do fractions for integer inputs. Not for arrays on a
                GPU.
            stream: enqueue the run on this CUDA stream (PyTorch's, CuPy's, one with
                ``__cuda_stream__``, or the handle as an int) and return without waiting, if inputs
                and results are on the GPU. The arrays are kept alive until the run is complete.

        Returns:
            An array for a single output, else a tuple in order; for a mapping, a mapping. Type
            checkers know the inputs, not how many outputs there are: to them it is
            ``NDArray | Any`` (or ``Tensor | Any``), an array that may be taken for a tuple, too.

        Raises:
            InputError: an input is invalid; the message names it, what was expected (min, opt and
                max included) and what was passed. The engine remains usable.
            CudaError, OutOfMemoryError: the run failed.

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
        if cast is False and len(inputs) == len(self.inputs):
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
        results = self._run(arrays, given, stream)
        if self._backend.reads_dlpack:
            self._direct.update(filter(has_exchange, map(type, arrays)))
        return self._deliver(results, by_name)

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

    def _deliver(self, results: Sequence[Any], by_name: bool) -> Any:
        """Arrange a run's results as `infer` returns them."""
        if by_name:
            return {spec.name: r for spec, r in zip(self.outputs, results, strict=True)}
        return results[0] if len(results) == 1 else tuple(results)

    def _run_item(self, arrays: list[Any], by_name: bool, *inputs_read: "_core.InputsRead") -> Any:
        stream = (None,) * len(inputs_read)
        return self._deliver(self._run(arrays, None, *stream, *inputs_read), by_name)

    def _begin_item(self, inputs: tuple[Any, ...], cast: Cast) -> Future[Any]:
        """Start an item of `map`. The caller may change its arrays as soon as this returns."""
        if any(map(is_device_array, _arrays(inputs, None))):
            return self.submit(*inputs, cast=cast)
        try:
            arrays, by_name = self._arrange(inputs, cast)
        except Exception as error:
            return failed(error)
        if not self._backend.tells_inputs_read:
            arrays = [own_copy(array) for array in arrays]
            return self._workers.submit(self._run_item, arrays, by_name)
        inputs_read = _core.InputsRead()
        future = self._workers.submit(self._run_item, arrays, by_name, inputs_read)
        # Also where the run fails, or never begins.
        future.add_done_callback(lambda _: inputs_read.set())
        try:
            inputs_read.wait()
        except BaseException:  # Ctrl-C
            settle([future])
            raise
        return future

    # fmt: off
    @overload
    def submit(
        self, inputs: Mapping[str, HostArray], /, *,
        out: Mapping[str, HostArray | None] | None = ..., cast: Cast = ...,
    ) -> Future[dict[str, NDArray[Any]]]: ...
    @overload
    def submit(
        self, inputs: Mapping[str, HostArray | ArrayT], /, *,
        out: Mapping[str, HostArray | ArrayT | None] | None = ..., cast: Cast = ...,
    ) -> Future[dict[str, ArrayT | Any]]: ...
    @overload
    def submit(
        self, inputs: Mapping[str, SupportsCudaArrayInterface], /, *,
        out: Mapping[str, Any] | None = ..., cast: Cast = ...,
    ) -> Future[dict[str, Any]]: ...
    @overload
    def submit(
        self, /, *inputs: Input, out: OutT, cast: Cast = ...
    ) -> Future[OutT]: ...
    @overload
    def submit(
        self, /, *inputs: HostArray, out: Sequence[NDArray[Any] | None] | None = ...,
        cast: Cast = ...,
    ) -> Future[NDArray[Any] | Any]: ...
    @overload
    def submit(
        self, /, *inputs: HostArray | ArrayT,
        out: Sequence[NDArray[Any] | ArrayT | None] | None = ..., cast: Cast = ...,
    ) -> Future[ArrayT | Any]: ...
    @overload
    def submit(
        self, /, *inputs: SupportsCudaArrayInterface, out: Any = ..., cast: Cast = ...
    ) -> Future[Any]: ...
    # fmt: on
    def submit(self, /, *inputs: Any, out: Any = None, cast: Cast = False) -> Future[Any]:
        """Run the model on one of the engine's threads, without waiting.

        As many runs are executed concurrently as there are ``contexts`` (with ``batching``, enough
        to fill batches); further ones wait their turn. Nothing is copied here: arrays in host
        memory, page-locked ones and ``out`` included, must not be changed until the future is done,
        or the changes may affect the result. (`map` is less strict.) Runs on arrays on a GPU,
        ``out`` included, are enqueued on the caller's current stream before this returns, as by
        `infer`.

        Returns:
            A future of what `infer` returns or raises, `InputError` included.

        Raises:
            Error: the engine is closed.
        """
        if any(map(is_device_array, _arrays(inputs, out))):
            return self._workers.run(self.infer, *inputs, out=out, cast=cast)
        return self._workers.submit(self.infer, *inputs, out=out, cast=cast)

    # fmt: off
    @overload
    async def ainfer(
        self, inputs: Mapping[str, HostArray], /, *,
        out: Mapping[str, HostArray | None] | None = ..., cast: Cast = ...,
    ) -> dict[str, NDArray[Any]]: ...
    @overload
    async def ainfer(
        self, inputs: Mapping[str, HostArray | ArrayT], /, *,
        out: Mapping[str, HostArray | ArrayT | None] | None = ..., cast: Cast = ...,
    ) -> dict[str, ArrayT | Any]: ...
    @overload
    async def ainfer(
        self, inputs: Mapping[str, SupportsCudaArrayInterface], /, *,
        out: Mapping[str, Any] | None = ..., cast: Cast = ...,
    ) -> dict[str, Any]: ...
    @overload
    async def ainfer(
        self, /, *inputs: Input, out: OutT, cast: Cast = ...
    ) -> OutT: ...
    @overload
    async def ainfer(
        self, /, *inputs: HostArray, out: Sequence[NDArray[Any] | None] | None = ...,
        cast: Cast = ...,
    ) -> NDArray[Any] | Any: ...
    @overload
    async def ainfer(
        self, /, *inputs: HostArray | ArrayT,
        out: Sequence[NDArray[Any] | ArrayT | None] | None = ..., cast: Cast = ...,
    ) -> ArrayT | Any: ...
    @overload
    async def ainfer(
        self, /, *inputs: SupportsCudaArrayInterface, out: Any = ..., cast: Cast = ...
    ) -> Any: ...
    # fmt: on
    async def ainfer(self, /, *inputs: Any, out: Any = None, cast: Cast = False) -> Any:
        """Run the model in asyncio: ``y = await engine.ainfer(x)``. See `submit`.

        The arrays must not be changed until the run is complete. Cancelling prevents a run that has
        not started; a run that has started goes on to its end, reading its arrays and writing
        ``out``, and its result is dropped. `close` cancels runs that have not started, too.
        """
        from asyncio import wrap_future

        return await wrap_future(self.submit(*inputs, out=out, cast=cast))

    # fmt: off
    @overload
    def map(
        self, iterable: Iterable[Mapping[str, HostArray]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
    ) -> Generator[dict[str, NDArray[Any]], None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[Mapping[str, HostArray | ArrayT]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
    ) -> Generator[dict[str, ArrayT | Any], None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[HostArray | tuple[HostArray, ...]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
    ) -> Generator[NDArray[Any] | Any, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[HostArray | ArrayT | tuple[HostArray | ArrayT, ...]], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
    ) -> Generator[ArrayT | Any, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[Mapping[str, Input]], *,
        in_flight: int | None = ..., errors: Literal["raise", "return"],
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
    ) -> Generator[dict[str, Any] | Exception, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[Input | tuple[Input, ...] | Mapping[str, Input]], *,
        in_flight: int | None = ..., errors: Literal["raise", "return"],
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
    ) -> Generator[Any, None, None]: ...
    @overload
    def map(
        self, iterable: Iterable[SupportsCudaArrayInterface], *,
        in_flight: int | None = ..., errors: Literal["raise"] = ...,
        progress: Callable[[int], None] | bool = ..., cast: Cast = ...,
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
    ) -> Generator[Any, None, None]:
        """Run the model for each item and yield the results in order, while later items run.

        Args:
            iterable: the items; may be endless. Each item is what `infer` takes: an array, a tuple
                of arrays, or a mapping (whose result is a mapping). It is consumed on the thread
                that iterates over the results. Its arrays may be reused for the next item, as a
                camera does, and by the consumer of the results. On a GPU, the next item is only
                taken once the previous one's arrays have been copied there; on the CPU, and with
                ``batching``, they are copied on the host first. Arrays that are already on a GPU
                are read in the order of their library's current stream, so work enqueued there
                later may overwrite them.
            in_flight: how many items to read ahead of the results, at most. None: one more than
                can run concurrently, and at least 2. 1: one after the other.
            errors: ``"raise"``: an item's exception is raised in its turn and ends the iteration.
                ``"return"``: it is yielded in the item's place, and the iteration continues. Either
                way it has an attribute ``index``, the item's, and its message says ``"item 17"``.
            progress: True for a progress bar; a callback gets the number of completed items.
            cast: see `infer`.

        Returns:
            A generator. However it ends, even if it is closed early, running items are waited for,
            and the engine remains usable. An exception of the iterable is raised after the results
            of the items before it.

        Raises:
            InputError: an argument is out of range.

        Examples:
            >>> engine = fasttrt.Engine("m.onnx")
            >>> batches = (x[i : i + 2] for i in range(0, 8, 2))
            >>> [y.shape for y in engine.map(batches)]
            [(2, 10), (2, 10), (2, 10), (2, 10)]
        """
        check_cast(cast)
        return ordered_map(
            partial(self._begin_item, cast=cast), iterable, in_flight, errors, progress,
            self._workers.max_threads,
        )  # fmt: skip


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
