"""The same networks in PyTorch and in ONNX Runtime, to compare with."""

from __future__ import annotations

import ctypes
import importlib
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import Contestant, LeftOutError
from models import Array
from sessions import CPU, open_session
from subject import Subject, from_cuda

LEAST = 10.0  # seconds, without which torch.compile need not begin
RTX_PROVIDER = "NvTensorRTRTXExecutionProvider"


def eager(subject: Subject) -> list[Contestant]:
    """The module as torch runs it, operator by operator."""
    return _with_torch(subject, "torch eager", _module(subject), "no")


def compiled(subject: Subject, seconds: float) -> list[Contestant]:
    """The same by ``torch.compile(mode="reduce-overhead")``, which replays CUDA graphs.

    Args:
        subject: what runs.
        seconds: how long compiling may take.

    Raises:
        LeftOutError: it takes longer, or does not work here.
    """
    import torch

    if seconds < LEAST:
        raise LeftOutError(f"only {max(seconds, 0):.0f} s of --budget are left for torch.compile")
    module = torch.compile(_module(subject), mode="reduce-overhead")
    place = "cuda" if subject.on_gpu else "cpu"
    x = tuple(torch.from_numpy(x).to(place) for x in subject.xs[0])
    start = time.perf_counter()
    try:
        with _limit(seconds), torch.inference_mode():
            for _ in range(3):  # compiles, records, replays
                module(*x)
            if subject.on_gpu:
                torch.cuda.synchronize()
    except Exception as problem:
        took = time.perf_counter() - start
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        raise LeftOutError(f"torch.compile gave up after {took:.0f} s: {reason}") from problem
    print(f"torch.compile: {time.perf_counter() - start:.1f} s", flush=True)
    name = 'torch.compile "reduce-overhead"'
    return _with_torch(subject, name, module, "yes" if subject.on_gpu else "no")


def _module(subject: Subject) -> Any:
    import torch

    if subject.network.module is None:
        raise LeftOutError(f"{subject.network.name} is not there as a torch module")
    torch.set_float32_matmul_precision("high")  # TF32, as TensorRT may use it
    return subject.network.module("cuda" if subject.on_gpu else "cpu")


def _with_torch(subject: Subject, name: str, module: Any, graph: str) -> list[Contestant]:
    """From numpy to numpy; on a GPU from there to there, too."""
    import torch

    common: Any = {"graph": graph, "around": torch.inference_mode}

    def on_cpu(x: Array) -> Any:
        return module(torch.from_numpy(x)).numpy()

    if not subject.on_gpu:
        return [Contestant(f"{name} (CPU), numpy to numpy", on_cpu, subject.xs, wait="-", **common)]
    wait = torch.cuda.current_stream().synchronize

    def from_host(x: Array) -> Any:
        return module(torch.from_numpy(x).cuda()).cpu().numpy()

    def on_gpu(x: Any) -> Any:
        y = module(x)
        wait()
        return y

    inputs = [tuple(torch.from_numpy(x).cuda() for x in xs) for xs in subject.xs]
    torch.cuda.synchronize()
    common["wait"] = "CUDA's"
    return [
        Contestant(f"{name}, numpy to numpy", from_host, subject.xs, **common),
        Contestant(
            f"{name}, cuda to cuda", on_gpu, inputs, from_cuda, transfers="none", **common
        ),
    ]  # fmt: skip


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError after so long; in the main thread only."""

    def late(*_: Any) -> None:
        raise TimeoutError(f"longer than the {seconds:.0f} s that --budget leaves")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def onnx_runtime(subject: Subject) -> list[Contestant]:
    """``InferenceSession.run`` on the GPU if this ONNX Runtime can, else on the CPU."""
    import onnxruntime

    network = subject.network
    wanted = "CUDAExecutionProvider"
    found = subject.on_gpu and wanted in onnxruntime.get_available_providers()
    session = open_session(network.model, *([wanted] if found else []), CPU)
    on_gpu = session.get_providers()[0] == wanted  # it falls back on its own
    run, names = session.run, network.names

    def call(*xs: Array) -> Any:
        return run(None, dict(zip(names, xs, strict=True)))

    name = f"ONNX Runtime ({'CUDA' if on_gpu else 'CPU'} provider), numpy to numpy"
    common: Any = {"transfers": "host" if on_gpu else "-", "graph": "no", "wait": "its own"}
    return [Contestant(name, call, subject.xs, **common)]


def onnx_runtime_rtx(subject: Subject) -> list[Contestant]:
    """``InferenceSession.run`` through NVIDIA's TensorRT-RTX provider, with CUDA graphs or without.

    The model's batch is fixed, as it is in fasttrt's plan.

    Raises:
        ImportError: there is no provider: onnxruntime-ep-nv-tensorrt-rtx-cu12 or -cu13, of which
            one is wanted that has the release of TensorRT-RTX that fasttrt finds.
        LeftOutError: ONNX Runtime cannot use it here.
    """
    import onnxruntime

    package = importlib.import_module("onnxruntime_ep_nv_tensorrt_rtx")  # loads TensorRT-RTX
    library = Path(package.get_library_path())
    for runtime in library.parent.glob("libcudart.so*"):  # which the provider wants, too
        ctypes.CDLL(str(runtime), ctypes.RTLD_GLOBAL)

    def devices() -> list[Any]:
        return [d for d in onnxruntime.get_ep_devices() if "rtx" in d.ep_name.lower()]

    if not devices():  # the first of the process
        onnxruntime.register_execution_provider_library(RTX_PROVIDER, str(library))
    if not devices():
        raise LeftOutError("ONNX Runtime finds no device for the TensorRT-RTX provider")
    content = _with_fixed_batch(subject).SerializeToString()
    names = subject.network.names
    found = []
    for graph in (False, True):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_provider_for_devices(devices()[:1], {"enable_cuda_graph": str(int(graph))})
        session = onnxruntime.InferenceSession(content, options)
        providers = session.get_providers()
        if not any("rtx" in provider.lower() for provider in providers):  # it falls back
            raise LeftOutError(f"ONNX Runtime runs on {', '.join(providers)} instead")

        def call(*xs: Array, run: Any = session.run) -> Any:
            return run(None, dict(zip(names, xs, strict=True)))

        name = f"ONNX Runtime (TensorRT-RTX provider{', CUDA graphs' * graph}), numpy to numpy"
        common: Any = {"graph": "yes" if graph else "no", "wait": "its own"}
        found.append(Contestant(name, call, subject.xs, **common))
    return found


def _with_fixed_batch(subject: Subject) -> Any:
    """The model for the subject's batch alone."""
    import onnx
    from onnx.tools import update_model_dims

    model = subject.network.model
    proto = onnx.load(model) if isinstance(model, Path) else model
    outputs = [output.name for output in proto.graph.output]
    return update_model_dims.update_inputs_outputs_dims(
        onnx.ModelProto.FromString(proto.SerializeToString()),
        {k: list(x.shape) for k, x in zip(subject.network.names, subject.xs[0], strict=True)},
        {k: list(y.shape) for k, y in zip(outputs, subject.right[0], strict=True)},
    )
