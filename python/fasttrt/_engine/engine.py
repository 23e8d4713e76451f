"""`Engine`: a model ready to run."""

import atexit
import os
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from fasttrt import _core
from fasttrt._builder.build import check_isolate
from fasttrt._common.checks import refuse
from fasttrt._common.dtypes import Cast, check_cast
from fasttrt._common.progress import ProgressCallback, check_progress
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._engine.backend_factory import RunOptions, open_backend
from fasttrt._engine.device_warmup import warm_up_devices
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import Dims, Freeze
from fasttrt._library.device import Device
from fasttrt._library.plugins import Plugins, as_files
from fasttrt._plan.build_config import BuildConfig, Precision, check_config
from fasttrt._plan.plan_file import Bytes, Plan
from fasttrt._plan.profiles import Shapes, check_shapes
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
from fasttrt._runtime.batching import Batching
from fasttrt._runtime.forked_backend import ForkedBackend
from fasttrt._runtime.ort_calls import end_calls
from fasttrt._runtime.workers import Workers, failed, ordered_map, settle, worker_count
from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx

    from fasttrt._accuracy.verification import Verify

_open_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


class Engine:
    """A model, built and loaded, that runs on GPUs through TensorRT or on the CPU for reference.

    Its methods may be called from several threads at once. Use it in a ``with`` block, or call
    `close`, to free the GPU's memory at a defined moment.

    Examples:
        >>> with fasttrt.Engine("m.onnx") as engine:
        ...     y = engine.infer(x)
        >>> y.shape
        (8, 10)

        <!-- needs: gpu -->
        >>> engine = fasttrt.Engine("m.onnx", precision="fp16", shapes={"x": "1x784:8x784:64x784"})
    """

    def __init__(
        self,
        model: "str | os.PathLike[str] | Bytes | onnx.ModelProto | Plan",
        *,
        device: Device = "auto",
        devices: Sequence[Device] | None = None,
        library: str | os.PathLike[str] = "auto",
        precision: Precision | None = None,
        shapes: Shapes | None = None,
        freeze: Freeze | None = None,
        dims: Dims | None = None,
        config: BuildConfig | None = None,
        contexts: int = 2,
        specialization: Literal["auto", "eager", "lazy", "none"] = "auto",
        cuda_graph: Literal["auto", True, False] = "auto",
        wait: Literal["auto", "spin", "yield", "block"] = "auto",
        batching: Batching | None = None,
        plugins: Plugins = (),
        weights: "str | os.PathLike[str] | bytes | onnx.ModelProto | None" = None,
        weight_streaming_budget: int | None = None,
        progress: ProgressCallback | bool | None = None,
        cache: bool | str | os.PathLike[str] = True,
        verify: "Verify" = False,
        isolate: bool | float = False,
        advise: bool = False,
    ) -> None:
        """Build and load an ONNX model, or load a plan.

        Args:
            model: an ONNX model (a path, bytes, a ModelProto) or a plan (a path, bytes, a `Plan`).
            device: ``"cuda"``, ``"cuda:N"``, N or a ``torch.device``: that GPU, or an error.
                ``"cuda:0,1"``: several GPUs; each run goes to the least busy one, and the model is
                built once per GPU model. ``"cpu"``: ONNX Runtime, for reference. ``"auto"``: the
                first GPU if TensorRT supports it, else the CPU, with a warning that says why.
            devices: a list of GPUs instead, as in ``[0, 1]`` or ``["cuda:0", "cuda:1"]``.
            library: the TensorRT to use, see `fasttrt.library`.
            precision: the precision to compute in, ``"fp32"``, ``"tf32"``, ``"fp16"`` or
                ``"bf16"``, see `BuildConfig`. Where TensorRT chooses the types (8.6), its inspector
                must confirm 16 bits after loading. A plan must have been built with the same
                precision. It has no effect on the CPU.
            shapes: the shapes of dynamic inputs, see `fasttrt.build`.
            freeze: inputs to make constant, see `fasttrt.build`; on the CPU too. Not for plans.
            dims: named dimensions to fix, see `fasttrt.build`; on the CPU too. Not for plans.
            config: options of the build; its ``engine_host_code`` applies to plans too.
            contexts: the maximum number of concurrent runs on a GPU; each needs its own memory.
            specialization: when TensorRT-RTX compiles kernels for the shapes of dynamic inputs.
                ``"eager"``: before the first run with these shapes, which delays it. ``"lazy"``: in
                the background, with slower kernels until then. ``"none"``: never; slower kernels
                serve all shapes. ``"auto"``: eager, except where the plan says that such kernels of
                its grouped convolutions may be wrong or read out of bounds, which is logged; eager
                and lazy then give a warning. Only plans that fasttrt built for TensorRT-RTX contain
                this information: use ``"none"`` for other plans with grouped convolutions.
                TensorRT compiles all kernels during the build.
            cuda_graph: ``"auto"``: the second run with the same shapes and addresses is captured as
                a CUDA graph and replayed from then on, which halves the time on the host; what
                cannot be captured (results whose size depends on the data, models with an If or a
                Loop) is enqueued each time, which is logged once. True: failure to capture raises
                an `Error`, as does the CPU. False: nothing is captured.
            wait: how a thread waits for the GPU. ``"spin"``: by polling, with the lowest latency,
                while keeping a core busy. ``"yield"``: by polling, but yielding the core to other
                threads. ``"block"``: by sleeping; waking up takes about 20 us. ``"auto"``: by
                polling for 2 ms, then sleeping. With ``"spin"`` and ``"auto"``, up to three threads
                help to copy large numpy arrays, and poll for 1 ms after each copy.
            batching: gather requests of several threads into one run. It has no effect on the CPU.
            plugins: TensorRT plugin libraries, see `fasttrt.build`. A plan that was built with
                plugins needs them again; none is loaded because a plan names it.
            weights: the ONNX model to take the weights from: for a plan that was built without them
                (``strip_weights``), or to replace its own, see `refit`.
            weight_streaming_budget: the maximum GPU memory for weights, in bytes; the others stay
                in host memory until they are needed, which costs time. Only for engines that were
                built with ``weight_streaming``.
            progress: how to report the build's progress, see `fasttrt.build`.
            cache: whether to reuse plans of earlier builds and store new ones, see `fasttrt.cache`.
                True: in ``$FASTTRT_CACHE_DIR``, or else the user's cache folder. A path: in that
                folder. With TensorRT-RTX, the kernels that it compiles when loading plans are
                cached too. A cached plan that does not load is rebuilt, unlike one that is passed.
            verify: after the build, compare the engine with ONNX Runtime on random inputs, as
                `fasttrt.compare` does. True: with tolerances that follow from the precision. A
                mapping or `Thresholds`: with these. The verdict is stored with the plan, see
                `verification`. Not allowed for ``device="cpu"``, which is ONNX Runtime itself, for
                plans, and with ``weights``; where ``"auto"`` falls back to the CPU, its warning
                says that verification is skipped.
            isolate: whether to build in a separate process, see `fasttrt.build`.
            advise: whether a build's error includes advice, see `fasttrt.build`.

        Raises:
            ParseError, BuildError, InputError: see `fasttrt.build`. Also BuildError if ``verify``
                finds wrong results; the message includes the table.
            EngineLoadError: a plan is damaged, does not run here, or has no weights.
            Error: TensorRT cannot load a plugin library, or the engine cannot take ``weights``.
            LibraryNotFoundError, UnsupportedLibraryError, CudaError: no TensorRT, or no GPU.
            OutOfMemoryError: the GPU has too little free memory.
        """
        options = RunOptions(
            contexts, specialization, cuda_graph, wait, batching,
            None if weights is None else OnnxModel(weights), weight_streaming_budget,
            as_files(plugins),
        )  # fmt: skip
        config = check_config(config).with_precision(precision)
        check_progress(progress)
        check_shapes(shapes)
        check_isolate(isolate)
        if not isinstance(advise, bool):
            refuse("advise", "True or False", advise)
        with warm_up_devices(device, devices):
            self._backend, ordinals = open_backend(
                model, device=device, devices=devices, library=library, shapes=shapes,
                freeze=freeze, dims=dims, config=config, options=options, progress=progress,
                cache=cache, verify=verify, isolate=isolate, advise=advise,
            )  # fmt: skip
        self._run: Callable[..., Sequence[Any]] = self._backend.run
        self._direct: set[type] = {np.ndarray}
        self._workers = Workers(worker_count(contexts, batching, ordinals))
        self.device = "cpu" if ordinals is None else f"cuda:{','.join(map(str, ordinals))}"
        self.inputs: tuple[TensorSpec, ...] = self._backend.inputs
        """The inputs, in order."""
        self.outputs: tuple[TensorSpec, ...] = self._backend.outputs
        """The outputs, in order."""
        _open_engines.add(self)

    @property
    def verification(self) -> dict[str, Any] | None:
        """The verdict of ``verify``, also for a plan that was verified when it was built.

        The content of `Comparison.to_json`, and the requested ``thresholds``. None if the engine
        was not verified, as on the CPU.
        """
        verdict = self._backend.metadata.get("verification")
        return None if verdict is None else dict(verdict)

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

    def refit(self, model: "str | os.PathLike[str] | bytes | onnx.ModelProto") -> None:
        """Replace the weights with those of another model, without rebuilding.

        It waits for current runs, and new runs wait for the new weights. The engine must have been
        built with ``BuildConfig(refit=True)``. Several GPUs are refitted one after the other. The
        model must be the one that the engine was built from, with different values of its weights:
        for plans of `fasttrt.build` that is checked node by node; for plans of other tools TensorRT
        only compares names and sizes of weights.

        Args:
            model: a path (external data is read from beside it), a file's bytes, or a ModelProto.

        Raises:
            InputError: the model's structure differs, weights are missing, or a value differs that
                the build has made part of the engine. The engine keeps its weights.
            UnsupportedLibraryError: TensorRT 8.6 and the lean runtime cannot refit.
            Error: the engine was not built to be refitted, runs on the CPU or is closed. If
                TensorRT fails midway, runs raise an `Error` until a refit succeeds.
        """
        self._backend.refit(OnnxModel(model))

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan (the first GPU's), for ``Engine(path)``; see `Plan.save`.

        Raises:
            InputError: the existing file is not a plan (``force`` replaces it anyway).
        """
        self._backend.save(path, force=force)

    def close(self) -> None:
        """Cancel the queued runs of `submit`, wait for current runs, and free all resources.

        Results stay valid. Closing again does nothing, nor does closing in a forked process, as
        the engine belongs to its parent.
        """
        self._workers.close(self._backend.flush_pending_batches)
        self._backend.close()

    def _leave_to_parent(self) -> None:
        """Make every call raise an `Error`, in a forked process."""
        self._backend = ForkedBackend(self._backend)
        self._run = self._backend.run
        self._workers = Workers(self._workers.max_threads)

    def __enter__(self) -> "Engine":
        """Return the engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the engine."""
        self.close()

    def __repr__(self) -> str:
        """Show device, inputs and outputs."""
        inputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.inputs)
        outputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.outputs)
        return f"<fasttrt.Engine on {self.device}: ({inputs}) -> ({outputs})>"


def backend_of(engine: Engine) -> Backend:
    """Return what runs an engine, for fasttrt's own tools: measurements, profiles, comparisons."""
    return engine._backend  # noqa: SLF001


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


def _leave_all_to_parent() -> None:
    for engine in list(_open_engines):
        engine._leave_to_parent()  # noqa: SLF001
    _open_engines.clear()


os.register_at_fork(after_in_child=_leave_all_to_parent)


@atexit.register
def _close_all() -> None:
    """Free the GPU while the driver and the interpreter are still running.

    Builds, loads and runs on daemon threads are stopped or waited for: they would crash in TensorRT
    or ONNX Runtime otherwise.
    """
    try:
        end_calls()
        _core.end_long_calls()
    finally:
        for engine in list(_open_engines):
            engine.close()
