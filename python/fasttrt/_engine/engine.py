"""`Engine`: a model ready to run."""

import atexit
import os
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from fasttrt import _core
from fasttrt._common.checks import refuse
from fasttrt._common.progress import ProgressCallback, check_progress
from fasttrt._engine.backend_factory import open_backend
from fasttrt._engine.device_warmup import warm_up_devices
from fasttrt._engine.inference import Inference
from fasttrt._engine.option_checks import check_options
from fasttrt._engine.recipe import PackedRecipe, Recipe, unchanging
from fasttrt._engine.shared_engines import Share
from fasttrt._engine.warmup import (
    Size,
    given_sizes,
    is_wanted,
    tuned_sizes,
    warm_up,
)
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.transforms import Dims, Freeze
from fasttrt._library.device import Device
from fasttrt._library.plugins import Plugins
from fasttrt._plan.build_config import BuildConfig, Precision
from fasttrt._plan.plan_file import Bytes, Plan
from fasttrt._plan.profiles import Shapes
from fasttrt._plan.tuned import Tuned
from fasttrt._runtime.backend import Backend
from fasttrt._runtime.batching import Batching
from fasttrt._runtime.forked_backend import ForkedBackend
from fasttrt._runtime.ort_calls import end_calls
from fasttrt._runtime.request_queue import RequestQueue, concurrent_runs
from fasttrt._runtime.statistics import EngineStats, engine_stats, tuned_shapes
from fasttrt.errors import Error

if TYPE_CHECKING:
    import onnx

    from fasttrt._accuracy.verification import Verify

_open_engines: "weakref.WeakSet[Engine]" = weakref.WeakSet()
_NOT_OPTIONS = ("self", "model", "progress", "__class__")
_OPENED = frozenset((
    "_backend", "_concurrent_runs", "_direct", "_queue", "_recipe", "_run", "_tuned", "device",
    "inputs", "outputs",
))  # fmt: skip
"""The attributes that an engine has once it is open."""


class Engine(Inference):
    """A model, built and loaded, that runs on GPUs through TensorRT or on the CPU for reference.

    Its methods may be called from several threads at once. Use it in a ``with`` block, or call
    `close`, to free the GPU's memory at a defined moment.

    An engine can be pickled, for `multiprocessing`, joblib, Ray, Dask or Spark: not what it holds
    on the GPU, but how to open it, with the same options but ``progress``, and with the weights of
    its last `refit`. A path is pickled with the SHA-256 of its file, which the other process has to
    find under the same path; a plan, or a model in memory, with its content of 100 MiB at most,
    as it was opened. The other process opens it when it is first used, through the cache, on the
    GPU with the same ordinal or, if it sees fewer GPUs, on its first. Engines that were unpickled
    with the same content and options share in a process what is open: the four used last stay open
    for tasks that follow, and `close` frees what no other of them uses.

    Examples:
        >>> with fasttrt.Engine("m.onnx") as engine:
        ...     y = engine.infer(x)
        >>> y.shape
        (8, 10)

        <!-- needs: gpu -->
        >>> engine = fasttrt.Engine("m.onnx", precision="fp16", shapes={"x": "1x784:8x784:64x784"})
    """

    _share: Share | None = None
    """What an engine that was unpickled runs on."""

    def __init__(
        self,
        model: "str | os.PathLike[str] | Bytes | onnx.ModelProto | Plan",
        *,
        device: Device = "auto",
        devices: Sequence[Device] | None = None,
        library: str | os.PathLike[str] = "auto",
        precision: Precision | None = None,
        shapes: Shapes | None = None,
        tuned: Tuned | Literal["observed"] = "auto",
        freeze: Freeze | None = None,
        dims: Dims | None = None,
        config: BuildConfig | None = None,
        contexts: int = 2,
        specialization: Literal["auto", "eager", "lazy", "none"] = "auto",
        cuda_graph: Literal["auto", True, False] = "auto",
        wait: Literal["auto", "spin", "yield", "block"] = "auto",
        batching: Batching | None = None,
        max_queue: int | None = None,
        warmup: Literal["auto", True, False] = "auto",
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
            tuned: the sizes that get a profile of their own, see `fasttrt.build`. ``"auto"``: with
                ``batching``, its batch sizes. ``"observed"``: as ``"auto"``, and sizes of `infer`
                that come often get plans of their own, eight at most, which are built and loaded in
                the background and kept for the next start; with TensorRT-RTX, without ``batching``
                and shape tensors. Not for plans; no effect on the CPU.
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
                an `Error`, as does the CPU. False: no graph is kept; with TensorRT-RTX, whose
                kernels begin too early unless they are launched as a graph, one is used once.
            wait: how a thread waits for the GPU. ``"spin"``: by polling, with the lowest latency,
                while keeping a core busy. ``"yield"``: by polling, but yielding the core to other
                threads. ``"block"``: by sleeping; waking up takes about 20 us. ``"auto"``: by
                polling for 2 ms, then sleeping. With ``"spin"`` and ``"auto"``, up to three threads
                help to copy large numpy arrays, and poll for 1 ms after each copy.
            batching: gather requests of several threads into one run; on the CPU only those that
                come to fasttrt's server.
            max_queue: how many requests may wait for their runs; `submit`, `ainfer`, and `infer` if
                it waits in the queue, raise a `QueueFullError` beyond that. None: any number.
            warmup: whether to call `warmup` before the engine is ready. ``"auto"``: if the plan has
                tuned sizes, or with ``batching``, unless the model has a Loop.
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
        given = {name: value for name, value in locals().items() if name not in _NOT_OPTIONS}
        checked = check_options(given)
        check_progress(progress)
        model = unchanging(model)
        recipe = Recipe(model, given)  # before the files are read: it notes their state
        with warm_up_devices(device, devices):
            backend, ordinals, read = open_backend(
                model, device=device, devices=devices, library=library, shapes=shapes,
                tuned=checked.tuned, freeze=freeze, dims=dims, config=checked.config,
                options=checked.run, progress=progress, cache=cache, verify=verify,
                isolate=isolate, advise=advise, warmup=warmup,
            )  # fmt: skip
        recipe.note("model", read)
        recipe.note("weights", checked.run.weights)
        try:
            queue = RequestQueue(
                backend, contexts=contexts, gpus=len(ordinals or [0]), wait=wait,
                batching=batching, max_queue=max_queue,
                warm=is_wanted(warmup, backend.metadata, batching),
            )  # fmt: skip
        except BaseException:
            backend.close()
            raise
        runs = concurrent_runs(contexts, batching, ordinals)
        super().__init__(backend, queue, concurrent_runs=runs)
        self.device = "cpu" if ordinals is None else f"cuda:{','.join(map(str, ordinals))}"
        self._tuned = () if ordinals is None else tuned_shapes(self.inputs)
        self._recipe = recipe
        _open_engines.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle how to open the engine, see `Engine`.

        Raises:
            FileError: a file has changed since the engine was opened.
            InputError: its model is in memory, and too large to be pickled.
        """
        return _unpickled, (type(self), self._pack())

    def __copy__(self) -> "Engine":
        """Return an engine of its own, with the same options, that is opened when it is used."""
        return _unpickled(type(self), self._pack(), is_alone=True)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Engine":
        """Do as `__copy__`."""
        return self.__copy__()

    def _pack(self) -> PackedRecipe:
        share = self._share
        return self._recipe.pack() if share is None else share.packed

    if not TYPE_CHECKING:  # or any name would be an attribute

        def __getattr__(self, name: str) -> Any:
            """Open an engine that was unpickled, when it is first used."""
            if self._share is not None and name in _OPENED:  # not for whoever asks what it is
                self._share.join(self, self._use)
                if name in vars(self):
                    return vars(self)[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _use(self, opened: "Engine") -> None:
        """Run on what another engine has opened."""
        vars(self).update(vars(opened))
        _open_engines.add(self)

    @property
    def verification(self) -> dict[str, Any] | None:
        """The verdict of ``verify``, also for a plan that was verified when it was built.

        The content of `Comparison.to_json`, and the requested ``thresholds``. None if the engine
        was not verified, as on the CPU.
        """
        verdict = self._backend.metadata.get("verification")
        return None if verdict is None else dict(verdict)

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
        if (share := self._share) is not None:
            self._use(share.own(self))
            self._share = None
        read = OnnxModel(model)
        self._backend.refit(read)
        self._recipe.refit(model, read)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the plan (the first GPU's), for ``Engine(path)``; see `Plan.save`.

        Raises:
            InputError: the existing file is not a plan (``force`` replaces it anyway).
        """
        self._backend.save(path, force=force)

    def warmup(
        self,
        shapes: "Size | Sequence[Size] | None" = None,
        *,
        progress: ProgressCallback | bool | None = None,
    ) -> None:
        """Prepare sizes: their requests then wait for no kernels, memory or CUDA graphs.

        Each size is run in all contexts of all GPUs, with inputs of zeros. Failures are logged as
        warnings. Requests may run meanwhile: those of other sizes are not held up by kernels that
        are compiled in another context. It has no effect on the CPU. `stats` only counts the sizes
        compiled and the graphs captured.

        Args:
            shapes: the shape of each input by its name (of a shape tensor, its values), or a shape
                for a single input; or a list of these. None: each tuned size, or each profile's
                optimum if there is none.
            progress: see `fasttrt.build`.

        Raises:
            InputError: a shape does not fit.
            Error: the engine is closed.

        Examples:
            >>> engine = fasttrt.Engine("m.onnx")
            >>> engine.warmup({"x": (8, 784)})
        """
        check_progress(progress)
        inputs = self.inputs
        sizes = tuned_sizes(inputs) if shapes is None else given_sizes(inputs, shapes)
        if self._backend.closed:
            raise Error("the engine is closed")
        warm_up(self._backend, sizes, progress)

    def stats(self) -> EngineStats:
        """Return what the engine has done since it was created, and what it holds.

        Counting goes on all the time, and costs less than a microsecond a run.

        Raises:
            Error: in a forked process.

        Examples:
            >>> engine = fasttrt.Engine("m.onnx")
            >>> _ = engine.infer(x)
            >>> stats = engine.stats()
            >>> stats.runs, stats.rows, dict(stats.batch_sizes)
            (1, 8, {8: 1})
        """
        return engine_stats(self._backend.statistics(), self._queue.statistics(), self._tuned)

    def close(self, *, drain: bool = False) -> None:
        """Wait for current runs, and free all resources.

        Results stay valid. Closing again does nothing, nor does closing in a forked process, as
        the engine belongs to its parent.

        Args:
            drain: True: run the requests that wait, too. False: cancel them.

        Raises:
            InputError: ``drain`` is neither.
        """
        if not isinstance(drain, bool):
            refuse("drain", "True or False", drain)
        if self._share is None:
            self._queue.close(drain=drain)
            self._backend.close()
        elif (opened := self._share.leave(self)) is not None:
            opened.close(drain=drain)
        else:  # others use it: from now on `__getattr__` raises an error here
            _open_engines.discard(self)
            for name in ("_backend", "_queue", "_run"):
                vars(self).pop(name, None)

    def _leave_to_parent(self) -> None:
        """Make every call raise an `Error`, in a forked process."""
        self._share = None
        forked = ForkedBackend(self._backend)
        self._backend = forked
        self._run = forked.run
        self._queue.leave_to_parent(forked.refuse)

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
        if self._share is not None and "inputs" not in vars(self):
            return f"<fasttrt.Engine of {self._share.packed.name}, not opened yet>"
        inputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.inputs)
        outputs = ", ".join(f"{s.name}: {s.dtype}{list(s.shape)}" for s in self.outputs)
        return f"<fasttrt.Engine on {self.device}: ({inputs}) -> ({outputs})>"


def _unpickled(kind: type[Engine], packed: PackedRecipe, *, is_alone: bool = False) -> Engine:
    engine = kind.__new__(kind)
    engine._share = Share(packed, _opened, is_alone=is_alone)  # noqa: SLF001
    return engine


def _opened(packed: PackedRecipe) -> Engine:
    model, options = packed.arguments()
    engine = Engine(model, progress=False, **options)
    if packed.refitted is not None:
        try:
            engine.refit(packed.refitted.opened())
        except BaseException:
            engine.close()
            raise
    return engine


def backend_of(engine: Engine) -> Backend:
    """Return what runs an engine, for fasttrt's own tools: measurements, profiles, comparisons."""
    return engine._backend  # noqa: SLF001


def options_of(engine: Engine) -> Mapping[str, Any]:
    """Return what an engine was opened with, or will be, if it was unpickled."""
    share = engine._share  # noqa: SLF001
    return engine._recipe.options if share is None else share.packed.options  # noqa: SLF001


def queue_statistics(engine: Engine) -> dict[str, Any]:
    """Return what the queue of an engine counted, for fasttrt's server.

    See `RequestQueue.statistics`.
    """
    return engine._queue.statistics()  # noqa: SLF001


def plain_dispatcher_of(engine: Engine) -> "_core.Dispatcher | None":
    """Return what takes an engine's requests without Python, for fasttrt's own server."""
    return engine._queue.plain_dispatcher  # noqa: SLF001


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
        _core.drain_vendor_calls()
    finally:
        for engine in list(_open_engines):
            engine.close()
        _core.drain_vendor_calls()  # those of other threads that free engines
