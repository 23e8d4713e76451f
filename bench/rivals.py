"""The same networks in PyTorch and in ONNX Runtime, to compare with."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from measure import Contestant, LeftOutError
from models import Array
from sessions import CPU, open_session
from subject import Subject, from_cuda

LEAST = 10.0  # seconds, without which torch.compile need not begin


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
