"""`Engine`: a model ready to run."""

import atexit
import os
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from fasttrt import _core
from fasttrt._builder.build import check_isolate
from fasttrt._common.checks import refuse
from fasttrt._common.dtypes import Cast, check_cast
from fasttrt._common.progress import ProgressCallback, check_progress
from fasttrt._common.tensor_spec import TensorSpec
from fasttrt._engine.backend_factory import RunOptions, open_backend
from fasttrt._engine.device_warmup import devices_starting
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
from fasttrt._runtime.batching import Batching
from fasttrt._runtime.forked_backend import InheritedBackend
from fasttrt._runtime.ort_calls import end_calls
from fasttrt._runtime.workers import Workers, failed, mapped, settle, worker_count
from fasttrt.errors import InputError

if TYPE_CHECKING:
    import onnx

    from fasttrt._accuracy.verification import Verify

Array: TypeAlias = np.ndarray[Any, Any]
_open_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()


class Engine:
    """A model, built and loaded, that runs on GPUs through TensorRT or on the CPU for reference.

    Its methods may be called from any number of threads at once. Use it in a ``with`` block, or
    call `close`, to free the GPU's memory at a moment of your choice.
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
        """Build (an ONNX model) or load (a plan).

        Args:
            model: an ONNX model (a path, bytes, a ModelProto) or a plan (a path, bytes, a `Plan`).
            device: ``"cuda"``, ``"cuda:N"``, N or a ``torch.device``: that GPU, or an error.
                ``"cuda:0,1"``: each of these; a run goes to the one with the fewest under way, and
                the model is built once for each kind of GPU. ``"cpu"``: ONNX Runtime, for
                reference. ``"auto"``: the first GPU if TensorRT can run there, else the CPU, with a
                warning that says why.
            devices: the GPUs instead, as in ``[0, 1]`` or ``["cuda:0", "cuda:1"]``.
            library: which TensorRT, see `fasttrt.library`.
            precision: ``"fp32"``, ``"tf32"``, ``"fp16"`` or ``"bf16"``: what to compute in, see
                `BuildConfig.precision`. Where TensorRT chooses types (8.6), its inspector must
                confirm 16 bits after the load. A plan must have been built with the same. On the
                CPU it does not count.
            shapes: extents of dynamic inputs, see `fasttrt.build`.
            freeze: inputs made constant, see `fasttrt.build`; on the CPU too. Not of a plan.
            dims: named dimensions fixed, see `fasttrt.build`; on the CPU too. Not of a plan.
            config: options of the build; its ``engine_host_code`` counts for plans too.
            contexts: how many runs may be under way at once on a GPU; each takes memory of its own.
            specialization: when TensorRT-RTX compiles the kernels for a dynamic input's extents.
                ``"eager"``: before the first run with them, which takes that much longer.
                ``"lazy"``: in the background, with slower kernels meanwhile. ``"none"``: never; the
                slower kernels serve all extents. ``"auto"``: eager, but none where the plan says
                that such kernels of its grouped convolutions may be wrong, or read beyond their
                memory, which the log says; with eager and lazy it warns of that. Only plans that
                fasttrt built for TensorRT-RTX say so: give ``"none"`` for others with grouped
                convolutions. TensorRT has all kernels from the build.
            cuda_graph: ``"auto"``: a run whose shapes and addresses come for the second time is
                recorded as a CUDA graph and replayed from then on, which takes the host half the
                time; what cannot be recorded (results whose size depends on the data, a model with
                an If or a Loop) is queued each time, which the log says once. True: that is an
                `Error`, and so is the CPU. False: nothing is recorded.
            wait: how a thread waits for the GPU. ``"spin"``: it asks again and again, the quickest,
                and keeps a core busy. ``"yield"``: the same, but other threads get the core in
                between. ``"block"``: asleep; waking up takes some 20 us. ``"auto"``: it spins for
                2 ms, then sleeps. With ``"spin"`` and ``"auto"`` up to three threads help to copy
                large numpy arrays, and spin for 1 ms after each.
            batching: gather requests of several threads into one run. Nothing is gathered on the
                CPU.
            plugins: libraries of TensorRT plugins, see `fasttrt.build`. A plan that was built with
                some needs them again; none is loaded because a plan names it.
            weights: the ONNX model whose weights the engine shall have: for a plan that was built
                without (``strip_weights``), or in place of its own, see `refit`.
            weight_streaming_budget: bytes of the GPU's memory that the weights may take at most;
                the rest stays in host memory until it is needed, which costs time. Only for what
                was built with ``weight_streaming``.
            progress: of the build, see `fasttrt.build`.
            cache: whether to keep what is built for the next time, and take it from there: see
                `fasttrt.cache`. True: in ``$FASTTRT_CACHE_DIR``, else in the user's cache folder. A
                path: in that folder. For plans too, whose kernels TensorRT-RTX compiles when they
                are loaded. A plan from the cache that does not load is built anew; one that was
                given never is.
            verify: after the build, hold the engine's answers to random inputs against ONNX
                Runtime's, as `fasttrt.compare` does. True: within limits that follow from its
                precision. A mapping or `Thresholds`: within these. The verdict stays with the plan:
                see `verification`. Refused for ``device="cpu"``, which is ONNX Runtime itself, for
                a plan, and with ``weights``; where ``"auto"`` falls back to the CPU, its warning
                says that nothing was compared.
            isolate: whether a build runs in a process of its own, see `fasttrt.build`.
            advise: whether an error of the build says what would help, see `fasttrt.build`.

        Raises:
            ParseError, BuildError, InputError: see `fasttrt.build`. BuildError also where
                ``verify`` finds wrong answers; it quotes the table.
            EngineLoadError: a plan is damaged, does not run here, or has no weights.
            Error: TensorRT cannot load a plugin library, or the engine cannot be given ``weights``.
            LibraryNotFoundError, UnsupportedLibraryError, CudaError: no TensorRT, or no GPU.
            OutOfMemoryError: the GPU has no room for it.
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
        with devices_starting(device, devices):
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
        """What the engine takes, in order."""
        self.outputs: tuple[TensorSpec, ...] = self._backend.outputs
        """What it gives, in order."""
        _open_engines.add(self)

    @property
    def verification(self) -> dict[str, Any] | None:
        """The verdict of ``verify``, also of a plan that was verified when it was built.

        What `Comparison.to_json` gives, and ``thresholds``, those that were asked for. None if
        there is none, as on the CPU.
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

        Arrays are numpy arrays, or what ``numpy.asarray`` takes without changing its type, or
        arrays on the engine's GPU: of PyTorch, CuPy, JAX, or anything with ``__dlpack__`` or
        ``__cuda_array_interface__``. They may have any strides; those of arrays on a GPU are made
        contiguous by PyTorch or CuPy, and refused of others. Each must have its input's dtype, rank
        and extents.

        Inputs in host memory give numpy arrays that are complete on return. With an input on the
        GPU the results are arrays there, of the same library (a `DeviceArray` where it is unknown),
        and nothing is copied. They are in the order of the library's current stream, as its own
        operations are, and this returns without waiting; where a library has no current stream
        (JAX, a `DeviceArray`), or arrays of libraries with different ones are mixed, they are
        complete on return.

        Args:
            inputs: one array for each input, in order; or one mapping from names to arrays.
            out: where to put the results: an array (a sequence, a mapping) of the outputs' dtypes
                and true shapes, C-contiguous, on the host or on the GPU.
            cast: True: convert inputs of another dtype where no value can change (for instance
                int32 to int64, float32 to float64 or float16 to float32). ``"lossy"``: numbers of
                any type, rounded to the nearest, as float64 to float32; values that the input's
                type does not reach are refused, and so are fractions for integers. Not of arrays
                on a GPU.
            stream: queue the run on this CUDA stream (PyTorch's, CuPy's, one with
                ``__cuda_stream__``, or the handle as an int) and return without waiting, if
                inputs and results are on the GPU. The arrays are held until it is done.

        Returns:
            An array for a single output, else a tuple in order; for a mapping, a mapping. Type
            checkers know the inputs, not how many outputs there are: to them it is
            ``NDArray | Any`` (or ``Tensor | Any``), an array that may be taken for a tuple, too.

        Raises:
            InputError: names the input, what was expected (min, opt and max included) and what
                came. The engine stays usable.
            CudaError, OutOfMemoryError: the run failed.
        """
        # The plain call comes tens of thousands of times a second: arrays of types that the backend
        # reads itself go straight to it.
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
        arrays, by_name = self._arranged(inputs, cast)
        given = None if out is None else targets(self.outputs, out, by_name)
        results = self._run(arrays, given, stream)
        if self._backend.reads_dlpack:
            self._direct.update(filter(has_exchange, map(type, arrays)))
        return self._delivered(results, by_name)

    def _arranged(self, inputs: tuple[Any, ...], cast: Cast) -> tuple[list[Any], bool]:
        """The arrays of a call in the inputs' order, and whether they came by name."""
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
                f", a {type(arrays[0]).__name__}; give each array as an argument of its own, as in "
                f"infer(*arrays), or all by name, as in infer({{{given}}})"
            )
        return problem

    def _delivered(self, results: Sequence[Any], by_name: bool) -> Any:
        """The results of a run as `infer` gives them."""
        if by_name:
            return {spec.name: r for spec, r in zip(self.outputs, results, strict=True)}
        return results[0] if len(results) == 1 else tuple(results)

    def _run_item(self, arrays: list[Any], by_name: bool, *inputs_read: "_core.InputsRead") -> Any:
        stream = (None,) * len(inputs_read)
        return self._delivered(self._run(arrays, None, *stream, *inputs_read), by_name)

    def _begin_item(self, inputs: tuple[Any, ...], cast: Cast) -> Future[Any]:
        """Begin an item of `map`. The caller may change its arrays as soon as this returns."""
        if any(map(is_device_array, _arrays(inputs, None))):
            return self.submit(*inputs, cast=cast)
        try:
            arrays, by_name = self._arranged(inputs, cast)
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
        """Run the model on one of the engine's threads, and do not wait.

        As many runs are under way as there are ``contexts`` (enough to fill batches, with
        ``batching``); what comes on top waits its turn. Nothing is copied here: arrays in host
        memory, page-locked ones and ``out`` too, must stay as they are until the future is done,
        and changes before that may be in the result. (`map` has a weaker rule.) Arrays on a GPU,
        ``out`` among them, are for the caller's current stream: their run is queued there before
        this returns, as by `infer`.

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
        """Run the model for asyncio: ``y = await engine.ainfer(x)``. See `submit`.

        The arrays must stay as they are until it is done, or its future is, if it was cancelled:
        cancelling takes the run back if it has not begun; else it goes on to its end, reading
        its arrays and writing ``out``, and the result is dropped. Runs that `close` takes back are
        cancelled too.
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
        """Run the model for each item and give the results in order, while later ones run.

        Args:
            iterable: of any length, endless too. Each item is what `infer` takes: an array, a tuple
                of arrays, or a mapping (which gives a mapping). It is read on the thread that
                iterates over the results. An item counts as it is when it is taken: its arrays
                may be filled anew for the next one, as a camera does, and by whoever reads the
                results. On a GPU this costs nothing but that the next item is taken when the
                last one's arrays have been copied there; on the CPU, and with ``batching``, they
                are copied first. Arrays that are on a GPU already are read in the order of their
                library's current stream, so work queued there later may overwrite them.
            in_flight: how many items are read ahead of the results given, at most. None: one more
                than there can be runs under way, and at least 2. 1: one after the other.
            errors: ``"raise"``: the exception of an item is raised when its turn comes, and ends
                the iteration. ``"return"``: it is given in the item's place, and the rest goes on.
                Either has an attribute ``index``, the item's, and says ``"item 17"``.
            progress: True for a bar; a callback gets the count of items done.
            cast: see `infer`.

        Returns:
            A generator. However it ends, closed early included, what has begun is waited for, and
            the engine stays usable. An exception of the iterable comes after the results of the
            items before it.

        Raises:
            InputError: for an argument out of range.
        """
        check_cast(cast)
        return mapped(
            partial(self._begin_item, cast=cast), iterable, in_flight, errors, progress,
            self._workers.most,
        )  # fmt: skip

    def refit(self, model: "str | os.PathLike[str] | bytes | onnx.ModelProto") -> None:
        """Replace the weights by those of another model, without building anew.

        Waits for the runs under way; others wait until the new weights are there. Needs
        ``BuildConfig(refit=True)`` when the engine was built. On several GPUs one is refitted after
        the other. The model has to be the one that the engine was built from, with other values of
        its weights: where the plan tells (plans of `fasttrt.build` do), that is checked node by
        node; for plans of other tools TensorRT compares names and sizes of weights only.

        Args:
            model: a path (external data is found beside it), the bytes of a file, or a ModelProto.

        Raises:
            InputError: the model's structure differs, weights are missing, or a value has changed
                that the build has made part of the engine. The engine keeps its weights.
            UnsupportedLibraryError: TensorRT 8.6 and the lean runtime cannot refit.
            Error: the engine was not built to be refitted, runs on the CPU or is closed. If
                TensorRT fails midway, runs are refused until a refit succeeds.
        """
        self._backend.refit(OnnxModel(model))

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan (the first GPU's), for ``Engine(path)``; see `Plan.save`.

        Raises:
            InputError: the file that is there is no plan (``force`` replaces it all the same).
        """
        self._backend.save(path, force=force)

    def close(self) -> None:
        """Cancel what `submit` has queued, wait for runs under way, and free everything.

        Results stay valid. Closing twice does nothing, and neither does closing in a forked
        process: the engine is its parent's.
        """
        self._workers.close(self._backend.hurry)
        self._backend.close()

    def _leave_to_parent(self) -> None:
        """In a forked process: refuse every call from now on."""
        self._backend = InheritedBackend(self._backend)
        self._run = self._backend.run
        self._workers = Workers(self._workers.most)

    def __enter__(self) -> "Engine":
        """The engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """With device, inputs and outputs."""
        inputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.inputs)
        outputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.outputs)
        return f"<fasttrt.Engine on {self.device}: ({inputs}) -> ({outputs})>"


def _arrays(inputs: tuple[Any, ...], out: Any) -> Generator[Any, None, None]:
    """Every array of a call."""
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
        engine._leave_to_parent()
    _open_engines.clear()


os.register_at_fork(after_in_child=_leave_all_to_parent)


@atexit.register
def _close_all() -> None:
    """Free the GPU while the driver and the interpreter are still there.

    Builds, loads and runs on daemon threads are stopped or waited for, as TensorRT and ONNX Runtime
    would crash.
    """
    try:
        end_calls()
        _core.end_long_calls()
    finally:
        for engine in list(_open_engines):
            engine.close()
